//! Secrets that one command writes for the next to read: `echo user:password | chpasswd`.

use super::name::kind;
use super::program::mark_literal;
use super::shell::{Lead, Word};
use super::text::{Marks, Text, among, at, cut, ends_with_any, exactly, run_end};

/// Programs that read passwords, and nothing else of weight, from their input.
#[rustfmt::skip]
const READERS: &[&str] = &[
    "passwd", "su", "smbpasswd", "kinit", "cryptsetup", "ldappasswd", "ykman", "vncpasswd", "tigervncpasswd",
    "saslpasswd2", "realm", "adcli", "veracrypt", "gocryptfs", "encfs", "ecryptfs-add-passphrase", "mkpasswd",
    "wpa_passphrase", "ssh-add", "age-keygen", "keyctl", "systemd-creds", "systemd-tty-ask-password-agent",
    "secret-tool", "x11vnc", "grub-mkpasswd-pbkdf2", "htpasswd", "clevis", "bioctl", "geli", "fscrypt", "zfs",
];

/// Programs that write their arguments.
const WRITERS: &[&str] = &["echo", "printf", "print", "Write-Output", "yes"];

/// Programs that read `user:password` lines.
const USER_READERS: &[&str] = &["chpasswd", "newusers", "chgpasswd"];

/// Flags and words of a command that say that it reads a secret.
#[rustfmt::skip]
const READING: &[&str] = &[
    "-S", "--stdin", "--password-stdin", "--with-token", "--passphrase-fd", "--passwd-on-stdin", "--pwstdin",
    "password_stdin", "--token-stdin", "--pass-stdin", "--password-from-stdin", "--api-key-stdin",
    "--stdin-password", "--key-file=-", "--data-file=-", "--value-stdin", "--from-stdin", "--passphrase-file=-",
    "--stdinpass", "-stdin", "--api-token-stdin",
];

/// Commands of two words that store what they read.
#[rustfmt::skip]
const STORING: &[(&str, &str)] = &[
    ("docker", "secret"), ("podman", "secret"), ("gh", "secret"), ("wrangler", "secret"), ("pass", "insert"),
    ("gopass", "insert"), ("vault", "login"), ("gh", "auth"), ("gcloud", "secrets"), ("vercel", "env"),
    ("flyctl", "secrets"), ("fly", "secrets"), ("pulumi", "config"), ("ansible-vault", "encrypt_string"),
    ("kubeseal", "--raw"), ("op", "item"),
];

