//! Which package of dpkg a file is of, by the data base that dpkg keeps: `/var/lib/dpkg`, of which
//! `lib/dpkg/db-fsys-files.c`, `db-fsys-digest.c` and `parse.c` of <https://git.dpkg.org/git/dpkg/dpkg.git> are the readers.
//!
//! The lists are searched for each executable and not kept: a host with a thousand packages has 30 MB of them, and few
//! executables act that were not looked up.

use std::path::Path;

use memchr::memmem;
use rustix::fs::{Dir, OFlags};

use super::super::HostRoot;
use super::super::trusted::read;
use super::{Owner, Sum, names_of};

/// Where dpkg keeps what it installed.
const INFO: &str = "/var/lib/dpkg/info";
/// Lists of one data base: a workstation has 4,000.
const LISTS: usize = 16_384;
/// Largest list: those of headers of the kernel have 3 MB.
const LIST_BYTES: u64 = 16 << 20;
/// Largest list of all packages' states: 4,000 packages take 5 MB.
const STATUS_BYTES: u64 = 64 << 20;
/// Bytes of a name or a version that are kept.
const TEXT_BYTES: usize = 256;

/// The packages that list a file. Several do where one diverts the other's.
pub(super) fn owners(host: &HostRoot, path: &[u8]) -> Vec<Owner> {
    let Ok(opened) = host.open(Path::new(INFO), OFlags::RDONLY | OFlags::DIRECTORY) else {
        return Vec::new();
    };
    let Ok(entries) = Dir::new(opened.file) else { return Vec::new() };
    let mut owners = Vec::new();
    for entry in entries.filter_map(Result::ok).take(LISTS * 8) {
        let name = entry.file_name().to_bytes();
        let Some(package) = name.strip_suffix(b".list").and_then(|name| std::str::from_utf8(name).ok())
        else {
            continue;
        };
        let Ok(list) = read(host, &format!("{INFO}/{package}.list"), LIST_BYTES) else { continue };
        if let Some(listed) = names_of(path).find(|path| has_line(&list, path)) {
            let sums = read(host, &format!("{INFO}/{package}.md5sums"), LIST_BYTES).unwrap_or_default();
            let md5 = sum_of(&sums, listed);
            owners.push((package.to_owned(), md5));
        }
    }
    if owners.is_empty() {
        return Vec::new();
    }
    let status = read(host, "/var/lib/dpkg/status", STATUS_BYTES).unwrap_or_default();
    let with_version = |(package, md5): (String, Option<String>)| {
        let (name, architecture) = package.split_once(':').map_or((&*package, None), |(n, a)| (n, Some(a)));
        let version = version_of(&status, name, architecture)?;
        Some(Owner { name: name.to_owned(), version, sum: md5.map(Sum::Md5) })
    };
    owners.into_iter().filter_map(with_version).collect()
}

/// A list has a path on each line.
fn has_line(list: &[u8], path: &[u8]) -> bool {
    !path.contains(&b'\n')
        && memmem::find_iter(list, path).any(|at| {
            let before = at.checked_sub(1).and_then(|before| list.get(before));
            let behind = list.get(at + path.len());
            before.is_none_or(|byte| *byte == b'\n') && behind.is_none_or(|byte| *byte == b'\n')
        })
}

/// A line is 32 hex digits, two blanks and the path without its first `/`.
fn sum_of(sums: &[u8], path: &[u8]) -> Option<String> {
    let path = path.strip_prefix(b"/")?;
    sums.split(|&byte| byte == b'\n').find_map(|line| {
        let (sum, rest) = line.split_at_checked(32)?;
        let is_it = rest.strip_prefix(b"  ") == Some(path) && sum.iter().all(u8::is_ascii_hexdigit);
        is_it.then(|| String::from_utf8_lossy(sum).to_ascii_lowercase())
    })
}

