//! Compares what programs got from the kernel with what socktrace said.

use std::{collections::BTreeMap, fmt::Write as _, net::SocketAddr};

use serde_json::Value;

use super::socket::Ends;

/// Metrics by their whole series name, labels included.
pub(super) type Metrics = BTreeMap<String, f64>;

/// What one line of the stream must say.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    event: &'static str,
    cause: &'static str,
    /// The errno that the program really got; of a socket nobody holds, the one the kernel set.
    errno: i32,
    call: &'static str,
    ends: Ends,
    process: Process,
}

/// Which process the line must name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Process {
    /// None: the network or a timer acted, and the current task was a stranger.
    None,
    /// The program's own.
    Own,
    /// Another one that operated on the socket.
    Foreign,
}

impl Expected {
    /// A failure that the network or a timer brought: no process may be named.
    pub(super) fn failure(cause: &'static str, call: &'static str, errno: i32, ends: Ends) -> Self {
        Self { event: "failure", cause, errno, call, ends, process: Process::None }
    }

    /// The failure happened while this process operated on the socket.
    pub(super) fn in_this_process(self) -> Self {
        Self { process: Process::Own, ..self }
    }

    /// The failure was brought about by another process, such as `ss -K`.
    pub(super) fn in_foreign_process(self) -> Self {
        Self { process: Process::Foreign, ..self }
    }

    /// The accept of a connection that was reset before.
    pub(super) fn accepted_reset(call: &'static str, errno: i32, ends: Ends) -> Self {
        let event = "accepted_reset";
        Self { event, cause: "reset_before_accept", errno, call, ends, process: Process::Own }
    }

    /// How `line` differs from what is expected; `None` when it is about other sockets.
    fn differences(&self, line: &Value) -> Option<Vec<String>> {
        let end = |address: &str, port: &str| -> Option<SocketAddr> {
            let port = u16::try_from(line[port].as_u64()?).ok()?;
            Some(SocketAddr::new(line[address].as_str()?.parse().ok()?, port))
        };
        if line["event"] != self.event
            || end("local", "local_port") != Some(self.ends.local)
            || end("remote", "remote_port") != Some(self.ends.remote)
        {
            return None;
        }
        let mut found = Vec::new();
        let mut compare = |what: &str, said: &Value, got: Value| {
            if *said != got {
                found.push(format!("{what}: socktrace said {said}, the program saw {got}"));
            }
        };
        let family = if self.ends.local.is_ipv4() { "ipv4" } else { "ipv6" };
        compare("errno", &line["errno_number"], self.errno.into());
        compare("cause", &line["cause"], self.cause.into());
        compare("call", &line["call"], self.call.into());
        compare("family", &line["family"], family.into());
        match self.process {
            Process::None => compare("pid", &line["pid"], Value::Null),
            Process::Own => compare("pid", &line["pid"], std::process::id().into()),
            Process::Foreign if line["pid"].is_u64() => {}
            Process::Foreign => found.push("pid: no process is named".to_owned()),
        }
        Some(found)
    }
}

/// Compares the stream and the change of the metrics with what is expected.
///
/// The result is empty when they agree: each expected line exactly once, no other, and the
/// counters grown by just these.
pub(super) fn compare(
    expected: &[Expected],
    stream: &[Value],
    before: &Metrics,
    after: &Metrics,
) -> String {
    let mut text = String::new();
    let mut lines: Vec<&Value> = stream.iter().collect();
    for expected in expected {
        let found = lines.iter().enumerate().find_map(|(index, line)| {
            expected.differences(line).map(|differences| (index, differences))
        });
        match found {
            None => _ = writeln!(text, "not told: {expected:?}"),
            Some((index, differences)) => {
                lines.remove(index);
                for difference in differences {
                    _ = writeln!(text, "{}: {difference}", expected.cause);
                }
            }
        }
    }
    for line in lines {
        _ = writeln!(text, "told without reason: {line}");
    }
    compare_metrics(expected, before, after, &mut text);
    text
}

