//! Archives of files for guests, cached between runs.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use tempfile::NamedTempFile;

use crate::workspace;

/// Returns the path of an archive. If it does not exist, `write` fills an empty file first.
///
/// # Errors
///
/// When `write` fails, or the file cannot be stored.
pub(crate) fn cached(
    name: &str,
    write: impl FnOnce(&NamedTempFile) -> Result<()>,
) -> Result<PathBuf> {
    let directory = workspace::cache("initramfs");
    let path = directory.join(format!("{name}.cpio"));
    if path.is_file() {
        return Ok(path);
    }
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let file = NamedTempFile::new_in(&directory)
        .with_context(|| format!("cannot write to {}", directory.display()))?;
    write(&file)?;
    file.persist(&path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
