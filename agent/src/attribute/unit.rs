//! Units of service managers: the system's, and those of users.
//!
//! What makes `svc/nginx` stable: the unit's name, which is what an administrator calls the service. Three kinds of
//! names are no names:
//!
//! - *transient*: `systemd-run` without `--unit` makes up `run-r3f….service` for each run. Such a unit gives no
//!   identity: who acts is told by what comes after;
//! - *per connection*: `sshd@7-10.0.0.1:22-10.0.0.2:50112.service` of a socket with `Accept=yes`. The instance is
//!   dropped: `svc/sshd%40`;
//! - any other instance of a template is kept (`svc/postgresql%4015-main`): instances are given by an administrator
//!   and differ in what they do. The template groups them as peers.
//!
//! What a timer runs is `timer/certbot`, where nothing else starts it: no `[Install]`, no socket and no path of its name. That
//! is the files' to say, not one run's: started by hand it is the same, so that its key stays.

use std::sync::Arc;

use crate::model::container::Answer;
use crate::model::identity::{Confidence, Evidence, Identity};
use crate::model::unit::{InUnit, UnitFacts};

use super::place::Place;
use super::units::Units;
use super::{Finding, Resolver, Standing, Subject};

/// Units of the system's service manager, by cgroup.
#[derive(Debug)]
pub(super) struct SystemUnit;

impl Resolver for SystemUnit {
    fn resolve(&self, subject: &Subject<'_>) -> Finding {
        let observed = |kind, detail| Evidence { kind, detail, confidence: Confidence::Observed };
        let Some(unit) = &subject.place.unit else {
            let is_unknown = subject.cgroup.path.is_empty() && subject.cgroup.id != 0;
            let unknown = is_unknown.then(|| observed("cgroup_unknown", format!("id {}", subject.cgroup.id)));
            return Finding { identity: None, evidence: unknown.into_iter().collect() };
        };
        let mut evidence = vec![observed("unit", unit.escape_ascii().to_string())];
        let answer = std::str::from_utf8(unit).ok().and_then(|unit| subject.units.answer(unit));
        let facts = match answer {
            Some(Answer::Found(facts)) => Some(&**facts),
            Some(Answer::Refused) => {
                evidence.push(observed("unit_unknown", "its file is not root's alone".to_owned()));
                None
            }
            Some(Answer::TooLarge | Answer::Unreadable) => {
                evidence.push(observed("unit_unknown", "its file cannot be read".to_owned()));
                None
            }
            // Of most scopes there is none.
            None | Some(Answer::NotFound) => None,
        };
        let timer = facts.and_then(|facts| facts.timer.as_ref());
        let by_timer = timer.and_then(|timer| {
            let name = stable_name(timer.unit.as_bytes())?;
            Some(Identity::Timer { timer: name.strip_suffix(b".timer")?.into() })
        });
        let identity = by_timer.or_else(|| Some(Identity::SystemUnit { unit: stable_name(unit)? }));
        let identity = identity.map(|identity| (identity, Standing::Key));
        evidence.extend(facts.into_iter().flat_map(tell));
        // Of a scope the processes are started by who asked for it, and are in the login of that one.
        if identity.is_none() && unit.ends_with(b".service") {
            evidence.push(observed(
                "transient_unit",
                "systemd was asked to run it: by whom is not known".to_owned(),
            ));
        }
        Finding { identity, evidence }
    }
}

/// Evidence of what a unit's files say.
fn tell(facts: &UnitFacts) -> impl Iterator<Item = Evidence> {
    let UnitFacts { fragment, description, owner, timer } = facts;
    let declared = |kind, detail| Evidence { kind, detail, confidence: Confidence::Declared };
    let timer = timer
        .as_ref()
        .map(|timer| declared("timer", format!("{}, says {}", timer.unit, timer.fragment.escape_debug())));
    let description =
        description.as_ref().map(|text| declared("unit_description", text.escape_debug().to_string()));
    let owner = owner.as_ref().map(|owner| declared("unit_owner", owner.escape_debug().to_string()));
    [timer, Some(declared("unit_fragment", fragment.escape_debug().to_string())), description, owner]
        .into_iter()
        .flatten()
}

/// The unit of a place, and what is known of it.
pub(super) fn in_unit(place: &Place, units: &Units) -> Option<InUnit> {
    let unit = place.unit.as_ref()?;
    let facts = std::str::from_utf8(unit).ok().and_then(|unit| units.facts(unit)).cloned();
    Some(InUnit { unit: unit.escape_ascii().to_string().into(), facts })
}

/// Units of a user's own service manager. The user is known, the unit is as the user says.
#[derive(Debug)]
pub(super) struct UserUnit;

