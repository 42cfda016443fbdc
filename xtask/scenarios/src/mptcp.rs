//! MPTCP: a program gets the errno of its MPTCP socket, not those of the TCP connections under it.
//!
//! Debian's 5.10 has no MPTCP: there is nothing to fail then, and nothing to report.

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

/// How the kernel calls a close before all was read.
const UNREAD: &str = "tcp_abort_on_close";

/// A socket of MPTCP, unless the kernel has none.
fn open(address: SocketAddr) -> Result<Option<Socket>> {
    if !super::has_mptcp() {
        return Ok(None);
    }
    Ok(Some(socket::open(address, Protocol::MPTCP).context("no MPTCP")?))
}

/// The same bound to this address.
fn bound(address: SocketAddr) -> Result<Option<Socket>> {
    let Some(socket) = open(address)? else { return Ok(None) };
    socket.bind(&address.into())?;
    Ok(Some(socket))
}

/// A connected pair with these protocols.
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
    // The connection is one of MPTCP when data has come through.
    ensure!(socket::write(&client)? > 0, "nothing written");
    socket::read(&server)?;
    ensure!(socket::write(&server)? > 0, "nothing written");
    socket::read(&client)?;
    Ok(Some(Pair { client, server }))
}

/// The report of the whole connection: only its subflows have timers.
fn connection(failure: Expected) -> Expected {
    failure.mptcp().flags(&["mptcp"]).with("rto_ms", 0)
}

/// Nobody listens.
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

/// The peer closes the whole connection at once, and the program writes on.
pub(super) fn reset_by_peer(family: Family) -> Result<Vec<Expected>> {
    let Some(Pair { client, server }) = pair(family, bound)? else { return Ok(vec![]) };
    reset(&client, server, &["reported", "send_shutdown"])
}

/// The same after the connection has fallen back to TCP, which is all that the peer speaks.
pub(super) fn reset_by_peer_after_fallback(family: Family) -> Result<Vec<Expected>> {
    let tcp = |address| socket::bound(address).map(Some);
    let Some(Pair { client, server }) = pair(family, tcp)? else { return Ok(vec![]) };
    reset(&client, server, &["reported"])
}

/// `flags` are those of the write.
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

/// The peer closes the whole connection with data unread, by which it is reset.
fn close_unread(client: &Socket, server: Socket) -> Result<[Expected; 2]> {
    let (ends, errno) = (Ends::of_client(client)?, libc::ECONNRESET);
    // SO_LINGER 0 does not do the same in every kernel: in 6.18.15 the connection outlives it without a
    // subflow.
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

/// The same, and nobody has read the errno yet: this end, and what is expected; `None` without MPTCP.
pub(super) fn reset_unread(family: Family) -> Result<Option<(Socket, Ends, [Expected; 2])>> {
    let Some(Pair { client, server }) = pair(family, bound)? else { return Ok(None) };
    let ends = Ends::of_client(&client)?;
    let reported = close_unread(&client, server)?;
    // The kernel's worker stores the errno before it reports that.
    thread::sleep(Duration::from_millis(100));
    Ok(Some((client, ends, reported)))
}

/// The peer does not read, and a write waits for as long as it may.
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

/// The address is taken, for MPTCP and then for the plain TCP that Go tries instead: one failure. When
/// the program tries a third time, that is another.
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

/// Two sockets of the address are to listen, of which one does.
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

/// The reports of a call that was refused to one MPTCP socket and two TCP sockets.
fn refused_twice(cause: Cause, call: &'static str, address: SocketAddr) -> Vec<Expected> {
    let tcp = || Expected::alone(cause, call, libc::EADDRINUSE, address);
    if !super::uses_kprobes() {
        let mptcp = tcp().mptcp().with("rto_ms", 0);
        return vec![mptcp, tcp()];
    }
    // Kprobes sit in the protocol. There the MPTCP socket is its first subflow in 6.1, and since 6.6
    // nothing, as it passes another function.
    let subflow = super::calls_mptcp_by_subflow().then(tcp);
    [tcp(), tcp()].into_iter().chain(subflow).collect()
}

/// Connections that are used and closed as they should be.
pub(super) fn orderly(family: Family) -> Result<Vec<Expected>> {
    for _ in 0..20 {
        let Some(Pair { client, server }) = pair(family, bound)? else { break };
        drop(client);
        socket::read_end(&server)?;
    }
    Ok(vec![])
}
