//! Rows of a data base of SQLite, by the format that <https://www.sqlite.org/fileformat2.html> lays down.
//!
//! rusqlite was looked at: SQLite opens what it reads by a path of this process's own, which a host's file may not have for an
//! agent in a container, and follows links there; and it brings a compiler of SQL for what takes two look-ups. sqlite3's own
//! `deserialize` takes the whole file in memory (a workstation's has 200 MB).
//!
//! A writer may be at work: nothing is locked, and what is in its log (`-wal`) is not seen until it is brought over. So whoever
//! asks must be able to tell from a row whether it is the one that was asked for.

use std::cell::Cell;
use std::cmp::Ordering;
use std::os::unix::fs::FileExt;

/// Bytes of one row that are read: headers of rpm's largest packages have 8 MB.
const ROW_BYTES: usize = 32 << 20;
/// Pages that are read for one data base: one row of the largest takes 8,192 of the usual size.
const PAGES: u32 = 32_768;
/// Levels of a tree: with 100 entries a page, eight hold more than any file.
const LEVELS: u32 = 16;
/// Columns of a row that are told.
const COLUMNS: usize = 8;
/// Rows with one key that are told.
const EQUALS: usize = 4_096;

/// What a page is of.
const INDEX_INNER: u8 = 2;
const TABLE_INNER: u8 = 5;
const INDEX_LEAF: u8 = 10;
const TABLE_LEAF: u8 = 13;

/// A data base in a file.
pub(super) struct Database<'a, F> {
    file: &'a F,
    page_bytes: usize,
    /// Of a page, what its content may take.
    usable: usize,
    pages_left: Cell<u32>,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Nothing, or a number with a fraction.
    None,
    /// A whole number.
    Number(i64),
    /// Text or bytes.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    pub(super) const fn number(self) -> Option<i64> {
        if let Self::Number(number) = self { Some(number) } else { None }
    }

    pub(super) const fn bytes(self) -> Option<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }
}

/// A page, and where its header begins.
struct Page {
    bytes: Vec<u8>,
    header: usize,
}

impl Page {
    fn kind(&self) -> Option<u8> {
        self.bytes.get(self.header).copied()
    }

    const fn is_inner(kind: u8) -> bool {
        matches!(kind, INDEX_INNER | TABLE_INNER)
    }

    /// Its cells, each from its beginning to the page's end.
    fn cells(&self) -> impl Iterator<Item = &[u8]> {
        let length = if self.kind().is_some_and(Self::is_inner) { 12 } else { 8 };
        let count = number(&self.bytes, self.header + 3, 2).unwrap_or(0);
        let places = self.bytes.get(self.header + length..).unwrap_or_default().chunks_exact(2);
        let places = places.take(usize::try_from(count).unwrap_or(0));
        places.filter_map(|place| self.bytes.get(usize::from(u16::from_be_bytes(place.try_into().ok()?))..))
    }

    /// The page below it that holds what is behind its last cell.
    fn last_below(&self) -> Option<u32> {
        page_at(&self.bytes, self.header + 8)
    }
}

impl<'a, F: FileExt> Database<'a, F> {
    /// The data base that a file holds, if it is one with UTF-8 text.
    pub(super) fn of(file: &'a F) -> Option<Self> {
        let mut header = [0; 100];
        file.read_exact_at(&mut header, 0).ok()?;
        let page_bytes = match usize::try_from(number(&header, 16, 2)?).ok()? {
            1 => 65_536,
            bytes => bytes,
        };
        let reserved = usize::from(*header.get(20)?);
        let is_utf8 = number(&header, 56, 4)? == 1;
        let usable = page_bytes.checked_sub(reserved)?;
        let is_sound = page_bytes.is_power_of_two() && page_bytes >= 512 && usable >= 480;
        (header.starts_with(b"SQLite format 3\0") && is_utf8 && is_sound).then(|| Self {
            file,
            page_bytes,
            usable,
            pages_left: Cell::new(PAGES),
        })
    }

    /// The first page of a table, or of an index.
    pub(super) fn root(&self, name: &str) -> Option<u32> {
        let mut found = None;
        self.scan(1, 0, &mut |row| {
            let columns = columns(row);
            if columns.get(1).and_then(|name| name.bytes()) == Some(name.as_bytes()) {
                found = columns.get(3).and_then(|page| u32::try_from(page.number()?).ok());
            }
            found.is_none()
        });
        found
    }

    /// Goes over all rows of a table, until `visit` says no.
    fn scan(&self, page: u32, level: u32, visit: &mut dyn FnMut(&[u8]) -> bool) -> Option<bool> {
        let page = self.page(page, level)?;
        match page.kind()? {
            TABLE_LEAF => {
                for cell in page.cells() {
                    let (_, row) = self.table_row(cell)?;
                    if !visit(&row) {
                        return Some(false);
                    }
                }
            }
            TABLE_INNER => {
                let below = page.cells().filter_map(|cell| page_at(cell, 0)).chain(page.last_below());
                for below in below {
                    if !self.scan(below, level + 1, visit)? {
                        return Some(false);
                    }
                }
            }
            _ => return None,
        }
        Some(true)
    }

