//! Golden files: the bytes of version 1, and the JSON of what they hold.
//!
//! Set `TELLTALE_UPDATE_GOLDEN=1` to write them anew; a file that changed bytes without a new version is a break of
//! the format, and the diff shows it.

use std::path::{Path, PathBuf};

use super::v1::Batch;
use super::{decode, examples, to_bytes, write_json_line};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/wire/v1")
}

pub(crate) fn json(batch: &Batch) -> String {
    let mut out = Vec::new();
    batch.views().for_each(|view| write_json_line(&mut out, view));
    String::from_utf8(out).unwrap()
}

fn compare(path: &Path, bytes: &[u8]) {
    if std::env::var_os("TELLTALE_UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(directory()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let golden = std::fs::read(path).unwrap();
    assert!(
        golden == bytes,
        "{} differs from what is written now:\n{}\nnow:\n{}",
        path.display(),
        String::from_utf8_lossy(&golden),
        String::from_utf8_lossy(bytes)
    );
}

#[test]
fn each_kind_has_its_golden_bytes_and_json() {
    let all = examples::all();
    let whole: Vec<_> = all.iter().map(|(_, event)| event.clone()).collect();
    let batches =
        all.iter().map(|(name, event)| (*name, std::slice::from_ref(event))).chain([("all", &whole[..])]);
    for (name, events) in batches {
        let batch = examples::batch(events);
        compare(&directory().join(name).with_extension("msgpack"), &to_bytes(&batch).unwrap());
        compare(&directory().join(name).with_extension("jsonl"), json(&batch).as_bytes());
    }
}

#[test]
fn every_batch_ever_written_stays_readable() {
    let mut read = 0;
    for entry in std::fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "msgpack") {
            let batch = decode(&std::fs::read(&path).unwrap()).unwrap();
            assert_eq!(
                json(&batch),
                std::fs::read_to_string(path.with_extension("jsonl")).unwrap(),
                "{path:?}"
            );
            read += 1;
        }
    }
    assert!(read >= 10, "only {read} golden batches were found");
}

#[test]
fn the_manual_shows_what_is_printed() {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/events.md");
    let manual = std::fs::read_to_string(manual).unwrap();
    let blocks = manual.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let shown: Vec<serde_json::Value> = blocks.map(|block| serde_json::from_str(block).unwrap()).collect();
    for (name, event) in examples::all() {
        let printed: serde_json::Value = serde_json::from_str(&json(&examples::batch(&[event]))).unwrap();
        if name == "connection_unknown" || name == "credential_access_not_utf8" {
            continue;
        }
        let pretty = serde_json::to_string_pretty(&printed).unwrap();
        assert!(shown.contains(&printed), "docs/events.md lacks the example `{name}`:\n{pretty}");
    }
}

/// Every key that is ever printed is in the manual's tables.
#[test]
fn the_manual_names_every_key() {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/events.md");
    let manual = std::fs::read_to_string(manual).unwrap();
    let tables: String = manual.lines().filter(|line| line.starts_with('|')).collect();
    for (_, event) in examples::all() {
        let printed: serde_json::Value = serde_json::from_str(&json(&examples::batch(&[event]))).unwrap();
        for key in printed.as_object().unwrap().keys().filter(|key| !key.ends_with("_b64")) {
            assert!(tables.contains(&format!("`{key}`")), "docs/events.md does not name `{key}`");
        }
    }
}
