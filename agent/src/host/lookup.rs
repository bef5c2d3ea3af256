//! A thread that looks something up beside the event path: a file system may answer late, or never.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tokio::sync::mpsc;

/// Questions that wait; what is asked while as many wait is not looked up.
const WAITING: usize = 1_024;

/// Looks things up, one after the other, in a thread of its own.
#[derive(Debug)]
pub struct Lookup<Q, A> {
    ask: SyncSender<Q>,
    found: mpsc::Receiver<A>,
}

impl<Q: Send + 'static, A: Send + 'static> Lookup<Q, A> {
    /// Starts the thread, which has the privileges that the caller has now. It ends with this value.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn start(name: &str, look: impl FnMut(Q) -> A + Send + 'static) -> io::Result<Self> {
        let (ask, asked) = sync_channel(WAITING);
        let (tell, found) = mpsc::channel(WAITING);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || serve(&asked, &tell, look))?;
        Ok(Self { ask, found })
    }

    /// Asks; `false` where too many wait.
    pub fn ask(&self, question: Q) -> bool {
        self.ask.try_send(question).is_ok()
    }

    /// The next answer, if there is one.
    pub fn try_found(&mut self) -> Option<A> {
        self.found.try_recv().ok()
    }

    /// The next answer. Nothing is lost where this is dropped half-way.
    pub async fn found(&mut self) -> A {
        match self.found.recv().await {
            Some(found) => found,
            // The thread has ended: it has nothing more to say.
            None => std::future::pending().await,
        }
    }
}

fn serve<Q, A>(asked: &Receiver<Q>, tell: &mpsc::Sender<A>, mut look: impl FnMut(Q) -> A) {
    while let Ok(question) = asked.recv() {
        if tell.blocking_send(look(question)).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_at_once_are_refused() {
        let (ask, _asked) = sync_channel(1);
        let lookup = Lookup::<u32, u32> { ask, found: mpsc::channel(1).1 };
        assert!(lookup.ask(1));
        assert!(!lookup.ask(1));
    }

    #[tokio::test]
    async fn each_question_has_its_answer() {
        let mut lookup = Lookup::start("test", |number: u32| number * 2).unwrap();
        assert!(lookup.ask(1) && lookup.ask(2));
        assert_eq!((lookup.found().await, lookup.found().await, lookup.try_found()), (2, 4, None));
    }
}
