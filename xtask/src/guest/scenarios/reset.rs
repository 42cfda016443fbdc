//! Connections that are reset.

use std::{io::Read as _, net::Shutdown, process::Command, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::libc;

use super::{
    network::Family,
    socket::{self, Ends, Pair},
    tcp_reset_has_segment,
    verify::Expected,
};

/// The peer closes with `SO_LINGER` 0 in the middle of a connection.
pub(super) fn by_peer(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of(&server)?;
    socket::close_with_reset(client)?;
    let errno = socket::read_errno(&server)?;
    // The errno is delivered once; then it is the end, and writing is EPIPE.
    socket::read_end(&server)?;
    ensure!(socket::write_errno(&server)? == libc::EPIPE, "a later write is not EPIPE");
    Ok(vec![Expected::failure("reset_by_peer", "read_or_write", errno, ends)])
}

/// The peer closes without having read all.
pub(super) fn by_peer_with_unread_data(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of(&client)?;
    socket::write(&client)?;
    drop(server);
    let errno = socket::write_errno(&client)?;
    Ok(vec![Expected::failure("reset_by_peer", "read_or_write", errno, ends)])
}

/// The client resets its connection while it waits to be accepted. Accept succeeds.
pub(super) fn before_accept(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let client = socket::connect(&listener)?;
    let Ends { local, remote } = Ends::of(&client)?;
    socket::close_with_reset(client)?;
    let (server, peer) = listener.accept().context("accept must succeed")?;
    let peer = peer.as_socket().context("accept gives the peer's address")?;
    ensure!(Ends::new(peer, peer).local == local, "accept gives another peer: {peer}");
    let errno = socket::read_errno(&server)?;
    let ends = Ends { local: remote, remote: local };
    Ok(vec![
        Expected::failure("reset_before_accept", "read_or_write", errno, ends),
        Expected::accepted_reset("read_or_write", errno, ends),
    ])
}

/// The same after the client had shut down its sending side: a read returns 0, a write fails.
pub(super) fn before_accept_after_fin(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let client = socket::connect(&listener)?;
    let Ends { local, remote } = Ends::of(&client)?;
    client.shutdown(Shutdown::Write)?;
    socket::close_with_reset(client)?;
    let (server, _) = listener.accept().context("accept must succeed")?;
    socket::read_end(&server)?;
    let errno = socket::write_errno(&server)?;
    let ends = Ends { local: remote, remote: local };
    Ok(vec![
        Expected::failure("reset_before_accept", "write", errno, ends),
        Expected::accepted_reset("write", errno, ends),
    ])
}

/// The listener is closed before it accepts: the failure is counted, and nobody gets it.
pub(super) fn never_accepted(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let client = socket::connect(&listener)?;
    let Ends { local, remote } = Ends::of(&client)?;
    socket::close_with_reset(client)?;
    drop(listener);
    let ends = Ends { local: remote, remote: local };
    Ok(vec![Expected::failure("reset_before_accept", "read_or_write", libc::ECONNRESET, ends)])
}

/// The peer has closed, this side writes on: the first write succeeds and brings the RST.
pub(super) fn after_peer_close(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of(&client)?;
    drop(server);
    socket::read_end(&client)?;
    socket::write(&client).context("the first write must succeed")?;
    let errno = socket::write_errno(&client)?;
    socket::read_end(&client).context("a read never fails with EPIPE")?;
    // On loopback the RST comes while the first write still holds the socket.
    Ok(vec![Expected::failure("reset_after_peer_close", "write", errno, ends).in_this_process()])
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
    Ok(vec![Expected::failure("reset_while_closing", "none", libc::ECONNRESET, ends)])
}

/// The peer sends to a socket that was shut down: this kernel resets the connection.
pub(super) fn data_after_shutdown(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let (ours, theirs) = (Ends::of(&client)?, Ends::of(&server)?);
    client.shutdown(Shutdown::Both)?;
    socket::read_end(&server)?;
    socket::write(&server).context("the first write must succeed")?;
    let errno = socket::read_errno(&client)?;
    let their_errno = socket::write_errno(&server)?;
    // Without the segment, the reset by data cannot be told from one by RST.
    let cause = if tcp_reset_has_segment() { "data_after_shutdown" } else { "reset_while_closing" };
    Ok(vec![
        Expected::failure(cause, "read_or_write", errno, ours),
        Expected::failure("reset_after_peer_close", "write", their_errno, theirs).in_this_process(),
    ])
}

/// Killed from outside (`ss -K`): has no cause of its own yet, and must keep errno and state.
pub(super) fn aborted(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let (ours, theirs) = (Ends::of(&client)?, Ends::of(&server)?);
    let filter = format!("sport = :{}", ours.local.port());
    let status = Command::new("ss").args(["-K", "-t", "-n", &filter]).status()?;
    ensure!(status.success(), "ss -K failed");
    // The peer gets the RST that goes out.
    thread::sleep(Duration::from_millis(50));
    let their_errno = socket::read_errno(&server)?;
    let mut reader = &client;
    let errno = socket::errno("read", reader.read(&mut [0; 16]))?;
    ensure!(errno == libc::ECONNABORTED, "read failed with errno {errno}, not ECONNABORTED");
    Ok(vec![
        Expected::failure("other", "read_or_write", errno, ours).in_foreign_process(),
        Expected::failure("reset_by_peer", "read_or_write", their_errno, theirs),
    ])
}
