//! The build id of an ELF file, which its linker wrote.
//!
//! The crate `object` (which aya brings) was looked at: it reads whole sections, as large as the file says they are. What is
//! wanted stands in one note, and a few hundred bytes lead to it.

use std::fmt::Write as _;
use std::os::unix::fs::FileExt;

/// Program headers that are looked at; linkers write about ten.
const HEADERS: u16 = 64;
/// Bytes of one segment of notes that are read; the build id's note takes 36.
const NOTE_BYTES: u64 = 4_096;
/// Bytes of a build id: linkers write 8, 16 or 20, and take any number that they are told.
const ID_BYTES: usize = 64;

const PT_NOTE: u64 = 4;
const NT_GNU_BUILD_ID: u32 = 3;

/// Numbers of a file, as its header says.
#[derive(Clone, Copy)]
struct Form {
    wide: bool,
    big: bool,
}

/// The build id, in hex, where the file is an ELF file with one.
pub(super) fn build_id(file: &impl FileExt) -> Option<String> {
    let header = read(file, 0, 64);
    if header.get(..4)? != b"\x7fELF" {
        return None;
    }
    let form = Form { wide: *header.get(4)? == 2, big: *header.get(5)? == 2 };
    // `Elf64_Ehdr` and `Elf32_Ehdr` of elf(5).
    let (at, size, count) = if form.wide { (32, 54, 56) } else { (28, 42, 44) };
    let start = form.word(&header, at)?;
    let size = form.number(&header, size, 2)?;
    let count = u16::try_from(form.number(&header, count, 2)?).ok()?.min(HEADERS);
    let headers = read(file, start, (size * u64::from(count)).min(u64::from(HEADERS) * 64));
    for one in headers.chunks_exact(usize::try_from(size).ok().filter(|size| *size > 0)?) {
        if form.number(one, 0, 4) != Some(PT_NOTE) {
            continue;
        }
        let (offset, length, align) = if form.wide { (8, 32, 48) } else { (4, 16, 28) };
        let (offset, length) = (form.word(one, offset)?, form.word(one, length)?);
        let align = if form.word(one, align) == Some(8) { 8 } else { 4 };
        if let Some(id) = in_notes(form, &read(file, offset, length.min(NOTE_BYTES)), align) {
            return Some(id);
        }
    }
    None
}

fn in_notes(form: Form, mut notes: &[u8], align: usize) -> Option<String> {
    loop {
        let name_bytes = usize::try_from(form.number(notes, 0, 4)?).ok()?;
        let bytes = usize::try_from(form.number(notes, 4, 4)?).ok()?;
        let kind = form.number(notes, 8, 4)?;
        let rest = notes.get(12..)?;
        let name = rest.get(..name_bytes)?;
        let behind = |bytes: usize| bytes.checked_next_multiple_of(align);
        // The name begins 12 bytes into the note, and what follows is aligned from there.
        let content = notes.get(behind(12_usize.checked_add(name_bytes)?)?..)?;
        if name == b"GNU\0" && kind == u64::from(NT_GNU_BUILD_ID) {
            let id = content.get(..bytes).filter(|id| !id.is_empty() && id.len() <= ID_BYTES)?;
            return Some(hex(id));
        }
        notes = content.get(behind(bytes)?..)?;
    }
}

impl Form {
    fn word(self, bytes: &[u8], at: usize) -> Option<u64> {
        self.number(bytes, at, if self.wide { 8 } else { 4 })
    }

    fn number(self, bytes: &[u8], at: usize, length: usize) -> Option<u64> {
        let bytes = bytes.get(at..at.checked_add(length)?)?;
        let fold = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if self.big { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) })
    }
}

/// What is there of so many bytes.
fn read(file: &impl FileExt, at: u64, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at.saturating_add(filled as u64)) {
            Ok(0) | Err(_) => break,
            Ok(more) => filled += more,
        }
    }
    bytes.truncate(filled);
    bytes
}

