//! Connects that fail because of the peer, or that the program gives up.

use std::net::{Shutdown, SocketAddr};

use anyhow::Result;
use nix::{libc, sys::signal::SaFlags};
use socket2::Socket;
use socktrace_diagnosis::Cause;

use super::{
    address::{self, Odd},
    bind, blocked, child,
    expected::Expected,
    network::{self, Cut, Family, NOBODY_LISTENS, Network, Silence},
    process::Process,
    socket::{self, Ends, Pair, ensure_errno},
};

/// A blocking connect to a port without a listener.
pub(super) fn refused(family: Family) -> Result<Vec<Expected>> {
    let closed = socket::closed_port(family)?;
    let client = socket::bound(family.loopback())?;
    let ends = Ends::new(socket::local(&client)?, closed);
    let errno = socket::errno("connect", client.connect(&closed.into()))?;
    Ok(vec![Expected::failure(Cause::ConnectRefused, "connect", errno, ends)])
}

/// A non-blocking connect: the errno is read from `SO_ERROR`.
pub(super) fn refused_nonblocking(family: Family) -> Result<Vec<Expected>> {
    let refused = RefusedConnect::new(family)?;
    let errno = socket::finish_connect(&refused.client)?;
    Ok(vec![refused.failure(errno)])
}

/// A non-blocking connect whose errno is read by calling connect again.
pub(super) fn refused_asked_by_connect(family: Family) -> Result<Vec<Expected>> {
    let refused = RefusedConnect::new(family)?;
    let errno = refused.connect_again()?;
    Ok(vec![refused.failure(errno)])
}

/// A non-blocking connect whose errno is returned by a write.
pub(super) fn refused_asked_by_write(family: Family) -> Result<Vec<Expected>> {
    let refused = RefusedConnect::new(family)?;
    let errno = socket::write_errno(&refused.client)?;
    let delivered = Expected::delivered(Cause::ConnectRefused, errno, refused.ends);
    Ok(vec![refused.failure(errno), delivered])
}

/// A connect by a sending call.
pub(super) fn refused_fast_open(family: Family) -> Result<Vec<Expected>> {
    let closed = socket::closed_port(family)?;
    let client = socket::bound(family.loopback())?;
    let ends = Ends::new(socket::local(&client)?, closed);
    let flags = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL;
    let sent = client.send_to_with_flags(b"hello", &closed.into(), flags);
    let errno = socket::errno("sendto", sent)?;
    ensure_errno("sendto", errno, libc::ECONNREFUSED)?;
    Ok(vec![
        Expected::failure(Cause::ConnectRefused, "write", errno, ends)
            .flags(&["fast_open"])
            .known_as(&["caller", "waiter", "holder"]),
        Expected::delivered(Cause::ConnectRefused, errno, ends).flags(&["delivery", "fast_open"]),
    ])
}

/// A connect by a sending call, where connect itself was deferred until then.
pub(super) fn refused_put_off(family: Family) -> Result<Vec<Expected>> {
    const TCP_FASTOPEN_CONNECT: i32 = 30;

    let closed = socket::closed_port(family)?;
    let client = socket::bound(family.loopback())?;
    let ends = Ends::new(socket::local(&client)?, closed);
    // Without a cookie of that server, the SYN would carry no data, and connect would not be deferred.
    socket::set_option(&client, libc::IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)?;
    socket::set_option(&client, libc::IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1)?;
    client.connect(&closed.into())?;
    let errno = socket::write_errno(&client)?;
    ensure_errno("write", errno, libc::ECONNREFUSED)?;
    Ok(vec![
        Expected::failure(Cause::ConnectRefused, "write", errno, ends)
            .flags(&["fast_open"])
            // The SYN carried the written data.
            .with("unacked_bytes", 1 + socket::WRITTEN)
            .known_as(&["caller", "waiter", "holder"]),
        Expected::delivered(Cause::ConnectRefused, errno, ends).flags(&["delivery", "fast_open"]),
    ])
}

/// Send data with the SYN even though no cookie is known.
const TCP_FASTOPEN_NO_COOKIE: i32 = 34;

