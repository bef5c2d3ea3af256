//! The tail of a record: sections that follow each other, and the texts in them.

use super::decode::DecodeError;
use crate::model::bytes::RawBytes;

/// What of a record's tail has not been taken yet.
pub(super) struct Tail<'a>(&'a [u8]);

impl<'a> Tail<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Takes the next section. Its length must be within `limit` and within the record.
    pub(super) fn take(
        &mut self,
        part: &'static str,
        length: u16,
        limit: usize,
    ) -> Result<&'a [u8], DecodeError> {
        let length = usize::from(length);
        if length > limit {
            return Err(DecodeError::Limit { part, length, limit });
        }
        let (section, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Section {
            part,
            length,
            room: self.0.len(),
        })?;
        self.0 = rest;
        Ok(section)
    }
}

/// A text, with or without the NUL that ended it in the kernel.
pub(super) fn plain<'a>(part: &'static str, section: &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let text = section.strip_suffix(&[0]).unwrap_or(section);
    if text.contains(&0) { Err(DecodeError::Component(part)) } else { Ok(text) }
}

/// NUL-terminated strings. Only where the section is `cut` may the last lack its terminator.
pub(super) fn strings<'a>(
    part: &'static str,
    section: &'a [u8],
    cut: bool,
) -> Result<impl Iterator<Item = &'a [u8]> + use<'a>, DecodeError> {
    let body = match section.strip_suffix(&[0]) {
        Some(body) => Some(body),
        None if section.is_empty() => None,
        None if cut => Some(section),
        None => return Err(DecodeError::Terminator(part)),
    };
    Ok(body.into_iter().flat_map(|body| body.split(|&byte| byte == 0)))
}

/// Turns a reversed path round: a run of NUL-terminated components, the file's own name first.
///
/// A `cut` path lacks its beginning and gets no leading `/`. A component may hold a `/`: `memfd_create` lets its
/// caller choose the name of a file that is in no directory.
pub(super) fn reversed_path(part: &'static str, section: &[u8], cut: bool) -> Result<RawBytes, DecodeError> {
    let mut path = Vec::with_capacity(section.len() + 1);
    if section.is_empty() {
        return Ok(RawBytes::from(if cut { &b""[..] } else { b"/" }));
    }
    let run = section.strip_suffix(&[0]).ok_or(DecodeError::Terminator(part))?;
    for component in run.rsplit(|&byte| byte == 0) {
        if component.is_empty() {
            return Err(DecodeError::Component(part));
        }
        if !(cut && path.is_empty()) {
            path.push(b'/');
        }
        path.extend_from_slice(component);
    }
    Ok(RawBytes::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turned(section: &[u8], cut: bool) -> Result<String, DecodeError> {
        reversed_path("path", section, cut).map(|path| path.to_string())
    }

    #[test]
    fn reversed_paths() {
        assert_eq!(turned(b"", false), Ok("/".into()));
        assert_eq!(turned(b"shadow\0etc\0", false), Ok("/etc/shadow".into()));
        assert_eq!(turned(b"config\0.kube\0deep\0", true), Ok("deep/.kube/config".into()));
        assert_eq!(turned(b"", true), Ok(String::new()));
        assert_eq!(turned(b"shadow\0etc", false), Err(DecodeError::Terminator("path")));
        assert_eq!(turned(b"shadow\0\0etc\0", false), Err(DecodeError::Component("path")));
        assert_eq!(turned(b"\0", false), Err(DecodeError::Component("path")));
    }

    #[test]
    fn strings_keep_empty_ones_and_ask_for_their_end() {
        let all = |section, cut| {
            strings("argv", section, cut).map(|found| found.map(<[u8]>::to_vec).collect::<Vec<_>>())
        };
        assert_eq!(all(b"", false), Ok(vec![]));
        assert_eq!(all(b"\0", false), Ok(vec![b"".to_vec()]));
        assert_eq!(all(b"ls\0\0-l\0", false), Ok(vec![b"ls".to_vec(), b"".to_vec(), b"-l".to_vec()]));
        assert_eq!(all(b"ls\0-l", false), Err(DecodeError::Terminator("argv")));
        assert_eq!(all(b"ls\0-l", true), Ok(vec![b"ls".to_vec(), b"-l".to_vec()]));
    }

    #[test]
    fn sections_end_where_the_record_does() {
        let mut tail = Tail::new(b"abcdef");
        assert_eq!(tail.take("a", 2, 4), Ok(&b"ab"[..]));
        assert_eq!(tail.take("b", 5, 4), Err(DecodeError::Limit { part: "b", length: 5, limit: 4 }));
        assert_eq!(tail.take("c", 5, 8), Err(DecodeError::Section { part: "c", length: 5, room: 4 }));
        assert_eq!(tail.take("d", 4, 4), Ok(&b"cdef"[..]));
    }
}
