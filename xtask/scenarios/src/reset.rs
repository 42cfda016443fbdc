//! Connections that are reset.

use std::{
    fs,
    io::{self, Read as _},
    mem::MaybeUninit,
    net::Shutdown,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::libc;
use socket2::{Socket, TcpKeepalive};
use socktrace_diagnosis::Cause;

use super::{
    blocked,
    expected::Expected,
    names_reset_reasons,
    network::{Family, Line, Silence},
    process::Process,
    socket::{self, Ends, Pair, ensure_errno},
    tcp_reset_has_segment,
};

/// Longer than a tick of the kernel's clock: events within one tick have no order.
const MOMENT: Duration = Duration::from_millis(20);

/// The kernel's reset reason for a close with `SO_LINGER` 0, an abort by another process, and the
/// close of a listener with connections in its queue.
const ABORTED: &str = "tcp_state";

/// The kernel's reset reason for a close with unread data.
const UNREAD: &str = "tcp_abort_on_close";

/// Program that kills sockets.
const KILLING: &str = "ss";

/// The peer closes with `SO_LINGER` 0 in the middle of a connection.
pub(super) fn by_peer(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_server(&server)?;
    socket::close_with_reset(client)?;
    let errno = socket::read_errno(&server)?;
    // The errno is returned once; after that, reads return the end.
    socket::read_end(&server)?;
    let failure = Expected::failure(Cause::ResetByPeer, "read_or_write", errno, ends);
    Ok(vec![failure.reset_here(ABORTED)])
}

/// The peer closes with unread data.
pub(super) fn by_peer_with_unread_data(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&client)?;
    socket::write(&client)?;
    drop(server);
    socket::until_reset(&client)?;
    let errno = socket::write_errno(&client)?;
    Ok(vec![
        Expected::failure(Cause::ResetByPeer, "read_or_write", errno, ends).reset_here(UNREAD),
        Expected::delivered(Cause::ResetByPeer, errno, ends),
    ])
}

/// The peer answers and closes with unread data: the answer can still be read.
pub(super) fn by_peer_after_its_answer(family: Family) -> Result<Vec<Expected>> {
    const ANSWER: &[u8] = b"HTTP/1.1 413 Content Too Large\r\n\r\n";

    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&client)?;
    socket::write(&client)?;
    socket::send(&server, ANSWER)?;
    drop(server);
    socket::until_reset(&client)?;
    let errno = socket::write_errno(&client)?;
    socket::receive(&client, ANSWER)?;
    let failure = Expected::failure(Cause::ResetByPeer, "read_or_write", errno, ends);
    let waits = format!("; {} bytes from the peer wait unread", ANSWER.len());
    let failure = failure.reset_here(UNREAD).with("unread_bytes", ANSWER.len()).saying(&waits);
    let delivered = Expected::delivered(Cause::ResetByPeer, errno, ends);
    Ok(vec![failure, delivered.with("unread_bytes", ANSWER.len())])
}

/// The peer resets while a thread blocks in write.
pub(super) fn by_peer_while_write_waits(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&client)?;
    socket::fill(&client)?;
    let unsent = socket::unsent(&client)?;
    let reset = |_| socket::close_with_reset(server);
    let write = || (socket::write(&client), Process::this());
    let (written, writer) = blocked::during(libc::SYS_sendto, write, reset)?;
    let errno = socket::errno("write", written)?;
    Ok(vec![
        Expected::failure(Cause::ResetByPeer, "read_or_write", errno, ends)
            .by(writer.clone())
            .known_as(&["waiter"])
            .with("unsent_bytes", unsent)
            .within("probes", 0, 2)
            // The window was probed for most of the second without progress.
            .within("elapsed_ms", 500, 3_000)
            .reset_here(UNREAD),
        Expected::delivered(Cause::ResetByPeer, errno, ends).by(writer).within("probes", 0, 2),
    ])
}

