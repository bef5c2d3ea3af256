//! A text under inspection, and the ranges of it that are secret.

use std::borrow::Cow;
use std::ops::Range;

/// The byte at `index`; NUL past the end, a byte that no argument contains.
pub(super) fn at(bytes: &[u8], index: usize) -> u8 {
    bytes.get(index).copied().unwrap_or(0)
}

/// The bytes of `range`; none where it is not a range of `bytes`.
pub(super) fn cut(bytes: &[u8], range: Range<usize>) -> &[u8] {
    bytes.get(range).unwrap_or_default()
}

/// The byte before `index`; NUL at the start.
pub(super) fn before(bytes: &[u8], index: usize) -> u8 {
    index.checked_sub(1).map_or(0, |previous| at(bytes, previous))
}

/// Where `accept` first refuses a byte, from `start` on.
pub(super) fn run_end(bytes: &[u8], start: usize, accept: impl Fn(u8) -> bool) -> usize {
    let rest = bytes.get(start..).unwrap_or_default();
    start + rest.iter().position(|&byte| !accept(byte)).unwrap_or(rest.len())
}

/// Where the run of accepted bytes that ends at `end` starts.
pub(super) fn run_start(bytes: &[u8], end: usize, accept: impl Fn(u8) -> bool) -> usize {
    let head = bytes.get(..end).unwrap_or_default();
    head.iter().rposition(|&byte| !accept(byte)).map_or(0, |refused| refused + 1)
}

/// Where `needle` first occurs from `start` on, letters compared without case.
pub(super) fn find(bytes: &[u8], start: usize, needle: &[u8]) -> Option<usize> {
    let first = needle.first()?;
    let rest = bytes.get(start..)?;
    memchr::memchr2_iter(first.to_ascii_lowercase(), first.to_ascii_uppercase(), rest)
        .find(|&found| cut(rest, found..found + needle.len()).eq_ignore_ascii_case(needle))
        .map(|found| start + found)
}

/// Which ASCII bytes a text has, so that readers whose signs it lacks need not look.
#[derive(Clone, Copy)]
pub(super) struct Signs(u128);

impl Signs {
    /// Those of `bytes`.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(bytes.iter().filter(|byte| byte.is_ascii()).fold(0, |signs, byte| signs | 1 << byte))
    }

    /// Whether all of `signs` are there.
    pub(super) fn all(self, signs: &[u8]) -> bool {
        signs.iter().all(|sign| self.0 & (1 << (sign & 0x7f)) != 0)
    }

    /// Whether one of `signs` is there.
    pub(super) fn any(self, signs: &[u8]) -> bool {
        signs.iter().any(|sign| self.0 & (1 << (sign & 0x7f)) != 0)
    }
}

/// Whether `list` has `word`, letters compared without case.
pub(super) fn among(word: &[u8], list: &[&str]) -> bool {
    list.iter().any(|entry| entry.len() == word.len() && word.eq_ignore_ascii_case(entry.as_bytes()))
}

/// Whether `list` has `word`, letter for letter.
pub(super) fn exactly(word: &[u8], list: &[&str]) -> bool {
    list.iter().any(|entry| word == entry.as_bytes())
}

/// Whether `word` starts with one of `list`, letters compared without case.
pub(super) fn starts_with_any(word: &[u8], list: &[&str]) -> bool {
    list.iter()
        .any(|entry| word.get(..entry.len()).is_some_and(|head| head.eq_ignore_ascii_case(entry.as_bytes())))
}

/// Whether `word` ends with one of `list`, letters compared without case.
pub(super) fn ends_with_any(word: &[u8], list: &[&str]) -> bool {
    list.iter().any(|entry| {
        word.len()
            .checked_sub(entry.len())
            .is_some_and(|start| cut(word, start..word.len()).eq_ignore_ascii_case(entry.as_bytes()))
    })
}

pub(super) fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

/// Bytes of one argument, as it stands or with the quoting of a shell taken off, and where each of them was.
#[derive(Clone)]
pub(super) struct Text<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    argument: usize,
    origin: Origin,
}

