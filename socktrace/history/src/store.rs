//! The database file, from its only writer's side.

use std::{
    fs::{self, File},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io::{self, Write as _},
    num::NonZeroUsize,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use flate2::{Compression, write::DeflateEncoder};
use lru::LruCache;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, TransactionBehavior, params};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::{
    aside::{log_of, set_aside},
    codec::Packed,
    place::Place,
    queue::Row,
    schema::{self, Found},
};

/// Lifetime of a shape: one day in nanoseconds. After that, it is stored again, so that the old
/// copy can be removed with the last line of its age.
const DAY: i64 = 86_400_000_000_000;

/// Number of shapes cached in memory.
const SHAPES: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");

/// Number of lines removed in one transaction.
const REMOVED: u32 = 10_000;

/// Maximum number of such transactions in a row.
const ROUNDS: usize = 20;

/// Size of the write-ahead log in bytes while nobody is reading.
const LOG_BYTES: u64 = 4 << 20;

/// Size of the log in pages.
const LOG_PAGES: u64 = LOG_BYTES / schema::PAGE_BYTES;

/// Maximum size of the log while a reader blocks it. Readers block it only briefly unless stopped.
const MOST_LOG_BYTES: u64 = 8 * LOG_BYTES;

/// Longest wait for another process that removes lines.
const BUSY: Duration = Duration::from_secs(5);

/// Suffix of damaged files that are set aside.
const DAMAGED: &str = "damaged";

/// Limits of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum size of the file and its log in bytes; 16 MiB is about the minimum.
    pub bytes: u64,
    /// Maximum age of a line.
    pub age: Duration,
}