    /// The row of a table with that number.
    pub(super) fn row(&self, root: u32, wanted: i64) -> Option<Vec<u8>> {
        let mut at = root;
        for level in 0.. {
            let page = self.page(at, level)?;
            match page.kind()? {
                TABLE_LEAF => {
                    let cell = page.cells().find(|cell| leaf_key(cell) == Some(wanted))?;
                    return Some(self.table_row(cell)?.1);
                }
                TABLE_INNER => {
                    // Each cell has the largest number below it.
                    let key = |cell: &[u8]| varint(cell.get(4..)?).map(|(key, _)| key.cast_signed());
                    let below = page.cells().find(|cell| key(cell).is_some_and(|key| wanted <= key));
                    at = match below {
                        Some(cell) => page_at(cell, 0)?,
                        None => page.last_below()?,
                    };
                }
                _ => return None,
            }
        }
        None
    }

    /// The numbers of all rows that an index of text has under a key; none where there are too many.
    pub(super) fn rows_of(&self, root: u32, key: &[u8]) -> Vec<i64> {
        let mut found = Vec::new();
        match self.search(root, 0, key, &mut found) {
            Some(_) if found.len() <= EQUALS => found,
            _ => Vec::new(),
        }
    }

    /// Whether what follows may be the key, too.
    fn search(&self, page: u32, level: u32, wanted: &[u8], found: &mut Vec<i64>) -> Option<bool> {
        let page = self.page(page, level)?;
        let is_inner = match page.kind()? {
            INDEX_INNER => true,
            INDEX_LEAF => false,
            _ => return None,
        };
        for cell in page.cells() {
            let (below, entry) = if is_inner { (page_at(cell, 0), cell.get(4..)?) } else { (None, cell) };
            let entry = self.index_entry(entry)?;
            let columns = columns(&entry);
            // Numbers and nothing stand before text.
            let key = columns.first()?.bytes().unwrap_or_default();
            let order = key.cmp(wanted);
            if order == Ordering::Less {
                continue;
            }
            if let Some(below) = below
                && !self.search(below, level + 1, wanted, found)?
            {
                return Some(false);
            }
            if order == Ordering::Greater || found.len() > EQUALS {
                return Some(false);
            }
            found.extend(columns.get(1).and_then(|row| row.number()));
        }
        if is_inner { self.search(page.last_below()?, level + 1, wanted, found) } else { Some(true) }
    }

    /// Number and content of a row, by its cell.
    fn table_row(&self, cell: &[u8]) -> Option<(i64, Vec<u8>)> {
        let (bytes, rest) = varint(cell)?;
        let (key, rest) = varint(rest)?;
        Some((key.cast_signed(), self.content(rest, bytes, self.usable - 35)?))
    }

    fn index_entry(&self, cell: &[u8]) -> Option<Vec<u8>> {
        let (bytes, rest) = varint(cell)?;
        self.content(rest, bytes, (self.usable - 12) * 64 / 255 - 23)
    }

    /// What a cell holds: of more than `most` bytes a part, and the rest in a list of further pages.
    fn content(&self, cell: &[u8], bytes: u64, most: usize) -> Option<Vec<u8>> {
        let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes <= ROW_BYTES)?;
        if bytes <= most {
            return Some(cell.get(..bytes)?.to_vec());
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let kept = least + (bytes - least) % (self.usable - 4);
        let here = if kept <= most { kept } else { least };
        let mut content = cell.get(..here)?.to_vec();
        let mut next = page_at(cell, here)?;
        while content.len() < bytes {
            let page = self.bytes(next)?;
            next = page_at(&page, 0)?;
            let more = (bytes - content.len()).min(self.usable - 4);
            content.extend_from_slice(page.get(4..4 + more)?);
        }
        Some(content)
    }

    fn page(&self, number: u32, level: u32) -> Option<Page> {
        let header = if number == 1 { 100 } else { 0 };
        (level < LEVELS).then_some(())?;
        Some(Page { bytes: self.bytes(number)?, header })
    }

    /// The content of a page. The first has number 1.
    fn bytes(&self, number: u32) -> Option<Vec<u8>> {
        self.pages_left.set(self.pages_left.get().checked_sub(1)?);
        let mut bytes = vec![0; self.page_bytes];
        let at = u64::from(number.checked_sub(1)?) * self.page_bytes as u64;
        self.file.read_exact_at(&mut bytes, at).ok()?;
        bytes.truncate(self.usable);
        Some(bytes)
    }
}

/// The number of a row in a leaf of a table.
fn leaf_key(cell: &[u8]) -> Option<i64> {
    let (_, rest) = varint(cell)?;
    Some(varint(rest)?.0.cast_signed())
}

