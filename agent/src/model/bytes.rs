//! Bytes that someone else wrote: paths, arguments, names.

use std::fmt;
use std::sync::Arc;

/// Bytes as the kernel gave them: any value (of a path or argument: but NUL), not necessarily UTF-8, possibly hostile. Cheap to clone.
///
/// `Debug` and `Display` escape: no control byte, no invalid UTF-8 and no bidirectional override reaches a terminal
/// or a log through them.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct RawBytes(Arc<[u8]>);

impl RawBytes {
    /// The bytes themselves.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What follows the last `/`; all of it where there is none.
    pub fn file_name(&self) -> &[u8] {
        self.0.rsplit(|&byte| byte == b'/').next().unwrap_or(&self.0)
    }
}

impl From<&[u8]> for RawBytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<Vec<u8>> for RawBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&str> for RawBytes {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl fmt::Display for RawBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape_into(f, &self.0)
    }
}

impl fmt::Debug for RawBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        escape_into(f, &self.0)?;
        f.write_str("\"")
    }
}

/// Writes bytes so that a terminal shows them and obeys none of them: printable text as it is; a control, format or
/// bidirectional character, a line separator and a backslash as `\u{..}` or `\\`; a byte that is not UTF-8 as `\x..`.
pub fn escape_into(out: &mut dyn fmt::Write, bytes: &[u8]) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => out.write_str("\\\\")?,
                '\n' => out.write_str("\\n")?,
                '\t' => out.write_str("\\t")?,
                '\r' => out.write_str("\\r")?,
                c if is_unprintable(c) => write!(out, "\\u{{{:x}}}", u32::from(c))?,
                c => out.write_char(c)?,
            }
        }
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

/// Control characters, and the format characters that reorder or hide text (Unicode general category Cf, where
/// terminals act on it), line and paragraph separators, tags, variation selectors of the supplement, and noncharacters.
pub(crate) fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(u32::from(character),
            0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x180e
            | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f
            | 0xfeff | 0xfff0..=0xfffb | 0xfffe | 0xffff
            | 0xe0000..=0xe0fff)
}

#[cfg(test)]
mod tests {
    use super::RawBytes;

    #[test]
    fn nothing_a_terminal_obeys_survives() {
        let hostile = RawBytes::from("a\u{1b}[31m\n\u{202e}b\\\u{9b}é".as_bytes());
        assert_eq!(hostile.to_string(), "a\\u{1b}[31m\\n\\u{202e}b\\\\\\u{9b}é");
    }

    #[test]
    fn bytes_that_are_not_text_are_told_apart() {
        assert_eq!(RawBytes::from(&b"\xff\\xff"[..]).to_string(), "\\xff\\\\xff");
    }
}