#[derive(Clone)]
enum Origin {
    /// The bytes follow each other in the argument from this offset on.
    Offset(usize),
    /// The offset of each byte.
    Each(Vec<u32>),
}

impl<'a> Text<'a> {
    /// A whole argument.
    pub(super) fn argument(bytes: &'a [u8], argument: usize) -> Self {
        Self { bytes: Cow::Borrowed(bytes), argument, origin: Origin::Offset(0) }
    }

    /// A part of this text as it stands.
    pub(super) fn part(&self, range: Range<usize>) -> Text<'_> {
        let origin = match &self.origin {
            Origin::Offset(offset) => Origin::Offset(offset + range.start),
            Origin::Each(offsets) => Origin::Each(offsets.get(range.clone()).unwrap_or_default().to_vec()),
        };
        Text { bytes: Cow::Borrowed(cut(&self.bytes, range)), argument: self.argument, origin }
    }

    /// Bytes picked from this text, each with its place in it.
    pub(super) fn picked(&self, bytes: Vec<u8>, places: &[usize]) -> Text<'static> {
        let offsets =
            places.iter().map(|&place| u32::try_from(self.offset(place)).unwrap_or(u32::MAX)).collect();
        Text { bytes: Cow::Owned(bytes), argument: self.argument, origin: Origin::Each(offsets) }
    }

    /// Whether quoting was taken off.
    pub(super) fn is_unquoted(&self) -> bool {
        matches!(self.origin, Origin::Each(_))
    }

    fn offset(&self, index: usize) -> usize {
        match &self.origin {
            Origin::Offset(offset) => offset + index,
            Origin::Each(offsets) => {
                offsets.get(index).and_then(|&offset| usize::try_from(offset).ok()).unwrap_or(0)
            }
        }
    }
}

/// The ranges found secret so far.
#[derive(Default)]
pub(super) struct Marks(Vec<(usize, Range<usize>)>);

impl Marks {
    /// Marks `range` of `text` as secret.
    pub(super) fn add(&mut self, text: &Text<'_>, range: Range<usize>) {
        let Some(last) = range.end.checked_sub(1).filter(|last| *last >= range.start) else { return };
        if range.end <= text.bytes.len() {
            self.0.push((text.argument, text.offset(range.start)..text.offset(last) + 1));
        }
    }

    /// Marks the whole of `text` as secret.
    pub(super) fn add_all(&mut self, text: &Text<'_>) {
        self.add(text, 0..text.bytes.len());
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `bytes`, which are argument number `argument`, with each marked range replaced by `marker`; nothing where that
    /// changes nothing. Ranges that touch or overlap become one.
    pub(super) fn apply(&mut self, argument: usize, bytes: &[u8], marker: &[u8]) -> Option<Vec<u8>> {
        self.0.sort_unstable_by_key(|(number, range)| (*number, range.start));
        let mut out = Vec::new();
        let mut copied = 0;
        let mut ranges = self
            .0
            .iter()
            .filter(|(number, _)| *number == argument)
            .filter_map(|(_, range)| beside_markers(bytes, range, marker))
            .peekable();
        while let Some(range) = ranges.next() {
            let mut end = range.end;
            while let Some(next) = ranges.next_if(|next| next.start <= end) {
                end = end.max(next.end);
            }
            out.extend_from_slice(cut(bytes, copied..range.start.max(copied)));
            out.extend_from_slice(marker);
            copied = end;
        }
        out.extend_from_slice(cut(bytes, copied..bytes.len()));
        (out != bytes).then_some(out)
    }
}

/// `range` without what is redacted already: up to the end of the first marker in it, nothing where it starts with one.
/// What follows a marker was read before the marker was there, and better.
fn beside_markers(bytes: &[u8], range: &Range<usize>, marker: &[u8]) -> Option<Range<usize>> {
    let first = range.start.saturating_sub(marker.len() - 1);
    let last = range.end.min(bytes.len());
    let found = (first..last).find(|&start| cut(bytes, start..start + marker.len()) == marker);
    match found {
        Some(start) if start <= range.start => None,
        Some(start) => Some(range.start..start + marker.len()),
        None => Some(range.clone()),
    }
}
