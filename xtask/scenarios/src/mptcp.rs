//! MPTCP: a program gets the errno of its MPTCP socket, not those of the TCP subflows.
//!
//! Debian's 5.10 has no MPTCP: the scenarios then make nothing and expect nothing.

use std::{
    io::Read as _,
    mem::MaybeUninit,
    net::{Shutdown, SocketAddr},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::libc;
use socket2::{Protocol, Socket};
use socktrace_diagnosis::Cause;

use super::{
    expected::Expected,
    network::Family,
    socket::{self, Ends, Pair, Role, ensure_errno},
};

/// The kernel's reset reason for a close with unread data.
const UNREAD: &str = "tcp_abort_on_close";

/// Creates an MPTCP socket, if the kernel supports it.
fn open(address: SocketAddr) -> Result<Option<Socket>> {
    if !super::has_mptcp() {
        return Ok(None);
    }
    Ok(Some(socket::open(address, Protocol::MPTCP).context("no MPTCP")?))
}

/// Creates an MPTCP socket bound to this address.
fn bound(address: SocketAddr) -> Result<Option<Socket>> {
    let Some(socket) = open(address)? else { return Ok(None) };
    socket.bind(&address.into())?;
    Ok(Some(socket))
}

/// Connects an MPTCP client to a listener made by `listener`.
fn pair(
    family: Family,
    listener: impl FnOnce(SocketAddr) -> Result<Option<Socket>>,
) -> Result<Option<Pair>> {
    let (Some(client), Some(listener)) = (bound(family.loopback())?, listener(family.loopback())?)
    else {
        return Ok(None);
    };
    listener.listen(1)?;
    client.connect(&listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    // The connection is established as MPTCP once data has arrived.
    ensure!(socket::write(&client)? > 0, "nothing written");
    socket::read(&server)?;
    ensure!(socket::write(&server)? > 0, "nothing written");
    socket::read(&client)?;
    Ok(Some(Pair { client, server }))
}

/// Expected report of the whole connection: only its subflows have timers.
fn connection(failure: Expected) -> Expected {
    failure.mptcp().flags(&["mptcp"]).with("rto_ms", 0)
}

/// Connect to a port without a listener.
pub(super) fn connect_refused(family: Family) -> Result<Vec<Expected>> {
    let closed = socket::closed_port(family)?;
    let Some(client) = bound(family.loopback())? else { return Ok(vec![]) };
    let ends = Ends::new(socket::local(&client)?, closed);
    let errno = socket::errno("connect", client.connect(&closed.into()))?;
    ensure_errno("connect", errno, libc::ECONNREFUSED)?;
    Ok(vec![
        Expected::subflow(errno, ends.of_role(Role::Client)).state("SYN_SENT"),
        connection(Expected::failure(Cause::ConnectRefused, "connect", errno, ends))
            .with("unacked_bytes", 0)
            .with("elapsed_ms", 0),
    ])
}

/// The peer closes the whole connection at once, and the program keeps writing.
pub(super) fn reset_by_peer(family: Family) -> Result<Vec<Expected>> {
    let Some(Pair { client, server }) = pair(family, bound)? else { return Ok(vec![]) };
    reset(&client, server, &["reported", "send_shutdown"])
}

/// The same after the connection has fallen back to TCP, as the peer only supports TCP.
pub(super) fn reset_by_peer_after_fallback(family: Family) -> Result<Vec<Expected>> {
    let tcp = |address| socket::bound(address).map(Some);
    let Some(Pair { client, server }) = pair(family, tcp)? else { return Ok(vec![]) };
    reset(&client, server, &["reported"])
}

/// Resets a connection, then reads and writes. `flags` are those of the failing write.
fn reset(client: &Socket, server: Socket, flags: &[&'static str]) -> Result<Vec<Expected>> {
    let ends = Ends::of_client(client)?;
    let [subflow, connection] = close_unread(client, server)?;
    let reset = socket::read_errno(client)?;
    ensure_errno("read", reset, libc::ECONNRESET)?;
    let pipe = socket::write_errno(client)?;
    ensure_errno("write", pipe, libc::EPIPE)?;
    let after = Expected::failure(Cause::WriteAfterReset, "write", pipe, ends);
    let after = after.first(reset).sigpipe("none");
    let after = after.mptcp().flags(flags).with("rto_ms", 0).with("silent_ms", 0);
    Ok(vec![subflow, connection, after])
}

/// The peer closes the whole connection with unread data, which resets it.
fn close_unread(client: &Socket, server: Socket) -> Result<[Expected; 2]> {
    let (ends, errno) = (Ends::of_client(client)?, libc::ECONNRESET);
    // The effect of SO_LINGER 0 depends on the kernel: in 6.18.15 the connection survives it
    // without a subflow.
    let written = socket::write(client)?;
    server.peek(&mut [MaybeUninit::uninit(); 1])?;
    drop(server);
    socket::until_reset(client)?;
    Ok([
        Expected::subflow(errno, ends).with("unacked_bytes", written).reset_here(UNREAD),
        connection(Expected::failure(Cause::ResetByPeer, "read_or_write", errno, ends))
            .with("silent_ms", 0)
            .reset_here(UNREAD),
    ])
}

/// Returns the client of a reset connection whose errno has not been read, its ends, and the
/// expected reports. `None` without MPTCP.
pub(super) fn reset_unread(family: Family) -> Result<Option<(Socket, Ends, [Expected; 2])>> {
    let Some(Pair { client, server }) = pair(family, bound)? else { return Ok(None) };
    let ends = Ends::of_client(&client)?;
    let reported = close_unread(&client, server)?;
    // The kernel's worker stores the errno before it reports the error.
    thread::sleep(Duration::from_millis(100));
    Ok(Some((client, ends, reported)))
}

/// The peer does not read, and a write blocks until its timeout.
pub(super) fn send_timeout(family: Family) -> Result<Vec<Expected>> {
    const LIMIT: u64 = 20;

    let Some(Pair { client, server }) = pair(family, bound)? else { return Ok(vec![]) };
    let ends = Ends::of_client(&client)?;
    client.set_write_timeout(Some(Duration::from_millis(LIMIT)))?;
    let filled = socket::fill(&client)?;
    let errno = socket::write_errno(&client)?;
    ensure_errno("write", errno, libc::EAGAIN)?;
    client.shutdown(Shutdown::Write)?;
    ensure!((&server).read_to_end(&mut Vec::new())? == filled, "other bytes came than were sent");
    drop(server);
    socket::read_end(&client)?;
    let failure = Expected::failure(Cause::SendTimeout, "write", errno, ends).mptcp().flags(&[]);
    let failure = failure.with("send_timeout_ms", LIMIT).with("rto_ms", 0).with("silent_ms", 0);
    Ok(vec![failure])
}

/// A subflow is killed: the program notices nothing.
pub(super) fn subflow_killed(family: Family) -> Result<Vec<Expected>> {
    let Some(Pair { client, server }) = pair(family, bound)? else { return Ok(vec![]) };
    let ends = Ends::of_client(&client)?;
    let killer = socket::kill(ends.local)?;
    ensure!(client.take_error()?.is_none() && server.take_error()?.is_none(), "an error came");
    ensure!(socket::write(&client)? > 0 && socket::write(&server)? > 0, "nothing written");
    let other = ends.reversed();
    Ok(vec![
        Expected::subflow(libc::ECONNABORTED, ends).killed_by(killer, "ss"),
        Expected::subflow(libc::ECONNRESET, other).reset_by(killer, "ss", "tcp_state"),
    ])
}

/// The address is in use, for MPTCP and then for plain TCP, which Go falls back to: one failure. A
/// third attempt by the program is another failure.
pub(super) fn bind_in_use(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let taken = socket::local(&listener)?;
    let Some(mptcp) = open(taken)? else { return Ok(vec![]) };
    let [tcp, again] = [socket::stream(taken)?, socket::stream(taken)?];
    for socket in [&mptcp, &tcp, &again] {
        let errno = socket::errno("bind", socket.bind(&taken.into()))?;
        ensure_errno("bind", errno, libc::EADDRINUSE)?;
    }
    Ok(refused_twice(Cause::BindFailed, "bind", taken))
}

/// Two sockets bound to one address call listen; one of them listens.
pub(super) fn listen_in_use(family: Family) -> Result<Vec<Expected>> {
    let first = socket::stream(family.loopback())?;
    first.set_reuse_address(true)?;
    first.bind(&family.loopback().into())?;
    let address = socket::local(&first)?;
    let Some(mptcp) = open(address)? else { return Ok(vec![]) };
    let rivals = [mptcp, socket::stream(address)?, socket::stream(address)?];
    for socket in &rivals {
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
    }
    first.listen(1)?;
    for socket in &rivals {
        let errno = socket::errno("listen", socket.listen(1))?;
        ensure_errno("listen", errno, libc::EADDRINUSE)?;
    }
    Ok(refused_twice(Cause::ListenFailed, "listen", address))
}

/// Expected reports of a call that failed for one MPTCP socket and two TCP sockets.
fn refused_twice(cause: Cause, call: &'static str, address: SocketAddr) -> Vec<Expected> {
    let tcp = || Expected::alone(cause, call, libc::EADDRINUSE, address);
    if !super::uses_kprobes() {
        let mptcp = tcp().mptcp().with("rto_ms", 0);
        return vec![mptcp, tcp()];
    }
    // Kprobes are attached to the protocol's functions. In 6.1 they see the MPTCP socket as its
    // first subflow; since 6.6 they do not see it, as it goes through another function.
    let subflow = super::calls_mptcp_by_subflow().then(tcp);
    [tcp(), tcp()].into_iter().chain(subflow).collect()
}

/// Connections that are used and closed properly.
pub(super) fn orderly(family: Family) -> Result<Vec<Expected>> {
    for _ in 0..20 {
        let Some(Pair { client, server }) = pair(family, bound)? else { break };
        drop(client);
        socket::read_end(&server)?;
    }
    Ok(vec![])
}
