//! Which package of rpm a file is of, by the data base that rpm keeps in SQLite since 4.16 (Fedora 33, RHEL 9):
//! `lib/backend/sqlite.c`, `lib/header.c` and `include/rpm/rpmtag.h` of <https://github.com/rpm-software-management/rpm>.
//!
//! Names of files without their directories lead to packages; a package's header has all that it brought. Older data bases
//! (Berkeley DB) and SUSE's (ndb) are not read.

use std::path::Path;

use super::super::HostRoot;
use super::super::trusted;
use super::sqlite::{Database, columns};
use super::{Owner, Sum, names_of};

/// Where it is: since Fedora 36, and before.
const PLACES: [&str; 2] = ["/usr/lib/sysimage/rpm/rpmdb.sqlite", "/var/lib/rpm/rpmdb.sqlite"];
/// Packages with a file of one name that are looked at: programs that several versions of a language bring have some.
const PACKAGES: usize = 64;
/// Entries of a header: rpm itself writes some eighty.
const TAGS: u32 = 4_096;
/// Bytes of a name or a version that are kept.
const TEXT_BYTES: usize = 256;

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const FILE_STATES: u32 = 1029;
const FILE_DIGESTS: u32 = 1035;
const DIRECTORY_OF_FILES: u32 = 1116;
const FILES: u32 = 1117;
const DIRECTORIES: u32 = 1118;
const FILE_DIGEST_ALGORITHM: u32 = 5011;

/// `PGPHASHALGO_SHA256`; where none is named it is MD5.
const SHA256: u32 = 8;
/// A file that is there as it was brought, and not replaced by another package's, or left out.
const STATE_NORMAL: u8 = 0;

/// The packages that have a file.
pub(super) fn owners(host: &HostRoot, path: &[u8]) -> Vec<Owner> {
    let opened = PLACES.iter().find_map(|place| trusted::open(host, Path::new(place)).ok());
    opened.and_then(|(file, _)| owners_in(&Database::of(&file)?, path)).unwrap_or_default()
}

fn owners_in<F: std::os::unix::fs::FileExt>(database: &Database<'_, F>, path: &[u8]) -> Option<Vec<Owner>> {
    let name = path.rsplit(|&byte| byte == b'/').next()?;
    let (packages, files) = (database.root("Packages")?, database.root("Basenames")?);
    let rows = database.rows_of(database.root("Basenames_key_idx")?, name);
    let owners = rows.into_iter().take(PACKAGES).filter_map(|row| {
        // Name, package, which of its files.
        let row = database.row(files, row)?;
        let row = columns(&row);
        let (package, file) = (row.get(1)?.number()?, usize::try_from(row.get(2)?.number()?).ok()?);
        let package = database.row(packages, package)?;
        Header::of(columns(&package).get(1)?.bytes()?)?.owner(file, path)
    });
    Some(owners.collect())
}

/// What a package says of itself.
struct Header<'a> {
    tags: &'a [u8],
    data: &'a [u8],
}

