//! A collector behind its server on loopback, with real shipping and with requests by hand.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::output::Output;
use super::server::{Shared, serve};
use super::{Collector, Handler, Notice};
use crate::model::event::{Event, EventKind, Gap};
use crate::ship::http::{HttpSink, HttpTimeouts};
use crate::ship::queue::Limits;
use crate::ship::wire::v1::Batch;
use crate::ship::wire::{BATCHES_PATH, BatchBuilder, MAX_BATCH_BYTES, View, examples, to_bytes};
use crate::ship::{Lane, Offered, Pace, Shipping};

/// What the collector did, for the test to look at.
#[derive(Clone, Default)]
struct Seen {
    /// Lines written: the number of each event.
    written: Arc<Mutex<String>>,
    notices: Arc<Mutex<Vec<Notice>>>,
    /// Writes yet to come: `false` fails. None left: all succeed.
    script: Arc<Mutex<VecDeque<bool>>>,
    count: Arc<Mutex<u64>>,
    enough: Option<u64>,
    line_bytes: usize,
}

impl Output for Seen {
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.script.lock().unwrap().pop_front() == Some(false) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.written.lock().unwrap().push_str(std::str::from_utf8(lines).unwrap());
        Ok(())
    }

    fn name(&self) -> String {
        "a test".to_owned()
    }
}

impl Handler for Seen {
    fn encode(&mut self, out: &mut Vec<u8>, view: View<'_>) {
        out.resize(out.len() + self.line_bytes, b' ');
        out.extend(format!("{}\n", view.seq()).bytes());
    }

    fn written(&mut self, _: View<'_>) {
        *self.count.lock().unwrap() += 1;
    }

    fn notice(&mut self, notice: &Notice) {
        self.notices.lock().unwrap().push(notice.clone());
    }

    fn enough(&self) -> bool {
        self.enough.is_some_and(|enough| *self.count.lock().unwrap() >= enough)
    }
}

impl Seen {
    fn numbers(&self) -> Vec<u64> {
        self.written.lock().unwrap().lines().map(|line| line.trim().parse().unwrap()).collect()
    }

    fn told(&self) -> Vec<String> {
        self.notices.lock().unwrap().iter().map(ToString::to_string).collect()
    }
}

async fn start(seen: &Seen) -> (String, Shared, JoinHandle<io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let shared = Shared::new(Collector::new(Box::new(seen.clone()), Box::new(seen.clone())));
    (address, shared.clone(), tokio::spawn(serve(listener, shared)))
}

fn batch(first: u64, events: u64) -> Batch {
    let mut builder = BatchBuilder::new(&examples::origin(), first, examples::clock());
    (first..first + events).for_each(|seq| assert!(builder.push(seq, &examples::all().remove(0).1)));
    builder.batch().clone()
}