impl Resolver for UserUnit {
    fn resolve(&self, subject: &Subject<'_>) -> Finding {
        let Some(uid) = subject.place.user_manager else { return Finding::default() };
        let manager = format!("user@{uid}.service");
        let mut evidence =
            vec![Evidence { kind: "user_manager", detail: manager, confidence: Confidence::Observed }];
        let claimed = subject.place.claimed_unit.as_ref();
        if let Some(unit) = claimed {
            let (kind, detail) = ("user_unit", unit.escape_ascii().to_string());
            evidence.push(Evidence { kind, detail, confidence: Confidence::Claimed });
        }
        let identity = claimed
            .and_then(|unit| stable_name(unit))
            .map(|unit| (Identity::UserUnit { user: subject.users.name(uid), unit }, Standing::Blended));
        Finding { identity, evidence }
    }
}

/// The name of a unit that stays the same over its runs, without `.service`; `None` for one made up for one run.
fn stable_name(unit: &[u8]) -> Option<Arc<[u8]>> {
    let (name, suffix) = unit.split_at(unit.iter().rposition(|&byte| byte == b'.')?);
    if is_transient(name) {
        return None;
    }
    let mut stable = match name.iter().position(|&byte| byte == b'@') {
        Some(at) if is_connection(name.get(at + 1..).unwrap_or_default()) => name.get(..=at)?.to_vec(),
        _ => name.to_vec(),
    };
    // `a.socket.service` stays apart from `a.socket`.
    if suffix != b".service" || super::place::is_unit(&stable) {
        stable.extend_from_slice(suffix);
    }
    Some(stable.into())
}

/// Names that systemd-run makes up: `run-r<32 hex>`, `run-u<number>`, `run-p<pid>-i<id>`, `run-<pid>`.
fn is_transient(name: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(b"run-") else { return false };
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    match rest {
        [b'r', hex @ ..] if hex.len() == 32 => hex.iter().all(u8::is_ascii_hexdigit),
        [b'u', number @ ..] => digits(number),
        [b'p', rest @ ..] => {
            let mut parts = rest.splitn(2, |&byte| byte == b'-');
            let (pid, id) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            digits(pid) && id.strip_prefix(b"i").is_some_and(digits)
        }
        number => digits(number),
    }
}

/// Instances that systemd makes up for an accepted connection: `N-LOCAL:PORT-REMOTE:PORT`, and for unix sockets
/// `N-PID-UID` or `N-PID_ID-UID`.
fn is_connection(instance: &[u8]) -> bool {
    let mut parts = instance.split(|&byte| byte == b'-');
    let mut part = || parts.next().unwrap_or_default();
    let (count, local, remote) = (part(), part(), part());
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let endpoint = |text: &[u8]| match text.iter().rposition(|&byte| byte == b':') {
        Some(colon) => {
            let (address, port) = text.split_at(colon);
            digits(port.get(1..).unwrap_or_default())
                && address.iter().all(|byte| byte.is_ascii_hexdigit() || b".:[]".contains(byte))
        }
        None => false,
    };
    let peer = |text: &[u8]| text.split(|&byte| byte == b'_').all(digits);
    let whole = parts.next().is_none() && digits(count);
    whole && ((endpoint(local) && endpoint(remote)) || (peer(local) && digits(remote)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_kept_where_they_are_names() {
        let table = [
            ("nginx.service", Some("nginx")),
            ("ssh.socket", Some("ssh.socket")),
            ("ssh.socket.service", Some("ssh.socket.service")),
            ("init.scope", Some("init.scope")),
            ("getty@tty1.service", Some("getty@tty1")),
            ("postgresql@15-main.service", Some("postgresql@15-main")),
            ("backup@1-2.service", Some("backup@1-2")),
            ("sshd@7-10.0.0.1:22-10.0.0.2:50112.service", Some("sshd@")),
            ("sshd@7-fe80::1:22-fe80::2:50112.service", Some("sshd@")),
            ("systemd-coredump@0-1234-0.service", Some("systemd-coredump@")),
            ("systemd-coredump@0-1234_567-0.service", Some("systemd-coredump@")),
            (r"foo\x2dbar.service", Some(r"foo\x2dbar")),
            ("run-r0123456789abcdef0123456789abcdef.service", None),
            ("run-u17.service", None),
            ("run-p1234-i5678.scope", None),
            ("run-4242.scope", None),
            ("run-backup.service", Some("run-backup")),
            ("run-rabbit.service", Some("run-rabbit")),
            ("run-p1-ix.service", Some("run-p1-ix")),
            ("run-.service", Some("run-")),
            ("nosuffix", None),
        ];
        for (unit, expected) in table {
            let name = stable_name(unit.as_bytes());
            assert_eq!(name.as_deref(), expected.map(str::as_bytes), "{unit}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_unit(unit in "[ -~]{0,32}(@[0-9:._-]{0,24})?(.service|.scope)?") {
            let _ = stable_name(unit.as_bytes());
        }
    }
}
