//! The running service.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::{
    super::survive::programs,
    unit::{
        self, CONFIG, SOCKET, UNIT, comes_to, comes_to_programs, fresh, has, messages, property,
        run, said, systemctl, text, until,
    },
    victim,
};

/// Highest exposure that systemd may assess, in tenths of its scale to ten.
const EXPOSURE: &str = "20";

/// `systemctl start` returns when everything is attached and served. The service reports that to systemd
/// and to the journal, counts the failures of another service, and logs a summary when it is stopped.
pub(in super::super) fn start() -> Result<()> {
    fresh()?;
    let before = programs()?;
    systemctl(&["start", UNIT])?;
    victim::is_counted(0)?;
    ensure!(programs()? > before, "nothing is attached");
    has(&[("ActiveState", "active"), ("SubState", "running"), ("NRestarts", "0")])?;
    let status = property("StatusText")?;
    ensure!(status.contains(" hooks; ") && status.ends_with(", 0 events lost"), "{status}");
    let ready = said("; hooks: ", "5")?;
    for (field, value) in [("SYSLOG_IDENTIFIER", "socktrace"), ("TARGET", "socktrace::notice")] {
        ensure!(ready[field] == value, "{field} is not {value}: {ready}");
    }
    ensure!(ready["_UID"] != "0", "it runs as root");
    let messages = messages()?;
    let missing = messages.iter().filter(|entry| text(entry).starts_with("not attached: "));
    ensure!(missing.count() == super::super::absent_hooks().len(), "{messages:?}");

    victim::run()?;
    victim::is_counted(1)?;
    until(|| {
        let status = property("StatusText")?;
        ensure!(number_before(&status, " failures counted") >= victim::failures(), "{status}");
        Ok(())
    })?;
    let run = property("InvocationID")?;
    systemctl(&["stop", UNIT])?;
    has(&[("ActiveState", "inactive"), ("Result", "success")])?;
    let messages = unit::journal(&[&format!("_SYSTEMD_INVOCATION_ID={run}")])?;
    let sum = |entry: &serde_json::Value| number_before(text(entry), " failures (");
    ensure!(
        messages.iter().any(|entry| sum(entry) >= victim::failures()),
        "no sum of failures in {:?}",
        unit::texts(&messages)
    );
    comes_to_programs(before)
}

/// Number before `words` in a text; 0 if there is none. The system's own programs have failures
/// too, as they look for sockets that do not exist.
fn number_before(text: &str, words: &str) -> usize {
    let before = text.split(words).next().filter(|before| before.len() < text.len());
    let digits = before.and_then(|before| before.rsplit([' ', ';']).next());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// A service that streams writes failures and their owners to the journal.
pub(in super::super) fn stream() -> Result<()> {
    fresh()?;
    unit::stream()?;
    fs::write(CONFIG, "output = \"json\"\n")?;
    systemctl(&["start", UNIT])?;
    victim::run()?;
    victim::is_counted(1)?;
    until(|| {
        let messages = messages()?;
        let lines: Vec<_> =
            messages.iter().map(text).filter(|text| text.starts_with('{')).collect();
        victim::is_reported(&lines)
    })
}

/// `systemctl reload` reloads the configuration. Settings that can change do; the others are
/// reported, and an unreadable configuration changes nothing. The process remains the same.
pub(in super::super) fn reload() -> Result<()> {
    fresh()?;
    unit::stream()?;
    fs::write(CONFIG, "output = \"json\"\n")?;
    systemctl(&["start", UNIT])?;
    let pid = property("MainPID")?;

    fs::write(CONFIG, "output = \"human\"\nidle-threshold = 61\n")?;
    systemctl(&["reload", UNIT])?;
    until(|| said("changed since the start: output", "5"))?;
    said("only after a restart: idle-threshold", "4")?;
    fs::write(CONFIG, "outptu = \"json\"\n")?;
    systemctl(&["reload", UNIT])?;
    until(|| said("the configuration is not changed", "3"))?;
    said("/etc/socktrace/socktrace.toml:1: unknown key \"outptu\"", "3")?;

    victim::run()?;
    until(|| {
        let messages = messages()?;
        let reported = messages.iter().filter(|entry| text(entry).contains(" victim.service "));
        let reported = reported.count();
        ensure!(reported == victim::failures(), "{reported} lines: {:?}", unit::texts(&messages));
        Ok(())
    })?;

    // Filters change at once if the daemon evaluates them.
    fs::write(CONFIG, "output = \"human\"\nnot-unit = \"vic*\"\n")?;
    systemctl(&["reload", UNIT])?;
    until(|| said("changed since the start: output, not-unit", "5"))?;
    said("filters: --not-unit 'vic*'", "5")?;
    victim::run()?;
    fs::write(CONFIG, "output = \"human\"\nunit = \"vic*\"\n")?;
    systemctl(&["reload", UNIT])?;
    until(|| said("filters: --unit 'vic*'", "5"))?;
    victim::run()?;
    until(|| {
        let messages = messages()?;
        let reported = messages.iter().filter(|entry| text(entry).contains(" victim.service "));
        let reported = reported.count();
        ensure!(
            reported == 2 * victim::failures(),
            "{reported} lines: {:?}",
            unit::texts(&messages)
        );
        Ok(())
    })?;
    comes_to(&[("ActiveState", "active"), ("SubState", "running"), ("MainPID", &pid)])
}

/// systemd's assessment of the service's exposure is within the limit.
pub(in super::super) fn exposure() -> Result<()> {
    fresh()?;
    run(&["systemd-analyze", "security", "--no-pager", "--threshold", EXPOSURE, UNIT])?;
    run(&["systemd-analyze", "verify", "--man=no", UNIT, SOCKET]).map(drop)
}

/// A scrape of the socket that systemd holds starts the service and is answered, even if the
/// service has just crashed.
pub(in super::super) fn socket_activation() -> Result<()> {
    fresh()?;
    systemctl(&["start", SOCKET])?;
    has(&[("ActiveState", "inactive")])?;
    let scrape = || {
        let metrics =
            run(&["curl", "--silent", "--show-error", "--fail", "http://127.0.0.1:10054/metrics"])?;
        ensure!(metrics.contains("\nsocktrace_build_info{"), "no metrics:\n{metrics}");
        Ok(())
    };
    scrape()?;
    has(&[("ActiveState", "active"), ("SubState", "running")])?;
    let pid = property("MainPID")?;
    systemctl(&["kill", "--signal=KILL", UNIT])?;
    scrape().context("after a crash")?;
    has(&[("ActiveState", "active"), ("SubState", "running")])?;
    ensure!(property("MainPID")? != pid, "it was not killed");
    victim::run()?;
    victim::is_counted(1)
}
