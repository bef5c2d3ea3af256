//! What is kept of a credential: who uses it, how often, since when, and how often it is rotated. Never what is in it.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::bytes::RawBytes;
use crate::model::event::{Activity, CredentialAccess, ExpectedRead, What};
use crate::model::identity::Identity;
use crate::model::process::FileRef;
use crate::model::time::{BootTime, ClockPair};

/// Credentials between two takings; uses of further ones are counted.
const CREDENTIALS: usize = 8_192;
/// Identities kept of one; further ones are counted.
const READERS: usize = 32;
/// Rotations whose times are kept.
const ROTATIONS: usize = 8;
/// Rotations by which one is taken for time-bound: so many, at intervals of at most [`SHORT_NS`] on average.
const ROTATED_AT_LEAST: usize = 3;
/// A week.
const SHORT_NS: i64 = 7 * DAY_NS;
/// Not used for so long is stale.
const STALE_NS: i64 = 90 * DAY_NS;
const DAY_NS: i64 = 86_400_000_000_000;

/// In whose file system a credential is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Scope {
    Host,
    Container(Identity),
    /// Another mount namespace.
    Elsewhere,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Container(identity) => identity.fmt(f),
            Self::Elsewhere => f.write_str("elsewhere"),
        }
    }
}

/// Where a credential is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    scope: Scope,
    path: RawBytes,
}

impl Place {
    /// Its key in the store: no scope holds a space.
    fn key(&self) -> String {
        format!("{} {}", self.scope, self.path)
    }
}

/// What was seen of a credential since the last time. Times are of boot.
#[derive(Clone, Debug)]
struct Seen {
    credential: String,
    kind: String,
    sensitivity: u8,
    file: FileRef,
    first: BootTime,
    last: BootTime,
    uses: u64,
    refused: u64,
    rotations: Vec<BootTime>,
    users: HashMap<Identity, (u64, BootTime)>,
    more_users: u64,
}

impl Seen {
    fn new(credential: &str, time: BootTime) -> Self {
        Self {
            credential: credential.to_owned(),
            kind: String::new(),
            sensitivity: 0,
            file: FileRef::default(),
            first: time,
            last: time,
            uses: 0,
            refused: 0,
            rotations: Vec::new(),
            users: HashMap::new(),
            more_users: 0,
        }
    }

    fn used(&mut self, identity: &Identity, count: u64, time: BootTime) {
        self.uses += count;
        if let Some((uses, last)) = self.users.get_mut(identity) {
            *uses += count;
            *last = (*last).max(time);
        } else if self.users.len() < READERS {
            self.users.insert(identity.clone(), (count, time));
        } else {
            self.more_users += count;
        }
    }
}

/// Credentials that were used since the last time.
#[derive(Debug, Default)]
pub struct CredentialSightings {
    seen: HashMap<Place, Seen>,
    turned_away: u64,
}

/// Ways to come by a descriptor, as against what is done to the file.
const USES: [&str; 6] = ["open", "received", "stolen", "inherited", "held", "connect"];

impl CredentialSightings {
    /// Takes note of an act on a credential. `host_mount` is the host's mount namespace.
    pub fn activity(&mut self, activity: &Activity, time: BootTime, host_mount: u32) {
        match &activity.what {
            What::CredentialAccess(access) => self.access(activity, access, time, host_mount),
            What::CredentialAttempt(attempt) => {
                let place = place(activity, &attempt.path, host_mount);
                // What was refused and never seen to be there is no credential of the inventory.
                if let Some(seen) = self.seen.get_mut(&place) {
                    seen.refused += 1;
                }
            }
            _ => {}
        }
    }

    fn access(&mut self, activity: &Activity, access: &CredentialAccess, time: BootTime, host_mount: u32) {
        let place = place(activity, &access.path, host_mount);
        if !self.seen.contains_key(&place) && self.seen.len() >= CREDENTIALS {
            self.turned_away += 1;
            return;
        }
        let seen = self.seen.entry(place).or_insert_with(|| Seen::new(&access.credential, time));
        if seen.kind.is_empty() {
            access.kind.as_ref().clone_into(&mut seen.kind);
        }
        seen.sensitivity = access.sensitivity;
        seen.first = seen.first.min(time);
        let is_known = seen.file.inode != 0;
        let is_other =
            is_known && (seen.file.device, seen.file.inode) != (access.file.device, access.file.inode);
        let is_rewritten = access.how == "replace" || access.access.truncate;
        let is_rotated = is_rewritten || (is_other && time >= seen.last);
        if is_rotated && seen.rotations.len() < ROTATIONS {
            seen.rotations.push(time);
        }
        if time >= seen.last || !is_known {
            seen.file = access.file;
        }
        seen.last = seen.last.max(time);
        if USES.contains(&access.how) {
            seen.used(&activity.attribution.identity, 1, time);
        }
    }