/// The peer closes with unsent data, which makes one orphan more than this host allows.
pub(super) fn by_closing_one_too_many(family: Family) -> Result<Vec<Expected>> {
    const MAX_ORPHANS: &str = "/proc/sys/net/ipv4/tcp_max_orphans";
    // Orphans are counted ten times a second (`tcp_orphan_update`, since 5.16).
    const COUNTED: Duration = Duration::from_millis(300);
    let first = Pair::new(family.loopback())?;
    socket::fill(&first.server)?;
    drop(first.server);
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&client)?;
    socket::fill(&server)?;
    thread::sleep(COUNTED);
    let before = fs::read_to_string(MAX_ORPHANS)?;
    fs::write(MAX_ORPHANS, "0")?;
    drop(server);
    fs::write(MAX_ORPHANS, before.trim())?;
    // Data that arrived before can be read. The other connection ends in order.
    let errno = socket::errno("read", read_on(&client))?;
    read_on(&first.client)?;
    let failure = Expected::failure(Cause::ResetByPeer, "read_or_write", errno, ends);
    // Up to a full receive buffer.
    let failure = failure.within("unread_bytes", 1, 16 << 20).reset_here("tcp_abort_on_memory");
    Ok(vec![if names_reset_reasons() {
        failure.saying("beyond net.ipv4.tcp_max_orphans").advising("ss -s counts orphans")
    } else {
        failure
    }])
}

/// Reads until the end.
fn read_on(mut socket: &Socket) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    while socket.read(&mut buffer)? > 0 {}
    Ok(())
}

/// The peer resets while a thread blocks in read.
pub(super) fn by_peer_while_read_waits(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&client)?;
    let reset = |_| socket::close_with_reset(server);
    let read = || (socket::read_errno(&client), Process::this());
    let (errno, reader) = blocked::during(libc::SYS_recvfrom, read, reset)?;
    let failure = Expected::failure(Cause::ResetByPeer, "read_or_write", errno?, ends);
    Ok(vec![failure.by(reader).known_as(&["waiter"]).reset_here(ABORTED)])
}

/// The client resets its connection while it is in the accept queue. Accept succeeds.
pub(super) fn before_accept(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let client = socket::connect(&listener)?;
    let ends = socket::reset_unaccepted(client)?;
    let (server, peer) = listener.accept().context("accept must succeed")?;
    let peer = peer.as_socket().context("accept gives the peer's address")?;
    ensure!(Ends::new(peer, peer).remote == ends.remote, "accept gives another peer: {peer}");
    let errno = socket::read_errno(&server)?;
    Ok(vec![
        Expected::failure(Cause::ResetBeforeAccept, "read_or_write", errno, ends)
            .unaccepted()
            .reset_here(ABORTED),
        Expected::accepted_reset("read_or_write", errno, ends),
    ])
}

/// The same after the client has shut down sending: a read returns 0, and a write fails.
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
        Expected::failure(Cause::ResetBeforeAccept, "write", errno, ends)
            .state("CLOSE_WAIT")
            .flags(&["unaccepted", "acked"])
            .unaccepted()
            .reset_here(ABORTED),
        Expected::accepted_reset("write", errno, ends).state("CLOSE_WAIT").flags(&[
            "unaccepted",
            "delivery",
            "acked",
        ]),
        Expected::delivered(Cause::ResetBeforeAccept, errno, ends)
            .state("CLOSE_WAIT")
            .flags(&["unaccepted", "delivery", "acked"])
            .sigpipe("none"),
    ])
}

/// The listener is closed before it accepts: the failure is counted, and no program gets it.
pub(super) fn never_accepted(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let client = socket::connect(&listener)?;
    let ends = socket::reset_unaccepted(client)?;
    drop(listener);
    let failure =
        Expected::failure(Cause::ResetBeforeAccept, "read_or_write", libc::ECONNRESET, ends);
    Ok(vec![failure.unaccepted().reset_here(ABORTED)])
}

/// The peer has closed, and this side keeps writing: the first write succeeds and causes the RST.
pub(super) fn after_peer_close(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&client)?;
    drop(server);
    socket::read_end(&client)?;
    let written = socket::write(&client).context("the first write must succeed")?;
    socket::until_reset(&client)?;
    let errno = socket::write_errno(&client)?;
    socket::read_end(&client).context("a read never fails with EPIPE")?;
    let [failure, delivered] = written_on(errno, ends, written);
    Ok(vec![
        greetingless(ends),
        failure,
        delivered.sigpipe("none"),
        Expected::busy_end(ends.reversed()),
    ])
}

/// Expected failure and delivery after a write to a peer that has closed.
pub(super) fn written_on(errno: i32, ends: Ends, written: usize) -> [Expected; 2] {
    [
        Expected::failure(Cause::ResetAfterPeerClose, "write", errno, ends)
            .with("unacked_bytes", written),
        Expected::delivered(Cause::ResetAfterPeerClose, errno, ends),
    ]
}

