//! What engines tell of containers, by id.
//!
//! Looking there reads files, so it is done elsewhere: this says which containers are to be looked up
//! ([`Containers::take_wanted`]), and is told later. They are asked for before their first act where that can be: an
//! engine starts its runtime with the container's id among the arguments, tens of milliseconds before the container's own
//! program runs. Such an argument is a hint where to look, and nothing else: what a container is told to be rests on its
//! cgroup's name and on the engine's files.

use std::sync::Arc;

use crate::generations::Generations;
use crate::model::act::Exec;
use crate::model::container::{Answer, ContainerFound, EngineFacts};
use crate::model::image::is_id;
use crate::model::time::BootTime;

/// Containers of one generation. Two are kept, so that what is in use survives when the first is full; a large node
/// runs a few hundred.
const GENERATION: usize = 2_048;
/// Containers that are asked for at once; of these hints may be half.
const WANTED: usize = 256;
/// An answer so old is asked for again: containers that have ended are forgotten so.
const FRESH_NS: u64 = 120_000_000_000;
/// Hints that have led nowhere yet: more are not taken, so that none drives out what is known.
const HINTS: usize = 256;
/// After this a container of which nothing was found is asked for again, and then after twice as long each time.
const RETRY_NS: u64 = 1_000_000_000;
/// How often the time doubles: to half a minute.
const RETRIES: u32 = 5;
/// Containers that one sweep asks for again.
const SWEEP: usize = 32;
/// Arguments of a runtime that are looked at for an id.
const ARGUMENTS: usize = 64;

/// Counters of a [`Containers`]; each only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContainerCounters {
    /// Containers asked for, each time anew.
    pub asked: u64,
    /// Containers not asked for because too many were to be: they are told by engine and id.
    pub not_asked: u64,
    /// Containers forgotten because there were too many.
    pub evicted: u64,
}

impl ContainerCounters {
    /// All counters with their stable names, for heartbeats and metrics.
    pub fn by_name(&self) -> [(&'static str, u64); 3] {
        let Self { asked, not_asked, evicted } = *self;
        [("container_asked", asked), ("container_not_asked", not_asked), ("container_evicted", evicted)]
    }
}

#[derive(Clone, Debug)]
struct Known {
    /// `None`: not yet.
    answer: Option<Answer>,
    /// Whether a process was seen in its cgroup.
    is_seen: bool,
    /// When it is asked for again.
    again_at: BootTime,
    asked: u32,
}

/// All that is known of containers.
#[derive(Debug)]
pub struct Containers {
    known: Generations<Arc<str>, Known>,
    wanted: Vec<Arc<str>>,
    now: BootTime,
    counters: ContainerCounters,
}

impl Default for Containers {
    fn default() -> Self {
        let (wanted, now, counters) = Default::default();
        Self { known: Generations::new(GENERATION), wanted, now, counters }
    }
}

impl Containers {
    /// What is known of a container; `None`: nothing yet.
    pub fn answer(&self, id: &str) -> Option<&Answer> {
        self.known.get(id)?.answer.as_ref()
    }

    /// What its engine keeps of it, where that is known.
    pub fn facts(&self, id: &str) -> Option<&Arc<EngineFacts>> {
        match self.answer(id)? {
            Answer::Found(facts) => Some(facts),
            _ => None,
        }
    }

    /// What it did, and could not do.
    pub fn counters(&self) -> ContainerCounters {
        ContainerCounters { evicted: self.known.evicted(), ..self.counters }
    }

    /// A process is in this container.
    pub fn see(&mut self, id: &str) {
        match self.known.touch(id) {
            // A hint may come before the engine has written its files.
            Some(known) if !known.is_seen => {
                known.is_seen = true;
                self.ask_if_not_found(id);
            }
            Some(_) => {}
            None => self.ask(id, true),
        }
    }

    /// A program of root's was started with these arguments: an engine's runtime, it may be.
    pub fn hint(&mut self, exec: &Exec) {
        if self.wanted.len() >= WANTED / 2 {
            return;
        }
        let arguments = exec.image.argv.iter().take(ARGUMENTS);
        let id = arguments
            .filter_map(|argument| std::str::from_utf8(argument.as_bytes()).ok())
            .find(|text| is_id(text));
        let Some(id) = id else { return };
        let is_seen = self.known.touch(id).map(|known| known.is_seen);
        match is_seen {
            // Each step of an engine is another program: the first comes before the files.
            Some(false) => self.ask_if_not_found(id),
            Some(true) => {}
            None if self.open_hints() < HINTS => self.ask(id, false),
            None => self.counters.not_asked += 1,
        }
    }

    fn open_hints(&self) -> usize {
        let is_open = |known: &&Known| !known.is_seen && !matches!(known.answer, Some(Answer::Found(_)));
        self.known.iter().map(|(_, known)| known).filter(is_open).count()
    }

