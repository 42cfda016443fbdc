//! Self-test of following: a process started by a followed process is followed until it exits.

use std::{
    env,
    process::{self, Command, Stdio},
};

use anyhow::{Context as _, Result};

use super::self_test::Outcome;
use crate::{
    follow::{Process, has_own_numbers},
    kernel::{followed::Followed, hooks::Hook, load::Loaded},
};

/// Starts a process and checks that it is followed until it exits.
///
/// # Errors
/// When the process cannot be started, or the programs' maps cannot be used.
pub(super) fn run(loaded: &mut Loaded) -> Result<Outcome> {
    let mut outcome = Outcome {
        name: "process_followed",
        reported: Vec::new(),
        problem: None,
        skipped: None,
        proves: &[Hook::SchedProcess],
    };
    let skipped = if !loaded.health.is_attached(Hook::SchedProcess) {
        Some("sched_process is not attached")
    } else if has_own_numbers() {
        Some("socktrace runs in another pid namespace")
    } else {
        None
    };
    if let Some(why) = skipped {
        (outcome.skipped, outcome.proves) = (Some(why.to_owned()), &[]);
        return Ok(outcome);
    }
    let mut followed = Followed::new(&mut loaded.object)?;
    let this = Process::find(process::id()).context("/proc does not have this process")?;
    followed.add(this.pid, this.since_ns)?;
    // The child reads until its standard input ends.
    let mut child = Command::new(env::current_exe()?)
        .args(["replay", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start a process")?;
    let was_followed = followed.pids().any(|pid| pid == child.id());
    drop(child.stdin.take());
    child.wait()?;
    outcome.problem = match (was_followed, followed.pids().any(|pid| pid == child.id())) {
        (true, false) => None,
        (false, _) => Some("a process that a followed one started is not followed".to_owned()),
        (true, true) => Some("a process that has ended is still followed".to_owned()),
    };
    followed.remove(this.pid);
    Ok(outcome)
}
