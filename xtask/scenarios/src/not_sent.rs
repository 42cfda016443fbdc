//! Segments that this host itself does not send. Timers have their defaults unless the program sets them.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::libc;
use socket2::{Protocol, Socket, TcpKeepalive};
use socktrace_diagnosis::Cause;

use super::{
    expected::Expected,
    lane::{Fault, Kept, Lane},
    modules,
    network::{Family, Line, NOBODY_LISTENS, Network, Silence, host_unreachable},
    socket::{self, Ends, Role},
    timeout::{self, LATE, RETRIES, WRITTEN},
};

/// Maximum number of connections that conntrack tracks.
const CONNTRACK_MAX: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

/// Sets the flags common to these failures, and `soft_error` if the errno is not the timer's.
fn flags(failure: Expected, errno: i32, mut flags: Vec<&'static str>) -> Expected {
    if errno != libc::ETIMEDOUT {
        flags.push("soft_error");
    }
    flags.push("send_failed");
    failure.flags(&flags)
}

/// No SYN leaves.
pub(super) fn connect(family: Family, fault: Fault) -> Result<Vec<Expected>> {
    Lane::on(family, |lane| {
        let client = socket::bound(lane.address(1, 0))?;
        let kept = fault.strike(lane, socket::local(&client)?.port())?;
        let failure = connecting(lane, fault, &client)?;
        drop(kept);
        Ok(vec![failure])
    })
}

fn connecting(lane: Lane, fault: Fault, client: &Socket) -> Result<Expected> {
    let nobody = lane.address(2, NOBODY_LISTENS);
    let ends = Ends::new(socket::local(client)?, nobody);
    let began = Instant::now();
    let errno = socket::errno("connect", client.connect(&nobody.into()))?;
    let waited = began.elapsed();
    socket::ensure_errno("connect", errno, libc::ETIMEDOUT)?;
    let retries = Network::syn_retries()?;
    Ok(Expected::failure(Cause::ConnectSendFailed, "connect", errno, ends)
        .known_as(&["waiter"])
        .lasted("elapsed_ms", waited, LATE)
        .with("retransmits", retries)
        .with("rto_ms", Network::syn_timeout(retries)?)
        .with("send_tries", retries)
        .with("send_errno", fault.send_errno(lane.family, true))
        .saying("no SYN retry left this host"))
}

/// The same where conntrack has no room for another connection. Its limit applies to all hosts in the guest.
pub(super) fn connect_without_conntrack(family: Family) -> Result<Vec<Expected>> {
    modules::require("nft_ct")?;
    let before = fs::read_to_string(CONNTRACK_MAX)?;
    fs::write(CONNTRACK_MAX, "1")?;
    let expected = connect(family, Fault::Conntrack);
    fs::write(CONNTRACK_MAX, before.trim())?;
    expected
}

/// The first SYN is lost, and then the route disappears.
pub(super) fn connect_and_lose_the_route(family: Family) -> Result<Vec<Expected>> {
    Lane::on(family, |lane| {
        let client = socket::bound(lane.address(1, 0))?;
        let nobody = lane.address(2, NOBODY_LISTENS);
        let ends = Ends::new(socket::local(&client)?, nobody);
        let cut = Network::get()?.cut(Silence::Drop)?;
        let began = Instant::now();
        socket::start_connect(&client, nobody)?;
        let _nothing = Fault::RouteGone.strike(lane, 0)?;
        let errno = socket::finish_connect(&client)?;
        let waited = began.elapsed();
        drop(cut);
        socket::ensure_errno("connect", errno, libc::ENETUNREACH)?;
        let retries = Network::syn_retries()?;
        let failure = Expected::failure(Cause::ConnectSendFailed, "connect", errno, ends)
            .lasted("elapsed_ms", waited, LATE)
            .with("retransmits", retries)
            .with("rto_ms", Network::syn_timeout(retries)?)
            .with("send_tries", retries)
            .with("send_errno", "ENETUNREACH");
        Ok(vec![failure.flags(&["retransmitted", "soft_error", "send_failed"])])
    })
}

