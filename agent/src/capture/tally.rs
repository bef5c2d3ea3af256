//! The figures of the ledger that userspace keeps, by stage and cause.

macro_rules! tallies {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// One figure. Those said to be a level are set; all others only ever grow.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Tally {
            $($(#[$doc])* $variant,)*
        }

        impl Tally {
            /// All, in the order of their discriminants.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Stable name, `stage.cause`, for metrics, heartbeats and the summary.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

tallies! {
    /// Records taken from the ring.
    Read => "decode.read",
    /// Of these, records that an earlier agent's programs had written.
    Inherited => "decode.inherited",
    /// Records that could be read.
    Decoded => "decode.decoded",
    /// Undecodable records whose header could not be read either: they leave a hole in their CPU's numbers.
    Unnumbered => "decode.unnumbered",

    /// Runs of programs that the kernel skipped, because another run was under way on that CPU (a level).
    RunsSkipped => "kernel.runs_skipped",

    /// Losses that the numbers show (a level: a late record takes its loss back).
    SequenceLost => "sequence.lost",
    /// Numbers missing that may still come (a level).
    SequenceOpen => "sequence.open",
    /// Records that came after they had been called lost.
    SequenceRecovered => "sequence.recovered",
    /// Restarts of a CPU's numbering.
    SequenceRestarts => "sequence.restarts",

    /// Decoded records used as context: fork, exec, exit.
    Context => "record.context",
    /// Decoded records with a number that was seen before: not used again.
    SequenceDuplicate => "record.sequence_duplicate",
    /// Opens of candidates that no rule of the catalogue matched in the end.
    NotACredential => "record.not_a_credential",
    /// Records of an act that another hook, or the same one, had told already.
    SameAct => "record.same_act",
    /// Records of reads by expected readers, counted in a fold instead of told each.
    ExpectedRead => "record.expected_read",
    /// Records of the agent's own acts.
    OwnAct => "record.own_act",
    /// DNS answers, which name destinations.
    DnsAnswer => "record.dns_answer",
    /// Pieces of ClientHellos.
    HelloPiece => "record.hello_piece",
    /// Outcomes told with their attempt.
    Joined => "join.joined",
    /// Outcomes of an attempt that had its outcome.
    JoinedDuplicate => "join.joined_duplicate",
    /// Outcomes of an attempt that had been told without.
    OutcomeTooLate => "join.outcome_too_late",
    /// Outcomes whose attempt was not seen, and that say what it was: each is an event by itself, and counted there.
    ToldByOutcome => "join.told_by_outcome",
    /// Outcomes whose attempt was not seen, and that do not say what it was.
    OutcomeWithoutAttempt => "join.outcome_without_attempt",
    /// Attempts that wait for their outcome (a level).
    WaitingAttempts => "join.waiting_attempts",
    /// Outcomes that wait for their attempt or for an errno (a level).
    WaitingOutcomes => "join.waiting_outcomes",
    /// Attempts told as unknown: no outcome within the time-out.
    AttemptsTimedOut => "join.attempts_timed_out",
    /// Attempts told as unknown: no room to wait.
    AttemptsOverflowed => "join.attempts_overflowed",
    /// Attempts told as unknown: their socket began another.
    AttemptsSuperseded => "join.attempts_superseded",
    /// Attempts told as unknown: the agent stopped.
    AttemptsDrained => "join.attempts_drained",

    /// Established connections whose process and reasons are kept until their end (a level).
    LiveConnections => "live.connections",
    /// Established connections of which that is kept no more: at their end the process is looked up anew.
    LiveEvicted => "live.evicted",

    /// DNS answers that cannot be read.
    AnswerUnreadable => "names.answer_unreadable",
    /// DNS answers to a socket of another network than whoever used it.
    AnswerOfAnotherNetwork => "names.answer_of_another_network",
    /// Addresses whose names are known by the host's resolvers (a level).
    Resolved => "names.resolved",
    /// Names of resolvers that still held and had to go for want of room.
    ResolvedEvicted => "names.resolved_evicted",
    /// Addresses whose names are known by strangers (a level).
    Strange => "names.strange",
    /// Names of strangers that still held and had to go for want of room.
    StrangeEvicted => "names.strange_evicted",
    /// ClientHellos that were not whole and had to go for want of room.
    HelloEvicted => "names.hello_evicted",
    /// Events derived: another name for a connection that was told.
    ConnectionName => "event.connection_name",

    /// Events whose identity was not noted for `telltale who`: there were too many others.
    LivesTurnedAway => "life.turned_away",

    /// Expected reads that a `repeat` has told of.
    FoldTold => "fold.told",
    /// Expected reads that are counted and not told of yet (a level).
    FoldWaiting => "fold.waiting",
    /// Folds of expected reads (a level).
    Folds => "fold.folds",
    /// Folds that had to go for want of room: what they had counted was told, and the next read is told whole.
    FoldsEvicted => "fold.evicted",

    /// Events made of one decoded record each.
    Activity => "event.activity",
    /// Events derived: folded repeats.
    Repeat => "event.repeat",
    /// Events derived: gaps.
    Gap => "event.gap",
    /// Events derived: the agent's own status.
    AgentStatus => "event.agent_status",

    /// Events made while no collector is configured.
    NotShipped => "queue.not_shipped",
    /// Events taken by the queue.
    Queued => "queue.queued",
    /// Events lost: the queue had no room.
    QueueFull => "queue.queue_full",
    /// Events of the bulk lane turned away by the queue.
    BulkFull => "queue.bulk_full",
    /// Events handed to the network, each retry counted again.
    Sent => "queue.sent",
    /// Events that the collector acknowledged.
    Acknowledged => "queue.acknowledged",
    /// Events lost: the collector refused them for good.
    Rejected => "queue.rejected",
    /// Events lost: still unacknowledged when the agent had to stop.
    Abandoned => "queue.abandoned",
    /// Events in the queue or on their way, not acknowledged (a level).
    Waiting => "queue.waiting",

    /// Raw records written to the recording.
    Recorded => "recording.recorded",
    /// Raw records not recorded: the recording had stopped with an error.
    NotRecorded => "recording.not_recorded",
}

impl Tally {
    /// Losses between the event and the collector, with their causes.
    pub const OF_THE_QUEUE: [(Self, &'static str); 4] = [
        (Self::QueueFull, "queue_full"),
        (Self::BulkFull, "bulk_full"),
        (Self::Rejected, "rejected"),
        (Self::Abandoned, "abandoned"),
    ];
}
