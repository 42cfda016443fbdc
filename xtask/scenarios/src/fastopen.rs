//! Handshakes that do not end: of a connection that TCP Fast Open has accepted already, and of a connect
//! that meets the peer's own.

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

/// Of `include/uapi/linux/tcp.h`: neither end asks for a cookie.
const TCP_FASTOPEN_NO_COOKIE: i32 = 34;

/// Which ends may open so, by a bit each: 1 the client's, 2 the server's.
const SWITCH: &str = "/proc/sys/net/ipv4/tcp_fastopen";

/// The longest timeout of a connection whose round-trip time is not known (`TCP_TIMEOUT_FALLBACK`).
const FALLBACK_RTO: u64 = 3_000;

/// How the kernel calls a close with `SO_LINGER` 0.
const ABORTED: &str = "tcp_state";

/// The third segment of a handshake and what follows it, but for a reset.
const NO_ACKNOWLEDGEMENT: (&str, &str) = ("output", "tcp flags & (syn | rst | ack) == ack drop");

/// The second.
const NO_ANSWER: (&str, &str) =
    ("input", "tcp flags & (syn | ack) == syn | ack reject with icmpx type host-unreachable");

/// A connection from the other host that has come with its first segment.
struct Opened {
    listener: Socket,
    client: Socket,
    /// As this host sees it.
    ends: Ends,
    /// Of the other host.
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

    /// Accepts it, and takes what its first segment carried.
    fn accept(&self) -> Result<Socket> {
        let (server, _) = self.listener.accept().context("accept must succeed")?;
        socket::receive(&server, REQUEST)?;
        Ok(server)
    }
}

/// What is said of a connection whose handshake is not over.
fn opening(reported: Expected) -> Expected {
    reported.state("SYN_RECV").within("rto_ms", 1_000, FALLBACK_RTO)
}

/// What is said before its data is read.
fn unread(reported: Expected) -> Expected {
    opening(reported).with("unread_bytes", REQUEST.len())
}

/// The client resets what is accepted already, before its handshake is over.
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

/// The same before it is accepted.
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

/// A router says before accept that the client cannot be reached. Accept succeeds, a write gets the
/// errno, and the next one is too many.
pub(super) fn unreachable_before_accept(family: Family) -> Result<Vec<Expected>> {
    let opened = Opened::new(family, NO_ANSWER)?;
    socket::until_gone(opened.ends)?;
    let server = opened.accept()?;
    let errno = socket::write_errno(&server)?;
    ensure_errno("write", errno, libc::EHOSTUNREACH)?;
    let pipe = socket::write_errno(&server)?;
    ensure_errno("the second write", pipe, libc::EPIPE)?;
    let Opened { client, ends, netns, cut, .. } = opened;
    // It has got no answer.
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

/// Both ends connect at once, and then the other host knows of nothing.
pub(super) fn reset_while_both_connect(family: Family) -> Result<Vec<Expected>> {
    let network = Network::get()?;
    let client = socket::bound(family.host())?;
    let (rival, netns) =
        network.in_peer(|| Ok((socket::bound(family.peer())?, process::network_namespace())))?;
    let (ours, theirs) = (socket::local(&client)?, socket::local(&rival)?);
    // Each end's SYN leaves, and nothing reaches the other host.
    let cut = network.filter(&[("input", "meta l4proto tcp drop")])?;
    socket::start_connect(&client, theirs)?;
    socket::start_connect(&rival, ours)?;
    socket::until_met(&client)?;
    drop(rival);
    drop(cut);
    // The SYN is sent again after a second, and answered by RST.
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