/// No SYN of an MPTCP socket leaves.
pub(super) fn connect_by_mptcp(family: Family) -> Result<Vec<Expected>> {
    if !super::has_mptcp() {
        return Ok(vec![]);
    }
    Lane::on(family, |lane| {
        let here = lane.address(1, 0);
        let client = socket::open(here, Protocol::MPTCP).context("no MPTCP")?;
        client.bind(&here.into())?;
        let ends = Ends::new(socket::local(&client)?, lane.address(2, NOBODY_LISTENS));
        let _nothing = Fault::Firewall.strike(lane, ends.local.port())?;
        let failure = connecting(lane, Fault::Firewall, &client)?;
        let retries = Network::syn_retries()?;
        let subflow = Expected::subflow(libc::ETIMEDOUT, ends.of_role(Role::Client));
        let subflow = subflow
            .state("SYN_SENT")
            .within("elapsed_ms", 1_000, 300_000)
            .with("retransmits", retries)
            .with("rto_ms", Network::syn_timeout(retries)?)
            .with("send_tries", retries)
            .with("send_errno", "EPERM")
            .flags(&["retransmitted", "subflow", "send_failed"]);
        // Only its subflows have timers.
        let failure = failure
            .mptcp()
            .with("rto_ms", 0)
            .with("elapsed_ms", 0)
            .with("retransmits", 0)
            .with("unacked_bytes", 0)
            .flags(&["retransmitted", "mptcp", "send_failed"]);
        Ok(vec![subflow, failure])
    })
}

/// New data never leaves.
pub(super) fn new_data(family: Family, fault: Fault) -> Result<Vec<Expected>> {
    Lane::on(family, |lane| {
        let line = lane.line()?;
        let kept = fault.strike(lane, line.ends.local.port())?;
        socket::write(&line.pair.client)?;
        let given_up = wait(line, kept, fault.errno(family, false))?;
        let failure = given_up.failure(Cause::SendFailedLocally);
        let failure = flags(failure, given_up.errno, vec!["unsent", "probed", "probes_exhausted"]);
        Ok(vec![
            failure
                .with("unsent_bytes", WRITTEN)
                .with("probes", RETRIES)
                .with("send_tries", RETRIES)
                .with("send_errno", fault.send_errno(family, false))
                .lasted("elapsed_ms", given_up.waited, LATE)
                .saying("5 bytes could never be sent: 15 tries in"),
        ])
    })
}

/// Waits until the timer gives up.
fn wait(line: Line, kept: Kept, errno: i32) -> Result<timeout::GivenUp> {
    let cut = line.network.cut(Silence::None)?;
    let given_up = timeout::wait(line, cut)?;
    drop(kept);
    socket::ensure_errno("read", given_up.errno, errno)?;
    Ok(given_up)
}

/// Data was sent and lost, and cannot be retransmitted.
pub(super) fn in_flight(family: Family, fault: Fault) -> Result<Vec<Expected>> {
    Lane::on(family, |lane| {
        let line = lane.line()?;
        let cut = line.network.cut(Silence::Drop)?;
        socket::write(&line.pair.client)?;
        let kept = fault.strike(lane, line.ends.local.port())?;
        let given_up = timeout::wait(line, cut)?;
        drop(kept);
        socket::ensure_errno("read", given_up.errno, fault.errno(family, true))?;
        let failure = given_up.sent_again(given_up.failure(Cause::SendFailedLocally));
        let failure = flags(failure, given_up.errno, vec!["retransmitted"]);
        Ok(vec![
            failure
                .with("retransmits", RETRIES)
                .with("rto_ms", timeout::LONGEST_RTO)
                .with("send_tries", RETRIES)
                .with("send_errno", fault.send_errno(family, true))
                .saying("5 bytes could not be sent again: 15 tries in"),
        ])
    })
}

