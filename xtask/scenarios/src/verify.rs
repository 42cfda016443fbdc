//! Comparison of what programs got from the kernel with socktrace's reports.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::Value;

use socktrace_diagnosis::{Cause, Errnos};

use super::{
    both_ends,
    expected::{Expected, UNDELIVERED},
    span::Span,
};

/// Metrics by complete series name, including labels.
pub(super) type Metrics = BTreeMap<String, f64>;

/// Missed calls of the function that ends failing writes, for which the kernel did not run
/// socktrace's program.
const MISSED_WRITES: &str = r#"socktrace_hook_missed_total{hook="sk_stream_error"}"#;

/// Missed calls of the function by which a process sends an RST, for which the kernel did not run
/// socktrace's program.
const MISSED_RESETS: &str = r#"socktrace_hook_missed_total{hook="tcp_send_active_reset"}"#;

/// Compares the stream and the change of the metrics with what is expected.
///
/// The result is empty if they agree: each expected line occurs exactly once, an optional one at
/// most once, and no other; and the counters grew by exactly these. For each missed call that
/// socktrace counts, a failing write, or the sender of an RST, may be missing. This happens where
/// tasks are preempted in the kernel, as in kernels with `PREEMPT_LAZY` (6.18 and later).
pub(super) fn compare(
    expected: &[Expected],
    stream: &[Value],
    span: &Span,
    before: &Metrics,
    after: &Metrics,
) -> String {
    let mut text = String::new();
    let mut lines: Vec<&Value> = stream.iter().filter(|line| !both_ends::is_sent(line)).collect();
    let grown = |series| after.get(series).unwrap_or(&0.0) - before.get(series).unwrap_or(&0.0);
    let (mut missed, mut missed_resets) = (grown(MISSED_WRITES), grown(MISSED_RESETS));
    let mut reported = Vec::new();
    let (optional, due): (Vec<_>, Vec<_>) =
        expected.iter().partition(|expected| expected.optional.is_some());
    for expected in due {
        // A socket can fail more than once: the best match is taken.
        let found = lines
            .iter()
            .enumerate()
            .filter_map(|(index, line)| Some((index, expected.differences(line, span)?)))
            .min_by_key(|(_, differences)| differences.len());
        if found.is_none() && expected.call == "write" && missed > 0.5 {
            missed -= 1.0;
            continue;
        }
        reported.push(Reported::of(expected));
        match found {
            None => _ = writeln!(text, "not reported: {expected:?}"),
            Some((index, differences)) => {
                let line = lines.remove(index);
                let differs = !differences.is_empty();
                if differs && missed_resets > 0.5 && expected.is_without_sender(line, span) {
                    missed_resets -= 1.0;
                    continue;
                }
                for difference in &differences {
                    _ = writeln!(text, "{}: {difference}", expected.cause);
                }
                if differs {
                    _ = writeln!(text, "in {line}");
                }
            }
        }
    }
    for expected in optional {
        let is_it =
            |line: &&Value| expected.differences(line, span).is_some_and(|found| found.is_empty());
        if let Some(index) = lines.iter().position(is_it) {
            lines.remove(index);
            reported.push(Reported::of(expected));
        }
    }
    for line in lines {
        _ = writeln!(text, "reported without reason: {line}");
    }
    text.push_str(&both_ends::check(stream));
    compare_metrics(&reported, before, after, &mut text);
    text
}

/// A report, with its cause.
struct Reported {
    event: &'static str,
    cause: Cause,
    protocol: &'static str,
}

impl Reported {
    fn of(expected: &Expected) -> Self {
        let &Expected { event, cause, protocol, .. } = expected;
        Self { event, cause, protocol }
    }
}

