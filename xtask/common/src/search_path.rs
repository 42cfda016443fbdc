//! Lookup of programs.

use std::{env, path::PathBuf};

/// Finds a program in `PATH`, or in the directories of system programs, which `PATH` may lack.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}