    /// Expected reads that were counted and not told each: of a credential that was told before.
    pub fn repeated(&mut self, read: &ExpectedRead, count: u64, last: BootTime) {
        let place = Place { scope: Scope::Host, path: read.path.clone() };
        if !self.seen.contains_key(&place) && self.seen.len() >= CREDENTIALS {
            self.turned_away += count;
            return;
        }
        // Of the file nothing is said: what was told first has said it.
        let seen = self.seen.entry(place).or_insert_with(|| Seen::new(&read.credential, last));
        seen.used(&read.attribution.identity, count, last);
        seen.last = seen.last.max(last);
    }

    /// All that was seen, in the terms in which it is kept; from now on nothing was.
    pub fn take(&mut self, clocks: ClockPair) -> Vec<(String, CredentialLife)> {
        let wall = |time: BootTime| clocks.wall_time(time).unix_ns;
        let kept = |(place, seen): (Place, Seen)| {
            let users = seen.users.into_iter().map(|(identity, (uses, last))| User {
                identity: identity.to_string(),
                uses,
                last_ns: wall(last),
            });
            let life = CredentialLife {
                scope: place.scope.to_string(),
                path: place.path.to_string(),
                credential: seen.credential,
                kind: seen.kind,
                sensitivity: seen.sensitivity,
                mode: seen.file.mode,
                file: (seen.file.device, seen.file.inode),
                changed_ns: changed_ns(&seen.file),
                first_seen_ns: wall(seen.first),
                last_used_ns: wall(seen.last),
                uses: seen.uses,
                refused: seen.refused,
                rotations: seen.rotations.len() as u64,
                rotated_ns: seen.rotations.into_iter().map(wall).collect(),
                users: users.collect(),
                more_users: seen.more_users,
            };
            (place.key(), life)
        };
        std::mem::take(&mut self.seen).into_iter().map(kept).collect()
    }

    /// Uses of credentials that were not noted, because there were too many others.
    pub const fn turned_away(&self) -> u64 {
        self.turned_away
    }
}

/// Nanoseconds since 1970 of a file's last change; 0 for what is no file.
fn changed_ns(file: &FileRef) -> i64 {
    let (seconds, nanoseconds) = file.changed;
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds.into())
}

fn place(activity: &Activity, path: &RawBytes, host_mount: u32) -> Place {
    let attribution = &activity.attribution;
    let container = || {
        let mut all = std::iter::once(&attribution.identity).chain(&attribution.blended);
        all.find(|identity| is_container(identity)).cloned()
    };
    let scope = if activity.actor.namespaces.mount == host_mount {
        Scope::Host
    } else {
        container().map_or(Scope::Elsewhere, Scope::Container)
    };
    Place { scope, path: path.clone() }
}

const fn is_container(identity: &Identity) -> bool {
    matches!(
        identity,
        Identity::Container { .. }
            | Identity::Image { .. }
            | Identity::Compose { .. }
            | Identity::Kubernetes { .. }
    )
}

/// Who uses a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Canonical string.
    pub identity: String,
    /// Descriptors of it that this identity came by.
    pub uses: u64,
    /// The last time, in nanoseconds since 1970.
    pub last_ns: i64,
}

