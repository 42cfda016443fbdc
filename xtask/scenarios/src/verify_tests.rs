//! Tests of what makes a comparison fail.

use serde_json::json;

use socktrace_diagnosis::Cause;

use super::{
    super::{
        process::{self, Process},
        socket::Ends,
    },
    *,
};

fn ends() -> Ends {
    Ends::new("127.0.0.1:80".parse().unwrap(), "127.0.0.1:9".parse().unwrap())
}

/// Line about a reset that this thread itself has sent.
fn line() -> Value {
    let Process { pid, tid, uid, comm, leader_comm, executable, .. } = Process::this();
    let reported = json!({
        "time": "1970-01-01T00:00:00Z", "event": "failure",
        "errno": "ECONNRESET", "errno_number": 104, "cause": "reset_by_peer",
        "direction": "peer", "call": "read_or_write", "delivered": null, "severity": "failure",
        "protocol": "tcp", "family": "ipv4", "state": "ESTABLISHED",
        "local": "127.0.0.1", "local_port": 80, "remote": "127.0.0.1", "remote_port": 9,
        "remote_name": null, "role": null, "service_port": null,
        "sigpipe": null, "first_errno": null, "since_first_ms": null,
        "icmp_type": null, "icmp_code": null, "router": null,
        "level": null, "option": null, "fd": null, "flags": [],
        "dropped": null, "accept_queue": null, "accept_queue_limit": null,
        "receive_queue": null, "receive_queue_limit": null,
        "socket_family": null, "socket_type": null, "socket_protocol": null,
    });
    let process = json!({
        "pid": pid, "tid": tid, "uid": uid, "comm": comm, "process_comm": leader_comm,
        "exe": executable, "owner_source": "holder",
        "service": null, "cgroup": "/", "unit": null, "user": null, "user_unit": null,
        "container": null, "outer_container": null, "pod": null, "owner_unknown": null,
        "netns": process::network_namespace(),
    });
    let numbers = json!({
        "retransmits": 0, "rto_ms": 200, "elapsed_ms": 0, "unacked_bytes": 0, "unsent_bytes": 0,
        "probes": 0, "silent_ms": 0, "user_timeout_ms": 0, "unread_bytes": 0,
        "send_tries": null, "send_errno": null, "send_timeout_ms": null, "full_sized_lost": false,
        "md5_key": false,
    });
    let why = json!({
        "path": null, "peer_service": null,
        "peer_pid": pid, "peer_comm": comm, "rst_reason": "tcp_state",
        "killer_pid": null, "killer_comm": null,
        "flow": "0123456789abcdef", "rst_seq": 7, "rst_ack": 9,
        "rst_ttl": null, "handshake_ttl": null,
        "reason": format!("the peer sent RST on a live connection; sent by {comm}[{pid}]"),
        "advice": format!("the log of {comm}[{pid}] at this time"),
    });
    [process, numbers, why].into_iter().fold(reported, merge)
}

/// Line about the RST itself, with some fields replaced.
fn sent_with(fields: Value) -> Value {
    let sent = json!({
        "event": "reset_sent", "protocol": "tcp", "severity": "expected",
        "local": "127.0.0.1", "local_port": 9, "remote": "127.0.0.1", "remote_port": 80,
        "netns": process::network_namespace(), "flow": "0123456789abcdef",
        "pid": Process::this().pid, "rst_seq": 7, "rst_ack": 9,
        "sent_because": "linger_zero", "answered_by": null, "reason": "sent RST: for a test",
    });
    merge(sent, fields)
}

/// Line about the reset, with some fields replaced.
fn line_with(fields: Value) -> Value {
    merge(line(), fields)
}

fn merge(mut line: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else { panic!("no object: {fields}") };
    for (field, value) in fields {
        line[field] = value;
    }
    line
}

fn expected() -> Expected {
    Expected::failure(Cause::ResetByPeer, "read_or_write", 104, ends()).reset_here("tcp_state")
}

