//! The one loop's body: a record of the ring becomes an event, or context, or a number in the ledger.
//!
//! hooks → ring → capture → process → (join) → attribute → context → event. The same steps serve the live ring and a
//! recording; there is no IO and no clock here.

mod credential;
mod destination;
mod expected;
mod memory;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use agent_common::keys::{FlowCount, FlowKey, InodeKey};

use crate::attribute::Attributor;
use crate::capture::decode::{self, HELD};
use crate::capture::join::{Ended, Join, OUTCOME_TIMEOUT};
use crate::capture::ledger::{GapReporter, KernelCounters, Ledger};
use crate::capture::live::Live;
use crate::capture::sequence::{Seen, SequenceTracker, Series, Start};
use crate::capture::tally::Tally;
use crate::catalogue::Catalogue;
use crate::catalogue::enumerate::KnownFiles;
use crate::context;
use crate::destinations::listeners::Listeners;
use crate::destinations::peers::Peers;
use crate::host::installed::Installed;
use crate::model::act::{
    self, Act, Actor, Attempted, ConnectAttempt, ConnectOutcome, Deed, Endpoint, Outcome, Protocol,
};
use crate::model::destination::Destination;
use crate::model::event::{
    Activity, AgentStatus, Connection, DatagramFlow, Event, EventKind, Folded, Gap, KeyAccess,
    NamedConnection, Repeat, Traffic, What, Why,
};
use crate::model::identity::Attribution;
use crate::model::name::Names;
use crate::model::process::{Cgroup, Origin, Process, ProcessKey};
use crate::model::program::ProgramFound;
use crate::model::time::BootTime;
use crate::names::resolvers::Resolvers;
use crate::names::{Fate, NameTable};
use crate::process::ProcessTable;
use crate::process::inventory::HostNamespaces;
use crate::session::{Tag, TagNews, Tags};
use credential::Acquisitions;
use destination::Ending;
use expected::ExpectedReads;

/// Attempts of the agent itself whose outcomes are still to come: its self-test makes a handful.
const OWN_ATTEMPTS: usize = 64;

/// Who made an attempt, as it was at that time: by its outcome the process may run something else, or have ended.
struct Asked {
    attempt: ConnectAttempt,
    hook: &'static str,
    process: Arc<Process>,
    attribution: Arc<Attribution>,
    why: Why,
    names: Names,
}

/// Who made a connection, as it was at that time, for as long as it lasts.
#[derive(Clone)]
struct Known {
    actor: Actor,
    protocol: Protocol,
    remote: Endpoint,
    network: u64,
    process: Arc<Process>,
    attribution: Arc<Attribution>,
    why: Why,
    names: Names,
    destination: Option<Arc<Destination>>,
}

/// What a record of process life is to tags.
enum Life {
    Made(Tag),
    Changed(ProcessKey),
    Ended(ProcessKey),
}

impl Life {
    fn of(deed: &Deed) -> Option<Self> {
        match deed {
            Deed::Fork(fork) => Some(Self::Made(Tag { process: fork.child, number: fork.tag })),
            Deed::Exec(exec) => Some(Self::Changed(exec.actor.process)),
            Deed::Exit(exit) => Some(Self::Ended(exit.actor.process)),
            _ => None,
        }
    }
}

/// All that is known between records.
pub struct Pipeline {
    tracker: SequenceTracker,
    ledger: Arc<Ledger>,
    gaps: GapReporter,
    table: ProcessTable,
    join: Join<Asked>,
    live: Live<Known>,
    attributor: Attributor,
    catalogue: Arc<Catalogue>,
    known: KnownFiles,
    names: NameTable,
    listeners: Listeners,
    peers: Peers,
    /// Records of listeners, and of the ring of connections, that were lost so far.
    listeners_lost: (u64, u64),
    own: Option<u32>,
    own_attempts: HashSet<u64>,
    mistaken: Vec<InodeKey>,
    acquisitions: Acquisitions,
    expected: ExpectedReads,
    tags: Tags,
}