/// The peer has shut down sending, and then resets.
pub(super) fn after_peer_shutdown(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&client)?;
    server.shutdown(Shutdown::Write)?;
    socket::read_end(&client)?;
    // An acknowledgment that found no socket would be answered with an RST without a sender.
    socket::until_end_taken(&server)?;
    socket::close_with_reset(server)?;
    socket::until_reset(&client)?;
    let errno = socket::write_errno(&client)?;
    Ok(vec![
        greetingless(ends),
        half_closed(errno, ends).reset_here(ABORTED),
        delivered_half_closed(errno, ends),
    ])
}

/// A connection whose peer has read none of the data, has shut down sending, and has closed. This
/// end has read the FIN.
pub(super) fn closed_unread(family: Family) -> Result<(Socket, Ends)> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&client)?;
    thread::sleep(MOMENT);
    socket::send(&client, b"question")?;
    server.peek(&mut [MaybeUninit::uninit(); 1])?;
    server.shutdown(Shutdown::Write)?;
    socket::read_end(&client)?;
    socket::until_end_taken(&server)?;
    drop(server);
    socket::until_reset(&client)?;
    Ok((client, ends))
}

/// The peer closes that way, and this side has written nothing since the FIN.
pub(super) fn unread_after_peer_shutdown(family: Family) -> Result<Vec<Expected>> {
    let (client, ends) = closed_unread(family)?;
    let errno = socket::write_errno(&client)?;
    ensure_errno("write", errno, libc::EPIPE)?;
    let unanswered = Expected::failure(Cause::PrematureEof, "read", 0, ends);
    Ok(vec![
        unanswered.flags(&["acked"]),
        half_closed(errno, ends).reset_here(UNREAD),
        delivered_half_closed(errno, ends),
    ])
}

/// Expected report of an RST after the peer's FIN that does not answer any data.
pub(super) fn half_closed(errno: i32, ends: Ends) -> Expected {
    let failure = Expected::failure(Cause::ResetByPeer, "write", errno, ends);
    failure.state("CLOSE_WAIT").flags(&["acked"])
}

fn delivered_half_closed(errno: i32, ends: Ends) -> Expected {
    let delivered = Expected::delivered(Cause::ResetByPeer, errno, ends);
    delivered.state("CLOSE_WAIT").flags(&["delivery", "acked"]).sigpipe("none")
}

/// Expected report of a server that closed without sending anything.
pub(super) fn greetingless(client: Ends) -> Expected {
    Expected::failure(Cause::PrematureEof, "read", 0, client).flags(&["no_data"])
}

/// This side has shut down both directions, and the peer answers with an RST.
pub(super) fn while_closing(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&client)?;
    client.shutdown(Shutdown::Both)?;
    socket::until_end_taken(&client)?;
    socket::close_with_reset(server)?;
    socket::until_reset(&client)?;
    let errno = socket::read_errno(&client)?;
    let failure = Expected::failure(Cause::ResetWhileClosing, "read_or_write", errno, ends);
    Ok(vec![failure.reset_here(ABORTED)])
}

/// This side has shut down sending and waits for an answer, and the peer sends an RST.
pub(super) fn by_peer_while_answer_is_due(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&client)?;
    socket::send(&client, b"question")?;
    client.shutdown(Shutdown::Write)?;
    socket::receive(&server, b"question")?;
    socket::until_end_taken(&client)?;
    socket::close_with_reset(server)?;
    let errno = socket::read_errno(&client)?;
    ensure_errno("read", errno, libc::ECONNRESET)?;
    let failure = Expected::failure(Cause::ResetByPeer, "read_or_write", errno, ends);
    Ok(vec![failure.state("FIN_WAIT2").flags(&["receiving"]).reset_here(ABORTED)])
}

/// This side has closed with data still in flight; the peer closes without reading it.
pub(super) fn while_closing_orphan(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&client)?;
    socket::fill(&client)?;
    let unsent = socket::unsent(&client)?;
    drop(client);
    drop(server);
    let failure = Expected::failure(Cause::ResetWhileClosing, "none", libc::ECONNRESET, ends);
    let failure = failure.orphan(&["orphan"]).state("FIN_WAIT1").reset_here(UNREAD);
    // The FIN counts as a byte.
    let failure = failure.with("unsent_bytes", unsent + 1).within("probes", 0, 2);
    // The window was probed for most of the second without progress.
    Ok(vec![failure.within("elapsed_ms", 500, 3_000)])
}

