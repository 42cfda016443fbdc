//! Another service, whose sockets fail.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use xtask_common::http;

use super::{
    super::{tracer, verify::Metrics},
    unit,
};

/// Unit of that service.
const UNIT: &str = "victim.service";

/// Number of refused connections in a run.
const REFUSED: usize = 3;

/// Number of reset connections in a run.
const RESETS: usize = 4;

/// Failures by cause.
const COUNTS: [(&str, &str, usize); 2] =
    [("connect_refused", "ECONNREFUSED", REFUSED), ("reset_by_peer", "ECONNRESET", RESETS)];

/// Runs the service twice to its end: first as curl, then as this program.
pub(super) fn run() -> Result<()> {
    // No listener on TCP's discard port.
    let mut curl = vec!["curl", "--silent"];
    curl.extend([const { "http://127.0.0.1:9/" }; REFUSED]);
    let status = service(&curl)?;
    // CURLE_COULDNT_CONNECT
    ensure!(status == Some(7), "curl ended with {status:?}");
    let status = service(&["/init", "child", "reset", &RESETS.to_string()])?;
    ensure!(status == Some(0), "the victim ended with {status:?}");
    Ok(())
}

/// Runs a command as the service, and returns its exit code.
fn service(command: &[&str]) -> Result<Option<i32>> {
    let unit = format!("--unit={UNIT}");
    let words = ["systemd-run", "--quiet", "--wait", "--collect", &unit];
    Ok(unit::output(&[&words, command].concat())?.status.code())
}

/// Number of failures in a run.
pub(super) const fn failures() -> usize {
    REFUSED + RESETS
}

/// Checks that the metrics have exactly the failures of this many runs.
pub(super) fn is_counted(runs: usize) -> Result<()> {
    let metrics = scrape()?;
    let counted: usize = failures_in(&metrics).map(|(_, count)| count).sum();
    ensure!(counted == runs * failures(), "{counted} are counted, not {}", runs * failures());
    for (cause, errno, count) in COUNTS {
        let labels = [format!("cause=\"{cause}\""), format!("errno=\"{errno}\"")];
        let with_labels = |series: &str| labels.iter().all(|label| series.contains(label));
        let counted: usize =
            failures_in(&metrics).filter(|(series, _)| with_labels(series)).map(|(_, n)| n).sum();
        ensure!(counted == runs * count, "{counted} of {} {cause} are counted", runs * count);
    }
    Ok(())
}

/// Series of TCP failures, with their counts: the system's own programs look for Unix
/// sockets that do not exist.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small counts")]
fn failures_in(metrics: &Metrics) -> impl Iterator<Item = (&str, usize)> {
    let is_failures = |series: &str| {
        series.starts_with("socktrace_socket_errors_total{") && series.contains("protocol=\"tcp\"")
    };
    let failures = metrics.iter().map(|(series, value)| (series.as_str(), *value as usize));
    failures.filter(move |(series, _)| is_failures(series))
}

/// Scrapes the service's metrics.
pub(super) fn scrape() -> Result<Metrics> {
    tracer::scrape(http::METRICS.into())
}

/// Checks that JSON lines report the failures of one run, and no other TCP failures: the system's
/// own programs have failures of Unix sockets.
pub(super) fn is_reported(lines: &[&str]) -> Result<()> {
    let event = |line: &&str| {
        serde_json::from_str::<Value>(line).with_context(|| format!("no JSON: {line}"))
    };
    let mut events: Vec<_> = lines.iter().map(event).collect::<Result<_>>()?;
    events.retain(|event| event["protocol"] == "tcp");
    ensure!(events.len() == failures(), "not {} lines: {lines:?}", failures());
    let mut processes = BTreeSet::new();
    for event in events {
        for name in ["unit", "service"] {
            ensure!(event[name] == UNIT, "{name} is not {UNIT}: {event}");
        }
        processes.insert(format!("{} {} {}", event["comm"], event["cause"], event["errno"]));
    }
    let expected = [
        "\"curl\" \"connect_refused\" \"ECONNREFUSED\"".to_owned(),
        "\"init\" \"reset_by_peer\" \"ECONNRESET\"".to_owned(),
    ];
    ensure!(processes.iter().eq(&expected), "not {expected:?}, but {processes:?}");
    Ok(())
}
