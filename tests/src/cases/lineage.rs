//! Why: the chain of processes that led to an act.

use super::{Case, shared};
use crate::harness::scene::Scene;
use crate::harness::servers::V4;
use crate::outcome::Outcome;

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![shared("lineage/daemon", daemon), shared("lineage/deep", deep)]
}

/// A process whose parent has gone is still known by it.
fn daemon(scene: &mut Scene<'_>) -> Outcome {
    let address = scene.server(V4)?.to_string();
    let expected = scene.perform(&mut scene.actor(&["daemon", "--to", &address]))?;
    scene.expect(expected);
    Ok(())
}

/// Shells within shells: each is in the lineage, none is left out.
fn deep(scene: &mut Scene<'_>) -> Outcome {
    let path = scene.credential("ext4", "key")?;
    let me = scene.setting.me.display();
    // `:` afterwards, so that no shell replaces itself by its last command.
    let mut script = format!("{me} act open --path {}; :", path.display());
    for _ in 0..4 {
        script = format!("sh -c '{}'; :", script.replace('\'', r"'\''"));
    }
    let mut command = std::process::Command::new("sh");
    let expected = scene.perform(command.args(["-c", &script]))?;
    scene.expect(expected);
    Ok(())
}
