//! The running agent: one loop that reads the ring and lets time pass.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_common::rings::Ring;
use rustix::time::{ClockId, clock_gettime};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::attention::{Ask, Attention, LOOK_EVERY};
use crate::app::facts;
use crate::app::lives::{self, Lives};
use crate::app::lookups::{Found, Lookups};
use crate::app::memory;
use crate::app::output::Output;
use crate::app::privileges;
use crate::app::recording::{self, Recording};
use crate::app::start::{StartError, StartOptions, Started, Waiting, start};
use crate::attribute::Attributor;
use crate::capture::inventory::Host as RecordedHost;
use crate::capture::ledger::KernelCounters;
use crate::capture::merge::Turn;
use crate::capture::record::{RecordError, Recorder};
use crate::capture::sequence::Series;
use crate::capture::tally::Tally;
use crate::cli::print::Format;
use crate::control;
use crate::control::server::{AskProcess, Control, Serving};
use crate::kernel::impaired::{self, Impairment};
use crate::kernel::ladder::Chosen;
use crate::kernel::sensor::InheritedMark;
use crate::kube;
use crate::life::owners::REGISTRY;
use crate::life::store::Places;
use crate::model::kube::ClusterState;
use crate::model::time::{BootTime, ClockPair, WallTime};
use crate::process::redact::redact_argv;
use crate::session::{Tag, TagNews};
use crate::ship::http::{HttpSink, HttpTimeouts};
use crate::ship::wire::Origin;
use crate::ship::{Lane, Limits, Pace, Shipping, host};

/// Records taken from the ring before time, signals and delivery have their turn.
const RECORDS_A_TURN: usize = 2_048;
/// How often folds are swept, losses told and attempts given up.
const TICK: Duration = Duration::from_secs(1);
/// Ticks between heartbeats.
const HEARTBEAT_TICKS: u32 = 10;
/// Ticks between two times that what was seen of identities is handed to their store: what a kill loses of it.
const LIVES_TICKS: u32 = 5;
/// Ticks between looks at whether hooks are still attached.
const IMPAIRMENT_TICKS: u32 = 5;
/// A UDP flow idle for so long is forgotten: its next datagram is a first one again.
const FLOW_IDLE_NS: u64 = 60_000_000_000;
/// For delivering what waits when the agent stops.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// The records' clock.
pub(crate) fn now() -> BootTime {
    BootTime::from_ns(nanoseconds(ClockId::Boottime).unsigned_abs())
}

/// Both clocks at once.
pub(crate) fn clocks() -> ClockPair {
    ClockPair { boot: now(), wall: WallTime { unix_ns: nanoseconds(ClockId::Realtime) } }
}