/// Reason why the file cannot be opened for writing.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process is writing it.
    #[error("another process is writing {0}")]
    Taken(PathBuf),
    /// An error of the system.
    #[error("cannot open {0}: {1}")]
    System(PathBuf, #[source] io::Error),
    /// An error of `SQLite`.
    #[error("cannot use {0}: {1}")]
    Database(PathBuf, #[source] rusqlite::Error),
}

/// The open database file.
#[derive(Debug)]
pub(crate) struct Store {
    connection: Connection,
    file: PathBuf,
    /// Number and start of each cached shape, by its hash.
    shapes: LruCache<u128, (i64, i64)>,
    hasher: SipHasher13,
    packed: Packed,
    /// `SQLite`'s data version, which changes when another process modifies the file.
    version: Option<i64>,
    number: u32,
    /// Device and inode of the file, which survive renames.
    identity: Option<(u64, u64)>,
    /// Held while this process writes.
    _lock: File,
}

impl Store {
    /// Opens or creates the file. An unusable file is set aside.
    ///
    /// # Errors
    /// When the file cannot be written, or another process is writing it.
    pub(crate) fn open(place: &Place) -> Result<Self, OpenError> {
        let file = &place.file;
        let system = |error| OpenError::System(file.clone(), error);
        place.prepare_directory().map_err(system)?;
        let lock = place.lock()?;
        place.make().map_err(system)?;
        let connection = match connect(file) {
            Ok(connection) => connection,
            Err(Unusable::Else(error)) => return Err(OpenError::Database(file.clone(), error)),
            Err(Unusable::File { why, text }) => {
                let aside = set_aside(file, why).map_err(system)?;
                log::warn!(
                    "history: {} {text}; moved it to {} and began a new one",
                    file.display(),
                    aside.display()
                );
                place.make().map_err(system)?;
                connect(file).map_err(|error| OpenError::Database(file.clone(), error.into()))?
            }
        };
        let [first, second] = [(); 2].map(|()| RandomState::new().build_hasher().finish());
        Ok(Self {
            connection,
            file: file.clone(),
            shapes: LruCache::new(SHAPES),
            hasher: SipHasher13::new_with_keys(first, second),
            packed: Packed::default(),
            version: None,
            number: 0,
            identity: identity(file),
            _lock: lock,
        })
    }

    /// Sets a damaged file aside, unless another process has started to write it.
    pub(crate) fn set_aside(place: &Place) {
        let file = &place.file;
        let Ok(_lock) = place.lock() else { return };
        match set_aside(file, DAMAGED) {
            Ok(aside) => log::warn!(
                "history: {} is damaged; moved it to {} and begin a new one",
                file.display(),
                aside.display()
            ),
            Err(error) => log::warn!("history: {} is damaged: {error}", file.display()),
        }
    }

    /// Adds all lines, or none.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(crate) fn add(&mut self, rows: &[Row]) -> rusqlite::Result<()> {
        if self.is_log_full() {
            // The last reader may have gone.
            self.checkpoint()?;
        }
        if self.is_log_full() {
            let text = "a process has been reading it for a long time".to_owned();
            let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
            return Err(rusqlite::Error::SqliteFailure(busy, Some(text)));
        }
        let added = self.try_add(rows);
        if added.is_err() {
            // Some of the cached shapes were new and have been rolled back.
            self.shapes.clear();
        }
        added
    }

    fn try_add(&mut self, rows: &[Row]) -> rusqlite::Result<()> {
        let change = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version = change.pragma_query_value(None, "data_version", |row| row.get(0))?;
        if self.version.replace(version) != Some(version) {
            // Another process may have removed shapes.
            self.shapes.clear();
        }
        {
            let mut add_shape =
                change.prepare_cached("INSERT INTO shape (begun, text) VALUES (?1, ?2)")?;
            let mut add_event = change.prepare_cached(
                "INSERT OR REPLACE INTO event (time, number, shape, fillings) VALUES (?1, ?2, ?3, ?4)",
            )?;
            for row in rows {
                self.packed.pack(&row.line, row.time);
                let mut hasher = self.hasher;
                hasher.write(&self.packed.shape);
                let hash = hasher.finish128().as_u128();
                let known = self.shapes.get(&hash);
                let known = known.filter(|(_, begun)| row.time < begun.saturating_add(DAY));
                let shape = if let Some((id, _)) = known {
                    *id
                } else {
                    let text = compress(&self.packed.shape);
                    let id = add_shape.insert(params![row.time, text])?;
                    self.shapes.put(hash, (id, row.time));
                    id
                };
                add_event.execute(params![row.time, self.number, shape, self.packed.fillings])?;
                // Small numbers take less space, and few lines share a nanosecond.
                self.number = (self.number + 1) % 128;
            }
        }
        change.commit()
    }

    /// Removes the oldest lines beyond the limits; `now` is in nanoseconds since 1970.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub(crate) fn prune(&mut self, limits: Limits, now: i64) -> rusqlite::Result<()> {
        let age = i64::try_from(limits.age.as_nanos()).unwrap_or(i64::MAX);
        let oldest = now.saturating_sub(age);
        for _ in 0..ROUNDS {
            // Removals go through the log, which a reader may block.
            if self.is_log_full() || self.remove_before(oldest)? < REMOVED as usize {
                break;
            }
        }
        let room = limits.bytes.saturating_sub(LOG_BYTES);
        for _ in 0..ROUNDS {
            if self.is_log_full()
                || self.used_bytes()? <= room
                || self.remove_before(i64::MAX)? == 0
            {
                break;
            }
        }
        let shapes = self.connection.execute(
            "DELETE FROM shape WHERE begun < (SELECT coalesce(min(time), ?1) FROM event) - ?2",
            params![now, DAY],
        )?;
        if shapes > 0 {
            self.shapes.clear();
        }
        for _ in 0..ROUNDS {
            if self.is_log_full() || self.file_bytes()? <= room || self.give_back_pages()? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Returns free pages at the end of the file to the file system; returns their number.
    fn give_back_pages(&self) -> rusqlite::Result<usize> {
        let sql = format!("PRAGMA incremental_vacuum({LOG_PAGES})");
        let mut vacuum = self.connection.prepare_cached(&sql)?;
        let mut pages = vacuum.query([])?;
        let mut count = 0;
        while pages.next()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    fn is_log_full(&self) -> bool {
        self.log_bytes() > MOST_LOG_BYTES
    }

    /// Removes some of the oldest lines before a time.
    fn remove_before(&self, time: i64) -> rusqlite::Result<usize> {
        let mut remove = self.connection.prepare_cached(
            "DELETE FROM event WHERE (time, number) IN (
                SELECT time, number FROM event WHERE time < ?1 ORDER BY time, number LIMIT ?2
            )",
        )?;
        remove.execute(params![time, REMOVED])
    }

    /// Whether the file has been moved or deleted, so that further writes would be lost.
    pub(crate) fn is_gone(&self) -> bool {
        identity(&self.file) != self.identity
    }

    /// Whether the file exceeds the size limit.
    pub(crate) fn is_larger_than(&self, limits: Limits) -> bool {
        let room = limits.bytes.saturating_sub(LOG_BYTES);
        self.used_bytes().is_ok_and(|bytes| bytes > room)
    }

    /// Size of the file and its log.
    pub(crate) fn bytes(&self) -> u64 {
        fs::metadata(&self.file).map_or(0, |it| it.len()) + self.log_bytes()
    }

    fn log_bytes(&self) -> u64 {
        fs::metadata(log_of(&self.file)).map_or(0, |it| it.len())
    }

    fn file_bytes(&self) -> rusqlite::Result<u64> {
        Ok(self.number("page_count")? * self.number("page_size")?)
    }

    fn used_bytes(&self) -> rusqlite::Result<u64> {
        let pages = self.number("page_count")? - self.number("freelist_count")?;
        Ok(pages * self.number("page_size")?)
    }

    fn number(&self, pragma: &str) -> rusqlite::Result<u64> {
        let number: i64 = self.connection.pragma_query_value(None, pragma, |row| row.get(0))?;
        Ok(number.unsigned_abs())
    }

    fn checkpoint(&self) -> rusqlite::Result<()> {
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }
}

/// Device and inode of the file with this name.
fn identity(file: &Path) -> Option<(u64, u64)> {
    fs::metadata(file).ok().map(|it| (it.dev(), it.ino()))
}

/// Whether the error means that the file is damaged.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Reason why a file cannot be used.
enum Unusable {
    /// The file was not written by this program.
    File {
        why: &'static str,
        text: String,
    },
    Else(rusqlite::Error),
}

impl From<rusqlite::Error> for Unusable {
    fn from(error: rusqlite::Error) -> Self {
        if is_damage(&error) {
            Self::File { why: DAMAGED, text: format!("is damaged ({error})") }
        } else {
            Self::Else(error)
        }
    }
}

impl From<Unusable> for rusqlite::Error {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            Unusable::Else(error) => error,
            Unusable::File { text, .. } => {
                let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
                Self::SqliteFailure(code, Some(text))
            }
        }
    }
}

