//! Records of refused opens, and the paths that they claim.

use agent_common::limits::PATH_BYTES;
use agent_common::records::{RefusedRecord, file_flag};

use super::decode::{DecodeError, actor, file, fixed};
use super::sections::{Tail, plain, reversed_path};
use crate::model::act::{Deed, OpenRefused};
use crate::model::bytes::RawBytes;

pub(super) fn open(bytes: &[u8]) -> Result<Deed, DecodeError> {
    const PATH: &str = "path";
    const BASE: &str = "directory of the path";
    let (record, tail) = fixed::<RefusedRecord>("refused open", bytes)?;
    let mut tail = Tail::new(tail);
    let section = tail.take(PATH, record.path_length, PATH_BYTES)?;
    let base = tail.take(BASE, record.base_length, PATH_BYTES)?;
    let is = |flag| record.flags & flag != 0;
    let claimed = is(file_flag::CLAIMED);
    let cut = is(file_flag::PATH_TRUNCATED);
    let base_cut = is(file_flag::BASE_TRUNCATED);
    let path = if claimed {
        joined(&reversed_path(BASE, base, base_cut)?, plain(PATH, section)?)
    } else {
        reversed_path(PATH, section, cut)?
    };
    Ok(Deed::OpenRefused(OpenRefused {
        actor: actor(&record.actor),
        file: (!claimed).then(|| file(&record.file)),
        path_truncated: !path.as_bytes().starts_with(b"/"),
        path,
        known_inode: is(file_flag::BY_INODE),
        errno: record.errno,
    }))
}

/// A path as its writer meant it, if no link is on the way: from the root, without `.`, `..` and empty components. What
/// is behind links cannot be known: the directory that refused was not entered.
fn joined(base: &RawBytes, path: &[u8]) -> RawBytes {
    let absolute = path.starts_with(b"/") || base.as_bytes().starts_with(b"/");
    let before = if path.starts_with(b"/") { &b""[..] } else { base.as_bytes() };
    let mut kept: Vec<&[u8]> = Vec::new();
    for component in [before, path].into_iter().flat_map(|part| part.split(|&byte| byte == b'/')) {
        match component {
            b"" | b"." => {}
            b".." => {
                kept.pop();
            }
            name => kept.push(name),
        }
    }
    let text = kept.join(&b'/');
    RawBytes::from(if absolute { [b"/", &*text].concat() } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_path_is_put_together_from_its_directory() {
        let cases: [(&str, &[u8], &[u8]); 8] = [
            ("/home/alice", b".ssh/id_rsa", b"/home/alice/.ssh/id_rsa"),
            ("/home/alice", b"/etc/shadow", b"/etc/shadow"),
            ("/home/alice", b"../bob/./.ssh//id_rsa", b"/home/bob/.ssh/id_rsa"),
            ("/", b"../../etc/shadow", b"/etc/shadow"),
            ("/", b"etc/shadow", b"/etc/shadow"),
            ("deep/.ssh", b"id_rsa", b"deep/.ssh/id_rsa"),
            ("deep", b"/etc/../etc/shadow/", b"/etc/shadow"),
            ("/a", b"caf\xe9", b"/a/caf\xe9"),
        ];
        for (base, path, expected) in cases {
            assert_eq!(joined(&base.into(), path).as_bytes(), expected, "{base} {path:?}");
        }
    }
}
