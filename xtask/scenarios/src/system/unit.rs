//! The service under systemd: its state, its settings, and its messages in the journal.

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

/// Unit of the service.
pub(super) const UNIT: &str = "socktrace.service";

/// Socket unit of the metrics.
pub(super) const SOCKET: &str = "socktrace.socket";

/// Configuration file of the service.
pub(super) const CONFIG: &str = "/etc/socktrace/socktrace.toml";

/// Makes the service stream as described in its configuration, with the settings that
/// `docs/install.md` recommends. The capability lets it find services that have only just started.
const STREAMING: &str = "\
ExecStart=
ExecStart=/usr/bin/socktrace
AmbientCapabilities=CAP_DAC_READ_SEARCH
CapabilityBoundingSet=CAP_DAC_READ_SEARCH
SystemCallFilter=open_by_handle_at";

/// Directory for a scenario's additions to the unit, which the next scenario removes.
const DROP_INS: &str = "/run/systemd/system/socktrace.service.d";

/// Longest time to wait for something that is due.
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

/// Runs a program that may fail, and kills it if it does not end.
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

/// Runs systemctl on units.
pub(super) fn systemctl(words: &[&str]) -> Result<String> {
    run(&[&["systemctl"], words].concat())
}

/// Restores the package's installed state, with its units stopped and their failures reset.
pub(super) fn fresh() -> Result<()> {
    package::ensure_installed()?;
    systemctl(&["stop", SOCKET, UNIT])?;
    if Path::new(DROP_INS).exists() {
        fs::remove_dir_all(DROP_INS)?;
        systemctl(&["daemon-reload"])?;
    }
    // Also resets the start counter.
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

/// Reads a property of the service.
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

/// Waits until the kernel has exactly `count` BPF programs. It frees them some time after their last use.
pub(super) fn comes_to_programs(count: usize) -> Result<()> {
    until(|| {
        let found = programs()?;
        ensure!(found == count, "there are {found} BPF programs, not {count}");
        Ok(())
    })
}

/// The service's journal messages since its last start, oldest first.
pub(super) fn messages() -> Result<Vec<Value>> {
    let run = format!("_SYSTEMD_INVOCATION_ID={}", property("InvocationID")?);
    journal(&[&run])
}

/// Journal entries that match, oldest first.
pub(super) fn journal(matches: &[&str]) -> Result<Vec<Value>> {
    run(&["journalctl", "--sync"])?;
    let entries = run(&[&["journalctl", "--quiet", "--output", "json"], matches].concat())?;
    let entry = |line: &str| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"));
    entries.lines().map(entry).collect()
}

/// Text of a journal entry.
pub(super) fn text(entry: &Value) -> &str {
    entry["MESSAGE"].as_str().unwrap_or_default()
}

/// The only message of the service's last run that contains these words; checks its priority.
pub(super) fn said(words: &str, priority: &str) -> Result<Value> {
    let messages = messages()?;
    let with_words: Vec<_> = messages.iter().filter(|entry| text(entry).contains(words)).collect();
    let [message] = with_words[..] else {
        bail!("{words:?} is said by {} of {:?}", with_words.len(), texts(&messages))
    };
    ensure!(message["PRIORITY"] == priority, "not of priority {priority}: {message}");
    Ok(message.clone())
}

/// Texts of journal entries.
pub(super) fn texts(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(text).collect()
}

/// Waits until `look` succeeds.
pub(super) fn until<T>(mut look: impl FnMut() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        match look() {
            Err(_) if started.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(200)),
            result => return result.with_context(|| format!("after {PATIENCE:?}")),
        }
    }
}

/// Evidence for why a scenario failed: the service's state, and the end of its log.
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
