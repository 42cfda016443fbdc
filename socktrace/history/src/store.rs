//! The file, as its one writer has it.

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

/// Nanoseconds in a day, for which a shape is used: after that it is written again. So one can go as soon as
/// no line is left that is as old.
const DAY: i64 = 86_400_000_000_000;

/// Shapes whose numbers are kept in memory.
const SHAPES: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");

/// Lines that are removed at once.
const REMOVED: u32 = 10_000;

/// Rounds of these in a row, at most.
const ROUNDS: usize = 20;

/// The log of what was not moved to the file yet, in bytes, as it is while nobody reads.
const LOG_BYTES: u64 = 4 << 20;

/// The same in pages.
const LOG_PAGES: u64 = LOG_BYTES / schema::PAGE_BYTES;

/// The most that it grows to while a reader holds it. A reader takes moments, unless it is stopped.
const MOST_LOG_BYTES: u64 = 8 * LOG_BYTES;

/// How long to wait for somebody who removes lines.
const BUSY: Duration = Duration::from_secs(5);

/// Suffixes of files that are set aside.
const DAMAGED: &str = "damaged";

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size of the file and its log, in bytes; some 16 MiB at least.
    pub bytes: u64,
    /// Age of the oldest line.
    pub age: Duration,
}

/// Why there is no file to write.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process writes it.
    #[error("another process is writing {0}")]
    Taken(PathBuf),
    /// The system refuses.
    #[error("cannot open {0}: {1}")]
    System(PathBuf, #[source] io::Error),
    /// `SQLite` does.
    #[error("cannot use {0}: {1}")]
    Database(PathBuf, #[source] rusqlite::Error),
}

/// The file.
#[derive(Debug)]
pub(crate) struct Store {
    connection: Connection,
    file: PathBuf,
    /// The numbers of shapes and when they were begun, by their hash.
    shapes: LruCache<u128, (i64, i64)>,
    hasher: SipHasher13,
    packed: Packed,
    /// Changes when another process has changed something.
    version: Option<i64>,
    number: u32,
    /// Which file it is, whatever becomes of its name.
    identity: Option<(u64, u64)>,
    /// Held as long as this process writes.
    _lock: File,
}

impl Store {
    /// Opens the file, and makes it where there is none. One that cannot be used is set aside.
    ///
    /// # Errors
    /// When it cannot be written, or another process does.
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

    /// Sets a file aside that has turned out to be damaged, unless another process has begun to write it.
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

    /// Adds lines: all of them, or none.
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
            // Some were new, and are not there now.
            self.shapes.clear();
        }
        added
    }

    fn try_add(&mut self, rows: &[Row]) -> rusqlite::Result<()> {
        let change = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version = change.pragma_query_value(None, "data_version", |row| row.get(0))?;
        if self.version.replace(version) != Some(version) {
            // Somebody may have removed them.
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
                // Small numbers take less room, and lines of one nanosecond are few.
                self.number = (self.number + 1) % 128;
            }
        }
        change.commit()
    }

    /// Removes the oldest lines that are too many or too old, by the time now in nanoseconds since 1970.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub(crate) fn prune(&mut self, limits: Limits, now: i64) -> rusqlite::Result<()> {
        let age = i64::try_from(limits.age.as_nanos()).unwrap_or(i64::MAX);
        let oldest = now.saturating_sub(age);
        for _ in 0..ROUNDS {
            // What is removed goes through the log, which a reader may hold.
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

    /// Gives free pages at the end of the file back to the file system, and returns how many.
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

    /// Removes some of the oldest lines, of those before a time.
    fn remove_before(&self, time: i64) -> rusqlite::Result<usize> {
        let mut remove = self.connection.prepare_cached(
            "DELETE FROM event WHERE (time, number) IN (
                SELECT time, number FROM event WHERE time < ?1 ORDER BY time, number LIMIT ?2
            )",
        )?;
        remove.execute(params![time, REMOVED])
    }

    /// Whether the file has been moved or deleted: what is written there nobody finds.
    pub(crate) fn is_gone(&self) -> bool {
        identity(&self.file) != self.identity
    }

    /// Whether it needs more room than there is to be.
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

/// Which file has this name.
fn identity(file: &Path) -> Option<(u64, u64)> {
    fs::metadata(file).ok().map(|it| (it.dev(), it.ino()))
}

/// Whether the file itself is to blame.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Why a file cannot be used.
enum Unusable {
    /// It is none of this program's.
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

/// Makes a connection to a file, and tables where it has none.
fn connect(file: &Path) -> Result<Connection, Unusable> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY)?;
    if connection.is_readonly(MAIN_DB)? {
        // Otherwise it would be found out by the first line.
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
    // FULL: what is committed is on the disk also when the power fails.
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;
         PRAGMA wal_autocheckpoint = {LOG_PAGES}; PRAGMA journal_size_limit = {LOG_BYTES};"
    ))?;
    // Opens the log, with the privileges that there are now: root may have none in a service's directory later.
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
    /// Simulates a full disk at this many pages.
    pub(crate) fn limit_pages(&self, pages: Option<u32>) {
        let pages = pages.unwrap_or(u32::MAX - 1);
        let limit =
            self.connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()));
        limit.expect("limited");
    }
}
