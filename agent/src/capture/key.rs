//! Records of reads of keys.

use agent_common::limits::{KEY_DESCRIPTION_BYTES, KEY_TYPE_BYTES};
use agent_common::records::{KeyRecord, key_flag};

use super::decode::{DecodeError, actor, fixed};
use super::sections::{Tail, plain};
use crate::model::act::{Deed, KeyName, KeyUse};
use crate::model::bytes::RawBytes;

pub(super) fn key(bytes: &[u8]) -> Result<Deed, DecodeError> {
    const TYPE: &str = "type of a key";
    const DESCRIPTION: &str = "description of a key";
    let (record, tail) = fixed::<KeyRecord>("key", bytes)?;
    let is = |flag| record.flags & flag != 0;
    let name = if is(key_flag::UNNAMED) {
        None
    } else {
        let mut tail = Tail::new(tail);
        let room = tail.take(TYPE, KEY_TYPE_BYTES as u16, KEY_TYPE_BYTES)?;
        let kind = Tail::new(room).take(TYPE, record.type_length, KEY_TYPE_BYTES)?;
        let description = tail.take(DESCRIPTION, record.description_length, KEY_DESCRIPTION_BYTES)?;
        Some(KeyName {
            kind: RawBytes::from(plain(TYPE, kind)?),
            description: RawBytes::from(plain(DESCRIPTION, description)?),
            truncated: is(key_flag::DESCRIPTION_TRUNCATED),
            owner: (record.owner != u32::MAX).then_some(record.owner),
        })
    };
    Ok(Deed::Key(Box::new(KeyUse {
        actor: actor(&record.actor),
        serial: record.serial,
        name,
        refused: (record.errno != 0).then_some(record.errno),
    })))
}