fn metrics(errors: f64) -> Metrics {
    let series =
        r#"socktrace_socket_errors_total{cause="reset_by_peer",family="ipv4",protocol="tcp"}"#;
    let by_service =
        r#"socktrace_service_errors_total{cause="reset_by_peer",protocol="tcp",unit=""}"#;
    Metrics::from([
        (series.to_owned(), errors),
        (by_service.to_owned(), errors),
        ("socktrace_events_lost_total".to_owned(), 0.0),
        ("socktrace_tally_overflow_total".to_owned(), 0.0),
        ("socktrace_stash_full_total".to_owned(), 0.0),
    ])
}

/// Compares as of the lines' time.
fn compare(expected: &[Expected], lines: &[Value], before: &Metrics, after: &Metrics) -> String {
    let lines: Vec<_> = lines.iter().cloned().chain([sent_with(json!({}))]).collect();
    super::compare(expected, &lines, &Span::at_epoch(), before, after)
}

/// Compares one line that was counted once.
fn differences(expected: Expected, line: Value) -> String {
    compare(&[expected], &[line], &metrics(0.0), &metrics(1.0))
}

#[test]
fn both_ends_have_to_agree() {
    let check = |fields: Value| both_ends::check(&[line(), sent_with(fields)]);
    assert_eq!(check(json!({})), "");
    for (fields, problem) in [
        (json!({ "flow": "0123456789abcdee" }), "two names"),
        (json!({ "rst_seq": 8 }), "other RSTs"),
        (json!({ "pid": 1 }), "its sender"),
        (json!({ "sent_because": "time_wait" }), "wrong about"),
        (json!({ "answered_by": "none" }), "wrong about"),
    ] {
        let found = check(fields.clone());
        assert!(found.contains(problem), "{fields}: {found}");
    }
    // Each namespace has its own loopback.
    assert_eq!(
        both_ends::check(&[sent_with(json!({ "netns": 1, "flow": "f" })), sent_with(json!({}))]),
        ""
    );
}

#[test]
fn agreement_is_silent() {
    assert_eq!(differences(expected(), line()), "");
    assert_eq!(compare(&[], &[], &metrics(1.0), &metrics(1.0)), "");
}

#[test]
fn each_field_is_compared() {
    for (field, value) in line().as_object().unwrap() {
        let strange = match value {
            Value::Number(_) => json!(987_654_321_012_u64),
            _ => json!("strange"),
        };
        let text = differences(expected(), line_with(json!({ field: strange })));
        let is_about = ["event", "local", "local_port", "remote", "remote_port"];
        if is_about.contains(&field.as_str()) {
            assert!(
                text.starts_with("not reported") && text.contains("reported without reason"),
                "{text}"
            );
        } else if field != "reason" {
            assert!(text.contains(&format!(": {field}: socktrace said")), "{field}: {text}");
        }
    }
}

#[test]
fn each_field_must_be_there() {
    for field in line().as_object().unwrap().keys() {
        let mut line = line();
        line.as_object_mut().unwrap().remove(field);
        assert_ne!(differences(expected(), line), "", "{field}");
    }
}

#[test]
fn an_unknown_field_is_wrong() {
    let text = differences(expected(), line_with(json!({ "weather": null })));
    assert!(text.contains("weather is unaccounted for"), "{text}");
}

#[test]
fn a_wrong_sender_is_wrong() {
    let text = differences(expected(), line_with(json!({ "peer_pid": 1 })));
    assert!(text.contains("peer_pid: socktrace said 1"), "{text}");
    let reason = "the peer sent RST; sent by init[1]";
    let text = differences(expected(), line_with(json!({ "reason": reason })));
    assert!(text.contains("reason: socktrace said"), "{text}");
    // Nobody may be named where no process is known.
    let nobody = Expected::failure(Cause::ResetByPeer, "read_or_write", 104, ends());
    let text = differences(nobody, line());
    for field in ["peer_pid", "peer_comm", "rst_reason", "reason"] {
        assert!(text.contains(&format!(": {field}: ")), "{field}: {text}");
    }
}