/// Connects to a file, and creates the tables if it is empty.
fn connect(file: &Path) -> Result<Connection, Unusable> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY)?;
    if connection.is_readonly(MAIN_DB)? {
        // Otherwise, only the first write would reveal it.
        let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY);
        let text = "it is read-only for this user".to_owned();
        return Err(Unusable::Else(rusqlite::Error::SqliteFailure(error, Some(text))));
    }
    match schema::check(&connection)? {
        Found::Current => {}
        Found::Empty => schema::create(&mut connection)?,
        Found::Other(version) => {
            let text = format!("has tables of version {version}, not {}", schema::VERSION);
            return Err(Unusable::File { why: "other-version", text });
        }
        Found::Foreign => {
            return Err(Unusable::File { why: "foreign", text: "is not a history".to_owned() });
        }
    }
    // FULL: committed data survives a power failure.
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;
         PRAGMA wal_autocheckpoint = {LOG_PAGES}; PRAGMA journal_size_limit = {LOG_BYTES};"
    ))?;
    // Opens the log with the current privileges: later, root may lack access to a service's
    // directory.
    schema::check(&connection)?;
    Ok(connection)
}

fn compress(text: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    // Writing to memory cannot fail.
    encoder.write_all(text).and_then(|()| encoder.finish()).unwrap_or_default()
}

#[cfg(test)]
impl Store {
    /// Simulates a disk that is full at this many pages.
    pub(crate) fn limit_pages(&self, pages: Option<u32>) {
        let pages = pages.unwrap_or(u32::MAX - 1);
        let limit =
            self.connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()));
        limit.expect("limited");
    }
}
