//! Calls that time out as set by the program (`SO_SNDTIMEO`).

use std::{
    fs::File,
    io::{self, Read as _},
    iter,
    net::Shutdown,
    os::fd::AsRawFd as _,
    ptr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    libc,
    sys::memfd::{MFdFlags, memfd_create},
};
use socket2::Socket;
use socktrace_diagnosis::Cause;

use super::{
    connect::{UnansweredConnect, cancellation},
    expected::Expected,
    network::{Family, Line, Network, Silence},
    socket::{self, Ends, Pair, Role, ensure_errno},
    timeout::{LATE, READ_OR_WRITE},
};

/// Timeout of calls that do not wait for timers, in milliseconds: a whole number of ticks.
const LIMIT: u64 = 20;

/// More than the buffers of both ends hold.
const TOO_MUCH: usize = 32 << 20;

/// More than any scenario takes, in milliseconds.
const LONG: u64 = 120_000;

/// More than any buffer holds, in bytes.
const MUCH: u64 = TOO_MUCH as u64;

fn limit(socket: &Socket, ms: u64) -> Result<()> {
    Ok(socket.set_write_timeout(Some(Duration::from_millis(ms)))?)
}

/// The peer does not read: a blocking write times out, and non-blocking ones return at once. The
/// later reset of the connection is a separate failure.
pub(super) fn closed_window(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&client)?;
    limit(&client, LIMIT)?;
    socket::fill(&client)?;
    let unsent = socket::unsent(&client)?;
    let mut reported = Vec::new();
    for _ in 0..2 {
        let errno = socket::write_errno(&client)?;
        ensure_errno("write", errno, libc::EAGAIN)?;
        let failure = Expected::failure(Cause::SendTimeout, "write", errno, ends);
        let failure = failure.with("send_timeout_ms", LIMIT).with("unsent_bytes", unsent);
        let failure = probed(failure).advising("Recv-Q");
        let why = "unsent, the peer's window is closed: its program does not read";
        reported.push(failure.saying(why));
    }
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    let errno = socket::errno("send", client.send_with_flags(b"hello", flags))?;
    ensure_errno("send", errno, libc::EAGAIN)?;
    client.set_nonblocking(true)?;
    ensure_errno("write", socket::write_errno(&client)?, libc::EAGAIN)?;
    drop(server);
    socket::until_reset(&client)?;
    let errno = socket::write_errno(&client)?;
    let reset = Expected::failure(Cause::ResetByPeer, READ_OR_WRITE, errno, ends);
    reported.push(probed(reset).reset_here("tcp_abort_on_close").with("unsent_bytes", unsent));
    reported.push(probed(Expected::delivered(Cause::ResetByPeer, errno, ends)));
    Ok(reported)
}

/// The closed window is probed in the meantime. Since 6.18, the peer also drops data for which it
/// had advertised a window, and that data is retransmitted.
fn probed(failure: Expected) -> Expected {
    let failure = failure.within("probes", 0, 2).within("elapsed_ms", 0, LONG);
    failure.within("unacked_bytes", 0, MUCH).within("rto_ms", 200, 10_000)
}

/// Nothing gets through any more. Giving up the connection is a separate failure.
pub(super) fn cut(family: Family) -> Result<Vec<Expected>> {
    const LIMIT: u64 = 2_000;
    const USER_TIMEOUT: u64 = 20_000;

    let line = Line::new(family)?;
    let (client, ends) = (&line.pair.client, line.ends);
    limit(client, LIMIT)?;
    client.set_tcp_user_timeout(Some(Duration::from_millis(USER_TIMEOUT)))?;
    let cut = line.network.cut(Silence::Drop)?;
    // Each write takes effect in part, until nothing fits.
    let errno = iter::repeat_with(|| send(client)).find_map(Result::err);
    let errno = errno.and_then(|error| error.raw_os_error()).context("no errno")?;
    ensure_errno("write", errno, libc::EAGAIN)?;
    let about = |failure: Expected| {
        let failure = failure.within("unacked_bytes", 1, MUCH).within("unsent_bytes", 1, MUCH);
        let failure = failure.within("rto_ms", 200, 20_000).within("elapsed_ms", 0, LONG);
        failure.within("retransmits", 2, 7).with("user_timeout_ms", USER_TIMEOUT)
    };
    let failure = about(Expected::failure(Cause::SendTimeout, "write", errno, ends)).flags(&[]);
    let failure = failure.with("send_timeout_ms", LIMIT).saying("unsent, sent again ");
    let errno = socket::read_errno(client)?;
    drop(cut);
    socket::close_with_reset(line.pair.server)?;
    let given_up = about(Expected::failure(Cause::UserTimeout, READ_OR_WRITE, errno, ends));
    let given_up = given_up.flags(&["user_timeout", "retransmitted", "unsent"]);
    Ok(vec![failure, given_up.known_as(&["waiter"])])
}

