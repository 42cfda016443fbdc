//! Reading of a history, during writes or afterwards.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt::Write as _,
    io::Read as _,
    ops::{ControlFlow, Range},
    path::{Path, PathBuf},
    time::Duration,
};

use flate2::read::DeflateDecoder;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, TransactionBehavior, params};

use super::{
    aside::log_of,
    kept::{Kept, Shape},
    schema::{self, Found},
};

/// Lines read in one transaction. It lasts only a moment, during which the log cannot be truncated.
const CHUNK: u32 = 4_096;

/// Longest wait for the writer when a lock is needed.
const BUSY: Duration = Duration::from_secs(10);

/// Reason why a history cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file does not exist.
    #[error("there is not a history at {0}")]
    Missing(PathBuf),
    /// The user may not read it.
    #[error("{0} can be read only by root and members of its group")]
    Forbidden(PathBuf),
    /// The user may read but not change it.
    #[error("{0} can be changed only by root and the daemon's user")]
    ReadOnly(PathBuf),
    /// The file is not a history of this version.
    #[error("{0} is not a history of this version of socktrace")]
    Foreign(PathBuf),
    /// An error of `SQLite`.
    #[error("cannot read {0}: {1}")]
    Database(PathBuf, #[source] rusqlite::Error),
}

/// A history opened for reading.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    file: PathBuf,
    shapes: HashMap<i64, Shape>,
}

/// Lines read in one transaction.
#[derive(Debug, Default)]
struct Chunk {
    rows: Vec<Row>,
    /// Fillings of all these lines.
    fillings: Vec<u8>,
}

#[derive(Debug)]
struct Row {
    time: i64,
    number: i64,
    shape: i64,
    fillings: Range<usize>,
}

