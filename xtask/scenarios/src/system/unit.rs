//! The service as systemd has it: its state, its settings, what it said to the journal.

use std::{
    fmt::{self, Write as _},
    fs,
    path::Path,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{super::survive::programs, package};

/// The service.
pub(super) const UNIT: &str = "socktrace.service";

/// The sockets of its metrics.
pub(super) const SOCKET: &str = "socktrace.socket";

/// Its configuration.
pub(super) const CONFIG: &str = "/etc/socktrace/socktrace.toml";

/// Makes the service stream, in the way that its configuration says: what `docs/install.md` advises
/// people to set. The capability finds services that have only just begun.
const STREAMING: &str = "\
ExecStart=
ExecStart=/usr/bin/socktrace
AmbientCapabilities=CAP_DAC_READ_SEARCH
CapabilityBoundingSet=CAP_DAC_READ_SEARCH
SystemCallFilter=open_by_handle_at";

/// Where a scenario adds to the unit; gone with the next one.
const DROP_INS: &str = "/run/systemd/system/socktrace.service.d";

/// Longest time for something that is due.
const PATIENCE: Duration = Duration::from_mins(1);

/// Runs a program that must succeed, and returns what it printed.
pub(super) fn run(words: &[&str]) -> Result<String> {
    let output = output(words)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed ({}):\n{said}{stderr}", words.join(" "), output.status);
    }
    Ok(said)
}

/// Runs a program that may fail, and that is ended where it comes to no end.
pub(super) fn output(words: &[&str]) -> Result<Output> {
    const TIMED_OUT: i32 = 124;
    let mut command = Command::new("timeout");
    let limit = (2 * PATIENCE).as_secs().to_string();
    let output = command.arg(&limit).args(words).output().context("cannot run timeout")?;
    if output.status.code() == Some(TIMED_OUT) {
        bail!("{} comes to no end within {limit} s", words.join(" "));
    }
    Ok(output)
}

/// Asks systemd to do something with units.
pub(super) fn systemctl(words: &[&str]) -> Result<String> {
    run(&[&["systemctl"], words].concat())
}

/// The package as it comes, and its units stopped, with nothing held against them.
pub(super) fn fresh() -> Result<()> {
    package::ensure_installed()?;
    systemctl(&["stop", SOCKET, UNIT])?;
    if Path::new(DROP_INS).exists() {
        fs::remove_dir_all(DROP_INS)?;
        systemctl(&["daemon-reload"])?;
    }
    // Also forgets how often it was started.
    systemctl(&["reset-failed"])?;
    package::restore_config()
}

/// Adds settings to the unit.
pub(super) fn set(settings: &str) -> Result<()> {
    fs::create_dir_all(DROP_INS)?;
    fs::write(Path::new(DROP_INS).join("scenario.conf"), format!("[Service]\n{settings}\n"))?;
    systemctl(&["daemon-reload"]).map(drop)
}

/// Makes the service stream.
pub(super) fn stream() -> Result<()> {
    set(STREAMING)
}

/// One property of the service.
pub(super) fn property(name: &str) -> Result<String> {
    Ok(systemctl(&["show", "--property", name, "--value", UNIT])?.trim().to_owned())
}

/// Checks properties of the service.
pub(super) fn has(properties: &[(&str, &str)]) -> Result<()> {
    for (name, expected) in properties {
        let found = property(name)?;
        ensure!(found == *expected, "{name} is {found:?}, not {expected:?}");
    }
    Ok(())
}

/// Waits until properties of the service have these values.
pub(super) fn comes_to(properties: &[(&str, &str)]) -> Result<()> {
    until(|| has(properties))
}

/// Waits until the kernel has just so many BPF programs. It frees them some time after their last
/// use.
pub(super) fn comes_to_programs(count: usize) -> Result<()> {
    until(|| {
        let found = programs()?;
        ensure!(found == count, "there are {found} BPF programs, not {count}");
        Ok(())
    })
}

/// What the service said to the journal since it was last started, oldest first.
pub(super) fn messages() -> Result<Vec<Value>> {
    let run = format!("_SYSTEMD_INVOCATION_ID={}", property("InvocationID")?);
    journal(&[&run])
}

/// Entries of the journal that match, oldest first.
pub(super) fn journal(matches: &[&str]) -> Result<Vec<Value>> {
    run(&["journalctl", "--sync"])?;
    let entries = run(&[&["journalctl", "--quiet", "--output", "json"], matches].concat())?;
    let entry = |line: &str| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"));
    entries.lines().map(entry).collect()
}

/// The text of a journal entry.
pub(super) fn text(entry: &Value) -> &str {
    entry["MESSAGE"].as_str().unwrap_or_default()
}

/// The one message of the service's last run that has these words, with this priority.
pub(super) fn said(words: &str, priority: &str) -> Result<Value> {
    let messages = messages()?;
    let with_words: Vec<_> = messages.iter().filter(|entry| text(entry).contains(words)).collect();
    let [message] = with_words[..] else {
        bail!("{words:?} is said by {} of {:?}", with_words.len(), texts(&messages))
    };
    ensure!(message["PRIORITY"] == priority, "not of priority {priority}: {message}");
    Ok(message.clone())
}

/// The texts of journal entries.
pub(super) fn texts(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(text).collect()
}

/// Waits until something is as it must be.
pub(super) fn until<T>(mut look: impl FnMut() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        match look() {
            Err(_) if started.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(200)),
            result => return result.with_context(|| format!("after {PATIENCE:?}")),
        }
    }
}

/// What shows why a scenario failed: the service's state, and the end of its log.
pub(in super::super) fn evidence() -> String {
    let mut evidence = String::new();
    for words in [
        &["systemctl", "status", "--no-pager", "--full", "--lines=0", UNIT, SOCKET][..],
        &["journalctl", "--quiet", "--no-pager", "--lines=15", "--unit", UNIT, "--unit", SOCKET],
    ] {
        let said = match output(words) {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(error) => format!("{error:#}"),
        };
        // Writing to a string does not fail.
        let _: fmt::Result = write!(evidence, "\n{}", said.trim_end());
    }
    evidence
}
