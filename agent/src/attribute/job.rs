//! Jobs: what cron, anacron and atd run for somebody.
//!
//! A job begins with the first program that one of these servers of the host executes ([`super::login`]), and is inherited as
//! the login is: whatever it starts, as whichever user, is the job.
//!
//! What makes `cron/alice/backup` stable: whose job it is, by the user of its first program, and what its line of the crontab
//! runs. A user names his own jobs, and nobody else's. Two jobs of a user that run the same program have one name: their
//! evidence has the whole command.
//!
//! `cd / && run-parts --report /etc/cron.daily` is `cron/root/cron.daily`, and each program there a job of its own:
//! `cron/root/logrotate`.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::model::bytes::RawBytes;
use crate::model::identity::{Confidence, Evidence, Identity};
use crate::model::process::{Job, Login, LoginWay, Process};
use crate::process::inventory::HostNamespaces;

use super::users::Users;
use super::{Finding, Resolver, Standing, Subject};

/// Bytes of a command that are looked at for its name.
const COMMAND_BYTES: usize = 4_096;
/// Words of a command that are looked at.
const WORDS: usize = 256;
/// Bytes of a job's name: `NAME_MAX` of a file.
const NAME_BYTES: usize = 255;
/// Bytes of the digest that stands for a command in which no program is found.
const DIGEST_BYTES: usize = 6;
/// Shells, for which `-c` is a command's text.
const SHELLS: &[&str] = &["sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "fish", "busybox"];
/// Directories of whose programs each is a job of root's. cron(8), anacron(8), run-parts(8).
const PARTS: &[&str] = &[
    "/etc/cron.hourly/",
    "/etc/cron.daily/",
    "/etc/cron.weekly/",
    "/etc/cron.monthly/",
    "/etc/cron.yearly/",
];

/// What comes before a program in a command, and takes as many words that are no options.
const BEFORE: &[(&str, usize)] = &[
    ("nice", 0),
    ("ionice", 0),
    ("chrt", 1),
    ("taskset", 1),
    ("timeout", 1),
    ("flock", 1),
    ("env", 0),
    ("exec", 0),
    ("command", 0),
    ("nohup", 0),
    ("setsid", 0),
    ("time", 0),
    ("stdbuf", 0),
    ("chronic", 0),
    ("cronic", 0),
    ("systemd-cat", 0),
    ("sudo", 0),
    ("if", 0),
    ("then", 0),
    ("else", 0),
    ("elif", 0),
    ("while", 0),
    ("do", 0),
    ("!", 0),
    ("{", 0),
];
/// Options of these that are followed by a value of their own.
const WITH_VALUE: &[(&str, &str)] = &[
    ("nice", "n"),
    ("ionice", "cnpPu"),
    ("timeout", "ks"),
    ("flock", "wE"),
    ("env", "uCS"),
    ("exec", "a"),
    ("stdbuf", "ioe"),
    ("systemd-cat", "tp"),
    ("sudo", "ugCDhprtTRU"),
];
/// What is no job, but prepares one.
const PREPARES: &[&str] = &[
    "cd", "test", "[", "[[", "export", "set", "umask", "ulimit", ".", "source", "sleep", "true", ":", "echo",
    "printf", "command", "mkdir", "fi", "done", "}", "date", "exit", "false", "which", "type",
];
/// Programs that run the script that they are given.
const INTERPRETERS: &[&str] = &[
    "sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "fish", "python", "python2", "python3", "perl", "php",
    "ruby", "node", "nodejs", "Rscript", "lua", "tclsh",
];

/// The job that begins with a program that a server has executed.
pub(super) fn begin(way: LoginWay, process: &Process) -> Option<Job> {
    let uid = process.ids.uid;
    let argv = &process.image.argv;
    match way {
        LoginWay::Ssh | LoginWay::Console => None,
        // `execle("/bin/sh", "sh", …)` of at(1)'s atd.c, with the job on standard input.
        LoginWay::At => Some(Job { uid, name: None, command: RawBytes::default(), runs_parts: false }),
        // `execle(shell, shell, "-c", e->cmd, …)` of do_command.c, <https://github.com/vixie/cron> and
        // <https://github.com/cronie-crond/cronie>; `execle("/bin/sh", …)` of anacron's runjob.c. What else they execute is
        // mail.
        LoginWay::Cron | LoginWay::Anacron => {
            let [shell, flag, command, ..] = argv.as_slice() else { return None };
            if flag.as_bytes() != b"-c" {
                return None;
            }
            let found = SHELLS.contains(&base(&lossy(shell.as_bytes()))).then(|| find(command.as_bytes()));
            let (name, runs_parts) = found.flatten().unwrap_or_else(|| (digest(command.as_bytes()), false));
            Some(Job { uid, name: Some(name.into()), command: command.clone(), runs_parts })
        }
    }
}

/// The login of what a process in it executes: another job, where it is a program of a directory that the job runs.
pub(super) fn part(login: &Arc<Login>, process: &Process, host: HostNamespaces) -> Arc<Login> {
    let Some(job) = login.job.as_ref().filter(|job| job.runs_parts) else { return login.clone() };
    let Some(name) = part_name(process, host) else { return login.clone() };
    let job =
        Job { name: Some(name.into()), command: process.image.filename.clone(), runs_parts: false, ..*job };
    Arc::new(Login { job: Some(job), ..Login::clone(login) })
}

fn part_name(process: &Process, host: HostNamespaces) -> Option<String> {
    let namespaces = &process.namespaces;
    let is_roots = process.ids.uid == 0 && (namespaces.mount, namespaces.user) == (host.mount, host.user);
    let path = std::str::from_utf8(process.image.filename.as_bytes()).ok().filter(|_| is_roots)?;
    let name = PARTS.iter().find_map(|directory| path.strip_prefix(directory))?;
    (!name.is_empty() && name.len() <= NAME_BYTES && !name.contains('/')).then(|| name.to_owned())
}

/// What a command is called, and whether it runs the programs of a directory.
fn find(command: &[u8]) -> Option<(String, bool)> {
    let text = lossy(command.get(..COMMAND_BYTES).unwrap_or(command));
    simple_commands(&text).iter().find_map(|words| name_of(words))
}

/// Commands of which a shell's text is made, in words. Expansions stay as they are written.
fn simple_commands(text: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    let (mut words, mut word, mut is_word) = (Vec::new(), String::new(), false);
    let mut count = 0;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (Some('\''), _) => word.push(letter),
            (_, '\\') => word.extend(letters.next()),
            (Some(_), _) => word.push(letter),
            (None, '(') if word.ends_with('$') => {
                word.push(letter);
                let mut depth = 1;
                for letter in letters.by_ref() {
                    depth += i32::from(letter == '(') - i32::from(letter == ')');
                    word.push(letter);
                    if depth == 0 {
                        break;
                    }
                }
            }
            (None, '\'' | '"') => (quote, is_word) = (Some(letter), true),
            (None, '#') if word.is_empty() && !is_word => {
                letters.by_ref().find(|letter| *letter == '\n');
            }
            (None, ' ' | '\t' | ';' | '&' | '|' | '\n' | '(' | ')' | '<' | '>') => {
                if is_word || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                    is_word = false;
                    count += 1;
                }
                if count > WORDS {
                    return commands;
                }
                if !matches!(letter, ' ' | '\t') && !words.is_empty() {
                    commands.push(std::mem::take(&mut words));
                }
            }
            (None, _) => word.push(letter),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    if !words.is_empty() {
        commands.push(words);
    }
    commands
}