/// New data never leaves, and the program has set a user timeout.
pub(super) fn user_timeout(family: Family, fault: Fault) -> Result<Vec<Expected>> {
    const LIMIT: u64 = 4_000;
    Lane::on(family, |lane| {
        let line = lane.line()?;
        line.pair.client.set_tcp_user_timeout(Some(Duration::from_millis(LIMIT)))?;
        let kept = fault.strike(lane, line.ends.local.port())?;
        socket::write(&line.pair.client)?;
        let given_up = wait(line, kept, fault.errno(family, false))?;
        let failure = given_up.failure(Cause::SendFailedLocally);
        let failure = flags(failure, given_up.errno, vec!["user_timeout", "unsent", "probed"]);
        let failure = failure
            .with("unsent_bytes", WRITTEN)
            .with("user_timeout_ms", LIMIT)
            .within("probes", 3, 8)
            .within("send_tries", 3, 8)
            .with("send_errno", "EPERM")
            .lasted("elapsed_ms", given_up.waited, LATE)
            .saying("TCP_USER_TIMEOUT is 4.0 s");
        Ok(vec![if fault == Fault::Reject {
            let (kind, code) = host_unreachable(family);
            failure.icmp(kind, code, given_up.ends.local)
        } else {
            failure
        }])
    })
}

/// The same for data that was sent and lost.
pub(super) fn user_timeout_in_flight(family: Family, fault: Fault) -> Result<Vec<Expected>> {
    const LIMIT: u64 = 4_000;
    Lane::on(family, |lane| {
        let line = lane.line()?;
        line.pair.client.set_tcp_user_timeout(Some(Duration::from_millis(LIMIT)))?;
        let cut = line.network.cut(Silence::Drop)?;
        socket::write(&line.pair.client)?;
        let kept = fault.strike(lane, line.ends.local.port())?;
        let given_up = timeout::wait(line, cut)?;
        drop(kept);
        let failure = given_up.sent_again(given_up.failure(Cause::SendFailedLocally));
        let failure = flags(failure, given_up.errno, vec!["user_timeout", "retransmitted"]);
        Ok(vec![
            failure
                .with("user_timeout_ms", LIMIT)
                // With a full queue, the kernel retries twice a second.
                .within("retransmits", 3, 10)
                .within("send_tries", 3, 10)
                .within("rto_ms", 200, 8_000)
                .with("send_errno", fault.send_errno(family, true)),
        ])
    })
}

/// No keepalive probe leaves.
pub(super) fn keepalive(family: Family) -> Result<Vec<Expected>> {
    Lane::on(family, |lane| {
        let line = lane.line()?;
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_mins(1))
            .with_interval(Duration::from_secs(10))
            .with_retries(6);
        line.pair.client.set_tcp_keepalive(&keepalive)?;
        let kept = Fault::Firewall.strike(lane, line.ends.local.port())?;
        let given_up = wait(line, kept, libc::ETIMEDOUT)?;
        let failure = given_up.failure(Cause::SendFailedLocally);
        Ok(vec![
            flags(failure, given_up.errno, vec!["probed", "keepalive"])
                .with("probes", 6)
                .with("send_tries", 6)
                .with("send_errno", "EPERM")
                .saying("no keepalive probe left this host: 6 tries in"),
        ])
    })
}

/// The peer closes its window, and no window probe leaves.
pub(super) fn closed_window(family: Family) -> Result<Vec<Expected>> {
    Lane::on(family, |lane| {
        let line = lane.line()?;
        timeout::fill(&line.pair.client)?;
        let unsent = socket::unsent(&line.pair.client)?;
        ensure!(unsent > 0, "the window is open");
        let kept = Fault::Firewall.strike(lane, line.ends.local.port())?;
        let given_up = wait(line, kept, libc::ETIMEDOUT)?;
        let failure = given_up.failure(Cause::SendFailedLocally);
        let flags = ["zero_window", "unsent", "probed", "probes_exhausted", "send_failed"];
        Ok(vec![
            failure
                .flags(&flags)
                .with("unsent_bytes", unsent)
                .with("probes", RETRIES)
                // Only the last probes are among these: a first one or two left, as the window is
                // probed all the time and the peer does not answer each
                // (`net.ipv4.tcp_invalid_ratelimit`).
                .within("send_tries", (RETRIES - 2).into(), RETRIES.into())
                .with("send_errno", "EPERM")
                .lasted("elapsed_ms", given_up.waited + LATE, 3 * LATE),
        ])
    })
}