/// What a pipeline is made of.
pub struct Parts {
    /// Where the numbers of the records begin.
    pub start: Start,
    /// All figures.
    pub ledger: Arc<Ledger>,
    /// Processes, seeded with what ran before.
    pub table: ProcessTable,
    /// Identities.
    pub attributor: Attributor,
    /// Credentials.
    pub catalogue: Arc<Catalogue>,
    /// Credential files that existed at the start.
    pub known: KnownFiles,
    /// Which DNS servers the host is configured with.
    pub resolvers: Box<dyn Resolvers>,
    /// Which executables root of the host installed.
    pub installed: Box<dyn Installed>,
    /// The host's own namespaces.
    pub host: HostNamespaces,
    /// Tags of sessions.
    pub tags: Tags,
    /// Pid of the agent itself, whose acts are not told. It is no one else's while the agent runs.
    pub own: Option<u32>,
}

impl Pipeline {
    /// Nothing seen yet.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            start,
            ledger,
            table,
            attributor,
            catalogue,
            known,
            resolvers,
            installed,
            host,
            tags,
            own,
        } = parts;
        Self {
            tracker: SequenceTracker::new(start),
            ledger,
            gaps: GapReporter::default(),
            table,
            join: Join::new(OUTCOME_TIMEOUT),
            live: Live::default(),
            attributor,
            catalogue,
            known,
            names: NameTable::new(resolvers),
            listeners: Listeners::default(),
            peers: Peers::default(),
            listeners_lost: (0, 0),
            own,
            own_attempts: HashSet::new(),
            mistaken: Vec::new(),
            acquisitions: Acquisitions::default(),
            expected: ExpectedReads::new(installed, host),
            tags,
        }
    }

    /// From when on the programs serve whose records these are: before that, those of an earlier agent did.
    pub const fn begin_at(&mut self, begun: BootTime) {
        self.join.begin_at(begun);
    }

    /// The process table, to be seeded.
    pub fn processes(&mut self) -> &mut ProcessTable {
        &mut self.table
    }

    /// The attributor, whose users may change.
    pub fn attributor(&mut self) -> &mut Attributor {
        &mut self.attributor
    }

    /// Takes what was found of a program. Who runs a copy of an agent's may be that agent after all.
    pub fn learn_program(&mut self, found: ProgramFound) {
        for copy in self.attributor.learn_program(found) {
            self.table.learn_copy(&copy);
        }
    }

    /// Begins with the processes that are known to run, and the tags that they have in the kernel.
    pub fn begin_tags(&mut self, given: &[Tag]) {
        self.tags.begin(&mut self.table, given);
    }

    /// Takes the tag of a process whose beginning was lost, or one of a recording.
    pub fn learn_tag(&mut self, news: TagNews) {
        self.tags.heard(&mut self.table, news);
        self.tag(None);
    }

    /// Tags that the kernel is to be told; number 0: the process is gone.
    pub fn take_wanted_tags(&mut self) -> Vec<Tag> {
        self.tag(None);
        self.tags.take_wanted()
    }

    /// Processes whose tag the kernel is to be asked for.
    pub fn take_unknown(&mut self) -> Vec<ProcessKey> {
        self.tags.take_unknown()
    }

    /// The kernel has taken a tag, or has no room for it.
    pub fn tag_told(&mut self, was_taken: bool) {
        self.tags.told(was_taken);
    }

    /// The kernel's tags could not be read or changed, though there was room; whether that is the first time.
    pub fn tag_failed(&mut self) -> bool {
        self.tags.failed()
    }

    fn tag(&mut self, life: Option<Life>) {
        match life {
            Some(Life::Made(child)) => self.tags.forked(&mut self.table, child),
            Some(Life::Changed(key)) => self.tags.changed(&mut self.table, key),
            Some(Life::Ended(key)) => self.tags.ended(&self.table, key),
            None => {}
        }
        for key in self.table.take_renewed() {
            self.tags.changed(&mut self.table, key);
        }
    }

    /// The credential files known by inode.
    pub const fn known_files(&self) -> &KnownFiles {
        &self.known
    }

    /// Takes one record of the ring; what it leads to goes to `emit`.
    pub fn record(&mut self, bytes: &[u8], emit: &mut dyn FnMut(Event)) {
        let seen = match decode::meta(bytes) {
            Ok(meta) => self.tracker.observe(meta.series, meta.sequence, meta.time),
            Err(_) => {
                self.ledger.add(Tally::Unnumbered, 1);
                Seen::New
            }
        };
        let decoded = decode::decode(bytes);
        self.ledger.read(&decoded);
        match decoded {
            Ok(_) if seen == Seen::Duplicate => self.ledger.add(Tally::SequenceDuplicate, 1),
            Ok(act) => self.act(act, emit),
            Err(error) => tracing::debug!(%error, "a record that cannot be read"),
        }
    }

    /// Takes one record that an earlier agent's programs wrote: their numbers are not this one's.
    pub fn inherited(&mut self, bytes: &[u8], emit: &mut dyn FnMut(Event)) {
        self.ledger.add(Tally::Inherited, 1);
        let decoded = decode::decode(bytes);
        self.ledger.read(&decoded);
        match decoded {
            Ok(act) => self.act(act, emit),
            Err(error) => tracing::debug!(%error, "an earlier agent's record that cannot be read"),
        }
    }

    /// Tells what earlier agents lost and had not told.
    pub fn inherited_losses(&self, now: BootTime, losses: Vec<Gap>, emit: &mut dyn FnMut(Event)) {
        for gap in losses {
            self.gap(now, gap, emit);
        }
    }

    fn act(&mut self, act: Act, emit: &mut dyn FnMut(Event)) {
        self.peers.at(act.time);
        self.expected.watch(act.time, &act.deed);
        if let Deed::Exec(exec) = &act.deed {
            self.attributor.foresee(exec, act.time);
        }
        let life = Life::of(&act.deed);
        let (time, exited) = match &act.deed {
            Deed::Exit(exit) => (act.time, Some(exit.actor.process)),
            _ => (act.time, None),
        };
        let Some(act) = self.table.observe(act) else {
            self.ledger.add(Tally::Context, 1);
            self.tag(life);
            if let Some(exited) = exited {
                self.hand_listeners_on(exited, time);
            }
            return;
        };
        let Act { time, hook, deed } = act;
        match deed {
            Deed::ConnectAttempt(attempt) => self.attempt(time, hook, attempt, emit),
            Deed::ConnectOutcome(outcome) => {
                if self.own_attempts.remove(&outcome.cookie) {
                    self.ledger.add(Tally::OwnAct, 1);
                } else if let Some(ended) = self.join.outcome(time, outcome) {
                    self.connection(ended, emit);
                } else {
                    self.outcomes_alone(emit);
                }
            }
            Deed::Datagram(sent) => {
                if self.is_own(&sent.actor) {
                    return;
                }
                let ConnectAttempt { actor, cookie, protocol, remote, network } = sent;
                let names = self.names.of(time, &actor, (network, remote.address));
                let what = What::DatagramFlow(DatagramFlow { cookie, protocol, remote, names });
                self.activity(time, hook, actor, what, emit);
            }
            Deed::FileOpen(open) => self.file_open(time, hook, open, emit),
            Deed::ConnectionEnd(carried) => self.ended(time, hook, carried, emit),
            Deed::ConnectionUpdate(carried) => self.updated(time, hook, carried, emit),
            Deed::UnixConnect(socket) => self.unix_connect(time, hook, socket, emit),
            Deed::OpenRefused(open) => self.open_refused(time, hook, open, emit),
            Deed::Change(change) => self.change(time, hook, *change, emit),
            Deed::Memory(access) => self.memory(time, hook, *access, emit),
            Deed::Key(read) => {
                let act::KeyUse { actor, serial, name, refused } = *read;
                if !self.is_own(&actor) {
                    let what = What::KeyAccess(KeyAccess { serial, name, refused });
                    self.activity(time, hook, actor, what, emit);
                }
            }
            Deed::RawSocket(act::RawSocket { actor, form }) => {
                if !self.is_own(&actor) {
                    self.activity(time, hook, actor, What::RawSocket(form), emit);
                }
            }
            Deed::DnsAnswer(answer) => {
                self.ledger.add(Tally::DnsAnswer, 1);
                match self.names.answer(time, &answer) {
                    Fate::Kept | Fate::NoAddress => {}
                    Fate::Unreadable => self.ledger.add(Tally::AnswerUnreadable, 1),
                    Fate::OfAnotherNetwork => self.ledger.add(Tally::AnswerOfAnotherNetwork, 1),
                }
            }
            Deed::HelloPiece(piece) => {
                self.ledger.add(Tally::HelloPiece, 1);
                if let Some(name) = self.names.hello(&piece) {
                    self.hello(time, hook, piece.cookie, name, emit);
                }
            }
            Deed::Listen(listen) => {
                self.ledger.add(Tally::Context, 1);
                self.listeners.begin(time, *listen, hook == HELD);
            }
            Deed::ListenEnd { cookie } => {
                self.ledger.add(Tally::Context, 1);
                self.listeners.end(time, cookie);
            }
            // The process table takes these.
            Deed::Fork(_) | Deed::Exec(_) | Deed::Exit(_) | Deed::CgroupMade { .. } => {
                self.ledger.add(Tally::Context, 1);
            }
        }
    }

    /// Whether the agent itself acted, which is counted and not told.
    fn is_own(&self, actor: &Actor) -> bool {
        let own = self.own == Some(actor.process.pid);
        if own {
            self.ledger.add(Tally::OwnAct, 1);
        }
        own
    }

    fn attempt(
        &mut self,
        time: BootTime,
        hook: &'static str,
        attempt: ConnectAttempt,
        emit: &mut dyn FnMut(Event),
    ) {
        if self.is_own(&attempt.actor) {
            if self.own_attempts.len() < OWN_ATTEMPTS {
                self.own_attempts.insert(attempt.cookie);
            }
            return;
        }
        let cookie = attempt.cookie;
        if self.join.was_told_alone(cookie, time) {
            self.ledger.add(Tally::SameAct, 1);
            return;
        }
        let (process, attribution, why) = self.who_and_why(time, &attempt.actor);
        let names = self.names.of(time, &attempt.actor, (attempt.network, attempt.remote.address));
        let asked = Asked { attempt, hook, process, attribution, why, names };
        for ended in self.join.attempt(cookie, time, asked) {
            self.connection(ended, emit);
        }
    }

    /// Tells of connections whose attempt was lost, or read by an earlier agent, by what their outcomes say.
    fn outcomes_alone(&mut self, emit: &mut dyn FnMut(Event)) {
        for (ended_at, alone) in self.join.take_alone() {
            let ConnectOutcome { cookie: _, outcome, remote: connected, local, attempt } = alone;
            let Some(begun) = attempt else { continue };
            let Attempted { attempt, asked_at, hook } = *begun;
            if self.is_own(&attempt.actor) {
                continue;
            }
            let asked_at = if asked_at.ns == 0 { ended_at } else { asked_at };
            let (process, attribution, why) = self.who_and_why(asked_at, &attempt.actor);
            let names = self.names.of(asked_at, &attempt.actor, (attempt.network, attempt.remote.address));
            let payload = Asked { attempt, hook, process, attribution, why, names };
            let ended_at = Some(ended_at);
            self.connection(Ended { payload, asked_at, ended_at, outcome, connected, local }, emit);
        }
    }

    fn connection(&mut self, ended: Ended<Asked>, emit: &mut dyn FnMut(Event)) {
        let Ended { payload, asked_at, ended_at, outcome, connected, local } = ended;
        let Asked { attempt, hook, process, attribution, why, mut names } = payload;
        let ConnectAttempt { actor, cookie, protocol, remote, network } = attempt;
        // With Fast Open the ClientHello goes before the outcome is known.
        if let Some(name) = self.names.unpark(cookie) {
            self.names.add_hello(&mut names, &name, asked_at, &actor, (network, remote.address));
        }
        let held = hook == HELD;
        let ending =
            Ending { network, asked: remote, connected, local, protocol, asked_at, outcome, ended_at };
        let destination = self.destination(&ending, held);
        if outcome == Outcome::Established {
            let known = Known {
                actor: actor.clone(),
                protocol,
                remote,
                network,
                process: process.clone(),
                attribution: attribution.clone(),
                why: why.clone(),
                names: names.clone(),
                destination: destination.clone(),
            };
            self.live.established(cookie, known);
        }
        let what = What::Connection(Connection {
            cookie,
            protocol,
            asked: remote,
            connected,
            local,
            outcome,
            latency_ns: ended_at.filter(|_| !held).map(|ended_at| ended_at.since_ns(asked_at)),
            held,
            names,
            destination,
        });
        self.ledger.add(Tally::Activity, 1);
        let activity = Activity { attribution, process, actor, hook, what, why };
        emit(Event { time: asked_at, kind: EventKind::Activity(Box::new(activity)) });
    }

    fn ended(
        &mut self,
        time: BootTime,
        hook: &'static str,
        carried: act::Traffic,
        emit: &mut dyn FnMut(Event),
    ) {
        if self.is_own(&carried.actor) {
            return;
        }
        let known = self.live.end(carried.cookie);
        self.traffic(time, hook, carried, known, What::ConnectionEnd, emit);
    }

    fn updated(
        &mut self,
        time: BootTime,
        hook: &'static str,
        carried: act::Traffic,
        emit: &mut dyn FnMut(Event),
    ) {
        if self.is_own(&carried.actor) {
            return;
        }
        if self.live.has_ended(carried.cookie) {
            self.ledger.add(Tally::SameAct, 1);
            return;
        }
        let known = self.live.get(carried.cookie).cloned();
        self.traffic(time, hook, carried, known, What::ConnectionUpdate, emit);
    }

    /// Who it is is told as of the connect, also where the process runs something else by now, or has ended.
    fn traffic(
        &mut self,
        time: BootTime,
        hook: &'static str,
        carried: act::Traffic,
        known: Option<Known>,
        what: fn(Traffic) -> What,
        emit: &mut dyn FnMut(Event),
    ) {
        let act::Traffic {
            actor,
            cookie,
            protocol,
            remote,
            asked_at,
            established_at,
            bytes_sent,
            bytes_received,
            errno,
        } = carried;
        let (process, attribution, why, names, destination) = match known {
            Some(Known { process, attribution, why, names, destination, .. }) => {
                (process, attribution, why, names, destination)
            }
            None => {
                let (process, attribution, why) = self.who_and_why(asked_at, &actor);
                (process, attribution, why, Names::default(), None)
            }
        };
        let duration_ns = time.since_ns(established_at);
        let what = what(Traffic {
            cookie,
            protocol,
            remote,
            bytes_sent,
            bytes_received,
            duration_ns,
            errno,
            names,
            destination,
        });
        self.ledger.add(Tally::Activity, 1);
        let activity = Activity { attribution, process, actor, hook, what, why };
        emit(Event { time, kind: EventKind::Activity(Box::new(activity)) });
    }

    /// A ClientHello asks for a name. It is told where that is not the name that was told with the connection.
    fn hello(
        &mut self,
        time: BootTime,
        hook: &'static str,
        cookie: u64,
        name: Arc<str>,
        emit: &mut dyn FnMut(Event),
    ) {
        let Some(known) = self.live.get_mut(cookie) else {
            self.names.park(cookie, name);
            return;
        };
        let Known { actor, protocol, remote, network, process, attribution, why, names, .. } = known;
        if !self.names.add_hello(names, &name, time, actor, (*network, remote.address)) {
            return;
        }
        let (protocol, remote, names) = (*protocol, *remote, names.clone());
        let what = What::ConnectionName(NamedConnection { cookie, protocol, remote, names });
        let activity = Activity {
            attribution: attribution.clone(),
            process: process.clone(),
            actor: actor.clone(),
            hook,
            what,
            why: why.clone(),
        };
        self.ledger.add(Tally::ConnectionName, 1);
        emit(Event { time, kind: EventKind::Activity(Box::new(activity)) });
    }

    fn activity(
        &mut self,
        time: BootTime,
        hook: &'static str,
        actor: Actor,
        mut what: What,
        emit: &mut dyn FnMut(Event),
    ) {
        let (process, attribution, why) = self.who_and_why(time, &actor);
        if let What::CredentialAccess(access) = &mut what {
            access.token =
                self.attributor.pods().token_of(access.file.device, attribution.container.as_deref());
        }
        self.ledger.add(Tally::Activity, 1);
        let activity = Activity { attribution, process, actor, hook, what, why };
        emit(Event { time, kind: EventKind::Activity(Box::new(activity)) });
    }

    fn who_and_why(&mut self, time: BootTime, actor: &Actor) -> (Arc<Process>, Arc<Attribution>, Why) {
        let process = self.table.process_of(actor, time);
        if process.origin == Origin::Inferred {
            self.tags.changed(&mut self.table, process.key);
        }
        let (process, cgroup) = self.place(time, actor, process);
        let attribution = self.attributor.attribute(&process, actor, &cgroup);
        let why = context::why(&self.table, &process);
        (process, attribution, why)
    }

    /// In which cgroup a process acted, and the process as it is there. Where it was moved, it is of that cgroup's session
    /// from now on.
    fn place(&mut self, time: BootTime, actor: &Actor, process: Arc<Process>) -> (Arc<Process>, Arc<Cgroup>) {
        let cgroup = self.table.cgroup_of(actor, &process);
        let Some(moved) = self.table.moved(&process, &cgroup, time) else { return (process, cgroup) };
        if moved.is_latest {
            self.tags.changed(&mut self.table, moved.process.key);
        }
        (moved.process, cgroup)
    }

    /// Tells how often flows that were told were sent to again since the last sweep.
    pub fn flows(&self, folded: &[(FlowKey, FlowCount)], emit: &mut dyn FnMut(Event)) {
        for (key, count) in folded {
            let Some(remote) = decode::flow_peer(key) else { continue };
            self.repeated(Folded::Flow { cookie: key.cookie, remote }, count, emit);
        }
    }

    fn repeated(&self, of: Folded, count: &FlowCount, emit: &mut dyn FnMut(Event)) {
        let last = BootTime::from_ns(count.last_boot_ns);
        self.ledger.add(Tally::Repeat, 1);
        emit(Event { time: last, kind: EventKind::Repeat(Repeat { of, count: count.folded, last }) });
    }

    /// What time alone brings: attempts whose outcome never came, losses that are certain now.
    pub fn tick(&mut self, now: BootTime, counters: Option<&KernelCounters>, emit: &mut dyn FnMut(Event)) {
        self.attributor.containers().sweep(now);
        self.attributor.units().sweep(now);
        self.attributor.pods().sweep(now);
        self.listeners.sweep(now);
        self.peers.sweep(now);
        for ended in self.join.expire(now) {
            self.connection(ended, emit);
        }
        self.outcomes_alone(emit);
        self.sweep_expected(now, false, emit);
        // The kernel counts the same losses with their causes: the holes are checked against them, not told again.
        let _ = self.tracker.settle(now);
        self.take_figures(counters);
        self.doubt_listeners(now);
        self.tell_gaps(now, emit);
    }

    /// Another agent goes on with the rings: what is counted here alone is told.
    pub fn hand_over(&mut self, now: BootTime, emit: &mut dyn FnMut(Event)) {
        self.sweep_expected(now, true, emit);
    }

    /// The end, with the hooks detached and the ring read to its end: every attempt is told, and what was lost behind
    /// the last record of a CPU is known by the kernel's `next` numbers.
    pub fn finish(
        &mut self,
        now: BootTime,
        counters: Option<&KernelCounters>,
        next: &[(Series, u64)],
        emit: &mut dyn FnMut(Event),
    ) {
        for ended in self.join.drain() {
            self.connection(ended, emit);
        }
        self.outcomes_alone(emit);
        self.sweep_expected(now, true, emit);
        let _ = self.tracker.close(next.iter().copied());
        self.take_figures(counters);
        self.tell_gaps(now, emit);
    }

    fn take_figures(&self, counters: Option<&KernelCounters>) {
        if let Some(counters) = counters {
            self.ledger.kernel(counters);
        }
        self.ledger.join(&self.join);
        self.ledger.set(Tally::LiveConnections, self.live.len() as u64);
        self.ledger.set(Tally::LiveEvicted, self.live.evicted());
        let ((resolved, strange), (resolved_gone, strange_gone)) = (self.names.len(), self.names.evicted());
        self.ledger.set(Tally::Resolved, resolved as u64);
        self.ledger.set(Tally::ResolvedEvicted, resolved_gone);
        self.ledger.set(Tally::Strange, strange as u64);
        self.ledger.set(Tally::StrangeEvicted, strange_gone);
        self.ledger.set(Tally::HelloEvicted, self.names.hellos_evicted());
        self.ledger.sequence(&self.tracker);
    }

    fn tell_gaps(&mut self, now: BootTime, emit: &mut dyn FnMut(Event)) {
        for gap in self.gaps.report(&self.ledger) {
            // The queue tells its own losses, where they happened in the stream.
            if gap.stage == "queue" {
                continue;
            }
            self.gap(now, gap, emit);
        }
    }

    fn gap(&self, now: BootTime, gap: Gap, emit: &mut dyn FnMut(Event)) {
        self.ledger.add(Tally::Gap, 1);
        emit(Event { time: now, kind: EventKind::Gap(gap) });
    }

    /// The agent speaks of itself.
    pub fn status(
        &self,
        now: BootTime,
        phase: &'static str,
        capabilities: Vec<(String, String)>,
        impairments: Vec<(&'static str, String)>,
        emit: &mut dyn FnMut(Event),
    ) {
        // Counted first, so that the figures hold the event that carries them.
        self.ledger.add(Tally::AgentStatus, 1);
        let status = AgentStatus {
            phase,
            version: env!("CARGO_PKG_VERSION"),
            capabilities,
            impairments,
            counters: self.figures(),
        };
        emit(Event { time: now, kind: EventKind::AgentStatus(status) });
    }

    /// All figures by name.
    pub fn figures(&self) -> BTreeMap<String, u64> {
        let mut figures = self.ledger.snapshot();
        let processes = self.table.counters();
        figures.extend(processes.by_name().into_iter().map(|(name, value)| (name.to_owned(), value)));
        let attributions = self.attributor.counters().by_name();
        figures.extend(attributions.map(|(name, value)| (name.to_owned(), value)));
        let containers = self.attributor.container_counters().by_name();
        figures.extend(containers.map(|(name, value)| (name.to_owned(), value)));
        let units = self.attributor.unit_counters().by_name();
        figures.extend(units.map(|(name, value)| (name.to_owned(), value)));
        let programs = self.attributor.program_counters().by_name();
        figures.extend(programs.map(|(name, value)| (name.to_owned(), value)));
        let listeners = self.listeners.counters().by_name();
        figures.extend(listeners.map(|(name, value)| (name.to_owned(), value)));
        let pods = self.attributor.pod_figures().into_iter().chain(self.peers.figures());
        figures.extend(pods.map(|(name, value)| (name.to_owned(), value)));
        let tags = self.tags.counters().by_name();
        figures.extend(tags.map(|(name, value)| (name.to_owned(), value)));
        figures
    }
}
