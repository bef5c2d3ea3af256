//! Delivery over HTTP against a server that misbehaves by a script, on loopback.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::http::{HttpSink, HttpTimeouts};
use super::queue::Limits;
use super::wire::{decode, examples};
use super::{Lane, Offered, Pace, Shipping};

/// How the server treats one request, after it has read it whole.
#[derive(Clone, Debug)]
enum Act {
    /// Answers with this status line, these header lines and this body.
    Answer(&'static str, &'static str, &'static str),
    /// Acknowledges what was sent.
    Acknowledge,
    /// Acknowledges another range.
    AcknowledgeOther,
    /// Says that 100 bytes follow, sends 10 and closes.
    Half,
    /// Bytes that are not HTTP.
    Garbage,
    /// Closes without an answer, with a reset.
    Reset,
    /// An answer without an end, for as long as someone reads it.
    Endless,
    /// No answer.
    Silence,
}

/// The sequence numbers of each batch that arrived whole.
type Arrived = mpsc::UnboundedReceiver<(u64, u64)>;

async fn serve(script: Vec<Act>) -> (String, Arrived) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (arrived, arrivals) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut script = VecDeque::from(script);
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            while let Some(body) = read_request(&mut stream).await {
                let batch = decode(&body).unwrap();
                let range = (batch.first_seq, batch.last_seq());
                let _ = arrived.send(range);
                let act = script.pop_front().unwrap_or(Act::Acknowledge);
                let reset = matches!(act, Act::Reset);
                if !perform(act, &mut stream, range).await {
                    // Otherwise kept open until the end of the test: silence is not a close.
                    open.extend((!reset).then_some(stream));
                    break;
                }
            }
        }
    });
    (address, arrivals)
}

/// The body of the next request on the connection; `None` at its end.
async fn read_request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("post /v1/batches http/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/vnd.msgpack"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    Some(body)
}

/// Whether the connection goes on.
async fn perform(act: Act, stream: &mut TcpStream, (first, last): (u64, u64)) -> bool {
    let acknowledgement = |first, last| format!(r#"{{"acknowledged":{{"first":{first},"last":{last}}}}}"#);
    let answer = |status: &str, headers: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
    };
    let (bytes, goes_on) = match act {
        Act::Answer(status, headers, body) => (answer(status, headers, body), true),
        Act::Acknowledge => (answer("200 OK", "", &acknowledgement(first, last)), true),
        Act::AcknowledgeOther => (answer("200 OK", "", &acknowledgement(first + 1, last)), true),
        Act::Half => ("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"acknowle".to_owned(), false),
        Act::Garbage => ("\u{1b}[2J nonsense\r\n\r\n".to_owned(), false),
        Act::Reset => (String::new(), false),
        Act::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            while stream.write_all(b"8\r\n        \r\n").await.is_ok() {}
            return false;
        }
        Act::Silence => return false,
    };
    let _ = stream.write_all(bytes.as_bytes()).await;
    if matches!(act, Act::Reset) {
        // socket(7), SO_LINGER: dropped with a linger of zero, the connection is reset.
        rustix::net::sockopt::set_socket_linger(&*stream, Some(Duration::ZERO)).unwrap();
    } else if !goes_on {
        let (_, mut write) = stream.split();
        let _ = write.shutdown().await;
    }
    goes_on
}

fn start(address: &str, whole: Duration) -> Shipping {
    let pace = Pace {
        events: 4,
        age: Duration::from_millis(1),
        first_retry: Duration::from_millis(1),
        longest_retry: Duration::from_millis(4),
        ..Pace::default()
    };
    let timeouts = HttpTimeouts { connect: Duration::from_secs(5), whole };
    let sink = HttpSink::new(address, timeouts).unwrap();
    Shipping::start(examples::origin(), Limits::default(), pace, examples::clock, sink)
}

/// Ships eight events against the script; gives [acknowledged, dead-lettered, abandoned, retries] and the batches as
/// they arrived.
async fn ship(script: Vec<Act>) -> ([u64; 4], Vec<(u64, u64)>) {
    ship_within(script, Duration::from_secs(15)).await
}