/// Sending with the SYN fails where it is disabled on this host, and where the address is invalid.
pub(super) fn fast_open_refused(family: Family) -> Result<Vec<Expected>> {
    const FAST_OPEN: &str = "/proc/sys/net/ipv4/tcp_fastopen";

    network::on_lonely_host(|| {
        let mut target = family.loopback();
        target.set_port(80);
        let client = socket::bound(family.loopback())?;
        let local = socket::local(&client)?;
        let failure = |errno, ends, flags: &[&'static str]| {
            Expected::failure(Cause::ConnectLocal, "write", errno, ends).flags(flags)
        };
        let mut reported = Vec::new();
        // Without the address of the sending call, only the setting is known.
        if super::sees_fast_open() {
            let odd = Odd::of_family(target, libc::AF_UNSPEC)?;
            let errno = socket::errno("sendto", odd.send(&client))?;
            ensure_errno("sendto", errno, libc::EOPNOTSUPP)?;
            let nobody = bind::unspecified(family);
            let (remote, flags): (_, &[_]) = match family {
                // An IPv4 socket treats it as its own family.
                Family::Ipv4 => (target, &["fast_open"]),
                Family::Ipv6 | Family::Mapped => (nobody, &["fast_open", "malformed"]),
            };
            reported.push(failure(errno, Ends::new(local, remote), flags).saying("AF_UNSPEC"));
        }
        std::fs::write(FAST_OPEN, "0")?;
        let flags = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL;
        let sent = client.send_to_with_flags(b"hello", &target.into(), flags);
        let errno = socket::errno("sendto", sent)?;
        ensure_errno("sendto", errno, libc::EOPNOTSUPP)?;
        let remote = if super::sees_fast_open() { target } else { bind::unspecified(family) };
        let off = failure(errno, Ends::new(local, remote), &["fast_open"]);
        reported.push(off.saying("net.ipv4.tcp_fastopen of this host"));
        Ok(reported)
    })
}

