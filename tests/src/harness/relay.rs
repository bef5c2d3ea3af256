//! A way to a collector on which requests can be refused.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::net::shutdown;

use crate::outcome::{During, Outcome};

/// Bytes of a message, at most.
const LARGEST: usize = 64 << 20;
const REFUSAL: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nno\n";

/// Passes requests on, but for those that are to be refused.
#[derive(Debug)]
pub(crate) struct Relay {
    listener: TcpListener,
    /// Where it listens on loopback.
    pub(crate) port: u16,
    refuse: Arc<AtomicUsize>,
    refused: Receiver<()>,
}

impl Relay {
    /// To a port on loopback.
    pub(crate) fn start(to: u16) -> Outcome<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during("listen")?;
        let port = listener.local_addr()?.port();
        let refuse = Arc::new(AtomicUsize::new(0));
        let (say, refused) = channel();
        let (accepting, left) = (listener.try_clone()?, refuse.clone());
        thread::spawn(move || {
            // Fails once the listener was shut down.
            while let Ok((stream, _)) = accepting.accept() {
                let (left, say) = (left.clone(), say.clone());
                // A broken connection is the agent's or the collector's to notice.
                thread::spawn(move || drop(pass(stream, to, &left, &say)));
            }
        });
        Ok(Self { listener, port, refuse, refused })
    }

    /// Answers the next requests with 400.
    pub(crate) fn refuse(&self, requests: usize) {
        self.refuse.store(requests, Ordering::SeqCst);
    }

    /// Waits until a request was refused.
    pub(crate) fn wait_refused(&self, limit: Duration) -> Outcome {
        self.refused.recv_timeout(limit).during("wait for a request to refuse")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = shutdown(&self.listener, rustix::net::Shutdown::Both);
    }
}

fn pass(stream: TcpStream, to: u16, left: &AtomicUsize, say: &Sender<()>) -> std::io::Result<()> {
    let mut answers = stream.try_clone()?;
    let mut requests = BufReader::new(stream);
    while let Some(request) = message(&mut requests)? {
        let take = |left: usize| left.checked_sub(1);
        if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
            answers.write_all(REFUSAL)?;
            let _ = say.send(());
            continue;
        }
        let mut onward = TcpStream::connect((Ipv4Addr::LOCALHOST, to))?;
        onward.write_all(&request)?;
        let answer = message(&mut BufReader::new(&onward))?;
        answers.write_all(&answer.unwrap_or_default())?;
        let _ = onward.shutdown(Shutdown::Both);
    }
    Ok(())
}

/// One HTTP/1.1 message whose length is said in its head; none at the end.
fn message(from: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let mut whole = Vec::new();
    let mut length = 0;
    loop {
        let begin = whole.len();
        if from.read_until(b'\n', &mut whole)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(whole.get(begin..).unwrap_or_default()).to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let begin = whole.len();
    whole.resize(begin + length.min(LARGEST), 0);
    from.read_exact(whole.get_mut(begin..).unwrap_or_default())?;
    Ok(Some(whole))
}
