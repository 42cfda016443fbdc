//! Connections that are reset.

use std::{net::Shutdown, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::libc;
use socket2::TcpKeepalive;

use super::{
    blocked,
    expected::Expected,
    network::{Family, Line, Silence},
    socket::{self, Ends, Pair, ensure_errno},
    tcp_reset_has_segment,
};

/// The peer closes with `SO_LINGER` 0 in the middle of a connection.
pub(super) fn by_peer(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of(&server)?;
    socket::close_with_reset(client)?;
    let errno = socket::read_errno(&server)?;
    // The errno is delivered once; then it is the end.
    socket::read_end(&server)?;
    Ok(vec![Expected::failure("reset_by_peer", "read_or_write", errno, ends)])
}

/// The peer closes without having read all.
pub(super) fn by_peer_with_unread_data(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of(&client)?;
    socket::write(&client)?;
    drop(server);
    socket::until_reset(&client)?;
    let errno = socket::write_errno(&client)?;
    Ok(vec![
        Expected::failure("reset_by_peer", "read_or_write", errno, ends),
        Expected::delivered("reset_by_peer", errno, ends),
    ])
}

/// The peer resets while a thread waits to write.
pub(super) fn by_peer_while_write_waits(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of(&client)?;
    socket::fill(&client)?;
    let reset = |_| socket::close_with_reset(server);
    let written = blocked::during(libc::SYS_sendto, || socket::write(&client), reset)?;
    let errno = socket::errno("write", written)?;
    Ok(vec![
        Expected::failure("reset_by_peer", "read_or_write", errno, ends),
        Expected::delivered("reset_by_peer", errno, ends),
    ])
}

/// The peer resets while a thread waits to read.
pub(super) fn by_peer_while_read_waits(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of(&client)?;
    let reset = |_| socket::close_with_reset(server);
    let errno = blocked::during(libc::SYS_recvfrom, || socket::read_errno(&client), reset)??;
    Ok(vec![Expected::failure("reset_by_peer", "read_or_write", errno, ends)])
}

/// The client resets its connection while it waits to be accepted. Accept succeeds.
pub(super) fn before_accept(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let client = socket::connect(&listener)?;
    let ends = socket::reset_unaccepted(client)?;
    let (server, peer) = listener.accept().context("accept must succeed")?;
    let peer = peer.as_socket().context("accept gives the peer's address")?;
    ensure!(Ends::new(peer, peer).remote == ends.remote, "accept gives another peer: {peer}");
    let errno = socket::read_errno(&server)?;
    Ok(vec![
        Expected::failure("reset_before_accept", "read_or_write", errno, ends).unaccepted(),
        Expected::accepted_reset("read_or_write", errno, ends),
    ])
}

/// The same after the client had shut down its sending side: a read returns 0, a write fails.
pub(super) fn before_accept_after_fin(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let client = socket::connect(&listener)?;
    client.shutdown(Shutdown::Write)?;
    socket::until_end_taken(&client)?;
    let ends = socket::reset_unaccepted(client)?;
    let (server, _) = listener.accept().context("accept must succeed")?;
    socket::read_end(&server)?;
    let errno = socket::write_errno(&server)?;
    Ok(vec![
        Expected::failure("reset_before_accept", "write", errno, ends).unaccepted(),
        Expected::accepted_reset("write", errno, ends),
        Expected::delivered("reset_before_accept", errno, ends).sigpipe("none"),
    ])
}

/// The listener is closed before it accepts: the failure is counted, and nobody gets it.
pub(super) fn never_accepted(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let client = socket::connect(&listener)?;
    let ends = socket::reset_unaccepted(client)?;
    drop(listener);
    let failure = Expected::failure("reset_before_accept", "read_or_write", libc::ECONNRESET, ends);
    Ok(vec![failure.unaccepted()])
}

/// The peer has closed, this side writes on: the first write succeeds and brings the RST.
pub(super) fn after_peer_close(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of(&client)?;
    drop(server);
    socket::read_end(&client)?;
    socket::write(&client).context("the first write must succeed")?;
    socket::until_reset(&client)?;
    let errno = socket::write_errno(&client)?;
    socket::read_end(&client).context("a read never fails with EPIPE")?;
    Ok(vec![
        Expected::failure("reset_after_peer_close", "write", errno, ends),
        Expected::delivered("reset_after_peer_close", errno, ends).sigpipe("none"),
    ])
}

/// The peer has shut down its sending side, and then resets.
pub(super) fn after_peer_shutdown(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of(&client)?;
    server.shutdown(Shutdown::Write)?;
    socket::read_end(&client)?;
    socket::close_with_reset(server)?;
    socket::until_reset(&client)?;
    let errno = socket::write_errno(&client)?;
    Ok(vec![
        Expected::failure("reset_after_peer_close", "write", errno, ends),
        Expected::delivered("reset_after_peer_close", errno, ends).sigpipe("none"),
    ])
}

/// This side has shut down sending, the peer answers with RST.
pub(super) fn while_closing(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of(&client)?;
    client.shutdown(Shutdown::Write)?;
    socket::read_end(&server)?;
    socket::close_with_reset(server)?;
    let errno = socket::read_errno(&client)?;
    Ok(vec![Expected::failure("reset_while_closing", "read_or_write", errno, ends)])
}

/// This side has closed with data still on its way; the peer closes without reading it.
pub(super) fn while_closing_orphan(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of(&client)?;
    socket::fill(&client)?;
    drop(client);
    drop(server);
    Ok(vec![Expected::failure("reset_while_closing", "none", libc::ECONNRESET, ends).noise()])
}

/// The peer sends to a socket that was shut down: this kernel resets the connection.
pub(super) fn data_after_shutdown(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let (ours, theirs) = (Ends::of(&client)?, Ends::of(&server)?);
    client.shutdown(Shutdown::Both)?;
    socket::read_end(&server)?;
    socket::write(&server).context("the first write must succeed")?;
    let errno = socket::read_errno(&client)?;
    socket::until_reset(&server)?;
    let their_errno = socket::write_errno(&server)?;
    // Without the segment, the reset by data cannot be told from one by RST.
    let cause = if tcp_reset_has_segment() { "data_after_shutdown" } else { "reset_while_closing" };
    Ok(vec![
        Expected::failure(cause, "read_or_write", errno, ours),
        Expected::failure("reset_after_peer_close", "write", their_errno, theirs),
        Expected::delivered("reset_after_peer_close", their_errno, theirs).sigpipe("none"),
    ])
}

/// Killed from outside the program.
pub(super) fn aborted_locally(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let (ours, theirs) = (Ends::of(&client)?, Ends::of(&server)?);
    let killer = socket::kill(ours.local)?;
    let errno = socket::read_errno(&client)?;
    ensure_errno("read", errno, libc::ECONNABORTED)?;
    // The peer gets the RST that goes out.
    let their_errno = socket::read_errno(&server)?;
    Ok(vec![
        Expected::failure("aborted_locally", "read_or_write", errno, ours).by(killer),
        Expected::failure("reset_by_peer", "read_or_write", their_errno, theirs).reset_by(
            killer,
            "ss",
            "tcp_state",
        ),
    ])
}

/// The listener is closed while a connection waits in its queue: the client is reset. Nobody owned
/// that connection, and its keepalive timer sends resets too: no process may be named.
pub(super) fn by_closing_listener(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let client = socket::connect(&listener)?;
    let ends = Ends::of(&client)?;
    drop(listener);
    let errno = socket::read_errno(&client)?;
    Ok(vec![Expected::failure("reset_by_peer", "read_or_write", errno, ends)])
}

/// The other host starts anew while the network is down: it answers a retransmission with RST.
pub(super) fn after_retransmit(family: Family) -> Result<Vec<Expected>> {
    let Line { network, pair: Pair { client, server }, ends } = Line::new(family)?;
    let cut = network.cut(Silence::Drop)?;
    socket::write(&client)?;
    while socket::retransmits(&client)? == 0 {
        thread::sleep(Duration::from_millis(10));
    }
    socket::forget(server)?;
    drop(cut);
    let errno = socket::read_errno(&client)?;
    Ok(vec![Expected::failure("reset_after_retransmit", "read_or_write", errno, ends)])
}

/// The other host starts anew while the connection is idle: it answers the next data with RST.
pub(super) fn after_idle(family: Family) -> Result<Vec<Expected>> {
    idle(family, "reset_after_idle", Duration::from_secs(40))
}

/// The same, found out by a keepalive probe.
pub(super) fn after_idle_by_keepalive(family: Family) -> Result<Vec<Expected>> {
    let Line { pair: Pair { client, server }, ends, .. } = Line::new(family)?;
    client.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_mins(1)))?;
    socket::exchange(&client, &server)?;
    socket::forget(server)?;
    let errno = socket::read_errno(&client)?;
    Ok(vec![Expected::failure("reset_after_idle", "read_or_write", errno, ends)])
}

/// The same after a pause that is no long silence.
pub(super) fn after_short_idle(family: Family) -> Result<Vec<Expected>> {
    idle(family, "reset_by_peer", Duration::from_secs(20))
}

fn idle(family: Family, cause: &'static str, pause: Duration) -> Result<Vec<Expected>> {
    let Line { pair: Pair { client, server }, ends, .. } = Line::new(family)?;
    socket::exchange(&client, &server)?;
    thread::sleep(pause);
    socket::forget(server)?;
    socket::write(&client).context("the first write must succeed")?;
    let errno = socket::read_errno(&client)?;
    Ok(vec![Expected::failure(cause, "read_or_write", errno, ends)])
}
