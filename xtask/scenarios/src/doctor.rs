//! Output of `socktrace doctor` on hosts that can be traced, and on hosts that cannot.

use std::{os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::tracer::{PROGRAM, attach_args};

/// Hooks without which the others are of little use: the self-test must see them at work.
const CORE: [&str; 4] = ["tcp_done", "tcp_reset", "tcp_retransmit_timer", "inet_csk_accept"];

/// Failures that the self-test makes at least.
const FAILURES: [&str; 9] = [
    "refused",
    "reset",
    "timed_out",
    "aborted_before_accept",
    "udp_no_route",
    "udp_refused",
    "udp_dropped",
    "process_followed",
    "counts",
];

/// The self-test sees every failure reported and counted exactly once, and confirms that.
pub(super) fn self_test() -> Result<()> {
    let mut command = doctor();
    command.arg("--self-test").args(attach_args());
    let report = report(command, 0)?;
    let expected = if super::absent_hooks().is_empty() && !super::uses_kprobes() {
        "ready"
    } else {
        "limited"
    };
    ensure!(report["verdict"]["state"] == expected, "not {expected}: {report:#}");
    let tests = report["self_test"].as_array().context("no self-test")?;
    for test in tests {
        ensure!(test["problem"].is_null(), "{test}");
    }
    for name in FAILURES {
        let made = tests.iter().find(|test| test["name"] == name);
        let made = made.with_context(|| format!("{name} was not made"))?;
        ensure!(made["skipped"].is_null(), "{made}");
    }
    let hooks = report["hooks"].as_array().context("no hooks")?;
    let missing: Vec<_> = hooks
        .iter()
        .filter(|hook| hook["state"] == "absent" || hook["state"] == "failed")
        .filter_map(|hook| hook["hook"].as_str())
        .collect();
    ensure!(missing == super::absent_hooks(), "not attached: {missing:?}");
    for hook in hooks.iter().filter(|hook| CORE.iter().any(|core| hook["hook"] == *core)) {
        ensure!(hook["fired"] == true, "not seen to fire: {hook}");
    }
    Ok(())
}

/// An unprivileged user sees what the kernel offers, and the command to use it.
pub(super) fn unprivileged() -> Result<()> {
    let mut command = doctor();
    command.uid(1000);
    let report = report(command, 10)?;
    let verdict = &report["verdict"];
    ensure!(
        verdict["state"] == "refused" && verdict["command"] == "sudo socktrace",
        "the verdict is {verdict}"
    );
    ensure!(check(&report, "load_trampoline")?["state"] == "unknown", "{report:#}");
    let hooks = report["hooks"].as_array().context("no hooks")?;
    let planned = hooks.iter().find(|hook| hook["hook"] == "tcp_done").context("no tcp_done")?;
    ensure!(planned["state"] == "planned" && planned["how"].is_string(), "{planned}");
    Ok(())
}

/// Without BTF nothing can be planned, whatever the privileges.
pub(super) fn no_btf() -> Result<()> {
    let hide = format!(
        "mount -t tmpfs none /sys/kernel/btf && exec {PROGRAM} doctor --output json --self-test"
    );
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &hide]);
    let report = report(command, 12)?;
    ensure!(check(&report, "btf")?["state"] == "bad", "{report:#}");
    ensure!(report["hooks"] == Value::Array(Vec::new()), "{report:#}");
    ensure!(report["self_test"].is_null(), "{report:#}");
    Ok(())
}

fn doctor() -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["doctor", "--output", "json"]);
    command
}

/// Runs the command, checks its exit code and returns its output.
fn report(mut command: Command, code: i32) -> Result<Value> {
    let output = command.output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    let status = output.status;
    ensure!(status.code() == Some(code), "ended with {status}:\n{stderr}\n{text}");
    serde_json::from_str(&text).with_context(|| format!("no report: {text}"))
}

fn check<'a>(report: &'a Value, name: &str) -> Result<&'a Value> {
    let checks = report["checks"].as_array().context("no checks")?;
    let found = checks.iter().find(|check| check["name"] == name);
    found.with_context(|| format!("no check {name}"))
}