/// Status and text of the answer.
async fn post(address: &str, body: Vec<u8>) -> (u16, String) {
    // Done by the first HttpSink of a process, and needed by any client.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
    let response = client.post(format!("{address}{BATCHES_PATH}")).body(body).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn post_batch(address: &str, first: u64, events: u64) -> u16 {
    post(address, to_bytes(&batch(first, events)).unwrap()).await.0
}

#[tokio::test]
async fn what_is_shipped_arrives_once_and_in_order() {
    let seen = Seen::default();
    let (address, shared, server) = start(&seen).await;
    let sink = HttpSink::new(&address, HttpTimeouts::default()).unwrap();
    let pace = Pace { events: 7, ..Pace::default() };
    let shipping = Shipping::start(examples::origin(), Limits::default(), pace, examples::clock, sink);
    for _ in 0..100 {
        assert_ne!(shipping.offer(Lane::First, examples::all().remove(0).1), Offered::Full);
    }
    let counters = shipping.stop(Duration::from_secs(20)).await;
    assert_eq!(counters.acknowledged.load(Ordering::Relaxed), 100);
    assert_eq!(seen.numbers(), (1..=100).collect::<Vec<_>>());
    let status = shared.collector().status();
    assert_eq!((status.events, status.duplicates, status.missing, status.hosts), (100, 0, 0, 1));
    assert_eq!(seen.told(), Vec::<String>::new());
    shared.end();
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn duplicates_are_dropped_and_holes_are_told_and_withdrawn() {
    let seen = Seen::default();
    let (address, shared, _server) = start(&seen).await;
    for (first, events) in [(1, 3), (1, 3), (2, 4), (10, 2), (7, 2), (6, 4)] {
        assert_eq!(post_batch(&address, first, events).await, 200);
    }
    assert_eq!(seen.numbers(), [1, 2, 3, 4, 5, 10, 11, 7, 8, 6, 9]);
    let status = shared.collector().status();
    assert_eq!((status.events, status.duplicates, status.missing), (11, 7, 0));
    assert_eq!(
        seen.told(),
        [
            "web-1: 4 events are MISSING: numbers 6 to 9",
            "web-1: 2 events that were missing have arrived after all: numbers 7 to 8",
            "web-1: 2 events that were missing have arrived after all: numbers 6 to 9",
        ]
    );
}

#[tokio::test]
async fn a_status_lists_holes_streams_and_reported_losses() {
    let seen = Seen::default();
    let (address, _shared, _server) = start(&seen).await;
    post_batch(&address, 5, 1).await;
    post_batch(&address, 8, 1).await;
    let gap = Gap { stage: "kernel", cause: "dropped_ring_full", family: None, lost: 4 };
    let mut builder = BatchBuilder::new(&examples::origin(), 9, examples::clock());
    let time = crate::model::time::BootTime::from_ns(1);
    assert!(builder.push(9, &Event { time, kind: EventKind::Gap(gap) }));
    post(&address, to_bytes(builder.batch()).unwrap()).await;
    let client = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
    let text = client.get(format!("{address}/status")).send().await.unwrap().text().await.unwrap();
    let status: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status["holes"][0]["first"], 6);
    assert_eq!(status["holes"][0]["last"], 7);
    assert_eq!(status["missing"], 2);
    assert_eq!(status["streams"][0]["host"], "web-1");
    assert_eq!(status["streams"][0]["before_the_first"], 4);
    assert_eq!(status["reported_losses"][0]["cause"], "dropped_ring_full");
    assert_eq!(status["reported_losses"][0]["lost"], 4);
    assert!(seen.told()[0].contains("the first event that arrived has number 5; the 4 before it"));
}

/// A write that fails acknowledges nothing; what was written before it is not written again.
#[tokio::test]
async fn a_full_disk_loses_nothing_and_doubles_nothing() {
    // Lines so long that a batch of five takes three writes.
    let seen = Seen { line_bytes: 150_000, ..Seen::default() };
    seen.script.lock().unwrap().extend([true, false, false]);
    let (address, shared, _server) = start(&seen).await;
    let codes = [
        post_batch(&address, 1, 5).await,
        post_batch(&address, 1, 5).await,
        post_batch(&address, 1, 5).await,
    ];
    assert_eq!(codes, [503, 503, 200]);
    assert_eq!(seen.numbers(), [1, 2, 3, 4, 5]);
    let status = shared.collector().status();
    assert_eq!((status.events, status.failed_writes, status.batches), (5, 2, 1));
    let told = seen.told();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("writing to a test failed: "), "{told:?}");
    assert_eq!(told[1], "writing to a test works again");
}

#[tokio::test]
async fn what_is_no_batch_is_refused_with_its_reason() {
    let seen = Seen::default();
    let (address, shared, _server) = start(&seen).await;
    let mut later = batch(1, 1);
    later.version = 9;
    let cases = [
        (to_bytes(&later).unwrap(), 400, "wire version 9"),
        (b"hello".to_vec(), 400, "not a batch of wire version 1"),
        (Vec::new(), 400, "not a batch"),
        (vec![0; MAX_BATCH_BYTES + 1], 413, "at most 4194304 bytes"),
    ];
    let refused = cases.len() as u64;
    for (body, code, expected) in cases {
        let (answered, text) = post(&address, body).await;
        assert_eq!(answered, code, "{text}");
        assert!(text.contains(expected), "{text}");
    }
    let status = shared.collector().status();
    assert_eq!((status.refused, status.events, status.streams.len()), (refused, 0, 0));
    assert_eq!(post_batch(&address, 1, 1).await, 200);
}

#[tokio::test]
async fn a_collection_ends_when_it_has_enough_and_still_acknowledges() {
    let seen = Seen { enough: Some(5), ..Seen::default() };
    let (address, _shared, server) = start(&seen).await;
    assert_eq!(post_batch(&address, 1, 4).await, 200);
    assert_eq!(post_batch(&address, 5, 4).await, 200);
    server.await.unwrap().unwrap();
    assert_eq!(seen.numbers(), (1..=8).collect::<Vec<_>>());
}