fn nanoseconds(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

/// Runs until SIGINT or SIGTERM, or until the reader of standard output has gone.
///
/// # Errors
/// Where the agent cannot start; see [`StartError::exit_code`].
pub fn run(options: &StartOptions) -> Result<(), StartError> {
    let begun = Instant::now();
    let sink = options
        .collector
        .as_deref()
        .map(|address| HttpSink::new(address, HttpTimeouts::default()))
        .transpose()?;
    let kubernetes = kube::Settings::new(&options.kubernetes)?;
    let epoch = now().ns;
    let started = start(options, now)?;
    let host = host::read_host(&started.host_root, options.node_name.as_deref(), options.realm.as_deref())?;
    let origin = Origin { host, epoch };
    let recording = match &options.record {
        Some(path) => Some(Recording::new(record_to(path, &started, &origin)?)),
        None => None,
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Loop)?;
    if let Err(error) = privileges::drop_unneeded() {
        tracing::warn!(%error, "capabilities that are no longer needed cannot be given up");
    }
    // Behind the above: a thread has the privileges of who starts it.
    let places = Places {
        state: options.state.clone(),
        realm: options.realm.clone(),
        registry: REGISTRY.into(),
        rules: options.identity_rules.clone(),
        entries: options.spire_entries.clone(),
    };
    let lives = Lives::start(places, started.host_root.clone(), origin.host.boot_id.clone())
        .map_err(StartError::Loop)?;
    let control = match Control::bind(&control::socket()) {
        Ok(control) => Some(control),
        Err(error) => {
            tracing::warn!("{error}");
            None
        }
    };
    // A node is called in lower case, as DNS names are.
    let node = String::from_utf8_lossy(origin.host.name.as_bytes()).to_lowercase();
    let kubernetes = kubernetes.map(|settings| kube::Settings { node, ..settings });
    let lookups =
        Lookups::start(&started.host_root, &started.hierarchy, kubernetes).map_err(StartError::Loop)?;
    runtime.block_on(async {
        let control =
            control.map(|control| control.serve(lives.store())).transpose().map_err(StartError::Loop)?;
        let shipping = sink
            .map(|sink| Shipping::start(origin.clone(), Limits::default(), Pace::default(), clocks, sink));
        let format = (!options.quiet).then(|| format(options, &started));
        let printing = format.map(|format| (format, origin.clone(), clocks as _));
        let output = Output::new(started.ledger.clone(), shipping, printing, now);
        if !options.quiet && !options.json {
            print_capabilities(started.sensor.capabilities(), begun.elapsed());
        }
        // Often enough that what is told is at most a twelfth of the interval late.
        let interval = u32::try_from(options.update_interval.as_secs()).unwrap_or(u32::MAX);
        let walk_ticks = (interval > 0).then(|| (interval / 12).max(1));
        let attention = Attention::new(Instant::now());
        let agent = Agent {
            started,
            output,
            recording,
            lookups,
            lives,
            control,
            ticks: 0,
            walk_ticks,
            record: Vec::new(),
            is_behind: false,
            attention,
            told: None,
            impairments: Vec::new(),
        };
        agent.run(begun).await
    })
}

fn format(options: &StartOptions, started: &Started) -> Format {
    let mut format = Format::for_stdout(options.json);
    if let Format::Human(renderer) = &mut format {
        let users = started.users.clone();
        renderer.users = Some(Arc::new(move |uid| {
            let name = users.name(uid);
            (!name.starts_with(b"uid:")).then(|| String::from_utf8_lossy(&name).into_owned())
        }));
    }
    format
}

fn record_to(
    path: &std::path::Path,
    started: &Started,
    origin: &Origin,
) -> Result<Recorder<std::fs::File>, RecordError> {
    let pair = clocks();
    let hooks = started.sensor.capabilities();
    let host = RecordedHost {
        boot_id: origin.host.boot_id.clone(),
        kernel_release: started.kernel_release.clone(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        clocks: (pair.boot.ns, pair.wall.unix_ns),
        catalogue: started.catalogue_digest.clone(),
        hooks: hooks.iter().map(|chosen| (chosen.capability.name.to_owned(), chosen.hooks())).collect(),
        numbers_from_zero: true,
        facts: facts::of(started, &origin.host),
    };
    recording::survive_size_limit();
    Recorder::create(path, &host, started.inventoried.iter().map(|process| &**process), Box::new(redact_argv))
}

/// What serves each capability, for people.
fn print_capabilities(capabilities: &[Chosen], took: Duration) {
    let mut text = format!("telltale {} started in {:.1} s\n", env!("CARGO_PKG_VERSION"), took.as_secs_f64());
    for chosen in capabilities {
        text.push_str(&format!("  {:<22} {}\n", chosen.capability.name, chosen.hooks()));
        for gap in chosen.gaps() {
            text.push_str(&format!("  {:<22}   gap: {gap}\n", ""));
        }
    }
    let _ = io::stderr().write_all(text.as_bytes());
}

/// The next question of an operator; none comes where there is no socket.
async fn asked(control: &mut Option<Serving>) -> AskProcess {
    match control {
        Some(control) => control.asked().await,
        None => std::future::pending().await,
    }
}

/// How long the start waits for what is kept of the containers and the units that run already: nothing has been told yet.
const PLACES_WITHIN: Duration = Duration::from_millis(500);
/// How long the start waits for what a cluster tells of this node: the first events would else have other identities.
const CLUSTER_WITHIN: Duration = Duration::from_secs(1);

struct Agent {
    started: Started,
    output: Output,
    recording: Option<Recording>,
    lookups: Lookups,
    lives: Lives,
    /// `None`: its socket cannot be had.
    control: Option<Serving>,
    ticks: u32,
    /// Ticks between walks over connections; `None`: there are none.
    walk_ticks: Option<u32>,
    record: Vec<u8>,
    /// Whether the last turn ended before the rings did.
    is_behind: bool,
    attention: Attention,
    /// Counters whose losses were told, and not yet kept for the next agent.
    told: Option<KernelCounters>,
    /// What others have done to the hooks, as it was told.
    impairments: Vec<Impairment>,
}

impl Agent {
    async fn run(mut self, begun: Instant) -> Result<(), StartError> {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Loop)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Loop)?;
        // Its terminal is gone: nobody would start another.
        let mut hangup = signal(SignalKind::hangup()).map_err(StartError::Loop)?;
        let mut successor = signal(SignalKind::user_defined2()).map_err(StartError::Loop)?;
        let mut hands_over = false;
        let readiness = self.started.sensor.readiness().map_err(StartError::Loop)?;
        // SAFETY: an `OwnedFd` keeps its descriptor open, and the same, until it is dropped with the `AsyncFd`.
        let readiness = unsafe { AsyncFd::register_with_interest(readiness, Interest::READABLE) }
            .map_err(|error| StartError::Loop(error.into()))?;
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);

        self.status("start");
        // By itself: who kills it at its first word would else find a record told and not yet given back.
        self.output.flush();
        self.begin_tags();
        self.learn_running_places().await;
        self.learn_running_pods().await;
        for (mark, record) in std::mem::take(&mut self.started.inherited) {
            self.take_inherited(mark, &record);
            // One by one: who is killed again and again at its start would else tell the same each time.
            self.output.flush();
            self.started.sensor.give_back();
        }
        // Who is killed again and again at its start must not leave more each time.
        self.tell_inherited_losses(now());
        for Waiting { ring, mark, record } in std::mem::take(&mut self.started.waiting) {
            self.take(ring, &record);
            self.started.sensor.done(mark);
        }
        self.lookups.ask_for_programs(&mut self.started.pipeline);
        self.output.flush();
        self.is_behind = self.started.sensor.give_back();
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        memory::give_back();

        while !self.output.closed {
            tokio::select! {
                biased;
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                _ = hangup.recv() => break,
                _ = successor.recv() => {
                    hands_over = true;
                    break;
                }
                _ = tick.tick() => self.tick(),
                // What a turn has left is for the next.
                () = std::future::ready(()), if self.is_behind => {
                    self.turn();
                }
                ready = readiness.readable(), if self.attention.is_woken() => {
                    ready.map_err(StartError::Loop)?.clear_ready();
                    self.turn();
                    let ask = self.attention.woken(Instant::now());
                    self.ask(ask);
                }
                _ = look.tick(), if !self.attention.is_woken() => {
                    let found = self.turn() > 0;
                    let ask = self.attention.looked(Instant::now(), found);
                    self.ask(ask);
                }
                // Last: records come first, and each turn takes a few of these.
                found = self.lookups.next() => self.learn(found),
                AskProcess { pid, reply } = asked(&mut self.control) => {
                    // Who asked may have gone.
                    let Started { pipeline, sensor, .. } = &mut self.started;
                    let _ = reply.send(lives::who(pipeline, sensor, pid));
                }
            }
            self.output.flush();
            let more = self.started.sensor.give_back();
            // What came since the last look found nobody who waited.
            self.is_behind |= more && self.attention.is_woken();
            // Delivery runs on the same thread.
            tokio::task::yield_now().await;
        }
        let unwritable = self.output.unwritable.take();
        if hands_over && unwritable.is_none() {
            return self.hand_over(begun).await;
        }
        self.stop(begun).await?;
        unwritable.map_or(Ok(()), |error| Err(StartError::Output(error)))
    }

    /// Takes a bounded number of records; how many.
    fn turn(&mut self) -> usize {
        if let Some(owners) = self.lives.new_owners() {
            self.started.pipeline.attributor().set_owners(owners.as_ref().clone());
        }
        let mut record = std::mem::take(&mut self.record);
        let mut turn = Turn::new();
        let mut taken = 0;
        while let Some(mark) = self.started.sensor.next_inherited(&mut turn, &mut record) {
            self.take_inherited(mark, &record);
            taken += 1;
        }
        while taken < RECORDS_A_TURN
            && let Some((ring, mark)) = self.started.sensor.next_record(&mut turn, &mut record)
        {
            self.take(ring, &record);
            self.started.sensor.done(mark);
            taken += 1;
        }
        self.is_behind = taken >= RECORDS_A_TURN;
        self.record = record;
        self.lookups.ask_for_programs(&mut self.started.pipeline);
        self.lookups.ask_for_cgroups(&mut self.started.pipeline, now());
        for found in self.lookups.of_a_turn() {
            self.learn(found);
        }
        for file in self.started.pipeline.take_mistaken() {
            // Where its last name is gone, the kernel has forgotten it by itself.
            if let Err(error) = self.started.sensor.remove_credential_file(file) {
                tracing::debug!(%error, "a file that is no credential");
            }
        }
        taken
    }

    /// Takes an answer. A recording holds it where it came.
    fn learn(&mut self, found: Found) {
        if let Some(recording) = &mut self.recording {
            recording.found(&found);
        }
        let pipeline = &mut self.started.pipeline;
        match found {
            Found::Container(found) => pipeline.attributor().learn_container(found),
            Found::Units(found) => {
                found.into_iter().for_each(|found| pipeline.attributor().learn_unit(found));
            }
            Found::Program(found) => pipeline.learn_program(found),
            Found::Script(found) => pipeline.processes().learn_script(found),
            Found::Cgroups(found) => pipeline.processes().learn_cgroups(&found),
            Found::Cluster(news) => pipeline.learn_cluster(news, now()),
        }
        self.tag();
    }

    /// Asks for the containers and the units of all processes that are known to run, and waits a moment for the answers.
    async fn learn_running_places(&mut self) {
        let running = self.started.pipeline.processes().snapshot();
        let attributor = self.started.pipeline.attributor();
        attributor.containers().at(now());
        attributor.units().at(now());
        running.iter().for_each(|process| attributor.see(&process.cgroup.path));
        // Of what timers run, first: once the others are answered for, they are.
        self.lookups.ask_for_timers();
        self.lookups.ask_for_places(&mut self.started.pipeline);
        let is_waiting = |attributor: &mut Attributor| {
            attributor.containers().is_waiting() || attributor.units().is_waiting()
        };
        self.learn_while(PLACES_WITHIN, is_waiting).await;
    }

    /// Waits a moment for what the cluster tells of the pods that run.
    async fn learn_running_pods(&mut self) {
        let is_waiting = |attributor: &mut Attributor| {
            matches!(attributor.pods().state(), ClusterState::NotAsked | ClusterState::Asked)
        };
        if self.lookups.asks_cluster() {
            self.learn_while(CLUSTER_WITHIN, is_waiting).await;
        }
    }

    async fn learn_while(&mut self, limit: Duration, is_waiting: fn(&mut Attributor) -> bool) {
        let until = tokio::time::Instant::now() + limit;
        while is_waiting(self.started.pipeline.attributor()) {
            let Ok(found) = tokio::time::timeout_at(until, self.lookups.next()).await else { return };
            self.learn(found);
        }
    }

    fn ask(&mut self, ask: Option<Ask>) {
        let Some(ask) = ask else { return };
        if let Err(error) = self.started.sensor.set_wake(ask == Ask::Wake) {
            tracing::error!(%error, "the kernel cannot be told whether to wake the agent");
        }
    }

    fn take(&mut self, ring: Ring, record: &[u8]) {
        let output = &mut self.output;
        let lane = if ring == Ring::Bulk { Lane::Bulk } else { Lane::First };
        let lives = &mut self.lives;
        self.started.pipeline.record(record, &mut |event| {
            lives.event(&event);
            output.event_in(lane, event);
        });
        let judgements = self.started.pipeline.take_judgements();
        if let Some(recording) = &mut self.recording {
            // What was looked up for the record goes before it.
            judgements.iter().for_each(|judgement| recording.executable(judgement));
            recording.record(record);
        }
        // At once: the answer may be there before the turn ends.
        self.lookups.ask_for_places(&mut self.started.pipeline);
        self.tag();
    }

    /// Begins with the tags that processes have. A recording holds these, and what the cgroups of before are called.
    fn begin_tags(&mut self) {
        let Started { sensor, pipeline, .. } = &mut self.started;
        pipeline.begin_tags(&sensor.tags());
        if let Some(recording) = &mut self.recording {
            pipeline.processes().cgroups().for_each(|cgroup| recording.cgroup(cgroup));
            pipeline.processes().tagged().for_each(|tag| recording.tag(TagNews::Given(tag)));
        }
        self.tag();
    }

    /// Tells the kernel the tags that are not inherited, and asks it for those of processes whose beginning was lost.
    fn tag(&mut self) {
        let Started { sensor, pipeline, .. } = &mut self.started;
        for tag in pipeline.take_wanted_tags() {
            match sensor.set_tag(tag) {
                Ok(was_taken) if tag.number != 0 => pipeline.tag_told(was_taken),
                Ok(_) => {}
                // What fails once fails for each process: the others are counted.
                Err(error) if pipeline.tag_failed() => {
                    tracing::error!(%error, "a process cannot be given its tag (more of that is counted in tags_failed)");
                }
                Err(_) => {}
            }
            if tag.number != 0
                && let Some(recording) = &mut self.recording
            {
                recording.tag(TagNews::Given(tag));
            }
        }
        for process in pipeline.take_unknown() {
            match sensor.tag(process) {
                Ok(found) => {
                    if let (Some(recording), Some(tag)) = (&mut self.recording, found) {
                        recording.tag(TagNews::Found(tag));
                    }
                    pipeline.learn_tag(TagNews::Found(found.unwrap_or(Tag { process, number: 0 })));
                }
                Err(error) if pipeline.tag_failed() => {
                    tracing::error!(%error, "a process's tag cannot be read (more of that is counted in tags_failed)");
                }
                Err(_) => {}
            }
        }
    }

    fn take_inherited(&mut self, mark: InheritedMark, record: &[u8]) {
        let output = &mut self.output;
        let lane = if mark.ring() == Ring::Bulk { Lane::Bulk } else { Lane::First };
        let lives = &mut self.lives;
        self.started.pipeline.inherited(record, &mut |event| {
            lives.event(&event);
            output.event_in(lane, event);
        });
        self.started.sensor.inherited_done(mark);
        self.tag();
    }

    /// What the last tick told was handed on since.
    fn keep_told(&mut self) {
        if let Some(counters) = self.told.take()
            && let Err(error) = self.started.sensor.keep_told(&counters)
        {
            tracing::error!(%error, "the next agent will tell losses again");
        }
    }

    fn tell_inherited_losses(&mut self, now: BootTime) {
        match self.started.sensor.take_inherited_losses() {
            Ok(losses) => {
                let output = &mut self.output;
                self.started.pipeline.inherited_losses(now, losses, &mut |event| output.event(event));
            }
            Err(error) => tracing::error!(%error, "what an earlier agent lost cannot be told"),
        }
    }

    fn tick(&mut self) {
        let now = now();
        self.keep_told();
        self.tell_inherited_losses(now);
        if self.walk_ticks.is_some_and(|ticks| self.ticks.is_multiple_of(ticks))
            && let Err(error) = self.started.sensor.tell_connections()
        {
            tracing::error!(%error, "what long connections carry cannot be read");
        }
        // A readiness that was missed costs a tick at most.
        self.turn();
        self.take_skipped();
        let counted = self.started.sensor.counted();
        if let Err(error) = &counted {
            tracing::error!(%error, "the kernel's counters cannot be read");
        }
        let (output, lives) = (&mut self.output, &mut self.lives);
        let mut emit = |event| {
            lives.event(&event);
            output.event(event);
        };
        match self.started.sensor.sweep_flows(now.ns.saturating_sub(FLOW_IDLE_NS)) {
            Ok(folded) => self.started.pipeline.flows(&folded, &mut emit),
            Err(error) => tracing::error!(%error, "folded datagrams cannot be read"),
        }
        match self.started.sensor.sweep_memory(now.ns.saturating_sub(FLOW_IDLE_NS)) {
            Ok(folded) => self.started.pipeline.reaches(&folded, &mut emit),
            Err(error) => tracing::error!(%error, "folded reaches into memory cannot be read"),
        }
        self.started.pipeline.tick(now, counted.as_ref().ok().map(|counted| &counted.counters), &mut emit);
        self.lookups.ask_for_places(&mut self.started.pipeline);
        self.told = counted.as_ref().ok().map(|counted| counted.counters);
        self.output.take_figures();
        if let (Some(recording), Ok(counted)) = (&mut self.recording, &counted) {
            recording.counters(now, &counted.counters, &counted.next, &self.started.ledger);
        }
        match self.started.passwd.poll() {
            Ok(Some(users)) => self.started.pipeline.attributor().set_users(users),
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "the host's /etc/passwd cannot be read"),
        }
        if let Err(imbalance) = self.started.ledger.check_running() {
            tracing::error!(%imbalance, "ledger");
        }
        if self.ticks == 0 {
            self.started.sensor.held_is_told();
        }
        self.ticks += 1;
        if self.ticks.is_multiple_of(LIVES_TICKS) {
            self.lives.hand_on(&mut self.started.pipeline, clocks());
            self.started.ledger.set(Tally::LivesTurnedAway, self.lives.turned_away());
        }
        if self.ticks.is_multiple_of(IMPAIRMENT_TICKS) {
            self.look_for_impairments();
        }
        if self.ticks.is_multiple_of(HEARTBEAT_TICKS) {
            self.status("heartbeat");
        }
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
    }

    /// Tells where others have done something to the agent, or have undone it.
    fn look_for_impairments(&mut self) {
        let found = match self.started.sensor.impairments() {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%error, "whether all hooks are still attached cannot be found out");
                return;
            }
        };
        if found == self.impairments {
            return;
        }
        impaired::report(&self.impairments, &found);
        self.impairments = found;
        self.status(if self.impairments.is_empty() { "recovered" } else { "impaired" });
    }

    /// Takes over what only programs that are still loaded can say.
    fn take_skipped(&self) {
        match self.started.sensor.runs_skipped() {
            Ok(skipped) => self.started.ledger.set(Tally::RunsSkipped, skipped),
            Err(error) => tracing::error!(%error, "how often the kernel skipped a program cannot be read"),
        }
    }

    fn status(&mut self, phase: &'static str) {
        let capabilities = self.started.sensor.capabilities().iter();
        let capabilities =
            capabilities.map(|chosen| (chosen.capability.name.to_owned(), chosen.hooks())).collect();
        let output = &mut self.output;
        let impairments = self.impairments.iter().map(|one| (one.cause, one.what.clone())).collect();
        let emit = &mut |event| output.event(event);
        self.started.pipeline.status(now(), phase, capabilities, impairments, emit);
    }

    /// Leaves the programs attached for the next agent, which reads what they write from here on.
    async fn hand_over(mut self, begun: Instant) -> Result<(), StartError> {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        // Its socket goes while this agent holds the lock: the next one makes its own.
        self.control = None;
        self.turn();
        let output = &mut self.output;
        self.started.pipeline.hand_over(now(), &mut |event| output.event(event));
        self.output.take_figures();
        self.status("handover");
        self.output.stop(STOP_WITHIN).await;
        self.keep_told();
        self.summarise(begun);
        self.lives.stop(&mut self.started.pipeline, clocks());
        let Started { sensor, .. } = self.started;
        sensor.give_back();
        if sensor.hand_over() { Err(StartError::HandedOver) } else { Ok(()) }
    }

    fn summarise(&self, begun: Instant) {
        let coloured = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
        let summary = self.output.summary.render(begun.elapsed(), None, coloured);
        let _ = io::stderr().write_all(summary.as_bytes());
    }

    /// Detaches, reads what is left, says what became of everything.
    async fn stop(mut self, begun: Instant) -> Result<(), RecordError> {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        self.control = None;
        self.take_skipped();
        self.started.sensor.detach();
        while self.turn() > 0 {}
        self.tick_flows();
        let counted = self.started.sensor.counted().ok();
        let (counters, next) =
            counted.map_or((None, Vec::new()), |counted| (Some(counted.counters), counted.next));
        let output = &mut self.output;
        let lives = &mut self.lives;
        self.started.pipeline.finish(now(), counters.as_ref(), &next, &mut |event| {
            lives.event(&event);
            output.event(event);
        });
        let recorded = self.finish_recording(counters.as_ref(), &next);
        self.output.take_figures();
        self.status("stop");
        self.output.stop(STOP_WITHIN).await;
        if let Err(imbalance) = self.started.ledger.check() {
            tracing::error!(%imbalance, "ledger");
        }
        self.summarise(begun);
        self.lives.stop(&mut self.started.pipeline, clocks());
        recorded
    }

    fn tick_flows(&mut self) {
        let output = &mut self.output;
        if let Ok(folded) = self.started.sensor.sweep_flows(0) {
            self.started.pipeline.flows(&folded, &mut |event| output.event(event));
        }
        if let Ok(folded) = self.started.sensor.sweep_memory(0) {
            self.started.pipeline.reaches(&folded, &mut |event| output.event(event));
        }
    }

    fn finish_recording(
        &mut self,
        counters: Option<&crate::capture::ledger::KernelCounters>,
        next: &[(Series, u64)],
    ) -> Result<(), RecordError> {
        let Some(mut recording) = self.recording.take() else { return Ok(()) };
        let ledger = &self.started.ledger;
        if let Some(counters) = counters {
            recording.counters(now(), counters, next, ledger);
        }
        recording.finish(ledger, &mut self.output.summary)
    }
}
