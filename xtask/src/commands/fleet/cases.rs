//! Failures that the guests make, and the expected culprit of each.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::Value;
use socktrace_lab::progress;
use xtask_common::fleet::{CLIENT, Part, ROUTER, SERVER};

use super::{engine::Engine, guests::Fleet};

/// Columns that the table shows.
const ANSWER: &str = "
    SELECT ts, host, process, error, cause, joined_by, culprit_kind, other_host, other_process, rst_reason, culprit, flow
    FROM otel.both_ends";

/// The map of services.
const MAP: &str = "SELECT client, server, error, culprit_kind, failures FROM otel.service_map";

/// Lifetime of the router's table entry that expires, and a wait that is a little longer.
const ENTRY_SECONDS: u64 = 2;
const EXPIRY: Duration = Duration::from_secs(ENTRY_SECONDS + 2);

/// Expected row for a failure: its host and process, its errno, and the kind, host and process of
/// the culprit.
pub(super) type Expected = [&'static str; 6];

/// Makes sockets fail, and returns the expected rows.
type Case = fn(&mut Fleet) -> Result<Vec<Expected>>;

/// Rows for a connection that ended without an answer, and for which no RST was sent. Whether the
/// kernel's later RST can be attributed to the connection depends on how much of the socket was
/// left.
const ENDED: [Expected; 2] = [
    ["client", "cl-late", "none", "unknown", "", ""],
    ["client", "cl-late", "none", "other_end", "server", ""],
];

/// Makes all failures.
pub(super) fn make(fleet: &mut Fleet) -> Result<Vec<Expected>> {
    let step = progress::step("Making sockets fail");
    let cases: [(&str, Case); 10] = [
        ("unread data", unread),
        ("linger 0", linger),
        ("killed process", killed),
        ("closed port", closed_port),
        ("listener closed with a queue", listener),
        ("data after close", too_late),
        ("keepalive", keepalive),
        ("lost entry of the router", conntrack),
        ("injected RST", injected),
        ("equal addresses", twins),
    ];
    let mut expected = Vec::new();
    for (name, case) in cases {
        expected.extend(case(fleet).with_context(|| format!("cannot make: {name}"))?);
    }
    step.done(format_args!("Made {} failures", expected.len()));
    Ok(expected)
}

fn unread(fleet: &mut Fleet) -> Result<Vec<Expected>> {
    fleet.server.start("srv-unread", Part::CloseUnread, (SERVER, 7001), "listening")?;
    fleet.client.start("cl-unread", Part::Ask, (ROUTER, 7001), "got ECONNRESET")?;
    Ok(vec![["client", "cl-unread", "ECONNRESET", "other_process", "server", "srv-unread"]])
}

fn linger(fleet: &mut Fleet) -> Result<Vec<Expected>> {
    fleet.server.start("srv-linger", Part::Abort, (SERVER, 7002), "listening")?;
    fleet.client.start("cl-linger", Part::Ask, (ROUTER, 7002), "got ECONNRESET")?;
    Ok(vec![["client", "cl-linger", "ECONNRESET", "other_process", "server", "srv-linger"]])
}

fn killed(fleet: &mut Fleet) -> Result<Vec<Expected>> {
    fleet.server.start("srv-killed", Part::Hold, (SERVER, 7003), "listening")?;
    fleet.client.start("cl-killed", Part::Ask, (ROUTER, 7003), "connected")?;
    fleet.server.hears("srv-killed", "holding")?;
    fleet.server.kill("srv-killed")?;
    fleet.client.hears("cl-killed", "got ECONNRESET")?;
    Ok(vec![["client", "cl-killed", "ECONNRESET", "other_process", "server", "srv-killed"]])
}

fn closed_port(fleet: &mut Fleet) -> Result<Vec<Expected>> {
    fleet.client.start("cl-closed", Part::Ask, (ROUTER, 7004), "got ECONNREFUSED")?;
    Ok(vec![["client", "cl-closed", "ECONNREFUSED", "other_kernel", "server", ""]])
}

fn listener(fleet: &mut Fleet) -> Result<Vec<Expected>> {
    fleet.server.start("srv-listener", Part::StopListening, (SERVER, 7005), "listening")?;
    fleet.client.start("cl-listener", Part::Wait, (ROUTER, 7005), "connected")?;
    fleet.server.go_on("srv-listener")?;
    fleet.client.hears("cl-listener", "got ECONNRESET")?;
    Ok(vec![["client", "cl-listener", "ECONNRESET", "other_process", "server", "srv-listener"]])
}

fn too_late(fleet: &mut Fleet) -> Result<Vec<Expected>> {
    fleet.server.start("srv-late", Part::Close, (SERVER, 7006), "listening")?;
    fleet.client.start("cl-late", Part::AskTooLate, (ROUTER, 7006), "got EPIPE")?;
    Ok(vec![ENDED[0], ["client", "cl-late", "EPIPE", "other_kernel", "server", ""]])
}

/// The router drops packets from the server. The client gives up, and resets the server's end.
fn keepalive(fleet: &mut Fleet) -> Result<Vec<Expected>> {
    fleet.server.start("srv-keepalive", Part::Serve, (SERVER, 7007), "listening")?;
    fleet.client.start("cl-keepalive", Part::Keepalive, (ROUTER, 7007), "connected")?;
    fleet.server.hears("srv-keepalive", "serving")?;
    fleet.router.shell("nft add rule inet cut forward tcp sport 7007 drop")?;
    fleet.client.hears("cl-keepalive", "got ETIMEDOUT")?;
    fleet.server.hears("srv-keepalive", "got ECONNRESET")?;
    fleet.router.shell("nft flush chain inet cut forward")?;
    Ok(vec![
        ["client", "cl-keepalive", "ETIMEDOUT", "network", "server", "srv-keepalive"],
        ["server", "srv-keepalive", "ECONNRESET", "other_process", "client", "cl-keepalive"],
    ])
}

/// The router forgets the connection. It then answers the server itself, but forwards what the
/// client sends.
fn conntrack(fleet: &mut Fleet) -> Result<Vec<Expected>> {
    const TIMEOUT: &str = "net.netfilter.nf_conntrack_tcp_timeout_established";
    fleet.router.shell(&format!("sysctl -q -w {TIMEOUT}={ENTRY_SECONDS}"))?;
    fleet.server.start("srv-conntrack", Part::Push, (SERVER, 7008), "listening")?;
    fleet.client.start("cl-conntrack", Part::AskAgain, (ROUTER, 7008), "connected")?;
    thread::sleep(EXPIRY);
    fleet.router.shell(&format!("sysctl -q -w {TIMEOUT}=432000"))?;
    fleet.server.go_on("srv-conntrack")?;
    fleet.server.hears("srv-conntrack", "got ECONNRESET")?;
    fleet.client.go_on("cl-conntrack")?;
    fleet.client.hears("cl-conntrack", "got ECONNRESET")?;
    Ok(vec![
        ["server", "srv-conntrack", "ECONNRESET", "on_the_way", "client", "cl-conntrack"],
        ["client", "cl-conntrack", "ECONNRESET", "other_kernel", "server", ""],
    ])
}

/// The router resets the client's connection. The server only notices when it sends its next
/// answer.
fn injected(fleet: &mut Fleet) -> Result<Vec<Expected>> {
    fleet.server.start("srv-injected", Part::Push, (SERVER, 7009), "listening")?;
    fleet.client.start("cl-injected", Part::AskAgain, (ROUTER, 7009), "connected")?;
    fleet.router.shell("nft add rule inet cut forward tcp dport 7009 reject with tcp reset")?;
    fleet.client.go_on("cl-injected")?;
    fleet.client.hears("cl-injected", "got ECONNRESET")?;
    fleet.router.shell("nft flush chain inet cut forward")?;
    fleet.server.go_on("srv-injected")?;
    fleet.server.hears("srv-injected", "got ECONNRESET")?;
    Ok(vec![
        ["client", "cl-injected", "ECONNRESET", "on_the_way", "server", "srv-injected"],
        ["server", "srv-injected", "ECONNRESET", "other_kernel", "client", ""],
    ])
}

/// Two hosts with the same address and port, each in a network of its own, fail at the same time.
fn twins(fleet: &mut Fleet) -> Result<Vec<Expected>> {
    fleet.server.start("srv-twin", Part::Hold, (SERVER, 7010), "listening")?;
    fleet.client.start("other-srv-twin", Part::Hold, (CLIENT, 7011), "listening")?;
    fleet.client.start_at("cl-twin", Part::Ask, (ROUTER, 7010), true, "connected")?;
    fleet.server.start_at("other-cl-twin", Part::Ask, (CLIENT, 7011), true, "connected")?;
    fleet.server.hears("srv-twin", "holding")?;
    fleet.client.hears("other-srv-twin", "holding")?;
    fleet.server.kill("srv-twin")?;
    fleet.client.kill("other-srv-twin")?;
    fleet.client.hears("cl-twin", "got ECONNRESET")?;
    fleet.server.hears("other-cl-twin", "got ECONNRESET")?;
    Ok(vec![
        ["client", "cl-twin", "ECONNRESET", "other_process", "server", "srv-twin"],
        ["server", "other-cl-twin", "ECONNRESET", "other_process", "client", "other-srv-twin"],
    ])
}

/// Prints the answer, and returns its differences from the expected rows.
pub(super) fn compare(engine: &Engine, expected: &[Expected]) -> Result<Vec<String>> {
    progress::print(engine.query_as(ANSWER, "PrettyCompactNoEscapesMonoBlock")?.trim_end());
    let map = engine.query_as(MAP, "PrettyCompactNoEscapesMonoBlock")?;
    progress::print(map.trim_end());
    let mut left = expected.to_vec();
    let mut wrong = Vec::new();
    for line in engine.query_as(ANSWER, "JSONEachRow")?.lines() {
        let row: Value = serde_json::from_str(line)?;
        let names = ["host", "process", "error", "culprit_kind", "other_host", "other_process"];
        let got = names.map(|name| row[name].as_str().unwrap_or_default());
        let got = if got == ENDED[1] { ENDED[0] } else { got };
        match left.iter().position(|expected| got == *expected) {
            Some(at) => drop(left.swap_remove(at)),
            None => wrong.push(format!("must not be reported: {got:?}")),
        }
    }
    wrong.extend(left.iter().map(|missing| format!("not reported: {missing:?}")));
    Ok(wrong)
}
