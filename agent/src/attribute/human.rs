//! Humans: who logged in.
//!
//! The login uid is set once, when a person logs in, and the kernel keeps it across sudo, su and setuid programs; an
//! audit session number comes with it. Where none is set nobody logged in.
//!
//! What makes `human/alice` stable: the user's name. A uid that gets another name is another human.

use crate::model::identity::{Confidence, Evidence, Identity};

use super::{Finding, Resolver, Standing, Subject};

/// Humans by login uid.
#[derive(Debug)]
pub(super) struct Human;

impl Resolver for Human {
    fn resolve(&self, subject: &Subject<'_>) -> Finding {
        let Some(uid) = subject.actor.ids.login_uid else { return Finding::default() };
        let user = subject.users.name(uid);
        let person = subject.users.is_person(uid);
        let name = user.escape_ascii();
        let system = if person { "" } else { ", a system account: no human" };
        let mut evidence = vec![observed("login_uid", format!("{uid} ({name}){system}"))];
        if let Some(session) = subject.actor.ids.session_id {
            evidence.push(observed("audit_session", session.to_string()));
        }
        if let Some(session) = &subject.place.session {
            evidence.push(observed("session_scope", session.id.escape_ascii().to_string()));
        }
        let identity = person.then(|| (Identity::Human { user }, standing(subject)));
        Finding { identity, evidence }
    }
}

/// A human acts for themselves in a session of theirs, and where no unit says otherwise (a host without systemd).
fn standing(subject: &Subject<'_>) -> Standing {
    let place = subject.place;
    let elsewhere = place.container.is_some() || place.unit.is_some() || place.user_manager.is_some();
    if elsewhere { Standing::Blended } else { Standing::Key }
}

fn observed(kind: &'static str, detail: String) -> Evidence {
    Evidence { kind, detail, confidence: Confidence::Observed }
}