#[test]
fn numbers_have_bounds() {
    let bound = || expected().within("retransmits", 3, 5);
    for (retransmits, holds) in [(2, false), (3, true), (5, true), (6, false)] {
        let text = differences(bound(), line_with(json!({ "retransmits": retransmits })));
        assert_eq!(text.is_empty(), holds, "{retransmits}: {text}");
    }
    // The earliest report would precede the failure.
    let text = differences(expected(), line_with(json!({ "time": "1969-12-31T23:00:00Z" })));
    assert!(text.contains("time: socktrace said"), "{text}");
    let text = differences(expected(), line_with(json!({ "silent_ms": 3_600_000 })));
    assert!(text.contains("silent_ms: socktrace said"), "{text}");
}

#[test]
fn a_stray_line_is_wrong() {
    let stray = line_with(
        json!({ "cause": "reset_while_closing", "state": "LAST_ACK", "flags": ["orphan"] }),
    );
    let text = compare(&[], &[stray], &metrics(1.0), &metrics(1.0));
    assert!(text.starts_with("reported without reason: {"), "{text}");
}

#[test]
fn an_optional_line_may_come_once() {
    let optional = || [expected().optional("a race")];
    assert_eq!(compare(&optional(), &[], &metrics(1.0), &metrics(1.0)), "");
    assert_eq!(compare(&optional(), &[line()], &metrics(1.0), &metrics(2.0)), "");
    let twice = compare(&optional(), &[line(), line()], &metrics(1.0), &metrics(3.0));
    assert!(twice.starts_with("reported without reason"), "{twice}");
    let uncounted = compare(&optional(), &[line()], &metrics(1.0), &metrics(1.0));
    assert!(uncounted.starts_with("metrics grew"), "{uncounted}");
    // Not every line of that socket qualifies.
    let wrong = line_with(json!({ "state": "FIN_WAIT2" }));
    let wrong = compare(&optional(), &[wrong], &metrics(1.0), &metrics(2.0));
    assert!(wrong.starts_with("reported without reason"), "{wrong}");
}