    /// Asks again where the last answer was that there is nothing.
    fn ask_if_not_found(&mut self, id: &str) {
        let Some(known) = self.known.touch(id) else { return };
        if known.answer.as_ref().is_some_and(|answer| !matches!(answer, Answer::Found(_))) {
            known.answer = None;
            self.ask_again(&id.into());
        }
    }

    fn ask(&mut self, id: &str, is_seen: bool) {
        if self.wanted.len() >= WANTED {
            self.counters.not_asked += 1;
            return;
        }
        let id: Arc<str> = id.into();
        self.known.insert(id.clone(), Known { answer: None, is_seen, again_at: self.now, asked: 0 });
        self.ask_again(&id);
    }

    fn ask_again(&mut self, id: &Arc<str>) {
        if self.wanted.len() >= WANTED {
            self.counters.not_asked += 1;
            return;
        }
        let now = self.now;
        let Some(known) = self.known.touch(id) else { return };
        let wait_ns = match known.answer {
            Some(Answer::Found(_)) => FRESH_NS,
            _ if known.asked < RETRIES => RETRY_NS << known.asked,
            _ => FRESH_NS,
        };
        known.asked = known.asked.saturating_add(1);
        known.again_at = BootTime::from_ns(now.ns.saturating_add(wait_ns));
        self.counters.asked += 1;
        self.wanted.push(id.clone());
    }

    /// Containers that are to be looked up.
    pub fn take_wanted(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.wanted)
    }

    /// Says that a container will not be looked up now.
    pub fn refused(&mut self) {
        self.counters.not_asked += 1;
    }

    /// Whether a container that was seen is not answered for yet.
    pub fn is_waiting(&self) -> bool {
        self.known.iter().any(|(_, known)| known.is_seen && known.answer.is_none())
    }

    /// Takes the time: by it answers grow old.
    pub fn at(&mut self, now: BootTime) {
        self.now = self.now.max(now);
    }

    /// Asks anew where it is time to.
    pub fn sweep(&mut self, now: BootTime) {
        self.at(now);
        let now = self.now;
        // A hint that led nowhere: another program's argument.
        let is_over = |known: &Known| !known.is_seen && known.again_at <= now && known.asked >= RETRIES;
        self.known.retain(|_, known| !is_over(known));
        let due = self.known.iter().filter(|(_, known)| known.again_at <= now);
        let due: Vec<Arc<str>> = due.map(|(id, _)| id.clone()).take(SWEEP).collect();
        for id in due {
            self.ask_again(&id);
        }
    }

