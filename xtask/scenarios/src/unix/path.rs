//! Unix socket paths in filters, and listeners that were there before the daemon.

use anyhow::{Result, ensure};
use nix::{libc, sys::signal::Signal};
use serde_json::Value;

use super::{
    failing::full,
    socket::{self, Name, STREAM, errno},
};
use crate::tracer::Tracer;

/// A daemon that starts when a listener's queue is already full knows the listener, and shows only
/// paths that pass the filter.
pub(crate) fn of_listener_before() -> Result<()> {
    let name = Name::path("before.sock")?;
    let _full = full(STREAM, &name)?;
    let directory = format!("{}/*.sock", name.file().with_file_name("").display());
    let pattern = directory.replace("//", "/");
    let others = format!("!{pattern}");
    let args = |path| vec!["--no-metrics", "--output", "json", "--path", path];
    let tracers = Tracer::start_all(&[args(&pattern), args(&others)])?;
    let refuse = |name: &Name, wanted| -> Result<()> {
        let client = socket::open(STREAM)?;
        socket::make_non_blocking(&client)?;
        errno("connect", socket::connect(&client, name), wanted)?;
        Ok(())
    };
    refuse(&Name::path("nothing")?, libc::ENOENT)?;
    refuse(&name, libc::EAGAIN)?;
    let pid = std::process::id();
    for (tracer, cause) in tracers.iter().zip(["backlog_full", "no_such_socket"]) {
        let lines = tracer.collect(1);
        let [line] = &lines[..] else { anyhow::bail!("one line is due, not {lines:?}") };
        let line: Value = serde_json::from_str(line)?;
        ensure!(line["cause"] == cause, "{cause} is due, not {line}");
        if cause == "backlog_full" {
            ensure!(line["peer_pid"] == pid && line["accept_queue_limit"] == 1, "{line}");
        }
    }
    Tracer::stop_all(tracers, Signal::SIGINT)?;
    Ok(())
}