/// A credential's life. Times are nanoseconds since 1970 (UTC). Kept like [`super::record::Life`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CredentialLife {
    /// `host`, the container's identity, or `elsewhere`.
    pub scope: String,
    /// Path there.
    pub path: String,
    /// Name of the catalogue's entry.
    pub credential: String,
    /// Kind of it.
    pub kind: String,
    /// How bad its loss would be, 1 to 5.
    pub sensitivity: u8,
    /// `st_mode` when it was last used.
    pub mode: u32,
    /// Device and inode then.
    pub file: (u32, u64),
    /// Change time of the file then: how old the credential is at most.
    pub changed_ns: i64,
    /// First act on it that was seen.
    pub first_seen_ns: i64,
    /// Last act on it that was seen.
    pub last_used_ns: i64,
    /// Descriptors of it that somebody came by.
    pub uses: u64,
    /// Attempts that were refused.
    pub refused: u64,
    /// How often another file took its place, or it was emptied to be written anew.
    pub rotations: u64,
    /// When, latest last.
    pub rotated_ns: Vec<i64>,
    /// Who uses it, latest last.
    pub users: Vec<User>,
    /// Uses by identities beyond those kept.
    pub more_users: u64,
}

impl CredentialLife {
    /// Adds what was seen since.
    pub fn add(&mut self, seen: &Self) {
        let is_new = self.credential.is_empty();
        if is_new {
            *self = Self {
                first_seen_ns: seen.first_seen_ns,
                last_used_ns: i64::MIN,
                file: seen.file,
                ..Self::default()
            };
        }
        self.scope.clone_from(&seen.scope);
        self.path.clone_from(&seen.path);
        self.credential.clone_from(&seen.credential);
        // Counted reads say nothing of the file.
        let says_file = seen.file.1 != 0;
        if !seen.kind.is_empty() {
            self.kind.clone_from(&seen.kind);
            self.sensitivity = seen.sensitivity;
        }
        let mut rotated = seen.rotated_ns.clone();
        // Between the last time and this one; where its replacement was seen, that has been counted.
        if says_file && self.file.1 != 0 && self.file != seen.file && rotated.is_empty() {
            rotated.push(if seen.changed_ns > 0 { seen.changed_ns } else { seen.first_seen_ns });
        }
        self.rotations = self.rotations.saturating_add(seen.rotations.max(rotated.len() as u64));
        self.rotated_ns.extend(rotated);
        let beyond = self.rotated_ns.len().saturating_sub(ROTATIONS);
        self.rotated_ns.drain(..beyond);
        if says_file && (seen.last_used_ns >= self.last_used_ns || self.file.1 == 0) {
            (self.mode, self.file, self.changed_ns) = (seen.mode, seen.file, seen.changed_ns);
        }
        self.first_seen_ns = self.first_seen_ns.min(seen.first_seen_ns);
        self.last_used_ns = self.last_used_ns.max(seen.last_used_ns);
        self.uses = self.uses.saturating_add(seen.uses);
        self.refused = self.refused.saturating_add(seen.refused);
        self.more_users = self.more_users.saturating_add(seen.more_users);
        for user in &seen.users {
            match self.users.iter_mut().find(|known| known.identity == user.identity) {
                Some(known) => {
                    known.uses = known.uses.saturating_add(user.uses);
                    known.last_ns = known.last_ns.max(user.last_ns);
                }
                None => self.users.push(user.clone()),
            }
        }
        self.users.sort_by(|one, other| (one.last_ns, &one.identity).cmp(&(other.last_ns, &other.identity)));
        let beyond = self.users.len().saturating_sub(READERS);
        self.more_users =
            self.users.drain(..beyond).fold(self.more_users, |sum, user| sum.saturating_add(user.uses));
    }

    /// Whether somebody replaces it so often that each of its contents is good for days at most. One that was not seen to be
    /// is standing: good until somebody thinks of it.
    pub fn is_time_bound(&self) -> bool {
        let (Some(first), Some(last)) = (self.rotated_ns.first(), self.rotated_ns.last()) else {
            return false;
        };
        let times = self.rotated_ns.len();
        let intervals = i64::try_from(times.saturating_sub(1)).unwrap_or(i64::MAX).max(1);
        times >= ROTATED_AT_LEAST && last.saturating_sub(*first) / intervals <= SHORT_NS
    }

    /// Whether several identities use it.
    pub const fn is_shared(&self) -> bool {
        self.users.len() > 1 || self.more_users > 0
    }

