//! Cgroups of the unified hierarchy, by their directories.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

/// Mount point of the hierarchy.
pub const ROOT: &str = "/sys/fs/cgroup";

/// Moves this process into the cgroup with this directory, which may also be one of cgroup v1.
///
/// # Errors
///
/// When there is no such cgroup, or it accepts no processes.
pub fn enter(directory: &str) -> Result<()> {
    let file = Path::new(directory).join("cgroup.procs");
    fs::write(&file, "0").with_context(|| format!("cannot write to {}", file.display()))
}
