//! Failures whose errno no call returns: it is still pending when the socket is closed. Also errnos
//! taken by a call that socktrace does not watch, which get no further report.

use std::{
    fs, io,
    mem::MaybeUninit,
    os::fd::{AsRawFd as _, IntoRawFd as _},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::libc;
use socket2::Socket;

use socktrace_diagnosis::Cause;

use super::{
    child,
    expected::Expected,
    iouring, mptcp,
    network::{Family, HOST_UNREACHABLE, Line, host_unreachable},
    process::Process,
    reports_socket_errors,
    reset::{self, half_closed},
    socket::{self, Ends, Pair, ensure_errno},
};

/// The kernel's reset reasons for a close with `SO_LINGER` 0, and for a close with unread data.
const ABORTED: &str = "tcp_state";
const UNREAD: &str = "tcp_abort_on_close";

/// Longer than a tick of the kernel's clock: events within one tick have no order.
const MOMENT: Duration = Duration::from_millis(20);

/// A connection reset by the peer, where this end has processed the reset.
struct Reset {
    server: Socket,
    ends: Ends,
}

impl Reset {
    fn new(family: Family) -> Result<Self> {
        let Pair { client, server } = Pair::new(family.loopback())?;
        let ends = Ends::of_server(&server)?;
        socket::close_with_reset(client)?;
        socket::until_reset(&server)?;
        Ok(Self { server, ends })
    }

    fn failure(&self) -> Expected {
        let errno = libc::ECONNRESET;
        let failure = Expected::failure(Cause::ResetByPeer, "read_or_write", errno, self.ends);
        failure.reset_here(ABORTED)
    }

    fn undelivered(&self) -> Expected {
        Expected::undelivered(Cause::ResetByPeer, libc::ECONNRESET, self.ends)
    }
}

/// The program sees by poll that there is an error, and closes.
pub(super) fn polled(family: Family) -> Result<Vec<Expected>> {
    let reset = Reset::new(family)?;
    let expected = vec![reset.failure(), reset.undelivered()];
    drop(reset.server);
    Ok(expected)
}

/// The same with `SO_LINGER` 0, which makes the kernel store another errno.
pub(super) fn aborted(family: Family) -> Result<Vec<Expected>> {
    let reset = Reset::new(family)?;
    let expected = vec![reset.failure(), reset.undelivered()];
    socket::close_with_reset(reset.server)?;
    Ok(expected)
}

/// Of two descriptors, only the close of the last one counts.
pub(super) fn duplicated(family: Family) -> Result<Vec<Expected>> {
    let reset = Reset::new(family)?;
    let expected = vec![reset.failure(), reset.undelivered()];
    let another = reset.server.try_clone()?;
    drop(reset.server);
    thread::sleep(MOMENT);
    drop(another);
    Ok(expected)
}

/// Closed by `io_uring`.
pub(super) fn closed_by_io_uring(family: Family) -> Result<Vec<Expected>> {
    let reset = Reset::new(family)?;
    let expected = vec![reset.failure(), reset.undelivered()];
    iouring::close(reset.server.into_raw_fd()).context("no close by io_uring")?;
    Ok(expected)
}

/// A signal kills the program that holds the socket.
pub(super) fn killed(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_server(&server)?;
    let mut program = child::start(&["keep"], server.into())?;
    // Until the child executes its program, it holds all sockets of this process, and would count
    // as the one that closes.
    let inherited = fs::read_link(format!("/proc/self/fd/{}", client.as_raw_fd()))?;
    let descriptors = format!("/proc/{}/fd", program.id());
    socket::until("the child does not begin", || {
        let is_it =
            |entry: fs::DirEntry| fs::read_link(entry.path()).is_ok_and(|it| it == inherited);
        Ok(!fs::read_dir(&descriptors)?.flatten().any(is_it))
    })?;
    socket::close_with_reset(client)?;
    socket::until_gone(ends)?;
    let ended = program.try_wait()?;
    ensure!(ended.is_none(), "the program has ended before: {ended:?}");
    program.kill()?;
    program.wait()?;
    // Its memory, and therefore its executable, is gone by the time its descriptors are closed.
    let dying = Process { executable: None, ..Process::child(program.id()) };
    let errno = libc::ECONNRESET;
    let failure = Expected::failure(Cause::ResetByPeer, "read_or_write", errno, ends);
    Ok(vec![
        // This process has opened the socket, and no longer holds it.
        failure.reset_here(ABORTED).unaccepted().with("owner_unknown", "handed_on"),
        Expected::undelivered(Cause::ResetByPeer, errno, ends).by(dying),
    ])
}

/// Connect to a port without a listener: the program sees by poll that it is over, and closes.
pub(super) fn connect(family: Family) -> Result<Vec<Expected>> {
    let closed = socket::closed_port(family)?;
    let client = socket::bound(family.loopback())?;
    let ends = Ends::new(socket::local(&client)?, closed);
    socket::start_connect(&client, closed)?;
    socket::until_reset(&client)?;
    drop(client);
    let errno = libc::ECONNREFUSED;
    let failure = Expected::failure(Cause::ConnectRefused, "connect", errno, ends);
    Ok(vec![failure, Expected::undelivered(Cause::ConnectRefused, errno, ends)])
}

/// A connection that was reset before accept, and is closed at once.
pub(super) fn accepted(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let client = socket::connect(&listener)?;
    let ends = socket::reset_unaccepted(client)?;
    let (server, _) = listener.accept().context("accept must succeed")?;
    drop(server);
    let (cause, errno) = (Cause::ResetBeforeAccept, libc::ECONNRESET);
    let failure = Expected::failure(cause, "read_or_write", errno, ends);
    Ok(vec![
        failure.unaccepted().reset_here(ABORTED),
        Expected::accepted_reset("read_or_write", errno, ends),
        Expected::undelivered(cause, errno, ends),
    ])
}

/// The peer closes with unread data from this end, after its FIN. Reads keep returning 0, and never
/// EPIPE.
pub(super) fn end_was_read(family: Family) -> Result<Vec<Expected>> {
    let (client, ends) = reset::closed_unread(family)?;
    socket::read_end(&client)?;
    drop(client);
    let errno = libc::EPIPE;
    let undelivered = Expected::undelivered(Cause::ResetByPeer, errno, ends);
    Ok(vec![
        Expected::failure(Cause::PrematureEof, "read", 0, ends).flags(&["acked"]),
        half_closed(errno, ends).reset_here(UNREAD),
        undelivered.state("CLOSE_WAIT").flags(&["acked"]),
    ])
}

/// An ICMP error that was to be reported at once, and was never read.
pub(super) fn reported(family: Family) -> Result<Vec<Expected>> {
    let reported = Reported::new(family)?;
    let expected = reported.expected();
    reported.end()?;
    Ok(expected)
}

/// The same with a read of the error queue, where TCP stores no ICMP errors: this takes nothing.
pub(super) fn looked_for_in_error_queue(family: Family) -> Result<Vec<Expected>> {
    let reported = Reported::new(family)?;
    // SAFETY: all zeros are an empty message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    let client = &reported.line.pair.client;
    // SAFETY: the message has no buffers, and lives until the call returns.
    let got = unsafe { libc::recvmsg(client.as_raw_fd(), &raw mut message, libc::MSG_ERRQUEUE) };
    let result = if got < 0 { Err(io::Error::last_os_error()) } else { Ok(got) };
    ensure_errno("recvmsg", socket::errno("recvmsg", result)?, libc::EAGAIN)?;
    let expected = reported.expected();
    reported.end()?;
    Ok(expected)
}

const QUESTION: &[u8] = b"question";

/// An open connection with a pending ICMP error.
struct Reported {
    line: Line,
}

impl Reported {
    fn new(family: Family) -> Result<Self> {
        let line = Line::new(family)?;
        let (level, option) = match family {
            Family::Ipv6 => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
            Family::Ipv4 | Family::Mapped => (libc::IPPROTO_IP, libc::IP_RECVERR),
        };
        socket::set_option(&line.pair.client, level, option, 1)?;
        let cut = line.network.cut(HOST_UNREACHABLE)?;
        socket::send(&line.pair.client, QUESTION)?;
        socket::until_reset(&line.pair.client).context("no ICMP error comes")?;
        drop(cut);
        Ok(Self { line })
    }

    /// Expected reports; none without the tracepoint.
    fn expected(&self) -> Vec<Expected> {
        if !reports_socket_errors() {
            return Vec::new();
        }
        let (cause, ends, errno) = (Cause::UnreachableReported, self.line.ends, libc::EHOSTUNREACH);
        let (kind, code) =
            host_unreachable(if ends.local.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 });
        let failure = Expected::failure(cause, "read_or_write", errno, ends);
        let undelivered = Expected::undelivered(cause, errno, ends).flags(&["stayed_open"]);
        let [failure, undelivered] =
            [failure, undelivered].map(|reports| reports.with("unacked_bytes", QUESTION.len()));
        vec![failure.icmp(kind, code, ends.remote), undelivered]
    }

    /// Makes both ends vanish, the end with the error by an ordinary close.
    fn end(self) -> Result<()> {
        let Pair { client, server } = self.line.pair;
        socket::forget(server)?;
        socket::set_option(&client, libc::IPPROTO_TCP, libc::TCP_REPAIR, 1)?;
        drop(client);
        Ok(())
    }
}