    /// Whether it was not used for long.
    pub const fn is_stale(&self, now_ns: i64) -> bool {
        now_ns.saturating_sub(self.last_used_ns) >= STALE_NS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::EventKind;
    use crate::model::time::WallTime;
    use crate::ship::wire::examples;

    const HOST: u32 = 7;

    fn activity(how: &'static str, inode: u64, mount: u32) -> Activity {
        let mut access = examples::credential("/home/alice/.aws/credentials".into());
        (access.how, access.file.inode) = (how, inode);
        let mut activity = examples::activity(examples::curl(), "file_open", What::CredentialAccess(access));
        activity.actor.namespaces.mount = mount;
        activity
    }

    fn take(acts: &[(&'static str, u64, u64)]) -> CredentialLife {
        let clocks = ClockPair { boot: BootTime::from_ns(0), wall: WallTime { unix_ns: 0 } };
        let mut sightings = CredentialSightings::default();
        for (how, inode, at) in acts {
            sightings.activity(&activity(how, *inode, HOST), BootTime::from_ns(*at), HOST);
        }
        let taken = sightings.take(clocks);
        assert!(sightings.take(clocks).is_empty());
        let [(key, life)] = taken.try_into().unwrap();
        assert_eq!(key, "host /home/alice/.aws/credentials");
        life
    }

    #[test]
    fn uses_and_users_are_counted() {
        let mut life = CredentialLife::default();
        life.add(&take(&[("open", 5, 10), ("received", 5, 20), ("chmod", 5, 30)]));
        life.add(&take(&[("open", 5, 40)]));
        assert_eq!((life.uses, life.rotations, life.first_seen_ns, life.last_used_ns), (3, 0, 10, 40));
        assert_eq!(life.users, [User { identity: "human/alice".to_owned(), uses: 3, last_ns: 40 }]);
        assert!(!life.is_shared() && !life.is_time_bound());
        assert!(!life.is_stale(STALE_NS + 39) && life.is_stale(STALE_NS + 40));
    }

    #[test]
    fn each_replacement_is_counted_once() {
        let mut life = CredentialLife::default();
        // Seen to be replaced, then opened; then another file is there without that.
        life.add(&take(&[("open", 5, 10), ("replace", 6, 20), ("open", 6, 30)]));
        assert_eq!((life.rotations, life.file.1), (1, 6));
        life.add(&take(&[("open", 6, 40), ("open", 7, 50)]));
        assert_eq!(life.rotations, 2);
        life.add(&take(&[("open", 8, 60)]));
        life.add(&take(&[("open", 8, 70)]));
        assert_eq!((life.rotations, life.rotated_ns.len()), (3, 3));
    }

    #[test]
    fn what_is_replaced_again_and_again_is_time_bound() {
        let rotated = |days: &[i64]| CredentialLife {
            rotated_ns: days.iter().map(|day| day * DAY_NS).collect(),
            ..CredentialLife::default()
        };
        assert!(rotated(&[0, 1, 2]).is_time_bound() && rotated(&[0, 7, 14]).is_time_bound());
        assert!(
            !rotated(&[]).is_time_bound()
                && !rotated(&[0, 1]).is_time_bound()
                && !rotated(&[0, 8, 16]).is_time_bound()
        );
    }

    #[test]
    fn many_users_are_counted_and_the_latest_kept() {
        let mut life = CredentialLife::default();
        for number in 0..100_i64 {
            let user = User { identity: format!("svc/{number}"), uses: 1, last_ns: number };
            let seen = CredentialLife { users: vec![user], ..take(&[("open", 5, 10)]) };
            life.add(&seen);
        }
        assert_eq!((life.users.len(), life.more_users), (READERS, 100 - READERS as u64));
        assert_eq!(life.users.last().unwrap().identity, "svc/99");
        assert!(life.is_shared());
    }

    #[test]
    fn what_is_in_another_mount_namespace_is_another_credential() {
        let clocks = ClockPair { boot: BootTime::from_ns(0), wall: WallTime { unix_ns: 0 } };
        let mut sightings = CredentialSightings::default();
        for mount in [HOST, HOST + 1] {
            sightings.activity(&activity("open", 5, mount), BootTime::from_ns(1), HOST);
        }
        let mut keys: Vec<String> = sightings.take(clocks).into_iter().map(|(key, _)| key).collect();
        keys.sort();
        assert_eq!(keys, ["elsewhere /home/alice/.aws/credentials", "host /home/alice/.aws/credentials"]);
        assert!(matches!(examples::event(1, activity("open", 5, HOST)).kind, EventKind::Activity(_)));
    }
}
