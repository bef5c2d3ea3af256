//! Secrets in the arguments of a process, replaced before anything of the process is kept or sent.
//!
//! Two readings of the same bytes, each of which only marks ranges:
//!
//! * as text, whatever language it is in: tokens known by their shape (`token`), private keys (`pem`), addresses
//!   (`url`), names and values joined by a sign (`assign`), headers and cookies (`header`), program text (`code`);
//! * as commands, word by word: what follows a flag (`flags`), what a program is known to take (`program`), what one
//!   command writes for the next (`stdin`), what a script is given (`script`). An argument with spaces in it is cut into
//!   words as a shell would (`shell`) and read again, to a small depth.
//!
//! What a name promises (`name`, `words`) and what a value looks like (`shape`, `value`) decide in both.
//!
//! Rules that read patterns backwards from a sign, with tables beside them, were chosen over a set of regular
//! expressions (crate `regex`): most of the decision is in the name, its exceptions and the list around the value,
//! which alternations express badly, and the cost per argument stays at microseconds.
//!
//! Nothing here fails or panics on any input; the work grows linearly with the input, with fixed limits on what is
//! looked at around each sign.

mod assign;
mod code;
mod command;
mod flags;
mod header;
mod issuers;
mod members;
mod name;
mod pem;
mod positional;
mod program;
mod programs;
mod script;
mod shape;
mod shell;
mod span;
mod stdin;
mod text;
mod token;
mod url;
mod value;
mod words;

use crate::model::bytes::RawBytes;
use text::{Marks, Signs, Text};

/// What stands in place of a secret.
const MARKER: &[u8] = b"[redacted]";

/// How often the result is read again: what is left beside a marker may first look like a secret then.
const MOST_READINGS: usize = 6;

/// How deep quoted command lines are followed into each other.
const MOST_DEPTH: usize = 4;

/// `argv` with every secret in it replaced by `[redacted]` and everything else byte for byte as it was. The number of
/// arguments does not change; an argument without a secret is the same allocation.
///
/// The arguments may be cut anywhere, also inside a secret. Doing it again changes nothing.
pub fn redact_argv(argv: &[RawBytes]) -> Vec<RawBytes> {
    let mut arguments = argv.to_vec();
    for _ in 0..MOST_READINGS {
        if !reread(&mut arguments) {
            return arguments;
        }
    }
    // Adversarial: each reading finds more. Hide what still changes, so that the result stands.
    let mut settled = arguments.clone();
    for _ in 0..=arguments.len() {
        if !reread(&mut settled) {
            break;
        }
        for (argument, last) in settled.iter_mut().zip(&arguments) {
            if argument != last {
                *argument = RawBytes::from(MARKER);
            }
        }
        arguments.clone_from(&settled);
    }
    arguments
}

/// `text`, a single string such as an address, a path or the value of a variable, with every secret in it replaced.
pub fn redact_text(text: &RawBytes) -> RawBytes {
    redact_argv(std::slice::from_ref(text)).pop().unwrap_or_default()
}

/// One reading; answers whether it changed anything.
fn reread(arguments: &mut [RawBytes]) -> bool {
    let mut marks = mark(arguments);
    if marks.is_empty() {
        return false;
    }
    let mut changed = false;
    for (number, argument) in arguments.iter_mut().enumerate() {
        if let Some(redacted) = marks.apply(number, argument.as_bytes(), MARKER) {
            *argument = RawBytes::from(redacted);
            changed = true;
        }
    }
    changed
}

fn mark(arguments: &[RawBytes]) -> Marks {
    let mut marks = Marks::default();
    let texts: Vec<Text<'_>> = arguments
        .iter()
        .enumerate()
        .map(|(number, argument)| Text::argument(argument.as_bytes(), number))
        .collect();
    for text in &texts {
        read(text, 0, &mut marks);
    }
    let words: Vec<shell::Word<'_>> = texts
        .iter()
        .enumerate()
        .map(|(number, text)| shell::Word {
            text: text.clone(),
            lead: if number == 0 { shell::Lead::Command } else { shell::Lead::Space },
            quoted: true,
        })
        .collect();
    command::scan(&words, true, &mut marks);
    pem::scan_split(&texts, &mut marks);
    script::scan(&texts, &mut marks);
    marks
}

/// Reads `text` as text, and as a command line where it can be one.
fn read(text: &Text<'_>, depth: usize, marks: &mut Marks) {
    let signs = Signs::of(&text.bytes);
    token::scan(text, signs, marks);
    if signs.any(b"-:") && signs.any(b" ") {
        pem::scan(text, marks);
    }
    if signs.any(b":%@") {
        url::scan(text, signs, marks);
    }
    if signs.any(b" %+") {
        header::scan_schemes(text, marks);
    }
    if signs.any(b"=:%") {
        assign::scan(text, marks);
    }
    if signs.any(b"\"'`(>") {
        code::scan(text, marks);
    }
    if signs.all(b" send") && signs.any(b"\"'") {
        header::scan_expect(text, marks);
    }
    if depth == MOST_DEPTH || !script::is_line(&text.bytes) {
        return;
    }
    let words = shell::split(text);
    command::scan(&words, false, marks);
    for word in &words {
        let substituted = text::find(&word.text.bytes, 0, b"$(");
        if word.text.is_unquoted() && (word.quoted || depth == 0) {
            read(&word.text, depth + 1, marks);
        } else if let Some(start) = substituted {
            read(&word.text.part(start + 2..word.text.bytes.len()), depth + 1, marks);
        }
    }
}
