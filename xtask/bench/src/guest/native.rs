//! Measurements on a host as it is, not in a guest: by its clock, and next to its other work.
//!
//! Such a host runs other programs. Therefore only the CPU time of the program that does the work
//! and of the tool counts, in nanoseconds, and BPF programs of others are ignored. Sockets are in a
//! network namespace of their own, so that ports and limits of the host stay as they are.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sched::{CloneFlags, unshare};

use super::bpf;

/// The daemon to measure; set on a host only.
static DAEMON: OnceLock<PathBuf> = OnceLock::new();

/// Makes later measurements use this host and this daemon.
///
/// # Errors
///
/// When there is no such daemon, or this process is not root.
pub(super) fn enter(daemon: &str) -> Result<()> {
    let path = fs::canonicalize(daemon).with_context(|| format!("there is no {daemon}"))?;
    unshare(CloneFlags::CLONE_NEWNET)
        .context("cannot make a network namespace: measuring takes root")?;
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    ensure!(status.context("cannot run ip")?.success(), "there is no loopback interface");
    bpf::leave_out_others()?;
    DAEMON.set(path).map_err(|path| anyhow!("the daemon is given twice, now as {}", path.display()))
}

/// Whether measurements are made on a host.
pub(super) fn is_host() -> bool {
    DAEMON.get().is_some()
}

/// Path of the daemon, if measurements are made on a host.
pub(super) fn daemon() -> Option<&'static Path> {
    DAEMON.get().map(PathBuf::as_path)
}
