//! Secrets that a script is given as its arguments: `sh -c 'export TOKEN="$1"; …' sh <token>`. Only the script says what
//! its first argument is.

use super::header;
use super::name::kind;
use super::shape::is_stand_in;
use super::text::{Marks, Text, among, at, before, cut, is_quote, run_start};

/// Programs whose `-c` is followed by a script and then by its arguments, of which the first is the script's name.
const SHELLS: &[&str] = &["sh", "bash", "dash", "zsh", "ksh", "ash", "mksh", "fish"];

/// Marks the arguments that a script on the same command line binds to a secret-sounding name.
pub(super) fn scan(arguments: &[Text<'_>], marks: &mut Marks) {
    for (index, argument) in arguments.iter().enumerate() {
        let name = argument.bytes.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        if !among(name, SHELLS) {
            continue;
        }
        let flag = arguments.iter().skip(index + 1).take(6).position(|flag| is_command_flag(&flag.bytes));
        let Some(script) = flag.map(|flag| index + flag + 2) else { continue };
        let Some(text) = arguments.get(script) else { continue };
        for number in bound(&text.bytes) {
            if let Some(value) = arguments.get(script + 1 + number).filter(|value| !is_stand_in(&value.bytes))
            {
                marks.add_all(value);
            }
        }
        return;
    }
}

/// `-c`, alone or bundled.
fn is_command_flag(bytes: &[u8]) -> bool {
    at(bytes, 0) == b'-' && at(bytes, 1) != b'-' && bytes.ends_with(b"c") && bytes.len() <= 6
}

/// The numbers of the arguments that stand where a secret would: `TOKEN="$1"`, `--password "${2}"`, `Bearer $1`.
fn bound(script: &[u8]) -> Vec<usize> {
    let mut numbers = Vec::new();
    for (index, _) in script.iter().enumerate().filter(|(_, byte)| **byte == b'$') {
        let brace = usize::from(at(script, index + 1) == b'{');
        let digit = at(script, index + 1 + brace);
        if !(b'1'..=b'9').contains(&digit) {
            continue;
        }
        let value = run_start(script, index, |byte| is_quote(byte) || byte == b'\\');
        let sign = run_start(script, value, |byte| byte == b' ');
        let glued = matches!(before(script, sign), b'=' | b':');
        let name_end = if glued { sign - 1 } else { sign };
        let start =
            run_start(script, name_end, |byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        let name = cut(script, start..name_end);
        let flag = name.starts_with(b"-");
        let is_secret = ((glued || flag) && kind(name).is_some()) || header::is_scheme(name);
        if is_secret && numbers.len() < 9 {
            numbers.push(usize::from(digit - b'0'));
        }
    }
    numbers
}

/// Whether `bytes` has more than one word, so that it may be a command line.
pub(super) fn is_line(bytes: &[u8]) -> bool {
    bytes.iter().any(u8::is_ascii_whitespace)
}