#[test]
fn a_lost_end_is_known_wherever_it_is() {
    let end = || {
        let who = json!({
            "cause": "reset_while_closing", "advice": Cause::ResetWhileClosing.advice(), "call": "none", "delivered": false, "severity": "expected",
            "state": "LAST_ACK", "flags": ["orphan"], "owner_source": "opener",
            "peer_pid": null, "peer_comm": null, "rst_reason": null,
            "role": "server", "service_port": 80, "reason": "reset after this side had closed",
        });
        line_with(who)
    };
    let series = |name: &str| {
        format!(r#"socktrace_{name}_total{{cause="reset_while_closing",protocol="tcp"}}"#)
    };
    let mut after = metrics(1.0);
    for name in ["socket_errors", "service_errors"] {
        after.insert(series(name), 1.0);
    }
    let expected = [Expected::lost_end("127.0.0.1:0".parse().unwrap())];
    assert_eq!(compare(&expected, &[end()], &metrics(1.0), &after), "");
    let twice = compare(&expected, &[end(), end()], &metrics(1.0), &after);
    assert!(twice.starts_with("reported without reason"), "{twice}");
    assert!(compare(&[], &[end()], &metrics(1.0), &after).starts_with("reported without reason"));
}

#[test]
fn any_of_two_processes_is_wholly_the_one() {
    let child = Process::named(7, "seven", Some("seven".to_owned()));
    let either = || expected().or_by(child.clone());
    assert_eq!(differences(either(), line()), "");
    let seven = json!({
        "pid": 7, "tid": 7, "uid": 0, "comm": "seven", "process_comm": "seven", "exe": "seven",
    });
    assert_eq!(differences(either(), line_with(seven)), "");
    let mixed = differences(either(), line_with(json!({ "pid": 7 })));
    assert!(mixed.contains("pid: socktrace said 7"), "{mixed}");
}

#[test]
fn writes_may_be_missing_as_often_as_the_kernel_kept_them() {
    let writes = || [Expected::delivered(Cause::ResetByPeer, 104, ends()), expected()];
    let missing = |kept: f64, lines: &[Value]| {
        let mut after = metrics(2.0);
        after.insert(MISSED_WRITES.to_owned(), kept);
        compare(&writes(), lines, &metrics(1.0), &after)
    };
    assert_eq!(missing(1.0, &[line()]), "");
    assert!(missing(0.0, &[line()]).starts_with("not reported"));
    // Reports other than writes are never missing.
    assert!(missing(9.0, &[]).starts_with("not reported"));
}

#[test]
fn senders_may_be_missing_as_often_as_the_kernel_kept_them() {
    let nobody =
        json!({ "peer_pid": null, "peer_comm": null, "rst_reason": null, "reason": "RST" });
    let missing = |kept: f64, line: Value| {
        let mut after = metrics(2.0);
        after.insert(MISSED_RESETS.to_owned(), kept);
        compare(&[expected()], &[line], &metrics(1.0), &after)
    };
    assert_eq!(missing(1.0, line_with(nobody.clone())), "");
    assert!(missing(0.0, line_with(nobody.clone())).contains("peer_pid"));
    // A wrong sender is always a difference, and so is any other wrong field in such a line.
    assert!(missing(9.0, line_with(json!({ "peer_pid": 1 }))).contains("peer_pid"));
    let mut other = line_with(nobody);
    other["uid"] = json!(7_777);
    assert!(missing(9.0, other).contains("uid"));
}

#[test]
fn each_line_is_compared_with_the_expectation_it_fits() {
    let later =
        Expected::failure(Cause::WriteAfterReset, "write", 32, ends()).first(104).sigpipe("none");
    let second = line_with(json!({
        "errno": "EPIPE", "errno_number": 32, "cause": "write_after_reset",
        "advice": Cause::WriteAfterReset.advice(),
        "direction": "local_program", "call": "write", "delivered": true, "state": "CLOSE",
        "owner_source": "caller", "first_errno": "ECONNRESET", "since_first_ms": 3,
        "sigpipe": "none", "flags": ["reported", "send_shutdown"],
        "peer_pid": null, "peer_comm": null, "rst_reason": null, "reason": "wrote on",
        "rst_seq": null, "rst_ack": null,
    }));
    let text = compare(&[later, expected()], &[line(), second], &metrics(0.0), &metrics(1.0));
    assert!(!text.contains("socktrace said"), "{text}");
}

#[test]
fn twice_or_never_is_wrong() {
    let (before, after) = (metrics(0.0), metrics(1.0));
    assert!(compare(&[expected()], &[], &before, &after).contains("not reported"));
    let twice = compare(&[expected()], &[line(), line()], &before, &after);
    assert!(twice.contains("reported without reason"), "{twice}");
    assert!(compare(&[expected()], &[line()], &before, &metrics(2.0)).contains("metrics grew"));
    assert!(compare(&[expected()], &[line()], &before, &before).contains("metrics grew"));
}

#[test]
fn services_get_all_failures() {
    let mut after = metrics(1.0);
    let strange = r#"socktrace_service_errors_total{cause="other",protocol="tcp",unit=""}"#;
    after.insert(strange.to_owned(), 1.0);
    let text = compare(&[expected()], &[line()], &metrics(0.0), &after);
    assert!(text.contains("metrics by service grew"), "{text}");
}

#[test]
fn losses_are_never_accepted() {
    let mut after = metrics(1.0);
    after.insert("socktrace_events_lost_total".to_owned(), 3.0);
    assert!(compare(&[expected()], &[line()], &metrics(0.0), &after).contains("events_lost"));
}

#[test]
fn a_known_series_begins_with_a_zero() {
    let with = |labels: &str| {
        let mut metrics = metrics(1.0);
        metrics.insert(format!("socktrace_undelivered_total{{{labels}}}"), 0.0);
        compare(&[expected()], &[line()], &self::metrics(0.0), &metrics)
    };
    let known = with(r#"cause="reset_by_peer",errno="ECONNRESET",protocol="tcp""#);
    assert!(known.contains("there was no zero of socktrace_undelivered_total{"), "{known}");
    for unknown in [
        r#"cause="reset_by_peer",errno="ECONNRESET",protocol="mptcp""#,
        r#"cause="reset_by_peer",errno="EXDEV",protocol="tcp""#,
        r#"cause="subflow_failed",errno="ECONNRESET",protocol="tcp""#,
    ] {
        assert_eq!(with(unknown), "");
    }
}
