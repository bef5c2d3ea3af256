//! An event of a batch with what it refers to: the one form that JSON, human lines and the collector read.

use super::bytes::WireBytes;
use super::rows::{Attribution, Cgroup, Ids, Namespaces, Process};
use super::v1::{
    Activity, Attempt, Batch, Connection, Credential, Datagram, Destination, Event, Gap, Key, Memory, Named,
    Names, Party, RawSocket, Repeat, Status, Traffic,
};
use crate::model::time::{BootTime, ClockPair, WallTime};

/// An event within its batch.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    batch: &'a Batch,
    event: &'a Event,
}

/// What an event tells.
#[derive(Clone, Debug)]
pub enum Body<'a> {
    /// An identity did something.
    Activity(ActivityView<'a>),
    /// A folded activity happened again.
    Repeat(&'a Repeat),
    /// Something was lost.
    Gap(&'a Gap),
    /// The agent speaks of itself.
    Status(&'a Status),
    /// Of a kind that this program does not know.
    Unknown,
}

/// What an identity did, with the rows it refers to.
#[derive(Clone, Debug)]
pub struct ActivityView<'a> {
    /// The activity.
    pub activity: &'a Activity,
    /// Who, as an identity.
    pub attribution: &'a Attribution,
    /// Who, as a process.
    pub process: &'a Process,
    /// Users and groups at the moment of the act.
    pub ids: &'a Ids,
    /// cgroup at the moment of the act.
    pub cgroup: &'a Cgroup,
    /// Namespaces at the moment of the act.
    pub namespaces: &'a Namespaces,
    /// What.
    pub deed: Deed<'a>,
    batch: &'a Batch,
}

/// What was done.
#[derive(Clone, Copy, Debug)]
pub enum Deed<'a> {
    /// A connection.
    Connection(&'a Connection),
    /// The first datagram to a peer.
    Datagram(&'a Datagram),
    /// A credential was opened.
    Credential(&'a Credential),
    /// What a connection has carried so far.
    Update(&'a Traffic),
    /// A connection was closed.
    End(&'a Traffic),
    /// A socket was made whose destinations no hook sees.
    Raw(&'a RawSocket),
    /// An open of a credential was refused.
    Attempt(&'a Attempt),
    /// A connection has another name than was told with it.
    Named(&'a Named),
    /// The memory of another process was reached, or that was refused.
    Memory(&'a Memory),
    /// A key was read, or that was refused.
    Key(&'a Key),
    /// Of a kind that this program does not know.
    Unknown,
}

impl Batch {
    /// The events with what they refer to.
    pub fn views(&self) -> impl DoubleEndedIterator<Item = View<'_>> + ExactSizeIterator {
        self.events.iter().map(|event| View { batch: self, event })
    }

    /// Sequence number of the last event.
    pub fn last_seq(&self) -> u64 {
        self.events.last().map_or(self.first_seq, |last| self.first_seq.saturating_add(last.offset.into()))
    }

    /// Wall time of a boot time, by the batch's reading of the clocks.
    pub fn wall_time(&self, boot_ns: u64) -> WallTime {
        let boot = BootTime::from_ns(self.clock.boot_ns);
        let wall = WallTime { unix_ns: self.clock.unix_ns };
        ClockPair { boot, wall }.wall_time(BootTime::from_ns(boot_ns))
    }
}

impl<'a> View<'a> {
    /// The batch that the event is in.
    pub fn batch(&self) -> &'a Batch {
        self.batch
    }

    /// Its sequence number.
    pub fn seq(&self) -> u64 {
        self.batch.first_seq.saturating_add(self.event.offset.into())
    }

    /// Its id: the same for each delivery.
    pub fn id(&self) -> String {
        let Batch { host, epoch, .. } = self.batch;
        format!("{}/{}/{epoch}/{}", host.id, host.boot_id, self.seq())
    }

    /// When, ns since boot.
    pub fn boot_ns(&self) -> u64 {
        self.event.boot_ns
    }

    /// When.
    pub fn wall_time(&self) -> WallTime {
        self.batch.wall_time(self.event.boot_ns)
    }

    /// What it tells.
    pub fn body(&self) -> Body<'a> {
        if let Some(activity) = &self.event.activity {
            return self.activity(activity).map_or(Body::Unknown, Body::Activity);
        }
        if let Some(repeat) = &self.event.repeat {
            return Body::Repeat(repeat);
        }
        if let Some(gap) = &self.event.gap {
            return Body::Gap(gap);
        }
        self.event.status.as_deref().map_or(Body::Unknown, Body::Status)
    }

    /// Its name, as `event` in JSON.
    pub fn name(&self) -> &'static str {
        match self.body() {
            Body::Activity(activity) => match activity.deed {
                Deed::Connection(_) => "connection",
                Deed::Datagram(_) => "datagram_flow",
                Deed::Credential(_) => "credential_access",
                Deed::Update(_) => "connection_update",
                Deed::End(_) => "connection_end",
                Deed::Raw(_) => "raw_socket",
                Deed::Attempt(_) => "credential_attempt",
                Deed::Named(_) => "connection_name",
                Deed::Memory(_) => "memory_access",
                Deed::Key(_) => "key_access",
                Deed::Unknown => "unknown",
            },
            Body::Repeat(_) => "repeat",
            Body::Gap(_) => "gap",
            Body::Status(_) => "agent_status",
            Body::Unknown => "unknown",
        }
    }

    /// The activity with its rows; `None` for an index outside its table, which neither the writer makes nor
    /// [`super::decode()`] lets pass.
    fn activity(&self, activity: &'a Activity) -> Option<ActivityView<'a>> {
        let batch = self.batch;
        let deed = match activity {
            Activity { connection: Some(connection), .. } => Deed::Connection(connection),
            Activity { datagram: Some(datagram), .. } => Deed::Datagram(datagram),
            Activity { credential: Some(credential), .. } => Deed::Credential(credential),
            Activity { update: Some(traffic), .. } => Deed::Update(traffic),
            Activity { end: Some(traffic), .. } => Deed::End(traffic),
            Activity { raw: Some(raw), .. } => Deed::Raw(raw),
            Activity { attempt: Some(attempt), .. } => Deed::Attempt(attempt),
            Activity { named: Some(named), .. } => Deed::Named(named),
            Activity { memory: Some(memory), .. } => Deed::Memory(memory),
            Activity { key: Some(key), .. } => Deed::Key(key),
            _ => Deed::Unknown,
        };
        Some(ActivityView {
            activity,
            attribution: batch.attributions.get(activity.who as usize)?,
            process: batch.processes.get(activity.process as usize)?,
            ids: batch.credentials.get(activity.credentials as usize)?,
            cgroup: batch.cgroups.get(activity.cgroup as usize)?,
            namespaces: batch.namespaces.get(activity.namespaces as usize)?,
            deed,
            batch,
        })
    }
}

impl<'a> ActivityView<'a> {
    /// Ancestors, parent first.
    pub fn lineage(&self) -> impl DoubleEndedIterator<Item = &'a Process> + use<'a> {
        let processes = &self.batch.processes;
        self.activity.lineage.iter().filter_map(|row| processes.get(*row as usize))
    }
}

impl<'a> ActivityView<'a> {
    /// Another process than the one that acts; `None` for an index outside its table, as above.
    pub fn party(&self, party: Party) -> Option<(&'a Attribution, &'a Process)> {
        let Party(who, process) = party;
        Some((self.batch.attributions.get(who as usize)?, self.batch.processes.get(process as usize)?))
    }
}

impl<'a> ActivityView<'a> {
    /// The process that a destination is; `None` where it is none that is known.
    pub fn listening(&self, destination: &Destination) -> Option<&'a Process> {
        self.batch.processes.get(destination.process? as usize)
    }
}

impl Process {
    /// The path given to exec.
    pub fn filename(&self) -> &WireBytes {
        self.filename.as_ref().unwrap_or(&self.exe)
    }

    /// Number of arguments, also of those not in `argv`.
    pub fn argument_count(&self) -> u32 {
        self.argument_count.unwrap_or(self.argv.len() as u32)
    }

    /// What a person calls the process: the name of the script or of the executable; `?` where neither is known.
    pub fn short_name(&self) -> &[u8] {
        let path = if self.script { self.filename() } else { &self.exe };
        match path.0.file_name() {
            [] => b"?",
            name => name,
        }
    }
}

impl Names {
    /// The destination's own name.
    pub fn own(&self) -> Option<&str> {
        self.claims.first().filter(|_| self.known).map(|claim| &*claim.0)
    }

    /// The name to show where it has none: what a ClientHello asks for, else the first that somebody says.
    pub fn claimed(&self) -> Option<&str> {
        let hello = self.claims.iter().find(|claim| claim.1 == super::names::SNI);
        hello.or_else(|| self.claims.first()).map(|claim| &*claim.0)
    }
}

impl Connection {
    /// The address connected, where known.
    pub fn connected(&self) -> Option<&super::v1::Endpoint> {
        if self.as_asked { Some(&self.asked) } else { self.connected.as_ref() }
    }
}
