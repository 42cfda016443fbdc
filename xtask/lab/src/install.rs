//! Installation of Debian packages.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use socktrace_toolchain::advice;

use crate::{
    apt::{self, FRESH},
    process, progress,
    setup::as_root,
};

/// Directory in which apt keeps packages until they are installed.
const DOWNLOADED: &str = "/var/cache/apt/archives";

/// Installs packages with apt.
///
/// # Errors
///
/// When this machine is not Debian, or apt fails.
pub(crate) fn packages(packages: &[&str]) -> Result<()> {
    if process::find("apt-get").is_none() || !Path::new("/etc/debian_version").exists() {
        bail!(
            "missing: {}, as Debian calls these packages. This machine is not Debian, so \
             install them by hand. For the kernel programs alone: {}",
            packages.join(", "),
            advice()
        );
    }
    let known = packages.iter().all(|package| {
        let shown = Command::new("apt-cache").args(["show", "--no-all-versions", package]).output();
        shown.is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
    });
    if !known || !lists_are_fresh() {
        update_lists()?;
    }
    let list = packages.join(", ");
    let step = progress::download(format_args!("Installing {list}"), download_size(packages)?);
    let mut apt = as_root("apt-get");
    apt.args(["-qq", "-o", "Dpkg::Use-Pty=0", "install", "--yes", "--no-install-recommends"]);
    apt.args(packages).stdin(Stdio::null());
    step.while_growing(Path::new(DOWNLOADED), || process::output(&mut apt)).with_context(|| {
        format!("cannot install {list}; see apt's output, and run this command again")
    })?;
    step.done(format_args!("Installed {list}"));
    Ok(())
}

/// Fetches the system's package lists.
///
/// # Errors
///
/// When apt fails.
pub(crate) fn update_lists() -> Result<()> {
    let step = progress::step("Fetching the system's package lists");
    process::output(as_root("apt-get").args(["-qq", "update"])).context(
        "cannot fetch the system's package lists; see apt's output, and run this command again",
    )?;
    step.done("Fetched the system's package lists");
    Ok(())
}

/// Whether the system's package lists are new enough that the packages they name still exist.
fn lists_are_fresh() -> bool {
    let Ok(lists) = fs::read_dir("/var/lib/apt/lists") else {
        return false;
    };
    lists.filter_map(Result::ok).any(|entry| {
        entry.file_name().to_string_lossy().contains("_Packages")
            && fs::metadata("/var/lib/apt/lists")
                .and_then(|metadata| metadata.modified())
                .is_ok_and(|time| time.elapsed().is_ok_and(|age| age < FRESH))
    })
}

/// Bytes that apt will fetch for these packages and their dependencies.
fn download_size(packages: &[&str]) -> Result<u64> {
    let mut apt = Command::new("apt-get");
    apt.args(["-qq", "--print-uris", "install", "--yes", "--no-install-recommends"]);
    Ok(apt::bytes(&process::output(apt.args(packages))?))
}