/// Marks the lines of accounts among `words`, all of a command line with those of its here-documents, where one of its
/// commands or files takes such lines.
pub(super) fn scan_lines(words: &[Word<'_>], marks: &mut Marks) {
    let users = words.iter().any(|word| is_program(word, USER_READERS));
    let pgpass =
        words.iter().any(|word| word.lead == Lead::File && ends_with_any(&word.text.bytes, &[".pgpass"]));
    for word in words.iter().filter(|_| users || pgpass) {
        if users {
            mark_user_line(&word.text, marks);
        } else {
            mark_pgpass_line(&word.text, marks);
        }
    }
}

/// Marks what `command` reads of `previous`, where a pipe joins them, or of a here-string.
pub(super) fn scan(previous: &[Word<'_>], command: &[Word<'_>], marks: &mut Marks) {
    set_by_builtin(command, marks);
    let piped = command.first().is_some_and(|word| word.lead == Lead::Pipe);
    if takes_file(previous) && command.first().is_some_and(|word| is_program(word, WRITERS)) {
        mark_written(command, marks);
    }
    let heard = piped || command.iter().any(|word| word.lead == Lead::Here);
    if !heard || !reads_secret(command) {
        return;
    }
    for word in command.iter().filter(|word| word.lead == Lead::Here) {
        mark_literal(&word.text, 0, marks);
    }
    if piped && previous.iter().any(|word| is_program(word, WRITERS)) {
        mark_written(previous, marks);
    }
}

/// `read NAME <<< value` and `printf -v NAME format value`.
fn set_by_builtin(command: &[Word<'_>], marks: &mut Marks) {
    let Some(first) = command.first() else { return };
    let named = |word: &Word<'_>| kind(&word.text.bytes).is_some();
    if first.text.bytes.as_ref() == b"read" && command.iter().skip(1).any(named) {
        for word in command.iter().filter(|word| word.lead == Lead::Here) {
            mark_literal(&word.text, 0, marks);
        }
    }
    let into = command.iter().position(|word| word.text.bytes.as_ref() == b"-v").map(|flag| flag + 1);
    let Some(name) = into.filter(|&name| command.get(name).is_some_and(named)) else { return };
    if first.text.bytes.as_ref() == b"printf" {
        for word in command.iter().skip(name + 1).filter(|word| at(&word.text.bytes, 0) != b'%') {
            mark_literal(&word.text, 0, marks);
        }
    }
}

/// `host:port:database:user:password`.
fn mark_pgpass_line(text: &Text<'_>, marks: &mut Marks) {
    let colon = text.bytes.iter().enumerate().filter(|(_, byte)| **byte == b':').nth(3);
    if let Some((colon, _)) = colon {
        mark_literal(text, colon + 1, marks);
    }
}

/// Whether a command ends with a flag for the file of a secret: `--passphrase-file <(echo x)`.
fn takes_file(command: &[Word<'_>]) -> bool {
    let Some(last) =
        command.last().map(|word| word.text.bytes.as_ref()).filter(|last| last.starts_with(b"-"))
    else {
        return false;
    };
    let last = last.strip_suffix(b"=").unwrap_or(last);
    let name = last.strip_suffix(b"-file").or_else(|| last.strip_suffix(b"file"));
    name.is_some_and(|name| kind(name).is_some())
        || (last == b"-f" && command.iter().any(|word| is_program(word, &["sshpass"])))
}

fn is_program(word: &Word<'_>, names: &[&str]) -> bool {
    let bytes = word.text.bytes.as_ref();
    among(bytes.rsplit(|&byte| byte == b'/').next().unwrap_or(bytes), names)
}

fn reads_secret(command: &[Word<'_>]) -> bool {
    let has = |text: &str| command.iter().any(|word| word.text.bytes.as_ref() == text.as_bytes());
    let stores = STORING.iter().any(|(program, verb)| has(program) && has(verb));
    let logs_in = ["login", "unlock", "signin", "unseal"].iter().any(|verb| has(verb));
    let sudo = has("sudo") || has("doas");
    stores
        || logs_in
        || command.iter().any(|word| {
            let bytes = word.text.bytes.as_ref();
            is_program(word, READERS)
                || (exactly(bytes, READING) && (bytes != b"-S" || sudo))
                || ends_with_any(bytes, &["-stdin", "_stdin"])
        })
        || (command.iter().any(|word| ends_with_any(&word.text.bytes, &["-passin", "-pass", "-passout"]))
            && has("stdin"))
}

/// Marks the words that `echo` and its kin write, after their flags and formats.
fn mark_written(command: &[Word<'_>], marks: &mut Marks) {
    let start = command.iter().position(|word| is_program(word, WRITERS)).map_or(0, |position| position + 1);
    for word in command.iter().skip(start).filter(|word| word.lead == Lead::Space) {
        let bytes = word.text.bytes.as_ref();
        let flag = at(bytes, 0) == b'-' && bytes.len() <= 3;
        let format = at(bytes, 0) == b'%';
        if !flag && !format {
            mark_literal(&word.text, 0, marks);
        }
    }
}

/// `user:password`, alone on a line.
fn mark_user_line(text: &Text<'_>, marks: &mut Marks) {
    let bytes = text.bytes.as_ref();
    let user = run_end(bytes, 0, |byte| byte.is_ascii_alphanumeric() || b"_-.$".contains(&byte));
    if user > 0 && at(bytes, user) == b':' && cut(bytes, user..user + 3) != b"://" {
        let end = run_end(bytes, user + 1, |byte| byte != b'\n' && byte != b'\\');
        let literal = text.part(0..end);
        mark_literal(&literal, user + 1, marks);
    }
}
