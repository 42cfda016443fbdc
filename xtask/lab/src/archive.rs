//! Archives of files for guests that are kept from one run to the next.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use tempfile::NamedTempFile;

use crate::workspace;

/// The archive of this name. Unless it is there, `write` gets an empty file to write it to.
///
/// # Errors
///
/// When `write` has one, or the file cannot be kept.
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