/// The columns of a row, as far as they are sound.
pub(super) fn columns(row: &[u8]) -> Vec<Value<'_>> {
    let mut columns = Vec::new();
    let Some((header, _)) = varint(row) else { return columns };
    let Some((header, mut content)) = usize::try_from(header).ok().and_then(|at| row.split_at_checked(at))
    else {
        return columns;
    };
    let Some((_, mut kinds)) = varint(header) else { return columns };
    while let Some((kind, rest)) = varint(kinds)
        && columns.len() < COLUMNS
    {
        kinds = rest;
        let bytes = match kind {
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            12.. => (kind - 12) / 2,
            _ => 0,
        };
        let Some((value, rest)) = usize::try_from(bytes).ok().and_then(|at| content.split_at_checked(at))
        else {
            return columns;
        };
        content = rest;
        columns.push(match kind {
            1..=6 => Value::Number(signed(value)),
            8 => Value::Number(0),
            9 => Value::Number(1),
            12.. => Value::Bytes(value),
            _ => Value::None,
        });
    }
    columns
}

/// Of one to eight bytes.
fn signed(bytes: &[u8]) -> i64 {
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    bytes.iter().fold(if negative { -1 } else { 0 }, |number: i64, byte| number << 8 | i64::from(*byte))
}

fn page_at(bytes: &[u8], at: usize) -> Option<u32> {
    number(bytes, at, 4).and_then(|page| u32::try_from(page).ok())
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// A number of one to nine bytes, and what is behind it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for at in 0..8 {
        let byte = *bytes.get(at)?;
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(at + 1..)?));
        }
    }
    Some((number << 8 | u64::from(*bytes.get(8)?), bytes.get(9..)?))
}

#[cfg(test)]
pub(super) mod tests {
    use std::io;

    use proptest::prelude::*;

    use super::*;

    /// See `tests/data/rpm/README.md`.
    pub(in crate::host::programs) const DATABASE: &[u8] =
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rpm/rpmdb.sqlite"));

    /// A file in memory.
    pub(in crate::host::programs) struct Memory(pub(in crate::host::programs) Vec<u8>);

    impl FileExt for Memory {
        fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
            let rest = usize::try_from(offset).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
            let length = rest.len().min(into.len());
            into[..length].copy_from_slice(&rest[..length]);
            Ok(length)
        }

        fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    fn rows(database: &Database<'_, Memory>, key: &str) -> Vec<i64> {
        database
            .root("Basenames_key_idx")
            .map(|index| database.rows_of(index, key.as_bytes()))
            .unwrap_or_default()
    }

    #[test]
    fn rows_are_found_by_their_keys() {
        let file = Memory(DATABASE.to_vec());
        let database = Database::of(&file).unwrap();
        let names = database.root("Basenames").unwrap();
        let found = |key: &str| {
            let rows = rows(&database, key).into_iter().map(|row| database.row(names, row).unwrap());
            rows.map(|row| {
                let columns = columns(&row);
                assert_eq!(columns[0], Value::Bytes(key.as_bytes()));
                (columns[1].number().unwrap(), columns[2].number().unwrap())
            })
            .collect::<Vec<_>>()
        };
        assert_eq!(found("x"), [(7, 1), (150, 0)]);
        for package in 1..200 {
            for file in 0..2 {
                assert_eq!(found(&format!("name-{}-{file}", package * 37 % 200)), [(package, file)]);
            }
        }
        assert_eq!(found(&"l".repeat(600)), [(7, 1)], "it is on pages of its own");
        let of_many: Vec<_> = (0..100).map(|package| (package, 0)).collect();
        assert_eq!(found("many"), of_many);
        for none in ["", "a", "name-1", "name-1-11", "y", "zzz"] {
            assert_eq!(rows(&database, none), Vec::<i64>::new(), "{none}");
        }
    }

    #[test]
    fn rows_are_found_by_their_numbers() {
        let file = Memory(DATABASE.to_vec());
        let database = Database::of(&file).unwrap();
        let packages = database.root("Packages").unwrap();
        for package in 1..200 {
            let row = database.row(packages, package).unwrap();
            let expected = match package {
                7 => 1_908,
                150 => 1_892,
                _ => 8,
            };
            assert_eq!(columns(&row)[1].bytes().map(<[u8]>::len), Some(expected), "{package}");
        }
        for none in [i64::MIN, -1, 0, 200, i64::MAX] {
            assert_eq!(database.row(packages, none), None);
        }
        assert_eq!(database.root("packages"), None);
    }

    #[test]
    fn what_is_no_data_base_is_none() {
        for bytes in [&b""[..], &[0; 200], &DATABASE[..99]] {
            assert!(Database::of(&Memory(bytes.to_vec())).is_none());
        }
    }

    proptest! {
        #[test]
        fn any_change_of_the_file_is_read(
            changes in proptest::collection::vec((0..DATABASE.len(), any::<u8>()), 1..24),
            length in 0..DATABASE.len(),
        ) {
            let mut bytes = DATABASE.to_vec();
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            bytes.truncate(bytes.len().max(length));
            let file = Memory(bytes);
            if let Some(database) = Database::of(&file) {
                for key in ["x", "many", "name-5-1"] {
                    for row in rows(&database, key) {
                        let row = database.root("Basenames").and_then(|table| database.row(table, row));
                        let _ = columns(&row.unwrap_or_default()).len();
                    }
                }
                let _ = database.root("Packages").and_then(|table| database.row(table, 7));
            }
        }
    }
}
