//! One collection of the API server's: all of it by pages, and then what changes
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>).

use std::time::Duration;

use backon::ExponentialBackoff;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::client::{Client, Failure, JSON, Lines};
use super::objects::{Change, List, parse};
use super::watch::{IDLE, LINE_BYTES, LIST_BYTES, Pace};

/// Objects of one answer.
const PAGE: usize = 100;
/// For so long a watch is asked for, in seconds. One that is cut off without a word is noticed a little later.
const WATCH: &str = "120";
/// A watch that ends sooner has failed.
const SHORTEST: Duration = Duration::from_secs(1);
/// Bytes of a version and of a place in a list, which are the server's own.
const TOKEN_BYTES: usize = 4 << 10;

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Collection {
    pub(super) path: &'static str,
    /// Which of its objects.
    pub(super) selector: Option<String>,
}

impl Collection {
    fn query(&self) -> Vec<(&str, &str)> {
        self.selector.iter().map(|selector| ("fieldSelector", selector.as_str())).collect()
    }
}

/// All objects of a collection, page by page.
pub(super) struct Pages<'a> {
    collection: &'a Collection,
    limit: usize,
    next: String,
    /// Each page has one object at least, or the server lies.
    left: usize,
    version: Option<String>,
}

impl<'a> Pages<'a> {
    /// Of a collection of which so many objects are kept.
    pub(super) const fn of(collection: &'a Collection, most: usize) -> Self {
        Self { collection, limit: PAGE, next: String::new(), left: most, version: None }
    }

    /// The next page; `None`: that was the last.
    pub(super) async fn next<T: DeserializeOwned>(
        &mut self,
        server: &mut Client,
    ) -> Result<Option<Vec<T>>, Failure> {
        while self.version.is_none() && self.left > 0 {
            self.left -= 1;
            let number = self.limit.to_string();
            let mut query = self.collection.query();
            query.push(("limit", &number));
            if !self.next.is_empty() {
                query.push(("continue", &self.next));
            }
            let bytes = match server.get(self.collection.path, &query, JSON, LIST_BYTES).await {
                Err(Failure::TooLarge) if self.limit > 1 => {
                    self.limit = (self.limit / 10).max(1);
                    continue;
                }
                answered => answered?,
            };
            let List { metadata, items } = parse::<List<T>>(&bytes).map_err(Failure::Malformed)?;
            if metadata.next.len() > TOKEN_BYTES || metadata.resource_version.len() > TOKEN_BYTES {
                return Err(Failure::TooLarge);
            }
            self.next = metadata.next;
            if self.next.is_empty() {
                self.version = Some(metadata.resource_version);
            }
            return Ok(Some(items.into_iter().flatten().flatten().collect()));
        }
        if self.version.is_none() { Err(Failure::TooLarge) } else { Ok(None) }
    }

    /// The version of the whole, once there are no more pages.
    pub(super) fn version(self) -> String {
        self.version.unwrap_or_default()
    }
}

/// What changes in a collection.
pub(super) struct Watching(Lines);

impl Watching {
    /// Asks for what has changed since that version.
    pub(super) async fn begin(
        server: &mut Client,
        collection: &Collection,
        from: &str,
    ) -> Result<Self, Failure> {
        let mut query = collection.query();
        query.extend([
            ("watch", "1"),
            ("resourceVersion", from),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", WATCH),
        ]);
        server.lines(collection.path, &query, LINE_BYTES, IDLE).await.map(Self)
    }

    /// The next change; `None`: the answer has ended. Nothing is lost where this is dropped half-way.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<Change<T>>, Failure> {
        loop {
            let Some(line) = self.0.next().await? else { return Ok(None) };
            if line.trim_ascii().is_empty() {
                continue;
            }
            return match parse(&line).map_err(Failure::Malformed)? {
                Change::Error(problem) if problem.code == 410 => Err(Failure::Gone),
                Change::Error(problem) => {
                    let status = reqwest::StatusCode::from_u16(problem.code);
                    let malformed = |_| Failure::Malformed("an error without a number".to_owned());
                    Err(status.map_or_else(malformed, Failure::Status))
                }
                change => Ok(Some(change)),
            };
        }
    }
}

/// A version that was reached, where it is one to go on from.
pub(super) fn reached(version: String) -> Option<String> {
    (1..=TOKEN_BYTES).contains(&version.len()).then_some(version)
}

/// Lists and watches, one round after the other: how long is waited between two.
pub(super) struct Rounds {
    pace: Pace,
    waits: ExponentialBackoff,
    begun: Instant,
}

impl Rounds {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, waits: pace.waits(), begun: Instant::now() }
    }

    /// A round begins.
    pub(super) fn begin(&mut self) {
        self.begun = Instant::now();
    }

    /// Whether this round has lasted as one does that serves.
    pub(super) fn has_lasted(&self) -> bool {
        self.begun.elapsed() >= SHORTEST.min(self.pace.first)
    }

    /// What comes next is the first failure.
    pub(super) fn reset(&mut self) {
        self.waits = self.pace.waits();
    }

    /// Waits, for longer each time.
    pub(super) async fn wait(&mut self) {
        tokio::time::sleep(self.waits.next().unwrap_or(self.pace.longest)).await;
    }
}