    /// Takes an answer; whether what was said of the container's processes is to be said anew.
    pub fn learn(&mut self, found: ContainerFound) -> bool {
        let ContainerFound { id, answer } = found;
        let Some(known) = self.known.touch(&id) else {
            let again_at = BootTime::from_ns(self.now.ns.saturating_add(FRESH_NS));
            self.known.insert(id, Known { answer: Some(answer), is_seen: true, again_at, asked: 1 });
            return true;
        };
        match (&known.answer, &answer) {
            // It has ended, and its engine has forgotten it.
            (Some(Answer::Found(_)), Answer::NotFound) => {
                self.known.remove(&id);
                return false;
            }
            // Its files could not be read this once.
            (Some(Answer::Found(_)), Answer::TooLarge | Answer::Refused | Answer::Unreadable) => {
                return false;
            }
            _ => {}
        }
        if matches!(answer, Answer::Found(_)) {
            known.again_at = BootTime::from_ns(self.now.ns.saturating_add(FRESH_NS));
        }
        let changes = known.answer.as_ref() != Some(&answer);
        known.answer = Some(answer);
        changes && known.is_seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::act::{Actor, Namespaces};
    use crate::model::process::{CredentialIds, ExecImage, ProcessKey};

    fn at(seconds: u64) -> BootTime {
        BootTime::from_ns(seconds * 1_000_000_000)
    }

    fn id(number: usize) -> String {
        format!("{number:064x}")
    }

    fn facts() -> Answer {
        Answer::Found(Arc::new(EngineFacts { engine: "docker".into(), ..EngineFacts::default() }))
    }

    fn found(id: &str, answer: Answer) -> ContainerFound {
        ContainerFound { id: id.into(), answer }
    }

    fn exec(argv: &[&str]) -> Exec {
        let key = ProcessKey { pid: 7, start: at(1) };
        Exec {
            actor: Actor {
                process: key,
                tid: 7,
                ids: CredentialIds::default(),
                cgroup_id: 1,
                namespaces: Namespaces::default(),
                comm: "runc".into(),
            },
            parent: key,
            namespaced_pid: 7,
            image: ExecImage {
                argv: argv.iter().map(|argument| (*argument).into()).collect(),
                ..ExecImage::default()
            },
            cgroup_path: "/".into(),
        }
    }

    #[test]
    fn a_container_is_asked_for_once_and_again_while_nothing_is_found() {
        let mut containers = Containers::default();
        let id = id(1);
        containers.at(at(10));
        containers.see(&id);
        containers.see(&id);
        assert_eq!(containers.take_wanted(), [id.as_str().into()]);
        assert!(containers.is_waiting());
        assert!(containers.learn(found(&id, Answer::NotFound)), "the evidence says so");
        assert!(!containers.is_waiting());
        containers.sweep(at(10));
        assert!(containers.take_wanted().is_empty());
        containers.sweep(at(11));
        assert_eq!(containers.take_wanted().len(), 1);
        containers.sweep(at(12));
        assert!(containers.take_wanted().is_empty(), "twice as long");
        assert!(!containers.learn(found(&id, Answer::NotFound)));
        assert!(containers.learn(found(&id, facts())));
        assert!(containers.facts(&id).is_some());
        containers.sweep(at(100));
        assert!(containers.take_wanted().is_empty());
    }

    #[test]
    fn what_has_ended_is_forgotten_and_what_is_unreadable_this_once_is_not() {
        let mut containers = Containers::default();
        let id = id(1);
        containers.see(&id);
        containers.learn(found(&id, facts()));
        containers.take_wanted();
        containers.sweep(at(121));
        assert_eq!(containers.take_wanted().len(), 1);
        assert!(!containers.learn(found(&id, Answer::Unreadable)));
        assert!(containers.facts(&id).is_some());
        assert!(!containers.learn(found(&id, Answer::NotFound)));
        assert!(containers.answer(&id).is_none());
        containers.sweep(at(6_000));
        assert!(containers.take_wanted().is_empty());
    }

    #[test]
    fn a_hint_is_followed_and_asked_for_again_when_the_container_acts() {
        let mut containers = Containers::default();
        let id = id(1);
        containers.hint(&exec(&["runc", "create", "--bundle", "/run/x", &id]));
        containers.hint(&exec(&["runc", "start", &id]));
        containers.hint(&exec(&["echo", &id[1..], "docker"]));
        assert_eq!(containers.take_wanted(), [id.as_str().into()]);
        assert!(!containers.learn(found(&id, Answer::NotFound)), "nobody was told by it");
        containers.hint(&exec(&["containerd-shim", "-id", &id, "start"]));
        containers.hint(&exec(&["runc", "create", &id]));
        assert_eq!(containers.take_wanted().len(), 1, "asked for again, once");
        assert!(!containers.learn(found(&id, Answer::NotFound)));
        containers.see(&id);
        assert_eq!(containers.take_wanted().len(), 1);
        assert!(containers.learn(found(&id, facts())));
        let other = self::id(2);
        containers.hint(&exec(&["runc", &other]));
        assert!(!containers.learn(found(&other, facts())));
        containers.see(&other);
        assert!(containers.facts(&other).is_some(), "known before its first act");
    }

    #[test]
    fn any_number_of_containers_is_bounded() {
        let mut containers = Containers::default();
        let kept = id(usize::MAX);
        containers.see(&kept);
        containers.learn(found(&kept, facts()));
        for number in 0..10 * GENERATION {
            containers.hint(&exec(&["runc", &id(number)]));
            containers.see(&id(number));
            containers.see(&kept);
            if number % 100 == 0 {
                assert!(containers.take_wanted().len() <= WANTED);
            }
            assert!(containers.known.iter().count() <= 2 * GENERATION);
        }
        assert!(containers.facts(&kept).is_some());
        assert!(containers.counters().evicted > 0);
        for number in 0..10 * WANTED {
            containers.see(&id(1_000_000 + number));
        }
        assert_eq!(containers.take_wanted().len(), WANTED);
        assert!(containers.counters().not_asked > 0);
        containers.sweep(at(1_000_000));
        assert!(containers.take_wanted().len() <= SWEEP);
    }

    #[test]
    fn hints_drive_out_nothing() {
        let mut containers = Containers::default();
        let kept = id(usize::MAX);
        containers.see(&kept);
        containers.learn(found(&kept, facts()));
        for number in 0..10 * GENERATION {
            containers.hint(&exec(&["echo", &id(number)]));
            containers.take_wanted();
        }
        assert!(containers.facts(&kept).is_some());
        assert_eq!(containers.open_hints(), HINTS);
        assert_eq!(containers.counters().evicted, 0);
        assert!(containers.counters().not_asked > 0);
    }

    #[test]
    fn a_hint_that_leads_nowhere_is_given_up() {
        let mut containers = Containers::default();
        containers.hint(&exec(&["echo", &id(1)]));
        for second in 0..1_000 {
            containers.sweep(at(second));
            for id in containers.take_wanted() {
                containers.learn(found(&id, Answer::NotFound));
            }
        }
        assert!(containers.known.iter().next().is_none());
    }
}
