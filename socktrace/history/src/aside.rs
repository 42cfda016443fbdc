//! Unusable files, which are renamed and never deleted.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// Suffix of the log that `SQLite` keeps next to a database.
const LOG: &str = "-wal";

/// Renames a file and its log; returns the file's new name.
///
/// # Errors
/// When the file cannot be renamed.
pub(crate) fn set_aside(file: &Path, why: &str) -> io::Result<PathBuf> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut number = since.as_secs();
    let name = |number: u64| beside(file, &format!(".{why}-{number}"));
    while name(number).exists() {
        number += 1;
    }
    let aside = name(number);
    fs::rename(file, &aside)?;
    match fs::rename(log_of(file), log_of(&aside)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(aside),
    }
}

/// The write-ahead log, with data not yet in the file.
pub(crate) fn log_of(file: &Path) -> PathBuf {
    beside(file, LOG)
}

/// A file name with a suffix.
pub(crate) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(suffix);
    name.into()
}