/// Of a package that is installed.
fn version_of(status: &[u8], name: &str, architecture: Option<&str>) -> Option<String> {
    let first = format!("Package: {name}\n");
    memmem::find_iter(status, first.as_bytes()).find_map(|at| {
        if at > 0 && status.get(at - 1) != Some(&b'\n') {
            return None;
        }
        let rest = status.get(at..)?;
        let stanza = rest.get(..memmem::find(rest, b"\n\n").unwrap_or(rest.len()))?;
        let field = |name: &str| {
            let mut lines = stanza.split(|&byte| byte == b'\n');
            lines.find_map(|line| std::str::from_utf8(line.strip_prefix(name.as_bytes())?).ok())
        };
        let is_it = architecture.is_none_or(|wanted| field("Architecture: ") == Some(wanted));
        // Want, flag and state: what was removed, or is half there, does not count.
        let is_there = field("Status: ").is_some_and(|status| status.ends_with(" installed"));
        field("Version: ")
            .filter(|version| is_it && is_there && version.len() <= TEXT_BYTES)
            .map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As dpkg of Debian 13 wrote them: `head /var/lib/dpkg/info/openssh-client.list`, `.md5sums`, and two stanzas of
    /// `/var/lib/dpkg/status`, shortened.
    const LIST: &[u8] = b"/.\n/etc\n/etc/ssh\n/etc/ssh/ssh_config\n/usr\n/usr/bin\n/usr/bin/scp\n/usr/bin/ssh\n/usr/bin/ssh-add\n";
    const SUMS: &[u8] = b"0b2d4f0bd1e3f6a0f3f6e0b2a5b1c7d9  usr/bin/scp\n\
        8D3B9E1C7f1d0a4f6e2f00b1c2d3e4f5  usr/bin/ssh\n";
    const STATUS: &[u8] = b"Package: openssh-client\nStatus: install ok installed\nPriority: standard\n\
        Architecture: amd64\nMulti-Arch: foreign\nVersion: 1:10.0p1-7\nDescription: secure shell (SSH) client\n \
        Package: nothing\n\nPackage: libc6\nStatus: install ok installed\nArchitecture: i386\nVersion: 2.40\n\n\
        Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.41-12\n\n\
        Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n";

    #[test]
    fn a_list_has_whole_paths() {
        for (path, expected) in [
            ("/usr/bin/ssh", true),
            ("/usr/bin/ssh-add", true),
            ("/usr/bin/ss", false),
            ("usr/bin/ssh", false),
            ("/usr/bin/scp\n/usr/bin/ssh", false),
            ("/.", true),
        ] {
            assert_eq!(has_line(LIST, path.as_bytes()), expected, "{path}");
        }
    }

    #[test]
    fn a_sum_is_of_its_file() {
        let expected = Some("8d3b9e1c7f1d0a4f6e2f00b1c2d3e4f5".to_owned());
        assert_eq!(sum_of(SUMS, b"/usr/bin/ssh"), expected);
        assert_eq!(sum_of(SUMS, b"/bin/ssh"), None);
        assert_eq!(sum_of(SUMS, b""), None);
    }

    #[test]
    fn a_version_is_of_what_is_installed() {
        let version = |name, architecture| version_of(STATUS, name, architecture);
        assert_eq!(version("openssh-client", None).as_deref(), Some("1:10.0p1-7"));
        assert_eq!(version("libc6", Some("amd64")).as_deref(), Some("2.41-12"));
        assert_eq!(version("libc6", Some("i386")).as_deref(), Some("2.40"));
        for (name, architecture) in
            [("libc6", Some("arm64")), ("gone", None), ("nothing", None), ("libc", None)]
        {
            assert_eq!(version(name, architecture), None, "{name}");
        }
    }

    #[test]
    fn a_file_of_bin_is_one_of_usr_bin() {
        let names = |path: &'static [u8]| names_of(path).collect::<Vec<_>>();
        assert_eq!(names(b"/usr/bin/sh"), [&b"/usr/bin/sh"[..], b"/bin/sh"]);
        assert_eq!(names(b"/usr/lib64/x"), [&b"/usr/lib64/x"[..], b"/lib64/x"]);
        assert_eq!(names(b"/usr/share/x"), [&b"/usr/share/x"[..]]);
        assert_eq!(names(b"/bin/sh"), [&b"/bin/sh"[..]]);
    }

    proptest! {
        #[test]
        fn any_data_base_is_read(
            bytes in proptest::collection::vec(proptest::sample::select(b"Pack: e\nVrsioStu/ab\xff".to_vec()), 0..64),
            path in "/[ab/]{0,4}",
        ) {
            let _ = (has_line(&bytes, path.as_bytes()), sum_of(&bytes, path.as_bytes()));
            let status = [&b"Package: x\n"[..], &bytes].concat();
            let _ = version_of(&status, "x", Some("a"));
        }
    }
}
