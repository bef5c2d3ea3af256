//! Lives on disk: one file, crash-safe, bounded.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use redb::backends::InMemoryBackend;
use redb::{
    Database as Redb, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, TableDefinition,
    TableHandle as _,
};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::credentials::CredentialLife;
use super::record::Life;

/// The database's name in the agent's directory.
const FILE: &str = "identities.redb";
/// A kind of row, each kept as MessagePack with names, by its key.
pub trait Row: Serialize + DeserializeOwned + Default {
    /// Its table.
    const TABLE: TableDefinition<'static, &'static str, &'static [u8]>;
    /// Where too many are told of that went.
    const EVICTED: &'static str;
    /// When it was last of use: the older go first. `None`: it stays.
    fn age(&self) -> Option<i64>;
}

/// By canonical string.
impl Row for Life {
    const TABLE: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("identities");
    const EVICTED: &'static str = "evicted";

    /// One of which an operator has decided something stays.
    fn age(&self) -> Option<i64> {
        (self.owned.is_none() && self.retired.is_none()).then_some(self.last_seen_ns)
    }
}

/// By place.
impl Row for CredentialLife {
    const TABLE: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("credentials");
    const EVICTED: &'static str = "evicted_credentials";

    fn age(&self) -> Option<i64> {
        Some(self.last_used_ns)
    }
}

/// Figures of the file itself.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
/// The form of the rows; a file of a later one is left alone.
const VERSION: u64 = 1;

/// Rows kept of each kind; beyond, those that were not seen for longest go first. About 1 KiB each on disk.
const ROWS: u64 = 100_000;
/// When some have to go, a twentieth of all goes with them: so it is not looked for the oldest at each change.
const EVICTED_WITH_THEM: u64 = 20;
/// Bytes of the database held in memory.
const CACHE_BYTES: usize = 1 << 20;

/// The database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Its directory cannot be had.
    #[error("making {path}: {source}; name another directory with --state, or `none`")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be opened.
    #[error("opening {path}: {source}; mend its permissions, or move it away: then all identities are new")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<redb::DatabaseError>,
    },
    /// A later build made it.
    #[error(
        "{path} was made by a later build (its form is {found}, this build knows {VERSION}); use that build, or move it away"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its form.
        found: u64,
    },
    /// It cannot be read or written.
    #[error("{0}; is its disk full? What was seen meanwhile is kept in memory and written when it can be")]
    Access(Box<redb::Error>),
}

/// Each operation of the database has an error of its own; to the operator they are one.
macro_rules! access {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for DatabaseError {
            fn from(error: redb::$error) -> Self {
                Self::Access(Box::new(error.into()))
            }
        }
    )*};
}

access!(CommitError, DatabaseError, StorageError, TableError, TransactionError);

/// All lives that are known.
pub struct Database {
    file: Redb,
    most: u64,
}

impl Database {
    /// Opens the database of a directory, which is made where it is not there, for a realm. Blocks.
    ///
    /// # Errors
    /// Where it cannot be had. A damaged file is put aside under another name, and a new one begun.
    pub fn open(directory: &Path, realm: Option<&str>) -> Result<Self, DatabaseError> {
        let fail = |source| DatabaseError::Directory { path: directory.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(fail)?;
        let file = realm.map_or_else(|| FILE.to_owned(), |realm| format!("identities@{realm}.redb"));
        let path = directory.join(&file);
        let build = || {
            let file = Redb::builder().set_cache_size(CACHE_BYTES).create(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(redb::StorageError::Io)?;
            Ok(file)
        };
        let file = match build() {
            Ok(file) => file,
            Err(error) if is_damage(&error) => {
                let aside = directory.join(format!("{file}.damaged"));
                tracing::error!(
                    %error,
                    "{} is damaged: it is put aside as {}, and all identities are new",
                    path.display(),
                    aside.display()
                );
                fs::rename(&path, &aside).map_err(fail)?;
                build()
                    .map_err(|source| DatabaseError::Open { path: path.clone(), source: Box::new(source) })?
            }
            Err(source) => return Err(DatabaseError::Open { path, source: Box::new(source) }),
        };
        let database = Self { file, most: ROWS };
        match database.begin()? {
            VERSION => Ok(database),
            found => Err(DatabaseError::Newer { path, found }),
        }
    }

    /// One that is kept in memory alone.
    ///
    /// # Errors
    /// Where there is no memory.
    pub fn in_memory() -> Result<Self, DatabaseError> {
        let mut builder = Redb::builder();
        builder.set_cache_size(CACHE_BYTES);
        let file = builder.create_with_backend(InMemoryBackend::new())?;
        let database = Self { file, most: ROWS };
        database.begin()?;
        Ok(database)
    }

    /// Makes the tables where there are none; the form of the rows.
    fn begin(&self) -> Result<u64, DatabaseError> {
        let write = self.file.begin_write()?;
        let found = {
            let mut about = write.open_table(ABOUT)?;
            let found = about.get("version")?.map(|value| value.value());
            if let Some(found) = found {
                found
            } else {
                about.insert("version", VERSION)?;
                VERSION
            }
        };
        write.open_table(Life::TABLE)?;
        write.open_table(CredentialLife::TABLE)?;
        write.commit()?;
        Ok(found)
    }

    /// What is known of one.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn get<R: Row>(&self, key: &str) -> Result<Option<R>, DatabaseError> {
        let read = self.file.begin_read()?;
        let rows = read.open_table(R::TABLE)?;
        let found = rows.get(key)?;
        Ok(found.map(|row| read_row(key, row.value())))
    }

    /// Rows behind a key, in the order of keys, so many at most.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn page<R: Row>(&self, after: &str, most: usize) -> Result<Vec<(String, R)>, DatabaseError> {
        let read = self.file.begin_read()?;
        let table = read.open_table(R::TABLE)?;
        let rows = table.range::<&str>((Bound::Excluded(after), Bound::Unbounded))?;
        rows.take(most)
            .map(|row| {
                let (key, row) = row?;
                Ok((key.value().to_owned(), read_row(key.value(), row.value())))
            })
            .collect()
    }

