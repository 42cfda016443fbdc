//! How lines lie in the file.

use rusqlite::Connection;

/// The version of the tables, in the file's header. A file of another version is set aside; what reads an
/// older one belongs into [`check`].
pub(crate) const VERSION: i32 = 1;

/// Size of a page.
pub(crate) const PAGE_BYTES: u64 = 4_096;

/// Says whose file it is: `sock`.
const APPLICATION: i32 = 0x736f_636b;

/// Rows lie in the order of their times, so that a span of time is one piece of the file, and the oldest are
/// removed in whole pages. Two lines may have the same time.
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

/// Kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// One with nothing in it.
    Empty,
    /// A history as this program writes it.
    Current,
    /// A history of this other version.
    Other(i32),
    /// Something else.
    Foreign,
}

/// Looks what a file is.
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

/// Makes the tables, in an empty file.
pub(crate) fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    // Pages that are free can be given back; has to be said before there is a table.
    connection.execute_batch(&format!(
        "PRAGMA page_size = {PAGE_BYTES}; PRAGMA auto_vacuum = INCREMENTAL;"
    ))?;
    let change = connection.transaction()?;
    change.execute_batch(TABLES)?;
    change.pragma_update(None, "application_id", APPLICATION)?;
    change.pragma_update(None, "user_version", VERSION)?;
    change.commit()
}
