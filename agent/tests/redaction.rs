//! Secrets in arguments: a corpus of planted ones, of which none may be left, and ordinary command lines, which stay
//! whole. `tests/data/redaction/README.md` says how the corpus is made and divided.

use std::fs;
use std::path::PathBuf;

use agent::model::bytes::RawBytes;
use agent::process::redact::{redact_argv, redact_text};
use proptest::prelude::{ProptestConfig, Strategy, any, prop, prop_oneof, proptest};

#[derive(serde::Deserialize)]
struct Corpus {
    case: Vec<Case>,
}

/// One planted secret. `secret`: what may be left nowhere; `keep`: what must be left.
#[derive(serde::Deserialize)]
struct Case {
    name: String,
    argv: Vec<String>,
    secret: Vec<String>,
    keep: Vec<String>,
}

fn data() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/redaction")
}

fn raw(argv: &[String]) -> Vec<RawBytes> {
    argv.iter().map(|argument| RawBytes::from(argument.as_str())).collect()
}

fn contains(argv: &[RawBytes], needle: &str) -> bool {
    argv.iter()
        .any(|argument| argument.as_bytes().windows(needle.len()).any(|window| window == needle.as_bytes()))
}

impl Case {
    /// What is wrong with the redaction of this case.
    fn fault(&self) -> Option<&'static str> {
        let redacted = redact_argv(&raw(&self.argv));
        if redacted.len() != self.argv.len() {
            Some("the number of arguments changed")
        } else if self.secret.iter().any(|secret| contains(&redacted, secret)) {
            Some("a secret, or a piece of it, is left")
        } else if !self.keep.iter().all(|kept| contains(&redacted, kept)) {
            Some("more than the secret is gone")
        } else {
            None
        }
    }
}

/// Of the corpus that the rules were written without, so many cases in a hundred must hold; of the other, all. It was
/// 96.7 when it was first run. The cases that fail are printed by name, and are not to be written into the rules: then
/// the figure would say nothing any more.
const HELD_OUT_PERCENT: usize = 96;

