//! Failing sends on Unix sockets (`--unix-sends`).

use std::{
    fs, io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::PermissionsExt as _,
    },
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use nix::{
    libc,
    sys::{
        socket::{setsockopt, sockopt::SendTimeout},
        time::{TimeVal, TimeValLike as _},
    },
};

use serde_json::Value;

use socktrace_diagnosis::Cause;

use super::socket::{
    self, DATAGRAM, Name, SEQPACKET, STREAM, UNKNOWN, accept, connected, errno, failed_call,
    listener, pair, send,
};
use crate::{
    bind::as_nobody,
    child::{self, ChildOutcome, Disposition, How},
    expected::Expected,
    process::Process,
};

const WORDS: &[u8] = b"<13>line";

/// Possible states of a connected socket: for datagrams it depends on the kernel.
const STATES: [&str; 2] = ["ESTABLISHED", "CLOSE"];

/// Timeout of a call.
const LIMIT: Duration = Duration::from_millis(20);

/// Sends to a name, without a connection.
fn send_to(socket: &OwnedFd, bytes: &[u8], name: &Name) -> io::Result<usize> {
    let (address, length) = name.address();
    let to = (&raw const address).cast();
    let (from, count) = (bytes.as_ptr().cast(), bytes.len());
    // SAFETY: the buffer has `count` bytes, and the address is as long as `length` says.
    let sent = unsafe { libc::sendto(socket.as_raw_fd(), from, count, 0, to, length) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// A datagram socket bound to a name.
fn receiver(name: &Name) -> Result<OwnedFd> {
    let receiver = socket::open(DATAGRAM)?;
    socket::bind(&receiver, name)?;
    Ok(receiver)
}

/// Expected report of a failed send by this thread.
fn not_sent(cause: Cause, errno: i32, name: Option<&Name>) -> Expected {
    failed_call(cause, "write", errno, name)
        .flags(&[])
        .with("role", UNKNOWN)
        .one_of("state", STATES.map(Value::from).to_vec())
}

/// Sends until a call fails, which must be with EAGAIN.
fn fill(mut send: impl FnMut() -> io::Result<usize>) -> Result<i32> {
    const MOST: usize = 10_000;

    for _ in 0..MOST {
        match send() {
            Ok(_) => {}
            failed => return errno("send", failed, libc::EAGAIN),
        }
    }
    bail!("there is no end of room")
}

/// Writes after the peer has closed that raise no signal, or whose system call does not identify
/// the socket. In every case there is one line per call.
pub(crate) fn write_after_close() -> Result<Vec<Expected>> {
    let name = Name::path("server")?;
    let mut failures = Vec::new();
    for (socket_type, how, disposition, verdict) in [
        (STREAM, How::SendNoSignal, Disposition::Default, "none"),
        (STREAM, How::UringSend, Disposition::Default, "none"),
        (STREAM, How::UringWrite, Disposition::Ignored, "ignored"),
        (STREAM, How::UringWrite, Disposition::Default, "kills"),
        (SEQPACKET, How::Write, Disposition::Default, "none"),
        (SEQPACKET, How::UringSend, Disposition::Default, "none"),
    ] {
        let listener = listener(socket_type, &Name::path("server")?, 1)?;
        let client = connected(socket_type, &name)?;
        drop(accept(&listener)?);
        let ChildOutcome { pid, errnos, killed_by } =
            child::write(&client.into(), how, disposition)?;
        let kills = verdict == "kills";
        ensure!(kills == (killed_by == Some(libc::SIGPIPE)), "the child reported {errnos:?}");
        ensure!(errnos.iter().all(|errno| *errno == libc::EPIPE), "the child got {errnos:?}");
        let calls = if kills { 1 } else { errnos.len() };
        let failure = Expected::of_unix(Cause::WriteAfterPeerClose, "write", libc::EPIPE)
            .with("path", name.shown())
            .sigpipe(verdict)
            .saying("the peer had closed")
            .by(Process::child(pid));
        failures.extend(vec![failure; calls]);
    }
    Ok(failures)
}

/// The peer reads no more, and sending is shut down.
pub(crate) fn write_after_shutdown() -> Result<Vec<Expected>> {
    use nix::sys::socket::{Shutdown, shutdown};

    let mut failures = Vec::new();
    for (socket_type, own) in
        [(STREAM, true), (STREAM, false), (SEQPACKET, true), (DATAGRAM, true), (DATAGRAM, false)]
    {
        let (near, far) = pair(socket_type)?;
        if own {
            shutdown(near.as_raw_fd(), Shutdown::Write)?;
        } else {
            shutdown(far.as_raw_fd(), Shutdown::Read)?;
        }
        let errno = errno("send", send(&near, WORDS), libc::EPIPE)?;
        let failure = failed_call(Cause::WriteAfterShutdown, "write", errno, None);
        failures.push(failure.one_of("state", STATES.map(Value::from).to_vec()).sigpipe("none"));
    }
    Ok(failures)
}

/// No receiver is bound to the name.
pub(crate) fn nobody_receives() -> Result<Vec<Expected>> {
    let stale = Name::path("stale")?;
    drop(receiver(&stale)?);
    let client = socket::open(DATAGRAM)?;
    [(stale, ", though the file is there"), (Name::hidden("nobody"), "")]
        .into_iter()
        .map(|(name, rest)| {
            let errno = errno("sendto", send_to(&client, WORDS, &name), libc::ECONNREFUSED)?;
            let failure = not_sent(Cause::ConnectRefused, errno, Some(&name));
            Ok(failure.saying(format!("nobody receives at {}{rest}", name.shown())))
        })
        .collect()
}

/// No file exists at the path.
pub(crate) fn no_such_receiver() -> Result<Vec<Expected>> {
    let client = socket::open(DATAGRAM)?;
    let name = Name::path("nothing")?;
    let errno = errno("sendto", send_to(&client, WORDS, &name), libc::ENOENT)?;
    let failure = not_sent(Cause::NoSuchSocket, errno, Some(&name));
    Ok(vec![failure.saying(format!("there is no socket at {}", name.shown()))])
}

/// The receiver closes, like a restarting log daemon.
pub(crate) fn receiver_closed() -> Result<Vec<Expected>> {
    let name = Name::path("log")?;
    let log = receiver(&name)?;
    let client = connected(DATAGRAM, &name)?;
    send(&client, WORDS)?;
    drop(log);
    let errno = errno("send", send(&client, WORDS), libc::ECONNREFUSED)?;
    // The kernel has released the name together with the peer.
    let failure = not_sent(Cause::WriteAfterPeerClose, errno, None).flags(&["peer_closed"]);
    Ok(vec![failure.saying("the receiver had closed").advising("has to connect again")])
}

/// A program sends on a socket that is not connected.
pub(crate) fn not_connected() -> Result<Vec<Expected>> {
    [STREAM, DATAGRAM]
        .into_iter()
        .map(|socket_type| {
            let client = socket::open(socket_type)?;
            let errno = errno("send", send(&client, WORDS), libc::ENOTCONN)?;
            let failure = not_sent(Cause::WriteUnconnected, errno, None);
            Ok(failure.saying("the socket is not connected"))
        })
        .collect()
}

/// The kernel refuses the data or the address.
pub(crate) fn refused() -> Result<Vec<Expected>> {
    let client = socket::open(DATAGRAM)?;
    let name = Name::path("datagrams")?;
    let log = receiver(&name)?;
    let refused = |wanted, bytes: &[u8]| {
        let errno = errno("sendto", send_to(&client, bytes, &name), wanted)?;
        Ok::<_, anyhow::Error>(not_sent(Cause::SendRefused, errno, Some(&name)))
    };
    let oversized =
        refused(libc::EMSGSIZE, &vec![0; 1 << 20])?.saying("is longer than").advising("SO_SNDBUF");
    fs::set_permissions(name.file(), fs::Permissions::from_mode(0o600))?;
    let forbidden = as_nobody(|| refused(libc::EACCES, WORDS))?.saying("no permission to send to");
    // From now on it only receives from its partner.
    let partner = Name::path("partner")?;
    let _only = receiver(&partner)?;
    socket::connect(&log, &partner)?;
    let other = refused(libc::EPERM, WORDS)?.saying("receives from another socket alone");
    Ok(vec![oversized, forbidden, other])
}

/// Sets the fields about the receiver, which is this process.
fn of_this_receiver(failure: Expected, waiting: u32, limit: u32) -> Expected {
    let Process { pid, leader_comm, .. } = Process::this();
    failure
        .with("peer_pid", pid)
        .with("peer_comm", leader_comm.as_str())
        .with("receive_queue", waiting)
        .with("receive_queue_limit", limit)
        .saying(format!(
            "({waiting} wait, its queue takes {limit}); {leader_comm}[{pid}] receives there"
        ))
        .advising(&format!("does {leader_comm}[{pid}] hang"))
}

/// Queue limit of a newly created socket.
fn queue_limit() -> Result<u32> {
    Ok(fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen")?.trim().parse()?)
}

/// The receiver does not read.
pub(crate) fn queue_full() -> Result<Vec<Expected>> {
    let limit = queue_limit()?;
    let mut failures = Vec::new();
    for name in [Name::path("log")?, Name::hidden("log")] {
        let _log = receiver(&name)?;
        let client = connected(DATAGRAM, &name)?;
        socket::make_non_blocking(&client)?;
        let errno = fill(|| send(&client, WORDS))?;
        let failure = not_sent(Cause::PeerQueueFull, errno, Some(&name));
        // One more than the limit.
        failures.push(of_this_receiver(failure, limit + 1, limit));
        // Sends to the name, without a connection.
        let stranger = socket::open(DATAGRAM)?;
        socket::make_non_blocking(&stranger)?;
        let errno = fill(|| send_to(&stranger, WORDS, &name))?;
        let failure = not_sent(Cause::PeerQueueFull, errno, Some(&name));
        failures.push(of_this_receiver(failure, limit + 1, limit));
    }
    // By another name, the receiver cannot be identified.
    let name = Name::path("log")?;
    let _log = receiver(&name)?;
    let alias = Name::path("alias")?;
    std::os::unix::fs::symlink(name.file(), alias.file())?;
    let stranger = socket::open(DATAGRAM)?;
    socket::make_non_blocking(&stranger)?;
    let errno = fill(|| send_to(&stranger, WORDS, &alias))?;
    let words = format!("the receiver at {} reads too slowly", alias.shown());
    failures.push(not_sent(Cause::PeerQueueFull, errno, Some(&alias)).saying(words));
    Ok(failures)
}

/// The program's own timeout ends the call.
pub(crate) fn timeout() -> Result<Vec<Expected>> {
    let limit = queue_limit()?;
    let name = Name::path("log")?;
    let _log = receiver(&name)?;
    let client = connected(DATAGRAM, &name)?;
    wait_no_longer(&client)?;
    let begun = Instant::now();
    let errno = fill(|| send(&client, WORDS))?;
    ensure!(begun.elapsed() >= LIMIT, "send did not wait");
    let failure = not_sent(Cause::SendTimeout, errno, Some(&name));
    let failure = of_this_receiver(failure, limit + 1, limit);
    let mut failures = vec![failure.saying("; the call waited until SO_SNDTIMEO ran out")];
    for socket_type in [STREAM, SEQPACKET] {
        let (near, _far) = pair(socket_type)?;
        wait_no_longer(&near)?;
        let begun = Instant::now();
        let errno = fill(|| send(&near, &[0; 4_096]))?;
        ensure!(begun.elapsed() >= LIMIT, "send did not wait");
        let failure = not_sent(Cause::SendTimeout, errno, None);
        let failure = failure.within("send_timeout_ms", 20, 30);
        failures.push(failure.saying("no room for more within SO_SNDTIMEO"));
    }
    Ok(failures)
}

fn wait_no_longer(socket: &OwnedFd) -> Result<()> {
    Ok(setsockopt(socket, SendTimeout, &TimeVal::milliseconds(LIMIT.as_millis().try_into()?))?)
}

/// Full buffers in programs that wait for room.
pub(crate) fn would_wait() -> Result<Vec<Expected>> {
    for socket_type in [STREAM, SEQPACKET, DATAGRAM] {
        let (near, far) = pair(socket_type)?;
        socket::make_non_blocking(&near)?;
        for _ in 0..2 {
            fill(|| send(&near, &[0; 4_096]))?;
            while socket::receive_at_once(&far).is_ok() {}
        }
    }
    Ok(Vec::new())
}