fn compare_metrics(reported: &[Reported], before: &Metrics, after: &Metrics, text: &mut String) {
    let count = |event: &str| {
        let mut counts: BTreeMap<[String; 2], f64> = BTreeMap::new();
        for reported in reported.iter().filter(|reported| reported.event == event) {
            let labels = [reported.cause.id(), reported.protocol].map(str::to_owned);
            *counts.entry(labels).or_default() += 1.0;
        }
        counts
    };
    let grown = |metric: &str, labels: [&str; 2]| {
        let mut counts: BTreeMap<[String; 2], f64> = BTreeMap::new();
        for (series, value) in after.iter().filter(|(series, _)| series.starts_with(metric)) {
            let grown = value - before.get(series).copied().unwrap_or(0.0);
            if grown != 0.0 {
                let labels = labels.map(|name| label(series, name));
                *counts.entry(labels).or_default() += grown;
            }
        }
        counts
    };
    let errors = grown("socktrace_socket_errors_total{", ["cause", "protocol"]);
    let wanted = count("failure");
    if errors != wanted {
        _ = writeln!(text, "metrics grew by {errors:?}, expected {wanted:?}");
    }
    let undelivered = grown("socktrace_undelivered_total{", ["cause", "protocol"]);
    let wanted = count(UNDELIVERED);
    if undelivered != wanted {
        _ = writeln!(text, "undelivered grew by {undelivered:?}, expected {wanted:?}");
    }
    let by_service = grown("socktrace_service_undelivered_total{", ["cause", "protocol"]);
    if by_service != undelivered {
        _ = writeln!(text, "undelivered by service grew by {by_service:?}, all by {undelivered:?}");
    }
    // Each failure belongs to one service.
    let by_service = grown("socktrace_service_errors_total{", ["cause", "protocol"]);
    if by_service != errors {
        _ = writeln!(text, "metrics by service grew by {by_service:?}, all by {errors:?}");
    }
    for series in after.keys().filter(|series| !before.contains_key(*series) && has_zero(series)) {
        _ = writeln!(text, "there was no zero of {series}");
    }
    let accepted: f64 =
        grown("socktrace_accepted_resets_total{", ["family", "family"]).values().sum();
    let wanted: f64 = count("accepted_reset").values().sum();
    if (accepted - wanted).abs() > 0.5 {
        _ = writeln!(text, "accepted resets grew by {accepted}, expected {wanted}");
    }
    for lost in [
        "socktrace_events_lost_total",
        "socktrace_tally_overflow_total",
        "socktrace_stash_full_total",
    ] {
        let (was, is) = (sum(before, lost), sum(after, lost));
        if (is - was).abs() > 0.5 {
            _ = writeln!(text, "{lost} grew from {was} to {is}");
        }
    }
}

/// Whether a failure series must exist before its first failure: those of TCP with a pair of cause
/// and errno from the table.
fn has_zero(series: &str) -> bool {
    let counters = ["socktrace_socket_errors_total{", "socktrace_undelivered_total{"];
    let is_counter = counters.iter().any(|counter| series.starts_with(counter));
    let cause = Cause::ALL.iter().find(|cause| cause.id() == label(series, "cause"));
    let is_pair = cause.is_some_and(|cause| match cause.row().errnos {
        Errnos::Of(errnos) => errnos.iter().any(|errno| errno.name() == label(series, "errno")),
        Errnos::None => true,
        Errnos::Any => false,
    });
    is_counter && is_pair && label(series, "protocol") == "tcp"
}

/// Sum of the series with this prefix.
pub(super) fn sum(metrics: &Metrics, start: &str) -> f64 {
    let mut found = metrics.iter().filter(|(series, _)| series.starts_with(start)).peekable();
    // Without this, a sum of nothing would be a negative zero.
    if found.peek().is_none() { 0.0 } else { found.map(|(_, value)| value).sum() }
}

/// Value of a label in a series name such as `errors{cause="x",family="ipv4"}`.
fn label(series: &str, name: &str) -> String {
    let start = format!("{name}=\"");
    let value = series.split_once(&start).map_or("", |(_, rest)| rest);
    value.split_once('"').map_or("", |(value, _)| value).to_owned()
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
