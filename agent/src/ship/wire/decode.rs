//! From bytes to a batch whose limits and indexes have been checked.

use serde::Deserialize;

use super::v1::{Activity, Batch, Party};
use super::{MAX_BATCH_BYTES, MAX_DEPTH, VERSION};

/// Why bytes are not a batch.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// More bytes than a batch may have.
    #[error("a batch of {bytes} bytes: at most {MAX_BATCH_BYTES} are read; ship smaller batches")]
    TooLong {
        /// How many there are.
        bytes: usize,
    },
    /// The batch is of another version.
    #[error(
        "a batch of wire version {version}: this program reads version {VERSION}; \
         run a collector of the same release as the agent, or a newer one"
    )]
    Version {
        /// The version it has.
        version: u32,
    },
    /// The bytes are not MessagePack of the form of a batch, or exceed a limit of it.
    #[error("not a batch of wire version {VERSION}: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
    /// Bytes follow the batch.
    #[error("{0} bytes follow the batch")]
    TrailingBytes(usize),
    /// A table has no such row.
    #[error("event {event} refers to row {row} of the table of {table}, which it does not have")]
    NoRow {
        /// Position of the event in the batch.
        event: usize,
        /// Name of the table.
        table: &'static str,
        /// The row.
        row: u32,
    },
    /// A process refers to a row that is not there.
    #[error("process {process} refers to a row of the table of {table} that it does not have")]
    NoRowOfProcess {
        /// Position of the process in its table.
        process: usize,
        /// Name of the table.
        table: &'static str,
    },
    /// Sequence numbers do not rise, exceed their range, or there is no event.
    #[error("the batch has no events, or their sequence numbers do not rise from its first")]
    Sequence,
    /// Host id or boot id are not of the characters that an event's id is made of.
    #[error("host id and boot id must be 1 to 64 of the characters 0-9, a-z, A-Z and '-'")]
    HostId,
}

/// Reads a batch.
///
/// # Errors
/// Whatever is not a whole, consistent batch of [`VERSION`] is refused; see [`WireError`].
pub fn decode(bytes: &[u8]) -> Result<Batch, WireError> {
    if bytes.len() > MAX_BATCH_BYTES {
        return Err(WireError::TooLong { bytes: bytes.len() });
    }
    let batch = match read::<Batch>(bytes) {
        Ok(batch) => batch,
        // Another version may well not look like this one: its number is the better explanation.
        Err(error) => match read::<VersionOnly>(bytes) {
            Ok(VersionOnly { version }) if version != VERSION => return Err(WireError::Version { version }),
            _ => return Err(error),
        },
    };
    if batch.version != VERSION {
        return Err(WireError::Version { version: batch.version });
    }
    check(&batch)?;
    Ok(batch)
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

fn read<'de, T: Deserialize<'de>>(mut bytes: &'de [u8]) -> Result<T, WireError> {
    let mut deserializer = rmp_serde::Deserializer::new(&mut bytes);
    deserializer.set_max_depth(MAX_DEPTH);
    let value = T::deserialize(&mut deserializer)?;
    if bytes.is_empty() { Ok(value) } else { Err(WireError::TrailingBytes(bytes.len())) }
}

fn check(batch: &Batch) -> Result<(), WireError> {
    let id = |text: &str| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if !id(&batch.host.id) || !id(&batch.host.boot_id) {
        return Err(WireError::HostId);
    }
    for (position, process) in batch.processes.iter().enumerate() {
        let rows = [
            ("credentials", process.credentials, batch.credentials.len()),
            ("cgroups", process.cgroup, batch.cgroups.len()),
            ("namespaces", process.namespaces, batch.namespaces.len()),
        ];
        for (table, row, rows) in rows {
            if row as usize >= rows {
                return Err(WireError::NoRowOfProcess { process: position, table });
            }
        }
    }
    let rising = batch.events.iter().zip(batch.events.iter().skip(1)).all(|(a, b)| a.offset < b.offset);
    let last = batch.events.last().map(|event| batch.first_seq.checked_add(event.offset.into()));
    let starts = batch.events.first().is_some_and(|event| event.offset == 0);
    if !rising || !starts || !matches!(last, Some(Some(_))) {
        return Err(WireError::Sequence);
    }
    for (position, event) in batch.events.iter().enumerate() {
        if let Some(activity) = &event.activity {
            check_activity(batch, position, activity)?;
        }
    }
    Ok(())
}

fn check_activity(batch: &Batch, event: usize, activity: &Activity) -> Result<(), WireError> {
    let named = [
        ("attributions", activity.who, batch.attributions.len()),
        ("processes", activity.process, batch.processes.len()),
        ("credentials", activity.credentials, batch.credentials.len()),
        ("cgroups", activity.cgroup, batch.cgroups.len()),
        ("namespaces", activity.namespaces, batch.namespaces.len()),
    ];
    let other = activity.memory.iter().flat_map(|memory| {
        let Party(who, process) = memory.target;
        [("attributions", who, batch.attributions.len()), ("processes", process, batch.processes.len())]
    });
    let destinations = [
        activity.connection.as_ref().and_then(|connection| connection.destination.as_ref()),
        activity.update.as_ref().and_then(|traffic| traffic.destination.as_ref()),
        activity.end.as_ref().and_then(|traffic| traffic.destination.as_ref()),
    ];
    let listening = destinations.into_iter().flatten().filter_map(|destination| destination.process);
    let listening = listening.map(|row| ("processes", row, batch.processes.len()));
    let ancestors = activity.lineage.iter().map(|row| ("processes", *row, batch.processes.len()));
    for (table, row, rows) in named.into_iter().chain(other).chain(listening).chain(ancestors) {
        if row as usize >= rows {
            return Err(WireError::NoRow { event, table, row });
        }
    }
    Ok(())
}
