//! What a collector is sent.

use agent::cli::print::Format;
use agent::ship::wire;
use proptest::prelude::*;

use super::fuzz;

/// A batch that can be read is one line an event, whatever its strings hold: JSON, and text for people.
#[test]
fn batches_become_lines() {
    let seeds = vec![include_bytes!("../data/wire/v1/all.msgpack").to_vec()];
    let people = Format::for_file(false);
    fuzz(seeds, |bytes| {
        let Ok(batch) = wire::decode(bytes) else { return Ok(()) };
        for view in batch.views() {
            let mut line = Vec::new();
            wire::write_json_line(&mut line, view);
            let text = line.strip_suffix(b"\n").map(serde_json::from_slice::<serde_json::Value>);
            prop_assert!(matches!(text, Some(Ok(_))), "{}", String::from_utf8_lossy(&line));
            prop_assert!(!line.contains(&0x1b), "{}", String::from_utf8_lossy(&line));
            line.clear();
            people.write(&mut line, view);
            let ends = line.iter().filter(|byte| byte.is_ascii_control()).count();
            prop_assert!(ends == 1 && line.ends_with(b"\n"), "{}", String::from_utf8_lossy(&line));
        }
        Ok(())
    });
}
