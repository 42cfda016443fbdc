//! Layout of the database file.

use rusqlite::Connection;

/// Version of the tables, stored in the file's header. Files of other versions are set aside. Code
/// that reads older versions would belong in [`check`].
pub(crate) const VERSION: i32 = 1;

/// Size of a page in bytes.
pub(crate) const PAGE_BYTES: u64 = 4_096;

/// Identifies the application in the file's header: `sock`.
const APPLICATION: i32 = 0x736f_636b;

/// Rows are sorted by time. A span of time is therefore contiguous in the file, and removing the
/// oldest rows frees whole pages. Several lines may have the same time.
const TABLES: &str = "
    CREATE TABLE shape (id INTEGER PRIMARY KEY, begun INTEGER NOT NULL, text BLOB NOT NULL);
    CREATE TABLE event (
        time INTEGER NOT NULL,
        number INTEGER NOT NULL,
        shape INTEGER NOT NULL,
        fillings BLOB NOT NULL,
        PRIMARY KEY (time, number)
    ) WITHOUT ROWID;
";

/// Content of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// An empty file.
    Empty,
    /// A history in the current version.
    Current,
    /// A history in another version.
    Other(i32),
    /// Something else.
    Foreign,
}

/// Determines the content of a file.
pub(crate) fn check(connection: &Connection) -> rusqlite::Result<Found> {
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    Ok(match (number("application_id")?, number("user_version")?) {
        (APPLICATION, VERSION) => Found::Current,
        (APPLICATION, version) => Found::Other(version),
        _ if tables == 0 => Found::Empty,
        _ => Found::Foreign,
    })
}

/// Creates the tables in an empty file.
pub(crate) fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    // Allow returning free pages to the file system. This must be set before any table exists.
    connection.execute_batch(&format!(
        "PRAGMA page_size = {PAGE_BYTES}; PRAGMA auto_vacuum = INCREMENTAL;"
    ))?;
    let change = connection.transaction()?;
    change.execute_batch(TABLES)?;
    change.pragma_update(None, "application_id", APPLICATION)?;
    change.pragma_update(None, "user_version", VERSION)?;
    change.commit()
}
