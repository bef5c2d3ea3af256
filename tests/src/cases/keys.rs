//! Keys of the kernel's keyrings that are read.

use super::{Case, shared};
use crate::acts::UNSUPPORTED;
use crate::harness::scene::Scene;
use crate::outcome::{Outcome, Verdict, skipped};

/// As the agent names what it does not see.
const UNNAMED: &str =
    "of a key that is read, type, description and owner are not known, nor whether it is a keyring";

/// Name, way, description.
const TABLE: [(&str, &str, &str); 4] = [
    ("read", "read", "telltale-test"),
    ("odd", "read", "control \u{1b}[31m and \u{202e}others"),
    ("refused", "refused", "telltale-forbidden"),
    ("innocent", "harmless", "telltale-harmless"),
];

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let case = |(name, way, description): &(&'static str, &'static str, &'static str)| {
        let (way, description) = (*way, *description);
        shared(format!("key/{name}"), move |scene| read(scene, way, description))
    };
    TABLE.iter().map(case).collect()
}

fn read(scene: &mut Scene<'_>, way: &str, description: &str) -> Outcome {
    let expected = match scene.act(&["key", "--way", way, "--description", description]) {
        Err(Verdict::Failed(text)) if text.contains(UNSUPPORTED) => return skipped(UNSUPPORTED),
        expected => expected?,
    };
    let unnamed = scene.unless_named(UNNAMED).is_err();
    let hook = if unnamed { "tp_btf/sys_exit" } else { "fexit/keyctl_read_key" };
    let keys = ["key_type", "key_description", "key_uid"];
    scene.expect(expected.into_iter().map(|one| {
        let one = one.seen_by(&[hook]);
        if unnamed { keys.iter().fold(one, |one, key| one.key(key, serde_json::Value::Null)) } else { one }
    }));
    Ok(())
}