async fn ship_within(script: Vec<Act>, whole: Duration) -> ([u64; 4], Vec<(u64, u64)>) {
    let (address, mut arrivals) = serve(script).await;
    let shipping = start(&address, whole);
    for _ in 0..8 {
        assert_ne!(shipping.offer(Lane::First, examples::all().remove(0).1), Offered::Full);
    }
    let counters = shipping.stop(Duration::from_secs(20)).await;
    let fates = [&counters.acknowledged, &counters.dead_lettered, &counters.abandoned, &counters.retries];
    let arrived = std::iter::from_fn(|| arrivals.try_recv().ok()).collect();
    (fates.map(|counter| counter.load(Ordering::Relaxed)), arrived)
}

/// Each kind of trouble is tried again until the batch is acknowledged, in order, and costs nothing.
#[tokio::test]
async fn trouble_costs_no_event() {
    let trouble = [
        Act::Answer("503 Service Unavailable", "", "busy"),
        Act::Answer("500 Internal Server Error", "", ""),
        Act::Answer("429 Too Many Requests", "retry-after: 0\r\n", ""),
        Act::Answer("408 Request Timeout", "", ""),
        Act::Answer("200 OK", "", "<html>hello</html>"),
        Act::Answer("204 No Content", "", ""),
        Act::AcknowledgeOther,
        Act::Half,
        Act::Garbage,
        Act::Reset,
        Act::Endless,
    ];
    for act in trouble {
        let (fates, arrived) = ship(vec![act.clone()]).await;
        assert_eq!(fates, [8, 0, 0, 1], "{act:?}");
        assert_eq!(arrived, [(1, 4), (1, 4), (5, 8)], "{act:?}");
    }
}

/// A time-out ends the wait for an answer that does not come.
#[tokio::test]
async fn silence_costs_no_event() {
    let (fates, arrived) = ship_within(vec![Act::Silence], Duration::from_millis(300)).await;
    assert_eq!(fates[..3], [8, 0, 0]);
    assert!(fates[3] >= 1);
    assert_eq!(arrived[..2], [(1, 4), (1, 4)]);
}

#[tokio::test]
async fn a_whole_storm_of_trouble_costs_no_event() {
    let storm = [Act::Reset, Act::Half, Act::Answer("503 x", "", ""), Act::Garbage, Act::AcknowledgeOther];
    let (fates, arrived) = ship(storm.to_vec()).await;
    assert_eq!(fates, [8, 0, 0, 5]);
    assert_eq!(arrived, [(1, 4), (1, 4), (1, 4), (1, 4), (1, 4), (1, 4), (5, 8)]);
}

#[tokio::test]
async fn what_is_refused_for_good_is_not_tried_again() {
    for status in ["400 Bad Request", "401 Unauthorized", "404 Not Found", "301 Moved Permanently"] {
        let (fates, arrived) =
            ship(vec![Act::Answer(status, "location: http://127.0.0.1:1/\r\n", "no")]).await;
        // The ninth tells of the first four.
        assert_eq!(fates, [5, 4, 0, 0], "{status}");
        assert_eq!(arrived, [(1, 4), (5, 8), (9, 9)], "{status}");
    }
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_halved() {
    let (fates, arrived) = ship(vec![Act::Answer("413 Content Too Large", "", "")]).await;
    assert_eq!(fates, [8, 0, 0, 0]);
    assert_eq!(arrived, [(1, 4), (1, 2), (3, 6), (7, 8)]);
}

#[tokio::test]
async fn a_collector_that_is_not_there_yet_gets_all_once_it_is() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let shipping = start(&format!("http://{address}"), Duration::from_secs(15));
    let _ = shipping.offer(Lane::First, examples::all().remove(0).1);
    while shipping.counters().retries.load(Ordering::Relaxed) < 3 {
        tokio::task::yield_now().await;
    }
    let listener = TcpListener::bind(address).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let batch = decode(&read_request(&mut stream).await.unwrap()).unwrap();
    perform(Act::Acknowledge, &mut stream, (batch.first_seq, batch.last_seq())).await;
    let counters = shipping.stop(Duration::from_secs(20)).await;
    assert_eq!(counters.acknowledged.load(Ordering::Relaxed), 1);
}
