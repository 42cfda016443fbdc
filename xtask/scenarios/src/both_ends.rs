//! Comparison of what the two ends of a connection report, where both are on this host.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::Value;

use super::tcp_reset_has_segment;

/// End of a connection: address and port, and the network namespace for addresses that every namespace has.
type End = (String, u64, Option<u64>);

/// Whether a line is about an RST that was sent.
pub(super) fn is_sent(line: &Value) -> bool {
    line["event"] == "reset_sent"
}

/// Lists problems with lines about the same connections; empty if there are none.
///
/// Both ends report the same connection ID, or none. An RST has the sequence numbers with which it was sent.
pub(super) fn check(stream: &[Value]) -> String {
    let mut text = String::new();
    let mut flows: BTreeMap<[End; 2], &Value> = BTreeMap::new();
    for line in stream.iter().filter(|line| line["flow"].is_string()) {
        let mut ends = ends(line);
        ends.sort();
        let known = *flows.entry(ends).or_insert(line);
        if known["flow"] != line["flow"] {
            _ = writeln!(text, "one connection has two names: {known}\nand {line}");
        }
    }
    for sent in stream.iter().filter(|line| is_sent(line)) {
        if sent["repeated"].is_null() {
            check_sent(sent, &mut text);
        }
    }
    for line in stream.iter().filter(|line| !is_sent(line) && line["rst_seq"].is_u64()) {
        let [local, remote] = ends(line);
        let opposite = [remote, local];
        let sent: Vec<_> =
            stream.iter().filter(|sent| is_sent(sent) && ends(sent) == opposite).collect();
        let is_it = |sent: &&&Value| {
            sent["rst_seq"] == line["rst_seq"]
                && (!tcp_reset_has_segment() || sent["rst_ack"] == line["rst_ack"])
        };
        if !sent.is_empty() && !sent.iter().any(|sent| is_it(&sent)) {
            _ = writeln!(text, "other RSTs were sent than came: {sent:?}\nbut {line}");
        }
        // The sender is named by the record of that RST.
        if line["peer_pid"].is_u64() && !sent.iter().any(|sent| is_named(sent, line)) {
            _ = writeln!(text, "its sender did not send it: {sent:?}\nbut {line}");
        }
    }
    text
}

/// Whether the sender that `line` names is the process in `sent`, the line about sending the RST.
fn is_named(sent: &Value, line: &Value) -> bool {
    // A connection that was never accepted has no owner; its RST is attributed to the process that
    // closed the listener.
    sent["pid"] == line["peer_pid"]
        || sent["pid"].is_null()
        // `line` names the process that had the socket killed.
        || sent["sent_because"] == "aborted"
}

/// Checks the fields that all lines about sent RSTs share.
fn check_sent(line: &Value, text: &mut String) {
    const ANSWERS: [(&str, &str); 6] = [
        ("no_socket", "none"),
        ("listener", "listener"),
        ("request", "request"),
        ("time_wait", "time_wait"),
        ("data_after_close", "full"),
        ("unacceptable_ack", "full"),
    ];
    let answers = ANSWERS.iter().find(|(because, _)| line["sent_because"] == *because);
    let is_right = match answers {
        Some((_, by)) => line["answered_by"] == *by,
        None => line["answered_by"].is_null() && line["sent_because"].is_string(),
    };
    let has_numbers = line["rst_seq"].is_u64() && line["rst_ack"].is_u64();
    let is_expected = line["severity"] == "expected" && line["protocol"] == "tcp";
    let reason = line["reason"].as_str().unwrap_or_default();
    if !is_right || !has_numbers || !is_expected || !reason.starts_with("sent RST: ") {
        _ = writeln!(text, "wrong about an RST that was sent: {line}");
    }
}

/// The local end, then the remote end.
fn ends(line: &Value) -> [End; 2] {
    let end = |address: &str, port: &str| {
        let address = line[address].as_str().unwrap_or_default();
        let is_everywhere = address.starts_with("127.") || address == "::1";
        let netns = line["netns"].as_u64().filter(|_| is_everywhere);
        (address.to_owned(), line[port].as_u64().unwrap_or(0), netns)
    };
    [end("local", "local_port"), end("remote", "remote_port")]
}
