//! Paths in the repository.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// The repository's root.
#[must_use]
pub fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package)
}

/// Directory for files that xtask keeps between runs.
#[must_use]
pub fn cache(name: &str) -> PathBuf {
    root().join("target").join(name)
}

/// Directory of cargo's build output.
#[must_use]
pub fn cargo_target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root().join(directory),
        None => root().join("target"),
    }
}

/// File that is locked while the compiler of the kernel programs is being installed.
#[must_use]
pub fn toolchain_lock() -> PathBuf {
    cache("toolchain.lock")
}

/// Makes build scripts wait for the compiler of the kernel programs until the result is dropped.
///
/// # Errors
///
/// When the lock file cannot be created.
pub fn lock_toolchain() -> Result<File> {
    lock(&toolchain_lock())
}

/// Keeps other runs of xtask away from the caches until the result is dropped.
///
/// # Errors
///
/// When the lock file cannot be created.
pub fn lock_caches() -> Result<File> {
    lock(&cache("xtask.lock"))
}

fn lock(path: &Path) -> Result<File> {
    let lock = || {
        fs::create_dir_all(cache(""))?;
        let file = File::create(path)?;
        file.lock()?;
        Ok::<_, std::io::Error>(file)
    };
    lock().with_context(|| format!("cannot lock {}", path.display()))
}
