//! Handshakes that do not complete: of connections already accepted by TCP Fast Open, and of
//! simultaneous connects.

use std::fs;

use anyhow::{Context as _, Result};
use nix::libc;
use socket2::Socket;
use socktrace_diagnosis::Cause;

use super::{
    expected::Expected,
    network::{Cut, Family, Network, host_unreachable},
    process,
    socket::{self, Ends, Role, ensure_errno},
};

/// Data in the client's SYN.
const REQUEST: &[u8] = b"request";

/// From `include/uapi/linux/tcp.h`: neither end requires a cookie.
const TCP_FASTOPEN_NO_COOKIE: i32 = 34;

/// Ends that may use Fast Open, as bits: 1 for clients, 2 for servers.
const SWITCH: &str = "/proc/sys/net/ipv4/tcp_fastopen";

/// Longest timeout of a connection whose round-trip time is unknown (`TCP_TIMEOUT_FALLBACK`).
const FALLBACK_RTO: u64 = 3_000;

/// The kernel's reset reason for a close with `SO_LINGER` 0.
const ABORTED: &str = "tcp_state";

/// Drops the third segment of a handshake and everything after it, except a reset.
const NO_ACKNOWLEDGEMENT: (&str, &str) = ("output", "tcp flags & (syn | rst | ack) == ack drop");

/// Rejects the second segment of a handshake.
const NO_ANSWER: (&str, &str) =
    ("input", "tcp flags & (syn | ack) == syn | ack reject with icmpx type host-unreachable");

/// A connection from the other host that was opened by its first segment.
struct Opened {
    listener: Socket,
    client: Socket,
    /// Addresses as this host sees them.
    ends: Ends,
    /// Network namespace of the other host.
    netns: u64,
    cut: Cut,
}

impl Opened {
    fn new(family: Family, rule: (&str, &str)) -> Result<Self> {
        let network = Network::get()?;
        let listener = socket::bound(family.host())?;
        let former = fs::read_to_string(SWITCH)?;
        fs::write(SWITCH, "3").context("no TCP Fast Open")?;
        for (option, value) in [(libc::TCP_FASTOPEN, 5), (TCP_FASTOPEN_NO_COOKIE, 1)] {
            socket::set_option(&listener, libc::IPPROTO_TCP, option, value)?;
        }
        listener.listen(1)?;
        let server = socket::local(&listener)?;
        let (client, netns) = network
            .in_peer(|| Ok((socket::bound(family.peer())?, process::network_namespace())))?;
        socket::set_option(&client, libc::IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1)?;
        client.set_nonblocking(true)?;
        let ends = Ends::new(server, socket::local(&client)?).of_role(Role::Server);
        let cut = network.filter(&[rule])?;
        let flags = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL;
        client.send_to_with_flags(REQUEST, &server.into(), flags)?;
        socket::until_acceptable(&listener)?;
        fs::write(SWITCH, former)?;
        Ok(Self { listener, client, ends, netns, cut })
    }

    /// Accepts the connection and reads the data of its first segment.
    fn accept(&self) -> Result<Socket> {
        let (server, _) = self.listener.accept().context("accept must succeed")?;
        socket::receive(&server, REQUEST)?;
        Ok(server)
    }
}

/// Expected state and timeout of a connection whose handshake is incomplete.
fn opening(reported: Expected) -> Expected {
    reported.state("SYN_RECV").within("rto_ms", 1_000, FALLBACK_RTO)
}

/// The same before the data is read.
fn unread(reported: Expected) -> Expected {
    opening(reported).with("unread_bytes", REQUEST.len())
}

/// The client resets an accepted connection before its handshake completes.
pub(super) fn reset_by_peer(family: Family) -> Result<Vec<Expected>> {
    let opened = Opened::new(family, NO_ACKNOWLEDGEMENT)?;
    let server = opened.accept()?;
    ensure_errno("connect", socket::finish_connect(&opened.client)?, 0)?;
    let Opened { client, ends, cut, .. } = opened;
    socket::close_with_reset(client)?;
    let errno = socket::read_errno(&server)?;
    drop(cut);
    ensure_errno("read", errno, libc::ECONNRESET)?;
    let failure = Expected::failure(Cause::ResetByPeer, "read_or_write", errno, ends);
    Ok(vec![opening(failure).reset_here(ABORTED)])
}