/// The peer sends to a socket that was shut down: the local kernel resets the connection.
pub(super) fn data_after_shutdown(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let (ours, theirs) = (Ends::of_client(&client)?, Ends::of_server(&server)?);
    client.shutdown(Shutdown::Both)?;
    socket::read_end(&server)?;
    let written = socket::write(&server).context("the first write must succeed")?;
    let errno = socket::read_errno(&client)?;
    socket::until_reset(&server)?;
    let their_errno = socket::write_errno(&server)?;
    // Without the segment, a reset by data cannot be distinguished from one by an RST.
    let cause =
        if tcp_reset_has_segment() { Cause::DataAfterShutdown } else { Cause::ResetWhileClosing };
    let [failure, delivered] = written_on(their_errno, theirs, written);
    let ended = Expected::failure(cause, "read_or_write", errno, ours);
    Ok(vec![ended, failure, delivered.sigpipe("none")])
}

/// The socket is killed by another program.
pub(super) fn aborted_locally(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let (ours, theirs) = (Ends::of_client(&client)?, Ends::of_server(&server)?);
    let killer = socket::kill(ours.local)?;
    let errno = socket::read_errno(&client)?;
    ensure_errno("read", errno, libc::ECONNABORTED)?;
    // The peer gets the resulting RST.
    let their_errno = socket::read_errno(&server)?;
    Ok(vec![
        Expected::failure(Cause::AbortedLocally, "read_or_write", errno, ours)
            .known_as(&["waiter", "holder"])
            .killed_by(killer, KILLING),
        Expected::failure(Cause::ResetByPeer, "read_or_write", their_errno, theirs)
            .reset_by(killer, KILLING, ABORTED),
    ])
}

/// The other host restarts while the network is down, and answers a retransmission with an RST.
pub(super) fn after_retransmit(family: Family) -> Result<Vec<Expected>> {
    let Line { network, pair: Pair { client, server }, ends, .. } = Line::new(family)?;
    socket::exchange(&client, &server)?;
    let cut = network.cut(Silence::Drop)?;
    let written = Instant::now();
    let count = socket::write(&client)?;
    while socket::retransmits(&client)? == 0 {
        thread::sleep(Duration::from_millis(10));
    }
    socket::forget(server)?;
    drop(cut);
    let errno = socket::read_errno(&client)?;
    let failure = Expected::failure(Cause::ResetAfterRetransmit, "read_or_write", errno, ends);
    // Timeouts start at 200 ms or more and double; the first is not counted.
    let failure = failure.lasted("elapsed_ms", written.elapsed(), written.elapsed());
    let failure = failure.within("retransmits", 1, 4).within("rto_ms", 400, 4_000);
    Ok(vec![failure.with("unacked_bytes", count)])
}

/// The other host restarts while the connection is idle, and answers the next data with an RST.
pub(super) fn after_idle(family: Family) -> Result<Vec<Expected>> {
    idle(family, Cause::ResetAfterIdle, Duration::from_secs(40))
}

/// The same, detected by a keepalive probe.
pub(super) fn after_idle_by_keepalive(family: Family) -> Result<Vec<Expected>> {
    let Line { pair: Pair { client, server }, ends, .. } = Line::new(family)?;
    client.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_mins(1)))?;
    socket::exchange(&client, &server)?;
    let answered = Instant::now();
    socket::forget(server)?;
    let errno = socket::read_errno(&client)?;
    let failure = Expected::failure(Cause::ResetAfterIdle, "read_or_write", errno, ends);
    let failure = failure.known_as(&["waiter"]).with("probes", 1);
    Ok(vec![failure.lasted("silent_ms", answered.elapsed(), Duration::from_secs(1))])
}

/// The same after a pause too short to count as idle.
pub(super) fn after_short_idle(family: Family) -> Result<Vec<Expected>> {
    idle(family, Cause::ResetByPeer, Duration::from_secs(20))
}

fn idle(family: Family, cause: Cause, pause: Duration) -> Result<Vec<Expected>> {
    let Line { pair: Pair { client, server }, ends, .. } = Line::new(family)?;
    socket::exchange(&client, &server)?;
    let answered = Instant::now();
    thread::sleep(pause);
    socket::forget(server)?;
    let count = socket::write(&client).context("the first write must succeed")?;
    let errno = socket::read_errno(&client)?;
    let failure = Expected::failure(cause, "read_or_write", errno, ends);
    let failure = failure.with("unacked_bytes", count);
    let failure = failure.saying("nothing had come from the peer for");
    Ok(vec![failure.lasted("silent_ms", answered.elapsed(), Duration::from_secs(1))])
}