/// Runs every corpus there is. Only the names of failing cases are printed: a case that is held out stays unseen.
#[test]
fn no_planted_secret_is_left() {
    let mut files: Vec<PathBuf> = fs::read_dir(data())
        .expect("the corpus is there")
        .map(|entry| entry.expect("the corpus can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no corpus");
    for file in &files {
        let mut faults = Vec::new();
        let text = fs::read_to_string(file).expect("a corpus is text");
        let corpus: Corpus = toml::from_str(&text).expect("a corpus is TOML");
        assert!(corpus.case.len() >= 200, "{} is too small to say anything", file.display());
        for case in &corpus.case {
            if let Some(fault) = case.fault() {
                faults.push(format!("{}: {fault}", case.name));
            }
        }
        let held_out = file.ends_with("heldout.toml");
        let allowed = if held_out { corpus.case.len() * (100 - HELD_OUT_PERCENT) / 100 } else { 0 };
        let report = format!(
            "{}: {} of {} cases fail:\n{}",
            file.display(),
            faults.len(),
            corpus.case.len(),
            faults.join("\n")
        );
        println!("{report}");
        assert!(faults.len() <= allowed, "{report}");
    }
}

#[test]
fn ordinary_command_lines_stay_whole() {
    let text = fs::read_to_string(data().join("ordinary.txt")).expect("the corpus is there");
    let mut lines = 0;
    let mut changed = Vec::new();
    for line in text.lines() {
        let argv: Vec<String> = serde_json::from_str(line).expect("an array of strings");
        let original = raw(&argv);
        let redacted = redact_argv(&original);
        lines += 1;
        if redacted != original {
            changed.push(format!("{redacted:?}"));
        }
    }
    assert!(lines >= 500, "{lines} lines are too few to say anything");
    println!("{} of {lines} changed\n{}", changed.len(), changed.join("\n"));
    assert!(changed.len() * 100 <= lines, "more than one in a hundred:\n{}", changed.join("\n"));
}

/// The limit on the arguments of a record may fall anywhere, also inside a secret.
#[test]
fn arguments_may_be_cut_anywhere() {
    let text = fs::read_to_string(data().join("known.toml")).expect("the corpus is there");
    let corpus: Corpus = toml::from_str(&text).expect("a corpus is TOML");
    for case in &corpus.case {
        let Some(last) = case.argv.last() else { continue };
        for length in (0..last.len()).step_by(1 + last.len() / 24) {
            let mut argv = raw(&case.argv);
            argv.pop();
            argv.push(RawBytes::from(last.as_bytes().get(..length).expect("within the argument")));
            let once = redact_argv(&argv);
            assert_eq!(once.len(), argv.len(), "{}", case.name);
            assert_eq!(redact_argv(&once), once, "{}", case.name);
        }
    }
}

#[test]
fn bytes_that_are_not_text_are_kept_and_hidden_alike() {
    let argv = [&b"\xff\xfetool"[..], b"--user=\xfebob", b"--password=\xff\xc3hunter\x80", b"\x80=\xff"];
    let redacted = redact_argv(&argv.map(RawBytes::from));
    let expected = [&b"\xff\xfetool"[..], b"--user=\xfebob", b"--password=[redacted]", b"\x80=\xff"];
    assert_eq!(redacted, expected.map(RawBytes::from));
}

#[test]
fn a_single_text_is_read_as_well() {
    for (text, expected) in [
        (
            "https://bob:hunter22@host.example/x?token=Zx81kQ",
            "https://bob:[redacted]@host.example/x?token=[redacted]",
        ),
        ("/srv/secrets/tokens", "/srv/secrets/tokens"),
        ("", ""),
    ] {
        assert_eq!(redact_text(&RawBytes::from(text)), RawBytes::from(expected));
    }
}

#[test]
fn what_holds_no_secret_is_not_copied() {
    let argv = ["mysql", "-psecret-word", "-e", "select 1"].map(RawBytes::from);
    let redacted = redact_argv(&argv);
    let same: Vec<bool> = argv
        .iter()
        .zip(&redacted)
        .map(|(before, after)| std::ptr::eq(before.as_bytes(), after.as_bytes()))
        .collect();
    assert_eq!(same, [true, false, true, true]);
}

/// Bytes that look like command lines, so that the rules are reached.
fn argument() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "password",
            "token",
            "--secret",
            "-p",
            "mysql",
            "curl",
            "Authorization: ",
            "Bearer ",
            "://",
            "user:",
            "@host",
            "=",
            ": ",
            "\"",
            "'",
            "\\\"",
            "\\",
            "&",
            ",",
            ";",
            " ",
            "|",
            "$(",
            ")",
            "${X}",
            "-----BEGIN PRIVATE KEY-----",
            "-----END",
            "ghp_",
            "eyJ",
            "AKIA",
            "%3D",
            "%26",
            "chpasswd",
            "echo ",
            "sh",
            "-c",
            "[redacted]",
            "Abc123xyz789QQ",
            "<password>",
            "</",
            "{",
            "}",
            "[",
            "]",
            "name",
            "value",
            "$6$",
            "send ",
            "assword",
            "login ",
            "\n",
            "s/",
            "|\n ",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(1u8..=255, 1..12),
        "[a-zA-Z0-9+/]{1,40}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn redaction_settles_and_keeps_the_count(
        arguments in prop::collection::vec(argument(), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut arguments = arguments;
        if let Some(last) = arguments.last_mut() {
            last.truncate(cut.index(last.len() + 1));
        }
        let argv: Vec<RawBytes> = arguments.into_iter().map(RawBytes::from).collect();
        let once = redact_argv(&argv);
        assert_eq!(once.len(), argv.len());
        assert_eq!(redact_argv(&once), once);
        for argument in &argv {
            let text = redact_text(argument);
            assert_eq!(redact_text(&text), text);
        }
    }
}
