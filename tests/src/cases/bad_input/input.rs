//! What an operator writes: flags, configuration, catalogue, addresses.

use super::{Case, code, own, refused, run_with, told};
use crate::harness::agent;
use crate::harness::places;
use crate::harness::setting::Setting;
use crate::outcome::Outcome;

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![
        own("bad-input/usage", usage),
        own("bad-input/configuration", configuration),
        own("bad-input/catalogue", catalogue),
        own("bad-input/collector-address", collector_address),
    ]
}

fn usage(setting: &Setting) -> Outcome {
    let table: [&[&str]; 4] =
        [&["--no-such-flag"], &["--drop-every", "often"], &["--rung", "kprobe"], &["--quiet"]];
    for args in table {
        refused(setting, &mut run_with(setting, args), code::USAGE, args)?;
    }
    told(&agent::command(setting, &["no-such-command"])?, code::USAGE, &["no-such-command"])
}

fn configuration(setting: &Setting) -> Outcome {
    let file = setting.path("telltale.toml");
    let path = file.to_string_lossy();
    let table: [(&str, &[&str]); 4] = [
        ("colector = \"http://127.0.0.1:1\"\n", &["colector", "collector", "quiet", "catalogue", "line 1"]),
        ("collector = 7\n", &["collector"]),
        ("collector = \"http://127.0.0.1:1\"\n[output]\nfile = \"x\"\n", &["output"]),
        ("this is no TOML\n", &["line 1"]),
    ];
    for (text, words) in table {
        places::write(&file, text)?;
        let mut words = words.to_vec();
        words.push(&path);
        refused(setting, &mut run_with(setting, &["--config", &path]), code::USAGE, &words)?;
    }
    let missing = "/nonexistent/telltale.toml";
    refused(setting, &mut run_with(setting, &["--config", missing]), code::USAGE, &[missing])
}

fn catalogue(setting: &Setting) -> Outcome {
    let file = setting.path("bad-catalogue.toml");
    let path = file.to_string_lossy();
    let entry = |rest: &str| {
        format!("version = 1\n[[credential]]\nname = \"x\"\nkind = \"test\"\ncomment = \"x\"\n{rest}\n")
    };
    let table = [
        ("version = 2\n".to_owned(), "version"),
        (entry("sensitivity = 9\npaths = [\"/x/y\"]"), "sensitivity"),
        (entry("sensitivity = 1\npaths = [\"x\"]"), "`x`"),
        (entry("sensitivity = 1\npaths = [\"/x/y\"]\nowner = \"me\""), "owner"),
        (entry("sensitivity = 1\npaths = [\"**/*\"]"), "**/*"),
        ("not TOML".to_owned(), "line"),
    ];
    for (text, word) in table {
        places::write(&file, &text)?;
        // Some say the line in the file's name's way (`FILE:3`), some in words.
        let word = if word == "line" { ":1" } else { word };
        refused(setting, &mut run_with(setting, &["--catalogue", &path]), code::CATALOGUE, &[word, &path])?;
    }
    let missing = "/nonexistent/catalogue.toml";
    refused(setting, &mut run_with(setting, &["--catalogue", missing]), code::CATALOGUE, &[missing])
}

fn collector_address(setting: &Setting) -> Outcome {
    for address in ["ftp://127.0.0.1:1", "127.0.0.1:4319", "http://", "http://127.0.0.1:99999"] {
        refused(setting, &mut run_with(setting, &["--collector", address]), code::USAGE, &["collector"])?;
    }
    Ok(())
}
