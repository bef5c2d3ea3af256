//! Records of renames, links, removals and other changes.

use agent_common::limits::PATH_BYTES;
use agent_common::records::{ChangeRecord, change, file_flag};

use super::decode::{DecodeError, actor, file, fixed};
use super::sections::{Tail, reversed_path};
use crate::model::act::{Change, ChangeKind, Deed};

pub(super) fn change(bytes: &[u8]) -> Result<Deed, DecodeError> {
    const PATH: &str = "path";
    const OTHER: &str = "second path";
    let (record, tail) = fixed::<ChangeRecord>("change", bytes)?;
    let mut tail = Tail::new(tail);
    let path = tail.take(PATH, record.path_length, PATH_BYTES)?;
    let other = tail.take(OTHER, record.other_length, PATH_BYTES)?;
    let is = |flag| record.flags & flag != 0;
    let kind = match record.change {
        change::RENAME => ChangeKind::Rename,
        change::REPLACE => ChangeKind::Replace,
        change::LINK => ChangeKind::Link,
        change::UNLINK => ChangeKind::Unlink,
        change::CHMOD => ChangeKind::Chmod,
        change::CHOWN => ChangeKind::Chown,
        change::TRUNCATE => ChangeKind::Truncate,
        unknown => return Err(DecodeError::Change(unknown)),
    };
    let other = if other.is_empty() {
        None
    } else {
        Some(reversed_path(OTHER, other, is(file_flag::OTHER_TRUNCATED))?)
    };
    Ok(Deed::Change(Box::new(Change {
        actor: actor(&record.actor),
        kind,
        file: file(&record.file),
        path: reversed_path(PATH, path, is(file_flag::PATH_TRUNCATED))?,
        other,
        known_inode: is(file_flag::BY_INODE),
        refused: (record.errno != 0).then_some(record.errno),
    })))
}