/// What a simple command runs.
fn name_of(words: &[String]) -> Option<(String, bool)> {
    let mut words = words.iter().map(String::as_str).peekable();
    loop {
        let word = words.next()?;
        if is_assignment(word) {
            continue;
        }
        let program = base(word);
        if let Some((_, takes)) = BEFORE.iter().find(|(name, _)| *name == program) {
            skip_options(program, &mut words);
            let values = words.by_ref().take(*takes).count();
            // `flock FILE -c COMMAND`.
            if program == "flock"
                && values > 0
                && words.next_if(|word| ["-c", "--command"].contains(word)).is_some()
            {
                return find(words.next()?.as_bytes());
            }
            continue;
        }
        if PREPARES.contains(&program) {
            return None;
        }
        if program == "run-parts" {
            let directory = words.find(|word| !word.starts_with('-'))?;
            return plain(base(directory)).map(|name| (name, true));
        }
        let name =
            if INTERPRETERS.contains(&program) { script(&mut words).unwrap_or(program) } else { program };
        return plain(name).map(|name| (name, false));
    }
}

/// Passes over options, and the values that belong to them.
fn skip_options<'a>(program: &str, words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) {
    let with_value = WITH_VALUE.iter().find(|(name, _)| *name == program).map_or("", |(_, flags)| *flags);
    while let Some(option) = words.next_if(|word| word.starts_with('-') && word.len() > 1) {
        let takes_next = option.len() == 2 && option.ends_with(|letter| with_value.contains(letter));
        if takes_next {
            words.next();
        }
    }
}