/// The client resets the connection before it is accepted.
pub(super) fn reset_before_accept(family: Family) -> Result<Vec<Expected>> {
    let opened = Opened::new(family, NO_ACKNOWLEDGEMENT)?;
    ensure_errno("connect", socket::finish_connect(&opened.client)?, 0)?;
    let Opened { listener, client, ends, cut, .. } = opened;
    socket::close_with_reset(client)?;
    socket::until_gone(ends)?;
    drop(cut);
    let (server, _) = listener.accept().context("accept must succeed")?;
    socket::receive(&server, REQUEST)?;
    let errno = socket::read_errno(&server)?;
    ensure_errno("read", errno, libc::ECONNRESET)?;
    let failure = Expected::failure(Cause::ResetBeforeAccept, "read_or_write", errno, ends);
    Ok(vec![
        unread(failure).unaccepted().reset_here(ABORTED),
        unread(Expected::accepted_reset("read_or_write", errno, ends)),
    ])
}

/// A router reports before accept that the client is unreachable. Accept succeeds, a write gets the
/// errno, and a second write gets EPIPE.
pub(super) fn unreachable_before_accept(family: Family) -> Result<Vec<Expected>> {
    let opened = Opened::new(family, NO_ANSWER)?;
    socket::until_gone(opened.ends)?;
    let server = opened.accept()?;
    let errno = socket::write_errno(&server)?;
    ensure_errno("write", errno, libc::EHOSTUNREACH)?;
    let pipe = socket::write_errno(&server)?;
    ensure_errno("the second write", pipe, libc::EPIPE)?;
    let Opened { client, ends, netns, cut, .. } = opened;
    // The client has received no answer.
    drop(client);
    drop(cut);
    let cause = Cause::UnreachableBeforeAccept;
    let (kind, code) = host_unreachable(family);
    let cancelled =
        Expected::failure(Cause::ConnectCancelled, "none", libc::ECANCELED, ends.reversed());
    Ok(vec![
        unread(Expected::failure(cause, "read_or_write", errno, ends)).unaccepted().icmp(
            kind,
            code,
            ends.remote,
        ),
        unread(Expected::accepted_failed(cause, errno, ends)),
        opening(Expected::delivered(cause, errno, ends)),
        opening(Expected::failure(Cause::WriteAfterUnreachable, "write", pipe, ends))
            .state("CLOSE")
            .first(errno)
            .sigpipe("none"),
        // The SYN counts as a byte.
        cancelled.with("netns", netns).with("unacked_bytes", REQUEST.len() + 1),
    ])
}

/// Both ends connect at once, and then the other host forgets the connection.
pub(super) fn reset_while_both_connect(family: Family) -> Result<Vec<Expected>> {
    let network = Network::get()?;
    let client = socket::bound(family.host())?;
    let (rival, netns) =
        network.in_peer(|| Ok((socket::bound(family.peer())?, process::network_namespace())))?;
    let (ours, theirs) = (socket::local(&client)?, socket::local(&rival)?);
    // The SYNs of both ends leave, but none reaches the other host.
    let cut = network.filter(&[("input", "meta l4proto tcp drop")])?;
    socket::start_connect(&client, theirs)?;
    socket::start_connect(&rival, ours)?;
    socket::until_met(&client)?;
    drop(rival);
    drop(cut);
    // The SYN is retransmitted after a second, and answered with an RST.
    let errno = socket::finish_connect(&client)?;
    ensure_errno("connect", errno, libc::ECONNRESET)?;
    let ends = Ends::new(ours, theirs);
    let reset = Expected::failure(Cause::ResetByPeer, "connect", errno, ends);
    let cancelled =
        Expected::failure(Cause::ConnectCancelled, "none", libc::ECANCELED, ends.reversed());
    Ok(vec![
        reset
            .state("SYN_RECV")
            .flags(&["retransmitted", "connecting"])
            .with("retransmits", 1)
            .with("rto_ms", Network::syn_timeout(0)? * 2)
            .within("elapsed_ms", 1_000, 2_000)
            .with("unacked_bytes", 1),
        cancelled.with("netns", netns),
    ])
}