/// Writes that time out after part of the data was taken: no errno.
pub(super) fn in_parts(family: Family) -> Result<Vec<Expected>> {
    let writes: [fn(&Socket) -> io::Result<usize>; 2] = [send, sendfile];
    for write in writes {
        let Pair { client, server } = Pair::new(family.loopback())?;
        limit(&client, LIMIT)?;
        let written = write(&client)?;
        ensure!(0 < written && written < TOO_MUCH, "{written} bytes were written");
        client.shutdown(Shutdown::Write)?;
        let read = (&server).read_to_end(&mut Vec::new())?;
        ensure!(read == written, "{read} bytes came, {written} were written");
        drop(server);
        socket::read_end(&client)?;
    }
    Ok(Vec::new())
}

fn send(socket: &Socket) -> io::Result<usize> {
    socket.send_with_flags(&vec![0; TOO_MUCH], libc::MSG_NOSIGNAL)
}

fn sendfile(socket: &Socket) -> io::Result<usize> {
    let file = File::from(memfd_create("file", MFdFlags::empty())?);
    file.set_len(TOO_MUCH as u64)?;
    // SAFETY: takes numbers and a null offset.
    let sent =
        unsafe { libc::sendfile(socket.as_raw_fd(), file.as_raw_fd(), ptr::null_mut(), TOO_MUCH) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// The peer is silent: connect times out, and so do the next connect and a write.
pub(super) fn connect(family: Family) -> Result<Vec<Expected>> {
    let UnansweredConnect { client, target, ends, cut } = UnansweredConnect::new(family)?;
    limit(&client, LIMIT)?;
    let mut reported = Vec::new();
    for wanted in [libc::EINPROGRESS, libc::EALREADY] {
        let errno = socket::errno("connect", client.connect(&target.into()))?;
        ensure_errno("connect", errno, wanted)?;
        reported.push(unanswered("connect", errno, ends));
    }
    let errno = socket::write_errno(&client)?;
    ensure_errno("write", errno, libc::EAGAIN)?;
    let write = Expected::failure(Cause::SendTimeout, "write", errno, ends.of_role(Role::Client));
    let write = write.state("SYN_SENT").flags(&[]).with("send_timeout_ms", LIMIT);
    reported.push(write.saying(format!("not connected within SO_SNDTIMEO ({LIMIT} ms)")));
    drop(client);
    drop(cut);
    reported.push(cancellation(ends));
    Ok(reported)
}

fn unanswered(call: &'static str, errno: i32, ends: Ends) -> Expected {
    let failure = Expected::failure(Cause::ConnectSendTimeout, call, errno, ends);
    failure
        .with("send_timeout_ms", LIMIT)
        .advising("tcpdump")
        .saying(format!("1 SYN unanswered within SO_SNDTIMEO ({LIMIT} ms); the attempt goes on"))
}

/// A sending call that connects.
pub(super) fn fast_open(family: Family) -> Result<Vec<Expected>> {
    let UnansweredConnect { client, target, ends, cut } = UnansweredConnect::new(family)?;
    limit(&client, LIMIT)?;
    let flags = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL;
    let sent = client.send_to_with_flags(b"hello", &target.into(), flags);
    let errno = socket::errno("sendto", sent)?;
    ensure_errno("sendto", errno, libc::EINPROGRESS)?;
    drop(client);
    drop(cut);
    Ok(vec![unanswered("write", errno, ends).flags(&["fast_open"]), cancellation(ends)])
}

/// The attempt continues after the call, until the kernel gives it up.
pub(super) fn connect_goes_on(family: Family) -> Result<Vec<Expected>> {
    const LIMIT: u64 = 1_500;

    let UnansweredConnect { client, target, ends, cut } = UnansweredConnect::new(family)?;
    limit(&client, LIMIT)?;
    let began = Instant::now();
    let errno = socket::errno("connect", client.connect(&target.into()))?;
    ensure_errno("connect", errno, libc::EINPROGRESS)?;
    let failure = Expected::failure(Cause::ConnectSendTimeout, "connect", errno, ends);
    let failure = failure.with("send_timeout_ms", LIMIT).with("retransmits", 1);
    let failure = failure.within("rto_ms", 1_000, 2_000);
    let failure = failure.saying("2 SYN unanswered within SO_SNDTIMEO (1.5 s)");
    let errno = socket::finish_connect(&client)?;
    let waited = began.elapsed();
    ensure_errno("connect", errno, libc::ETIMEDOUT)?;
    drop(cut);
    let retries = Network::syn_retries()?;
    let given_up = Expected::failure(Cause::ConnectTimeout, "connect", errno, ends);
    let given_up = given_up.known_as(&["waiter"]).lasted("elapsed_ms", waited, LATE);
    let given_up = given_up.with("retransmits", retries);
    let given_up = given_up.with("rto_ms", Network::syn_timeout(retries)?);
    Ok(vec![failure, given_up])
}
