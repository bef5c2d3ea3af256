//! Names of destinations: the host's resolvers name them, strangers and clients only claim to.

use std::fs;
use std::path::Path;

use super::{Case, shared};
use crate::harness::event::Event;
use crate::harness::scene::Scene;
use crate::outcome::{During, Outcome};

/// Name, arguments of the act.
const TABLE: [(&str, &[&str]); 19] = [
    ("resolver", &[]),
    ("resolver-v6", &["--v6"]),
    ("resolver-unconnected", &["--unconnected"]),
    ("resolver-unconnected-v6", &["--unconnected", "--v6"]),
    ("alias", &["--alias"]),
    ("stranger", &["--stranger"]),
    ("stranger-unconnected", &["--stranger", "--unconnected"]),
    ("resolver-and-stranger", &["--also-stranger"]),
    ("nobody", &["--ask-nobody"]),
    ("hello-of-the-name", &["--hello", "API.Example.test"]),
    ("hello-of-another", &["--hello", "github.com"]),
    ("hello-of-another-v6", &["--hello", "github.com", "--v6"]),
    ("hello-alone", &["--ask-nobody", "--hello", "github.com"]),
    ("hello-byte-by-byte", &["--hello", "github.com", "--sent", "bytes"]),
    ("hello-in-three", &["--hello", "github.com", "--sent", "three", "--v6"]),
    ("hello-in-records", &["--hello", "github.com", "--sent", "records"]),
    ("hello-early", &["--hello", "github.com", "--sent", "early"]),
    ("hello-of-a-strangers-name", &["--stranger", "--hello", "api.example.test"]),
    ("no-hello", &["--plain"]),
];

/// What a network's own resolv.conf is mounted on.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let rows =
        TABLE.iter().map(|(name, args)| shared(format!("names/{name}"), move |scene| row(scene, args)));
    rows.collect()
}

fn row(scene: &mut Scene<'_>, args: &[&str]) -> Outcome {
    let directory = scene.directory("tmpfs")?;
    let directory = directory.to_string_lossy();
    let made = !Path::new(RESOLV_CONF).exists();
    if made {
        fs::write(RESOLV_CONF, "").during(RESOLV_CONF)?;
    }
    let is_end = |event: &Event| event.kind() == "connection_end";
    let expected = scene.act_until(&[&["names", "--directory", &directory], args].concat(), is_end);
    if made {
        fs::remove_file(RESOLV_CONF).during(RESOLV_CONF)?;
    }
    // Its mounts are its own, and so is what it runs.
    let expected = expected?.into_iter().map(|one| one.identity_begins("exe-ns/", "namespaced_executable"));
    scene.expect(expected);
    Ok(())
}
