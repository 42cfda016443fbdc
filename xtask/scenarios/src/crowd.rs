//! A service with more sockets than the tables have room for does not hide the owners of other
//! services' sockets.

use std::{fs, process};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use xtask_common::cgroup;

use super::{
    network::Family,
    owner,
    socket::{self, Pair},
    tracer::Tracer,
};

/// The service with many sockets, spread over several cgroups.
const CROWD: &str = "/system.slice/crowd.service";
const CROWD_CGROUPS: usize = 8;

/// Another service, whose connections fail.
const OTHER: &str = "/system.slice/other.service";
const FAILURES: usize = 20;

/// Table size in sockets, and approximate number of connections that the crowd opens, with two ends each.
const ROOM: &str = "64";
const CONNECTIONS: usize = 200;

/// The socket table is full with one service's entries when another service opens its sockets.
pub(super) fn keeps_out_nobody() -> Result<()> {
    let args = ["--max-sockets", ROOM, "--output", "json", "--listen", "127.0.0.1:0"];
    let tracer = Tracer::must_start(&args)?;
    let listener = socket::listener(Family::Ipv4.loopback(), 1)?;
    // Before 5.15, which has no helper to find a cgroup's ancestors, each cgroup counts separately.
    let cgroups = if version()? < [5, 15] { 1 } else { CROWD_CGROUPS };
    let mut crowd = Vec::new();
    for number in 0..cgroups {
        cgroup::enter(&owner::make(&format!("{CROWD}/{number}"))?)?;
        for _ in 0..CONNECTIONS / cgroups {
            crowd.push(Pair::through(&listener)?);
        }
    }
    cgroup::enter(&owner::make(OTHER)?)?;
    for _ in 0..FAILURES {
        Pair::through(&listener)?.reset()?;
    }
    owner::leave()?;
    let metrics = tracer.scrape()?;
    let full = metrics.get("socktrace_owners_full_total").copied().unwrap_or_default();
    ensure!(full >= 1.0, "the table was not full");
    let lines = tracer.collect(FAILURES);
    ensure!(lines.len() == FAILURES, "{} lines for {FAILURES} failures", lines.len());
    for line in lines {
        let line: Value = serde_json::from_str(&line).context("not JSON")?;
        ensure!(line["pid"] == process::id(), "{line}");
        ensure!(line["unit"] == "other.service", "{line}");
    }
    drop(crowd);
    Ok(())
}

/// Major and minor version of the running kernel.
fn version() -> Result<[u32; 2]> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split('.').map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok([major, minor]),
        _ => bail!("no version: {release}"),
    }
}