impl Reader {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// When the file is missing or cannot be read.
    pub fn open(file: &Path) -> Result<Self, ReadError> {
        let shapes = HashMap::new();
        let connection = open(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        Ok(Self { connection, file: file.to_owned(), shapes })
    }

    /// Calls a function for each line in a span of time, oldest first, until it breaks. Times are
    /// in nanoseconds since 1970.
    ///
    /// # Errors
    /// When lines cannot be read.
    pub fn read(
        &mut self,
        span: Range<i64>,
        mut take: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let mut line = Vec::new();
        self.rows(span, |kept| {
            line.clear();
            if kept.text(&mut line) { take(&line) } else { ControlFlow::Continue(()) }
        })
    }

    /// [`Self::read`] for stored lines, without reassembling them.
    ///
    /// # Errors
    /// When lines cannot be read.
    pub fn rows(
        &mut self,
        span: Range<i64>,
        mut take: impl FnMut(&Kept<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let mut after = (span.start, -1);
        let mut chunk = Chunk::default();
        loop {
            self.chunk(after, span.end, &mut chunk)
                .map_err(|error| ReadError::Database(self.file.clone(), error))?;
            let Some(last) = chunk.rows.last() else { return Ok(()) };
            after = (last.time, last.number);
            for row in &chunk.rows {
                let Some(shape) = self.shapes.get(&row.shape) else { continue };
                let fillings = &chunk.fillings[row.fillings.clone()];
                if take(&Kept::new(row.time, row.shape, shape, fillings)).is_break() {
                    return Ok(());
                }
            }
        }
    }

    /// Reads some lines after a time and number, with their shapes.
    fn chunk(
        &mut self,
        (time, number): (i64, i64),
        end: i64,
        chunk: &mut Chunk,
    ) -> rusqlite::Result<()> {
        let Chunk { rows, fillings } = chunk;
        rows.clear();
        fillings.clear();
        // A single transaction, because a shape is removed with its last line.
        let read = self.connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
        let mut events = read.prepare_cached(
            "SELECT time, number, shape, fillings FROM event
             WHERE (time, number) > (?1, ?2) AND time < ?3 ORDER BY time, number LIMIT ?4",
        )?;
        let mut found = events.query(params![time, number, end, CHUNK])?;
        let mut shapes = read.prepare_cached("SELECT text FROM shape WHERE id = ?1")?;
        while let Some(row) = found.next()? {
            let shape = row.get(2)?;
            if let Entry::Vacant(place) = self.shapes.entry(shape) {
                let text: Option<Vec<u8>> = shapes.query_row([shape], |row| row.get(0)).ok();
                let text = text.and_then(|text| decompress(&text)).unwrap_or_default();
                place.insert(Shape::new(text));
            }
            let begin = fillings.len();
            fillings.extend_from_slice(row.get_ref(3)?.as_blob()?);
            let (time, number) = (row.get(0)?, row.get(1)?);
            rows.push(Row { time, number, shape, fillings: begin..fillings.len() });
        }
        Ok(())
    }

    /// Removes all lines in a span of time, and returns their number.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn purge(file: &Path, span: Range<i64>) -> Result<usize, ReadError> {
        let database = |error| ReadError::Database(file.to_owned(), error);
        let connection = open(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        if connection.is_readonly(MAIN_DB).map_err(database)? {
            return Err(ReadError::ReadOnly(file.to_owned()));
        }
        purge(connection, span).map_err(database)
    }
}

fn purge(mut connection: Connection, span: Range<i64>) -> rusqlite::Result<usize> {
    connection.busy_timeout(BUSY)?;
    // Overwrite removed data instead of leaving it in free pages.
    connection.execute_batch("PRAGMA secure_delete = ON")?;
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let count = change.execute(
        "DELETE FROM event WHERE time >= ?1 AND time < ?2",
        params![span.start, span.end],
    )?;
    change.execute("DELETE FROM shape WHERE id NOT IN (SELECT shape FROM event)", [])?;
    change.commit()?;
    // Unused parts of pages may still contain old data.
    connection.execute_batch("VACUUM")?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(count)
}

fn open(file: &Path, flags: OpenFlags) -> Result<Connection, ReadError> {
    if let Err(error) = std::fs::File::open(file) {
        return Err(match error.kind() {
            std::io::ErrorKind::NotFound => ReadError::Missing(file.to_owned()),
            std::io::ErrorKind::PermissionDenied => ReadError::Forbidden(file.to_owned()),
            _ => {
                ReadError::Database(file.to_owned(), rusqlite::Error::InvalidPath(file.to_owned()))
            }
        });
    }
    let connect = |connection: rusqlite::Result<Connection>| {
        let connection = connection?;
        connection.busy_timeout(BUSY)?;
        let found = schema::check(&connection)?;
        Ok((connection, found))
    };
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = connect(Connection::open_with_flags(file, flags));
    let opened = match opened {
        // Reading without a writer creates files next to the database, which not every user may. If
        // the log is empty, there is no writer to coordinate with.
        Err(error) if lacks_files(&error) && !has_log(file) => {
            let flags = flags | OpenFlags::SQLITE_OPEN_URI;
            connect(Connection::open_with_flags(unchanging(file), flags))
        }
        opened => opened,
    };
    match opened {
        Ok((connection, Found::Current | Found::Empty)) => Ok(connection),
        Ok(_) => Err(ReadError::Foreign(file.to_owned())),
        Err(error) => Err(ReadError::Database(file.to_owned(), error)),
    }
}

fn lacks_files(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

fn has_log(file: &Path) -> bool {
    std::fs::metadata(log_of(file)).is_ok_and(|log| log.len() > 0)
}

/// URI of a file that nobody is writing, in `SQLite`'s syntax.
fn unchanging(file: &Path) -> String {
    let mut address = String::from("file:");
    for byte in file.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                address.push(char::from(*byte));
            }
            // Writing to a string cannot fail.
            byte => _ = write!(address, "%{byte:02X}"),
        }
    }
    address.push_str("?immutable=1");
    address
}

fn decompress(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    DeflateDecoder::new(text).read_to_end(&mut out).ok()?;
    Some(out)
}