/// `MSG_PEEK` takes the errno.
pub(super) fn peeked(family: Family) -> Result<Vec<Expected>> {
    let reset = Reset::new(family)?;
    let peeked = reset.server.peek(&mut [MaybeUninit::uninit(); 1]);
    ensure_errno("peek", socket::errno("peek", peeked)?, libc::ECONNRESET)?;
    Ok(vec![reset.failure()])
}

/// `SO_ERROR` takes the errno.
pub(super) fn asked_for(family: Family) -> Result<Vec<Expected>> {
    let reset = Reset::new(family)?;
    let error = reset.server.take_error()?.context("no error")?;
    ensure!(error.raw_os_error() == Some(libc::ECONNRESET), "SO_ERROR says {error}");
    Ok(vec![reset.failure()])
}

/// A read by `io_uring` takes the errno.
pub(super) fn read_by_io_uring(family: Family) -> Result<Vec<Expected>> {
    let reset = Reset::new(family)?;
    let errno = socket::errno("recv", iouring::receive(&reset.server))?;
    ensure_errno("recv", errno, libc::ECONNRESET)?;
    Ok(vec![reset.failure()])
}

/// A second connect takes the errno, and a third one succeeds.
pub(super) fn connected_again(family: Family) -> Result<Vec<Expected>> {
    let closed = socket::closed_port(family)?;
    let listener = socket::listener(family.loopback(), 1)?;
    let address = socket::local(&listener)?;
    let client = socket::bound(family.loopback())?;
    let ends = Ends::new(socket::local(&client)?, closed);
    socket::start_connect(&client, closed)?;
    socket::until_reset(&client)?;
    let errno = socket::errno("connect", client.connect(&closed.into()))?;
    ensure_errno("connect", errno, libc::ECONNREFUSED)?;
    client.set_nonblocking(false)?;
    client.connect(&address.into()).context("the third connect must succeed")?;
    let (server, _) = listener.accept()?;
    drop(client);
    socket::read_end(&server)?;
    Ok(vec![Expected::failure(Cause::ConnectRefused, "connect", errno, ends)])
}

/// The peer closes the whole MPTCP connection, and no call takes the errno.
pub(super) fn of_mptcp(family: Family) -> Result<Vec<Expected>> {
    let Some((client, ends, reports)) = mptcp::reset_unread(family)? else { return Ok(Vec::new()) };
    drop(client);
    let undelivered = Expected::undelivered(Cause::ResetByPeer, libc::ECONNRESET, ends);
    let undelivered = undelivered.mptcp().flags(&["mptcp", "stayed_open"]);
    Ok(reports.into_iter().chain([undelivered.with("rto_ms", 0).with("silent_ms", 0)]).collect())
}
