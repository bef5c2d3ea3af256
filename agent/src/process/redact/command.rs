//! Secrets that a command's words give away: what follows a flag, what a program is known to take, what a script does
//! with its arguments. The words are an argument vector, or a command line cut by `shell.rs`.

use super::flags::{self, Context};
use super::positional;
use super::program::Running;
use super::programs::WRAPPERS;
use super::shell::{Lead, Word};
use super::stdin;
use super::text::{Marks, among, at, cut, run_end};

/// Marks the secrets among `words`. `top` says that they are an argument vector and not cut from a text.
pub(super) fn scan(words: &[Word<'_>], top: bool, marks: &mut Marks) {
    if !top {
        stdin::scan_lines(words, marks);
    }
    let mut previous: &[Word<'_>] = &[];
    for command in commands(words) {
        scan_command(command, top, marks);
        stdin::scan(previous, command, marks);
        previous = command;
    }
}

/// `words` by command.
fn commands<'w, 'a>(words: &'w [Word<'a>]) -> impl Iterator<Item = &'w [Word<'a>]> {
    words.chunk_by(|_, next| !matches!(next.lead, Lead::Command | Lead::Pipe))
}

fn scan_command(words: &[Word<'_>], top: bool, marks: &mut Marks) {
    let mut running = Running::default();
    let mut wrapped = true;
    let sets = positional::may_set(words);
    for (index, word) in words.iter().enumerate() {
        let bytes = word.text.bytes.as_ref();
        let starts = wrapped && may_be_program(words, index);
        if starts && !(bytes.starts_with(b"-") || is_assignment(bytes)) {
            let name = program_name(bytes);
            let is_wrapper = among(name, WRAPPERS);
            let known = running.start(name, words, index);
            wrapped = is_wrapper || (wrapped && !known && index > 0 && running.is_wrapping());
            if is_wrapper {
                running.wrap();
            }
        } else if matches!(bytes, b"--" | b"-exec" | b"-execdir" | b"-ok" | b";" | b"+") {
            wrapped = true;
        }
        flags::scan(words, index, &Context { running: &running, top, sets }, marks);
        running.scan(words, index, marks);
    }
}

/// Whether the word at `index` can be the name of a program: not the name that a flag of a wrapper gives to something.
fn may_be_program(words: &[Word<'_>], index: usize) -> bool {
    const NAMING: &[&str] = &[
        "--name",
        "-n",
        "--network",
        "--net",
        "--hostname",
        "-h",
        "--link",
        "--container",
        "--user",
        "-u",
        "-l",
        "--label",
        "--network-alias",
        "--namespace",
        "-C",
        "-D",
        "-p",
        "-v",
        "-t",
    ];
    let previous = index.checked_sub(1).and_then(|previous| words.get(previous));
    !previous.is_some_and(|word| among(&word.text.bytes, NAMING))
}

/// The last part of a path, without the ending of a script or an executable.
fn program_name(bytes: &[u8]) -> &[u8] {
    let name = bytes.rsplit(|&byte| byte == b'/').next().unwrap_or(bytes);
    name.strip_suffix(b".exe").or_else(|| name.strip_suffix(b".py")).unwrap_or(name)
}

/// `NAME=value` before a command.
fn is_assignment(bytes: &[u8]) -> bool {
    let end = run_end(bytes, 0, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
    end > 0 && at(bytes, end) == b'=' && !cut(bytes, 0..1).iter().all(u8::is_ascii_digit)
}
