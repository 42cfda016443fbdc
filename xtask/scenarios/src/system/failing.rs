//! Failures of the service.

use std::fs;

use anyhow::{Result, ensure};

use super::{
    super::survive::programs,
    unit::{
        self, CONFIG, UNIT, comes_to, comes_to_programs, fresh, has, property, said, systemctl,
        text, until,
    },
    victim,
};

/// Shorter wait between restarts than in production.
const QUICK: &str = "RestartSec=500ms";

/// Signals of the crashes: as many as systemd's limit of starts.
const STARTS: [&str; 5] = ["KILL", "ABRT", "ILL", "KILL", "KILL"];

/// A crash leaves nothing attached, and the service restarts and counts again, up to systemd's start limit.
pub(in super::super) fn crash() -> Result<()> {
    fresh()?;
    let before = programs()?;
    unit::set(QUICK)?;
    systemctl(&["start", UNIT])?;
    let attached = programs()?;
    let [restarting @ .., last] = STARTS;
    for (index, signal) in restarting.into_iter().enumerate() {
        crash_by(signal)?;
        let restarts = (index + 1).to_string();
        comes_to(&[("NRestarts", &restarts), ("ActiveState", "active"), ("SubState", "running")])?;
        comes_to_programs(attached)?;
        victim::is_counted(0)?;
    }
    victim::run()?;
    victim::is_counted(1)?;
    crash_by(last)?;
    comes_to(&[("ActiveState", "failed"), ("SubState", "failed")])?;
    comes_to_programs(before)
}

fn crash_by(signal: &str) -> Result<()> {
    let pid = property("MainPID")?;
    systemctl(&["kill", &format!("--signal={signal}"), UNIT])?;
    until(|| {
        ensure!(property("MainPID")? != pid, "SIG{signal} does not end it");
        Ok(())
    })
}

/// A hanging service is killed by systemd's watchdog, and restarted.
pub(in super::super) fn watchdog() -> Result<()> {
    fresh()?;
    unit::set(&format!("{QUICK}\nWatchdogSec=4s"))?;
    systemctl(&["start", UNIT])?;
    let pid = property("MainPID")?;
    systemctl(&["kill", "--signal=STOP", UNIT])?;
    comes_to(&[("NRestarts", "1"), ("ActiveState", "active"), ("SubState", "running")])?;
    ensure!(property("MainPID")? != pid, "it was not ended");
    let journal = unit::journal(&[&format!("UNIT={UNIT}")])?;
    ensure!(
        journal.iter().any(|entry| text(entry).contains("Watchdog timeout (limit 4s)")),
        "no watchdog in {:?}",
        unit::texts(&journal)
    );
    victim::run()?;
    victim::is_counted(1)
}

/// An invalid configuration is reported with its line, and systemd does not retry.
pub(in super::super) fn wrong_configuration() -> Result<()> {
    fresh()?;
    fs::write(CONFIG, "idle-treshold = 9\n")?;
    let started = unit::output(&["systemctl", "start", UNIT])?;
    ensure!(!started.status.success(), "it starts");
    // If systemd were to restart it, the restart would be scheduled by now.
    has(&[
        ("ActiveState", "failed"),
        ("SubState", "failed"),
        ("Result", "exit-code"),
        ("ExecMainStatus", "2"),
        ("NRestarts", "0"),
    ])?;
    said("socktrace.toml:1: unknown key \"idle-treshold\"", "3").map(drop)
}