/// The script or the module that an interpreter runs.
fn script<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<&'a str> {
    while let Some(word) = words.next() {
        match word {
            "-m" => return words.next(),
            "-c" | "-e" | "-r" => return None,
            _ if word.starts_with('-') => {}
            _ => return Some(base(word)),
        }
    }
    None
}

/// `NAME=value`.
fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A name that is one: not an expansion of the shell's.
fn plain(name: &str) -> Option<String> {
    let is_plain = !name.is_empty()
        && name.len() <= NAME_BYTES
        && !name.contains(['$', '`', '*', '?'])
        && !name.chars().any(char::is_control);
    is_plain.then(|| name.to_owned())
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a command is called in which no program is found: the same for the same text.
fn digest(command: &[u8]) -> String {
    let digest = Sha256::digest(command);
    let hex: String = digest.iter().take(DIGEST_BYTES).map(|byte| format!("{byte:02x}")).collect();
    format!("command-{hex}")
}

/// Jobs, by the login that they are.
#[derive(Debug)]
pub(super) struct CronJob;

impl Resolver for CronJob {
    fn resolve(&self, subject: &Subject<'_>) -> Finding {
        let Some(login) = &subject.process.login.login else { return Finding::default() };
        let Some(job) = &login.job else { return Finding::default() };
        let user = subject.users.name(job.uid);
        let confidence = if login.found_running { Confidence::Claimed } else { Confidence::Observed };
        let detail = match &job.name {
            Some(_) => format!("{} of {}: {}", login.way.name(), user.escape_ascii(), job.command),
            None => format!("at of {}", user.escape_ascii()),
        };
        let evidence = vec![Evidence { kind: "job", detail, confidence }];
        Finding { identity: Some((named(job, subject.users), Standing::Key)), evidence }
    }
}

fn named(job: &Job, users: &Users) -> Identity {
    let user = users.name(job.uid);
    match &job.name {
        Some(name) => Identity::CronJob { user, job: name.as_bytes().into() },
        None => Identity::AtJob { user },
    }
}

/// The job that a login is, where it was seen to begin.
pub(super) fn identity(login: &Login, users: &Users) -> Option<Identity> {
    login.job.as_ref().filter(|_| !login.found_running).map(|job| named(job, users))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(command: &str) -> String {
        find(command.as_bytes())
            .map_or_else(String::new, |(name, parts)| if parts { format!("{name}/") } else { name })
    }

    /// Lines of Debian's and Fedora's crontabs: `/etc/crontab` of cron 3.0pl1-162, `/etc/cron.d/` of anacron 2.3, e2fsprogs,
    /// php, sysstat, mdadm, certbot and popularity-contest (<https://sources.debian.org>), `/etc/anacrontab` and
    /// `/etc/cron.d/0hourly` of cronie (<https://src.fedoraproject.org/rpms/cronie>).
    #[test]
    fn lines_of_distributions_have_names() {
        for (command, expected) in [
            ("cd / && run-parts --report /etc/cron.hourly", "cron.hourly/"),
            ("test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }", "cron.daily/"),
            ("test -x /usr/sbin/anacron || ( cd / && run-parts --report /etc/cron.daily )", "cron.daily/"),
            (
                "[ -x /etc/init.d/anacron ] && if [ ! -d /run/systemd/system ]; then /usr/sbin/invoke-rc.d anacron start >/dev/null; fi",
                "invoke-rc.d",
            ),
            (
                "test -e /run/systemd/system || SERVICE_MODE=1 /usr/lib/x86_64-linux-gnu/e2fsprogs/e2scrub_all_cron",
                "e2scrub_all_cron",
            ),
            (
                "[ -x /usr/lib/php/sessionclean ] && if [ ! -d /run/systemd/system ]; then /usr/lib/php/sessionclean; fi",
                "sessionclean",
            ),
            ("command -v debian-sa1 > /dev/null && debian-sa1 1 1", "debian-sa1"),
            (
                "if [ -x /usr/share/mdadm/checkarray ] && [ $(date +\\%d) -le 7 ]; then /usr/share/mdadm/checkarray --cron --all --idle --quiet; fi",
                "checkarray",
            ),
            (
                "test -x /usr/bin/certbot -a \\! -d /run/systemd/system && perl -e 'sleep int(rand(43200))' && certbot -q renew --no-random-sleep-on-renew",
                "perl",
            ),
            (
                "test -x /etc/cron.daily/popularity-contest && /etc/cron.daily/popularity-contest --crond",
                "popularity-contest",
            ),
            ("nice run-parts --report /etc/cron.weekly", "cron.weekly/"),
            ("nice run-parts /etc/cron.daily", "cron.daily/"),
            ("run-parts /etc/cron.hourly", "cron.hourly/"),
        ] {
            assert_eq!(name(command), expected, "{command}");
        }
    }

    /// Synthetic.
    #[test]
    fn what_prepares_a_job_is_not_its_name() {
        for (command, expected) in [
            ("/usr/local/bin/backup", "backup"),
            ("cd /srv/app && ./backup.sh --all >/dev/null 2>&1", "backup.sh"),
            (
                "PATH=/opt/bin:$PATH nice -n 19 ionice -c2 -n 7 flock -n /run/l timeout -k 5 1h backup",
                "backup",
            ),
            ("flock -w 10 /tmp/l -c 'cd /x; backup --fast'", "backup"),
            ("sudo -u postgres pg_dump shop | gzip > /srv/shop.gz", "pg_dump"),
            ("python3 -u /opt/tools/report.py --daily", "report.py"),
            ("cd /x && /opt/venv/bin/python3 -m shop.reports", "shop.reports"),
            ("php /var/www/shop/artisan schedule:run", "artisan"),
            ("/bin/bash -l -c 'x'", "bash"),
            ("'/opt/my jobs/run it' now", "run it"),
            ("/opt/my\\ jobs/run", "run"),
            ("# nothing", ""),
            ("$HOME/bin/$JOB", ""),
            ("`cat x`", ""),
            ("cd /x", ""),
            ("", ""),
        ] {
            assert_eq!(name(command), expected, "{command}");
        }
        assert_ne!(digest(b"$A"), digest(b"$B"));
    }

    proptest! {
        #[test]
        fn any_command_has_a_name_or_none(command in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            "(nice |-n 5 |flock |-c |'|\"|\\\\|;|&&|\\(|x|python3 |#|\n|a=b |run-parts ){0,40}".prop_map(String::into_bytes),
        ]) {
            if let Some((name, _)) = find(&command) {
                prop_assert!(!name.is_empty() && name.len() <= NAME_BYTES);
            }
        }
    }
}
