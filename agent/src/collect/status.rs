//! The numbers of a collection, as `GET /status` gives them.

use serde::Serialize;

use super::Collector;

/// Streams and holes listed, at most.
const LISTED: usize = 1000;

/// What has arrived so far.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Batches taken whole.
    pub batches: u64,
    /// Requests that were no batch.
    pub refused: u64,
    /// Events written, each once.
    pub events: u64,
    /// Events that had arrived before.
    pub duplicates: u64,
    /// Events missing between the first and the last of each stream.
    pub missing: u64,
    /// Hosts heard.
    pub hosts: usize,
    /// Events that agents reported as lost, by where and why.
    pub reported_losses: Vec<Loss>,
    /// Such losses beyond the bound on their kinds.
    pub other_reported_losses: u64,
    /// Writes that failed.
    pub failed_writes: u64,
    /// Streams forgotten for want of room.
    pub forgotten_streams: u64,
    /// Streams, by (host id, boot id, epoch); the first thousand.
    pub streams: Vec<StreamStatus>,
    /// Holes; the first thousand.
    pub holes: Vec<Hole>,
}

/// What has arrived of the events of one start of one agent.
#[derive(Clone, Debug, Serialize)]
pub struct StreamStatus {
    /// Host name.
    pub host: String,
    /// Hash of its machine id.
    pub host_id: String,
    /// Boot.
    pub boot_id: String,
    /// Start of the agent.
    pub epoch: u64,
    /// The last number that arrived.
    pub last_seq: u64,
    /// Numbers before the first that arrived.
    pub before_the_first: u64,
    /// Numbers missing between the first and the last.
    pub missing: u64,
}

/// Sequence numbers that are missing, both ends included.
#[derive(Clone, Debug, Serialize)]
pub struct Hole {
    /// Host name.
    pub host: String,
    /// Hash of its machine id.
    pub host_id: String,
    /// Boot.
    pub boot_id: String,
    /// Start of the agent.
    pub epoch: u64,
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// Events that agents reported as lost.
#[derive(Clone, Debug, Serialize)]
pub struct Loss {
    /// Where.
    pub stage: String,
    /// Why.
    pub cause: String,
    /// Hook family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook_family: Option<String>,
    /// How many.
    pub lost: u64,
}

pub(super) fn of(collector: &Collector) -> Status {
    let ledger = &collector.ledger;
    let mut streams: Vec<_> = ledger.streams().collect();
    streams.sort_by_key(|(id, _)| *id);
    let holes = streams.iter().flat_map(|(id, stream)| {
        stream.holes().map(|range| Hole {
            host: stream.host.clone(),
            host_id: id.host_id.clone(),
            boot_id: id.boot_id.clone(),
            epoch: id.epoch,
            first: range.first,
            last: range.last,
        })
    });
    let losses = collector.losses.iter().map(|((stage, cause, hook_family), lost)| Loss {
        stage: stage.clone(),
        cause: cause.clone(),
        hook_family: hook_family.clone(),
        lost: *lost,
    });
    Status {
        batches: collector.batches,
        refused: collector.refused,
        events: collector.events,
        duplicates: collector.duplicates,
        missing: ledger.missing(),
        hosts: ledger.hosts(),
        reported_losses: losses.collect(),
        other_reported_losses: collector.other_losses,
        failed_writes: collector.failed_writes,
        forgotten_streams: ledger.forgotten(),
        holes: holes.take(LISTED).collect(),
        streams: streams
            .into_iter()
            .take(LISTED)
            .map(|(id, stream)| StreamStatus {
                host: stream.host.clone(),
                host_id: id.host_id.clone(),
                boot_id: id.boot_id.clone(),
                epoch: id.epoch,
                last_seq: stream.last(),
                before_the_first: stream.before_the_first(),
                missing: stream.missing(),
            })
            .collect(),
    }
}