impl<'a> Header<'a> {
    /// Two numbers, so many tags of four numbers, so many bytes.
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let count = number(bytes, 0).filter(|count| *count <= TAGS)?;
        let (tags, data) = bytes.get(8..)?.split_at_checked(usize::try_from(count).ok()? * 16)?;
        Some(Self { tags, data: data.get(..usize::try_from(number(bytes, 4)?).ok()?)? })
    }

    /// Of whom a file is, if that is the one which is asked for.
    fn owner(&self, file: usize, path: &[u8]) -> Option<Owner> {
        let directory = usize::try_from(self.numbers(DIRECTORY_OF_FILES, file)?).ok()?;
        let full = [self.text(DIRECTORIES, directory)?, self.text(FILES, file)?].concat();
        let is_there = self.byte(FILE_STATES, file).is_none_or(|state| state == STATE_NORMAL);
        if !is_there || !names_of(path).any(|path| path == full) {
            return None;
        }
        let text = |tag| std::str::from_utf8(self.text(tag, 0)?).ok().filter(|text| text.len() <= TEXT_BYTES);
        let version = format!("{}-{}", text(VERSION)?, text(RELEASE)?);
        let version = match self.numbers(EPOCH, 0) {
            Some(epoch) => format!("{epoch}:{version}"),
            None => version,
        };
        let digest = self.text(FILE_DIGESTS, file).and_then(|digest| std::str::from_utf8(digest).ok());
        let digest = digest.map(str::to_ascii_lowercase);
        let sum = match self.numbers(FILE_DIGEST_ALGORITHM, 0) {
            Some(SHA256) => digest.filter(|digest| digest.len() == 64).map(Sum::Sha256),
            None | Some(1) => digest.filter(|digest| digest.len() == 32).map(Sum::Md5),
            Some(_) => None,
        };
        Some(Owner { name: text(NAME)?.to_owned(), version, sum })
    }

    /// What a tag has: from there to the end, and how many.
    fn tag(&self, wanted: u32) -> Option<(&'a [u8], usize)> {
        let tag = self.tags.chunks_exact(16).find(|tag| number(tag, 0) == Some(wanted))?;
        let data = self.data.get(usize::try_from(number(tag, 8)?).ok()?..)?;
        Some((data, usize::try_from(number(tag, 12)?).ok()?))
    }

    /// One of a tag's texts, each of which ends with a NUL.
    fn text(&self, tag: u32, index: usize) -> Option<&'a [u8]> {
        let (data, _) = self.tag(tag).filter(|(_, count)| index < *count)?;
        data.split(|&byte| byte == 0).nth(index)
    }

    fn numbers(&self, tag: u32, index: usize) -> Option<u32> {
        let (data, _) = self.tag(tag).filter(|(_, count)| index < *count)?;
        number(data, index.checked_mul(4)?)
    }

    fn byte(&self, tag: u32, index: usize) -> Option<u8> {
        let (data, _) = self.tag(tag).filter(|(_, count)| index < *count)?;
        data.get(index).copied()
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sqlite::tests::{DATABASE, Memory};
    use super::*;

    fn found(bytes: &[u8], path: &str) -> Vec<Owner> {
        let file = Memory(bytes.to_vec());
        Database::of(&file).and_then(|database| owners_in(&database, path.as_bytes())).unwrap_or_default()
    }

    #[test]
    fn a_file_is_of_the_package_that_brought_it() {
        // `printf program | sha256sum`, `printf other | sha256sum`.
        let program = "1310ca2c8932dbd118668bd97442558a3e1f546b5e15c69699dfbd6024f548d8";
        let other = "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa";
        let owner = |name: &str, version: &str, sum: &str| Owner {
            name: name.to_owned(),
            version: version.to_owned(),
            sum: Some(Sum::Sha256(sum.to_owned())),
        };
        assert_eq!(found(DATABASE, "/usr/bin/x"), [owner("telltale-test", "2:1.5-3", program)]);
        assert_eq!(found(DATABASE, "/opt/bin/x"), [owner("telltale-other", "1.5-3", other)]);
        for none in ["/bin/x", "/usr/bin/y", "x", "", "/", "/usr/bin/", "/usr/bin/x.conf", "/many"] {
            assert_eq!(found(DATABASE, none), [], "{none}");
        }
    }

    #[test]
    fn a_file_that_another_package_replaced_is_not_its() {
        let file = Memory(DATABASE.to_vec());
        let database = Database::of(&file).unwrap();
        let row = database.row(database.root("Packages").unwrap(), 7).unwrap();
        let bytes = columns(&row)[1].bytes().unwrap().to_vec();
        let header = Header::of(&bytes).unwrap();
        assert!(header.owner(1, b"/usr/bin/x").is_some());
        let states = header.tag(FILE_STATES).unwrap().0.as_ptr() as usize - bytes.as_ptr() as usize;
        let mut replaced = bytes.clone();
        replaced[states + 1] = 1;
        assert_eq!(Header::of(&replaced).unwrap().owner(1, b"/usr/bin/x"), None);
        assert!(Header::of(&replaced).unwrap().owner(0, b"/etc/x.conf").is_some());
        assert!(header.owner(2, b"/usr/bin/x").is_none());
    }

    proptest! {
        #[test]
        fn any_header_is_read(
            changes in proptest::collection::vec((0..1_908_usize, any::<u8>()), 0..12),
            file in 0..4_usize,
        ) {
            let memory = Memory(DATABASE.to_vec());
            let database = Database::of(&memory).unwrap();
            let row = database.row(database.root("Packages").unwrap(), 7).unwrap();
            let mut bytes = columns(&row)[1].bytes().unwrap().to_vec();
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            let _ = Header::of(&bytes).and_then(|header| header.owner(file, b"/usr/bin/x"));
        }
    }
}