    /// Shows each row that is known, one at a time.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn each<R: Row>(&self, mut show: impl FnMut(&str, R)) -> Result<(), DatabaseError> {
        let read = self.file.begin_read()?;
        let table = read.open_table(R::TABLE)?;
        for row in table.iter()? {
            let (key, row) = row?;
            show(key.value(), read_row(key.value(), row.value()));
        }
        Ok(())
    }

    /// Changes rows: each is read, given to `change`, and written, all together or none. On disk when this returns.
    ///
    /// # Errors
    /// Where they cannot be written; then nothing has changed.
    pub fn change<'a, R: Row, T>(
        &self,
        changes: impl IntoIterator<Item = (&'a str, T)>,
        mut change: impl FnMut(&mut R, T),
    ) -> Result<(), DatabaseError> {
        let mut write = self.file.begin_write()?;
        // What was killed opens at once: without it, an opening after a kill reads the whole file.
        write.set_quick_repair(true);
        {
            let mut rows = write.open_table(R::TABLE)?;
            for (key, with) in changes {
                let mut changed = rows.get(key)?.map(|row| read_row(key, row.value())).unwrap_or_default();
                change(&mut changed, with);
                let row = rmp_serde::to_vec_named(&changed).unwrap_or_default();
                rows.insert(key, row.as_slice())?;
            }
            let beyond = rows.len()?.saturating_sub(self.most);
            if beyond > 0 {
                let mut about = write.open_table(ABOUT)?;
                let before = about.get(R::EVICTED)?.map_or(0, |value| value.value());
                let went = oldest::<R>(&rows, beyond + self.most / EVICTED_WITH_THEM)?;
                for key in &went {
                    rows.remove(key.as_str())?;
                }
                about.insert(R::EVICTED, before + went.len() as u64)?;
                tracing::warn!(
                    went = went.len(),
                    ever = before + went.len() as u64,
                    "there are more {} than are kept: those not seen for longest are forgotten",
                    R::TABLE.name()
                );
            }
        }
        Ok(write.commit()?)
    }
}

/// So many of those that were not of use for longest.
fn oldest<R: Row>(
    rows: &redb::Table<'_, &'static str, &'static [u8]>,
    wanted: u64,
) -> Result<Vec<String>, DatabaseError> {
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    let mut by_age = BTreeSet::new();
    for row in rows.iter()? {
        let (key, row) = row?;
        if let Some(age) = read_row::<R>(key.value(), row.value()).age() {
            by_age.insert((age, key.value().to_owned()));
            if by_age.len() > wanted {
                by_age.pop_last();
            }
        }
    }
    Ok(by_age.into_iter().map(|(_, key)| key).collect())
}

/// A row that cannot be read is as if there were none.
fn read_row<R: Row>(key: &str, row: &[u8]) -> R {
    rmp_serde::from_slice(row).unwrap_or_else(|error| {
        tracing::warn!(%error, key, "what was known of an identity or a credential cannot be read");
        R::default()
    })
}