/// In lower case.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io;
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    struct Bytes(Vec<u8>);

    impl FileExt for Bytes {
        fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
            let rest = usize::try_from(at).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            Ok(length)
        }

        fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// An ELF file with one segment of notes: synthetic, laid out as elf(5) says.
    fn elf(form: Form, notes: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..4].copy_from_slice(b"\x7fELF");
        (file[4], file[5]) = (1 + u8::from(form.wide), 1 + u8::from(form.big));
        let mut put = |at: usize, length: usize, number: u64| {
            file.resize(file.len().max(at + length), 0);
            let bytes = number.to_be_bytes();
            let mut bytes = bytes[8 - length..].to_vec();
            if !form.big {
                bytes.reverse();
            }
            file[at..at + length].copy_from_slice(&bytes);
        };
        let word = if form.wide { 8 } else { 4 };
        let (at, size, count) = if form.wide { (32, 54, 56) } else { (28, 42, 44) };
        let header = if form.wide { 56 } else { 32 };
        put(at, word, 64);
        put(size, 2, header);
        put(count, 2, 2);
        let second = 64 + header as usize;
        let (offset, length, align) = if form.wide { (8, 32, 48) } else { (4, 16, 28) };
        put(64, 4, 1);
        put(second, 4, PT_NOTE);
        put(second + offset, word, 256);
        put(second + length, word, notes.len() as u64);
        put(second + align, word, 4);
        file.resize(256, 0);
        file.extend(notes);
        file
    }

    fn note(form: Form, name: &[u8], kind: u32, content: &[u8]) -> Vec<u8> {
        let number = |number: u32| if form.big { number.to_be_bytes() } else { number.to_le_bytes() };
        let mut note = [name.len() as u32, content.len() as u32, kind].map(number).concat();
        for part in [name, content] {
            note.extend(part);
            note.resize(note.len().next_multiple_of(4), 0);
        }
        note
    }

    #[test]
    fn the_id_is_found_among_other_notes() {
        for form in [(false, false), (false, true), (true, false), (true, true)] {
            let form = Form { wide: form.0, big: form.1 };
            let notes = [
                note(form, b"stapsdt\0", 3, b"abc"),
                note(form, b"GNU\0", 1, b"0123456789abcdef"),
                note(form, b"GNU\0", NT_GNU_BUILD_ID, &[0, 0xab, 0xff]),
            ];
            assert_eq!(build_id(&Bytes(elf(form, &notes.concat()))).as_deref(), Some("00abff"));
            assert_eq!(build_id(&Bytes(elf(form, &notes[..2].concat()))), None);
            let long = note(form, b"GNU\0", NT_GNU_BUILD_ID, &[1; ID_BYTES + 1]);
            assert_eq!(build_id(&Bytes(elf(form, &long))), None);
        }
    }

    #[test]
    fn it_is_what_binutils_read() {
        let path = std::env::current_exe().unwrap();
        let Ok(read) = Command::new("readelf").arg("-n").arg(&path).output() else { return };
        let text = String::from_utf8_lossy(&read.stdout).into_owned();
        let expected = text.split("Build ID: ").nth(1).map(|rest| rest.split_whitespace().next().unwrap());
        assert_eq!(build_id(&File::open(path).unwrap()).as_deref(), expected);
    }

    proptest! {
        #[test]
        fn any_file_is_read(
            wide: bool,
            big: bool,
            notes in proptest::collection::vec(any::<u8>(), 0..64),
            change in proptest::collection::vec((0..300_usize, any::<u8>()), 0..8),
        ) {
            let mut file = elf(Form { wide, big }, &notes);
            for (at, byte) in change {
                if let Some(place) = file.get_mut(at) {
                    *place = byte;
                }
            }
            let id = build_id(&Bytes(file));
            prop_assert!(id.is_none_or(|id| id.len() <= 2 * ID_BYTES));
        }
    }
}