fn compare_metrics(expected: &[Expected], before: &Metrics, after: &Metrics, text: &mut String) {
    let count = |event: &str| {
        let mut counts: BTreeMap<&str, f64> = BTreeMap::new();
        for expected in expected.iter().filter(|expected| expected.event == event) {
            *counts.entry(expected.cause).or_default() += 1.0;
        }
        counts
    };
    let grown = |metric: &str, label: &str| {
        let mut counts: BTreeMap<String, f64> = BTreeMap::new();
        for (series, value) in after.iter().filter(|(series, _)| series.starts_with(metric)) {
            let grown = value - before.get(series).copied().unwrap_or(0.0);
            if grown != 0.0 {
                *counts.entry(self::label(series, label)).or_default() += grown;
            }
        }
        counts
    };
    let errors = grown("socktrace_socket_errors_total{", "cause");
    let wanted = count("failure");
    if errors.iter().map(|(cause, count)| (cause.as_str(), *count)).ne(wanted.clone()) {
        _ = writeln!(text, "metrics grew by {errors:?}, expected {wanted:?}");
    }
    let accepted: f64 = grown("socktrace_accepted_resets_total{", "family").values().sum();
    let wanted: f64 = count("accepted_reset").values().sum();
    if (accepted - wanted).abs() > 0.5 {
        _ = writeln!(text, "accepted resets grew by {accepted}, expected {wanted}");
    }
    for lost in [
        "socktrace_events_lost_total",
        "socktrace_tally_overflow_total",
        "socktrace_stash_full_total",
    ] {
        if after.get(lost) != before.get(lost) {
            _ = writeln!(text, "{lost} grew to {:?}", after.get(lost));
        }
    }
}

/// The value of a label in a series name such as `errors{cause="x",family="ipv4"}`.
fn label(series: &str, name: &str) -> String {
    let start = format!("{name}=\"");
    let value = series.split_once(&start).map_or("", |(_, rest)| rest);
    value.split_once('"').map_or("", |(value, _)| value).to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ends() -> Ends {
        Ends { local: "127.0.0.1:80".parse().unwrap(), remote: "127.0.0.1:9".parse().unwrap() }
    }

    fn line() -> Value {
        json!({
            "event": "failure", "errno_number": 104, "cause": "reset_by_peer",
            "call": "read_or_write", "family": "ipv4", "pid": null,
            "local": "127.0.0.1", "local_port": 80, "remote": "127.0.0.1", "remote_port": 9,
        })
    }

    fn metrics(errors: f64) -> Metrics {
        let series = r#"socktrace_socket_errors_total{cause="reset_by_peer",family="ipv4"}"#;
        Metrics::from([
            (series.to_owned(), errors),
            ("socktrace_events_lost_total".to_owned(), 0.0),
            ("socktrace_tally_overflow_total".to_owned(), 0.0),
            ("socktrace_stash_full_total".to_owned(), 0.0),
        ])
    }

    fn expected() -> Expected {
        Expected::failure("reset_by_peer", "read_or_write", 104, ends())
    }

    #[test]
    fn agreement_is_silent() {
        assert_eq!(compare(&[expected()], &[line()], &metrics(1.0), &metrics(2.0)), "");
        assert_eq!(compare(&[], &[], &metrics(1.0), &metrics(1.0)), "");
    }

    #[test]
    fn each_way_to_be_wrong_is_told() {
        let wrong = |key: &str, value: Value| {
            let mut line = line();
            line[key] = value;
            compare(&[expected()], &[line], &metrics(0.0), &metrics(1.0))
        };
        assert!(wrong("errno_number", json!(32)).contains("errno"));
        assert!(wrong("cause", json!("other")).contains("cause"));
        assert!(wrong("pid", json!(1)).contains("pid"));
        assert!(wrong("local_port", json!(81)).contains("not told"));
        assert!(wrong("local_port", json!(81)).contains("told without reason"));
    }

    #[test]
    fn twice_or_never_is_wrong() {
        let (before, after) = (metrics(0.0), metrics(1.0));
        assert!(compare(&[expected()], &[], &before, &after).contains("not told"));
        assert!(
            compare(&[expected()], &[line(), line()], &before, &after)
                .contains("told without reason")
        );
        assert!(compare(&[expected()], &[line()], &before, &metrics(2.0)).contains("metrics grew"));
        assert!(compare(&[expected()], &[line()], &before, &before).contains("metrics grew"));
    }

    #[test]
    fn losses_are_never_accepted() {
        let mut after = metrics(1.0);
        after.insert("socktrace_events_lost_total".to_owned(), 3.0);
        assert!(compare(&[expected()], &[line()], &metrics(0.0), &after).contains("events_lost"));
    }
}
