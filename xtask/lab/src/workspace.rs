//! Where things lie in the repository.

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

/// A directory of ours for things that are kept between runs.
#[must_use]
pub fn cache(name: &str) -> PathBuf {
    root().join("target").join(name)
}

/// Where cargo puts what it builds.
#[must_use]
pub fn cargo_target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root().join(directory),
        None => root().join("target"),
    }
}

/// A file that is locked while the compiler of the kernel programs is being installed.
#[must_use]
pub fn toolchain_lock() -> PathBuf {
    cache("toolchain.lock")
}

/// Lets build scripts wait for the compiler of the kernel programs while the result lives.
///
/// # Errors
///
/// When the lock file cannot be made.
pub fn lock_toolchain() -> Result<File> {
    lock(&toolchain_lock())
}

/// Keeps other runs of xtask away from the caches while the result lives.
///
/// # Errors
///
/// When the lock file cannot be made.
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
