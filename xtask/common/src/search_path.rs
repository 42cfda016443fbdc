//! Where programs are.

use std::{env, path::PathBuf};

/// The program of this name in `PATH` or where system programs lie, which `PATH` may leave out.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}