/// A refused socket, and one whose connection was dissolved, connects to another address to which
/// this host has no route. The line has the address that was passed.
pub(super) fn elsewhere_after_failure(family: Family) -> Result<Vec<Expected>> {
    Network::get()?;
    // A port chosen by the kernel would change between attempts.
    let port = socket::closed_port(family)?.port();
    let at = |mut address: SocketAddr| {
        address.set_port(port);
        address
    };
    let client = socket::bound(at(bind::unspecified(family)))?;
    let no_route = || {
        let target = family.elsewhere();
        let errno = socket::errno("connect", client.connect(&target.into()))?;
        ensure_errno("connect", errno, libc::ENETUNREACH)?;
        let local = if family == Family::Mapped { Family::Ipv4 } else { family };
        let ends = Ends::new(at(bind::unspecified(local)), target);
        anyhow::Ok(Expected::failure(Cause::ConnectNoRoute, "connect", errno, ends))
    };
    let closed = socket::closed_port(family)?;
    let errno = socket::errno("connect", client.connect(&closed.into()))?;
    let ends = Ends::new(at(family.loopback()), closed);
    let mut reported = vec![Expected::failure(Cause::ConnectRefused, "connect", errno, ends)];
    reported.push(no_route()?);
    let listener = socket::listener(family.loopback(), 1)?;
    client.connect(&listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    let ends = Ends::of_server(&server)?;
    address::dissolve(&client)?;
    let errno = socket::read_errno(&server)?;
    let reset = Expected::failure(Cause::ResetByPeer, "read_or_write", errno, ends);
    reported.push(reset.reset_here("tcp_state"));
    reported.push(no_route()?);
    Ok(reported)
}

/// A truncated address, and one of an unknown family.
pub(super) fn malformed(family: Family) -> Result<Vec<Expected>> {
    const NO_FAMILY: i32 = 47;

    let target = family.loopback();
    let short = (Odd::short(target, 3), libc::EINVAL, "the address given has 3 bytes");
    let other = Odd::of_family(target, NO_FAMILY)?;
    let other = (other, libc::EAFNOSUPPORT, "the address given is of family 47");
    [short, other]
        .into_iter()
        .map(|(odd, wanted, reason)| {
            let client = socket::bound(target)?;
            let errno = socket::errno("connect", odd.connect(&client))?;
            ensure_errno("connect", errno, wanted)?;
            let local = socket::local(&client)?;
            let failure = Expected::alone(Cause::ConnectLocal, "connect", errno, local);
            Ok(failure.flags(&["malformed"]).saying(reason))
        })
        .collect()
}

/// Errnos that only report that a connect is in progress, or done, are not failures: neither of
/// connect, nor of a sending call that connects.
pub(super) fn progress(family: Family) -> Result<Vec<Expected>> {
    let calls = |socket: &Socket, target: SocketAddr, wanted: i32| {
        let again = socket::errno("connect", socket.connect(&target.into()))?;
        ensure_errno("connect", again, wanted)?;
        let flags = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        let sent = socket.send_to_with_flags(b"hello", &target.into(), flags);
        ensure_errno("sendto", socket::errno("sendto", sent)?, wanted)
    };
    let Pair { client, server } = Pair::new(family.loopback())?;
    let peer = socket::local(&server)?;
    calls(&client, peer, libc::EISCONN)?;
    drop(client);
    socket::read_end(&server)?;
    let UnansweredConnect { client, target, ends, cut } = UnansweredConnect::new(family)?;
    socket::start_connect(&client, target)?;
    calls(&client, target, libc::EALREADY)?;
    drop(client);
    drop(cut);
    Ok(vec![cancellation(ends)])
}

/// Another thread shuts the socket down while connect waits, where this kernel allows it.
pub(super) fn shut_down(family: Family) -> Result<Vec<Expected>> {
    if super::keeps_waiting_connects() {
        return Ok(Vec::new());
    }
    let UnansweredConnect { client, target, ends, cut } = UnansweredConnect::new(family)?;
    let (connected, caller) = blocked::during(
        libc::SYS_connect,
        || (client.connect(&target.into()), Process::this()),
        |_| Ok(client.shutdown(Shutdown::Both)?),
    )?;
    let errno = socket::errno("connect", connected)?;
    ensure_errno("connect", errno, libc::ECONNRESET)?;
    drop(client);
    drop(cut);
    let failure = Expected::failure(Cause::ConnectCancelled, "connect", errno, ends);
    let failure = failure.state("CLOSE").by(caller);
    Ok(vec![failure.saying("shut the socket down")])
}

/// Connect is called again after the errno was read.
pub(super) fn retried_after_failure(family: Family) -> Result<Vec<Expected>> {
    let refused = RefusedConnect::new(family)?;
    let first = socket::finish_connect(&refused.client)?;
    let errno = refused.connect_again()?;
    ensure_errno("connect", errno, libc::ECONNABORTED)?;
    let retried =
        Expected::failure(Cause::ConnectRetriedAfterFailure, "connect", errno, refused.ends);
    // Now the socket is as good as new, and the next call is a new attempt.
    socket::start_connect(&refused.client, refused.ends.remote)?;
    let again = socket::finish_connect(&refused.client)?;
    Ok(vec![refused.failure(first), retried, refused.failure(again)])
}

/// A socket is used for several attempts in a row, and no attempt is mistaken for another.
pub(super) fn refused_repeatedly(family: Family) -> Result<Vec<Expected>> {
    // A port chosen by the kernel would change between attempts.
    let client = socket::bound(socket::closed_port(family)?)?;
    let local = socket::local(&client)?;
    let mut expected = Vec::new();
    for _ in 0..3 {
        let closed = socket::closed_port(family)?;
        let errno = socket::errno("connect", client.connect(&closed.into()))?;
        let ends = Ends::new(local, closed);
        expected.push(Expected::failure(Cause::ConnectRefused, "connect", errno, ends));
    }
    let listener = socket::listener(family.loopback(), 1)?;
    client.connect(&listener.local_addr()?)?;
    let ends = Ends::of_client(&client)?;
    socket::close_with_reset(listener.accept()?.0)?;
    socket::until_reset(&client)?;
    let errno = socket::write_errno(&client)?;
    let reset = Expected::failure(Cause::ResetByPeer, "read_or_write", errno, ends);
    expected.push(reset.reset_here("tcp_state"));
    expected.push(Expected::delivered(Cause::ResetByPeer, errno, ends));
    Ok(expected)
}

/// A process is killed while it waits in connect.
pub(super) fn cancelled_by_death(family: Family) -> Result<Vec<Expected>> {
    let UnansweredConnect { client, target, ends, cut } = UnansweredConnect::new(family)?;
    let target = target.to_string();
    let mut child = child::start(&["connect", &target], client.into())?;
    blocked::wait_for(libc::SYS_connect, &format!("/proc/{}/syscall", child.id()))?;
    child.kill()?;
    child.wait()?;
    drop(cut);
    // Its memory, and therefore its executable, is gone by the time its descriptors are closed.
    let dying = Process { executable: None, ..Process::child(child.id()) };
    Ok(vec![cancellation(ends).by(dying)])
}

/// The program gives up and closes the socket while the SYN is unanswered.
pub(super) fn cancelled(family: Family) -> Result<Vec<Expected>> {
    let UnansweredConnect { client, target, ends, cut } = UnansweredConnect::new(family)?;
    socket::start_connect(&client, target)?;
    drop(client);
    drop(cut);
    Ok(vec![cancellation(ends)])
}

/// A signal interrupts a blocking connect; the attempt continues until the socket is closed.
pub(super) fn interrupted(family: Family) -> Result<Vec<Expected>> {
    let UnansweredConnect { client, target, ends, cut } = UnansweredConnect::new(family)?;
    let (connected, caller) = blocked::interrupted(
        libc::SYS_connect,
        SaFlags::empty(),
        || (client.connect(&target.into()), Process::this()),
        || Ok(()),
    )?;
    let errno = socket::errno("connect", connected)?;
    ensure_errno("connect", errno, libc::EINTR)?;
    drop(client);
    drop(cut);
    let interrupted = Expected::failure(Cause::Interrupted, "connect", errno, ends).by(caller);
    Ok(vec![interrupted, cancellation(ends)])
}

/// A signal after which a blocking connect is restarted: the program does not notice.
pub(super) fn interrupted_and_restarted(family: Family) -> Result<Vec<Expected>> {
    let network = Network::get()?;
    let listener = network.in_peer(|| socket::listener(family.peer(), 1))?;
    let client = socket::bound(family.host())?;
    let mut cut = Some(network.cut(Silence::Drop)?);
    let address = listener.local_addr()?;
    blocked::interrupted(
        libc::SYS_connect,
        SaFlags::SA_RESTART,
        || client.connect(&address),
        || {
            cut.take();
            Ok(())
        },
    )??;
    let (server, _) = listener.accept()?;
    drop(client);
    socket::read_end(&server)?;
    Ok(Vec::new())
}

/// A socket for connects that remain unanswered.
pub(super) struct UnansweredConnect {
    pub(super) client: Socket,
    /// In the socket's own family; `ends` has it as on the wire.
    pub(super) target: SocketAddr,
    pub(super) ends: Ends,
    pub(super) cut: Cut,
}

impl UnansweredConnect {
    pub(super) fn new(family: Family) -> Result<Self> {
        let network = Network::get()?;
        let client = socket::bound(family.host())?;
        let target = family.peer_port(NOBODY_LISTENS);
        let ends = Ends::new(socket::local(&client)?, target);
        Ok(Self { client, target, ends, cut: network.cut(Silence::Drop)? })
    }
}

pub(super) fn cancellation(ends: Ends) -> Expected {
    Expected::failure(Cause::ConnectCancelled, "none", libc::ECANCELED, ends)
}

/// A non-blocking connect that has been refused.
struct RefusedConnect {
    client: Socket,
    ends: Ends,
}

impl RefusedConnect {
    fn new(family: Family) -> Result<Self> {
        let closed = socket::closed_port(family)?;
        // A port chosen by the kernel would change with the next attempt.
        let client = socket::bound(socket::closed_port(family)?)?;
        let ends = Ends::new(socket::local(&client)?, closed);
        socket::start_connect(&client, closed)?;
        // On loopback the answer is usually there before the call returns, but not if the kernel
        // has left it to ksoftirqd.
        socket::until("the SYN is not answered", || Ok(!socket::is_connecting(&client)?))?;
        Ok(Self { client, ends })
    }

    fn connect_again(&self) -> Result<i32> {
        socket::errno("connect", self.client.connect(&self.ends.remote.into()))
    }

    fn failure(&self, errno: i32) -> Expected {
        Expected::failure(Cause::ConnectRefused, "connect", errno, self.ends)
    }
}