/// Whether the file is no database any more, as against one that cannot be had now.
fn is_damage(error: &redb::DatabaseError) -> bool {
    match error {
        redb::DatabaseError::Storage(redb::StorageError::Corrupted(_))
        | redb::DatabaseError::UpgradeRequired(_)
        | redb::DatabaseError::RepairAborted => true,
        redb::DatabaseError::Storage(redb::StorageError::Io(error)) => {
            matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(at: i64) -> Life {
        Life { first_seen_ns: at, last_seen_ns: at, events: 1, ..Life::default() }
    }

    fn add(database: &Database, identity: &str, at: i64) {
        database.change([(identity, seen(at))], |life: &mut Life, seen| life.add(&seen)).unwrap();
    }

    #[test]
    fn what_was_written_is_there_after_a_reopening() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("a/b");
        let database = Database::open(&state, None).unwrap();
        add(&database, "svc/nginx", 5);
        add(&database, "svc/nginx", 9);
        drop(database);
        let database = Database::open(&state, None).unwrap();
        let life = database.get::<Life>("svc/nginx").unwrap().unwrap();
        assert_eq!((life.first_seen_ns, life.last_seen_ns, life.events), (5, 9, 2));
        assert_eq!(database.get::<Life>("svc/other").unwrap(), None);
        assert_eq!(database.page::<Life>("", usize::MAX).unwrap(), [("svc/nginx".to_owned(), life)]);
    }

    #[test]
    fn a_damaged_file_is_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        for damage in [&b"no database"[..], &[0; 65_536], &[0xff; 65_536]] {
            fs::write(&path, damage).unwrap();
            let database = Database::open(directory.path(), None).unwrap();
            add(&database, "svc/x", 1);
            assert_eq!(fs::read(directory.path().join("identities.redb.damaged")).unwrap(), damage);
            drop(database);
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_file_of_a_later_build_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path(), None).unwrap();
        let write = database.file.begin_write().unwrap();
        write.open_table(ABOUT).unwrap().insert("version", VERSION + 1).unwrap();
        write.commit().unwrap();
        drop(database);
        for _ in 0..2 {
            assert!(matches!(Database::open(directory.path(), None), Err(DatabaseError::Newer { .. })));
        }
    }

    #[test]
    fn where_there_are_too_many_the_oldest_go_and_are_counted() {
        let mut database = Database::in_memory().unwrap();
        database.most = 10;
        let many: Vec<String> = (0..10_000).map(|number| format!("svc/{number}")).collect();
        let changes = many.iter().enumerate().map(|(at, identity)| (identity.as_str(), seen(at as i64)));
        database.change(changes, |life: &mut Life, seen| life.add(&seen)).unwrap();
        let left: Vec<i64> = database
            .page::<Life>("", usize::MAX)
            .unwrap()
            .iter()
            .map(|(_, life)| life.last_seen_ns)
            .collect();
        assert_eq!(left, (9_990..10_000).collect::<Vec<_>>());
        let read = database.file.begin_read().unwrap();
        let evicted = read.open_table(ABOUT).unwrap().get(Life::EVICTED).unwrap().unwrap().value();
        assert_eq!(evicted, 9_990);
    }

    #[test]
    fn pages_hold_each_row_once() {
        let database = Database::in_memory().unwrap();
        for number in 0..25 {
            add(&database, &format!("svc/{number:02}"), number);
        }
        let (mut after, mut seen) = (String::new(), Vec::new());
        loop {
            let page = database.page::<Life>(&after, 10).unwrap();
            let Some((last, _)) = page.last() else { break };
            after.clone_from(last);
            seen.extend(page.into_iter().map(|(_, life)| life.last_seen_ns));
        }
        assert_eq!(seen, (0..25).collect::<Vec<_>>());
        let mut shown = 0;
        database.each(|_, _: Life| shown += 1).unwrap();
        assert_eq!(shown, 25);
    }

    #[test]
    fn what_an_operator_has_decided_stays() {
        let mut database = Database::in_memory().unwrap();
        database.most = 1;
        database
            .change([("svc/owned", ())], |life: &mut Life, ()| {
                life.owned = Some(super::super::record::Decision {
                    owner: "human/alice".to_owned(),
                    by: "root".to_owned(),
                    reason: String::new(),
                    at_ns: 1,
                })
            })
            .unwrap();
        for at in 2..20 {
            add(&database, &format!("svc/{at}"), at);
        }
        assert!(database.get::<Life>("svc/owned").unwrap().is_some());
    }
}
