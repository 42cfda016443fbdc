//! Connects that fail for the peer's sake, or that the program gives up.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use nix::{libc, sys::signal::SaFlags};
use socket2::Socket;
use socktrace_diagnosis::Cause;

use super::{
    blocked, child,
    claim::Claim,
    expected::Expected,
    known::DISCONNECTED,
    network::{Cut, Family, NOBODY_LISTENS, Network, Silence},
    process::Process,
    socket::{self, Ends, ensure_errno},
};

/// A blocking connect to a port where nobody listens.
pub(super) fn refused(family: Family) -> Result<Vec<Expected>> {
    let closed = socket::closed_port(family)?;
    let client = socket::bound(family.loopback())?;
    let ends = Ends::new(socket::local(&client)?, closed);
    let errno = socket::errno("connect", client.connect(&closed.into()))?;
    Ok(vec![Expected::failure(Cause::ConnectRefused, "connect", errno, ends)])
}

/// A non-blocking one: the errno comes through `SO_ERROR`.
pub(super) fn refused_nonblocking(family: Family) -> Result<Vec<Expected>> {
    let refused = RefusedConnect::new(family)?;
    let errno = socket::finish_connect(&refused.client)?;
    Ok(vec![refused.failure(errno)])
}

/// A non-blocking one whose errno is asked for by calling connect again.
pub(super) fn refused_asked_by_connect(family: Family) -> Result<Vec<Expected>> {
    let refused = RefusedConnect::new(family)?;
    let errno = refused.connect_again()?;
    Ok(vec![refused.failure(errno)])
}

/// The same, asked for by a write.
pub(super) fn refused_asked_by_write(family: Family) -> Result<Vec<Expected>> {
    let refused = RefusedConnect::new(family)?;
    let errno = socket::write_errno(&refused.client)?;
    let delivered = Expected::delivered(Cause::ConnectRefused, errno, refused.ends);
    Ok(vec![refused.failure(errno), delivered])
}

/// A connect by a call that sends.
pub(super) fn refused_fast_open(family: Family) -> Result<Vec<Expected>> {
    let closed = socket::closed_port(family)?;
    let client = socket::bound(family.loopback())?;
    let ends = Ends::new(socket::local(&client)?, closed);
    let flags = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL;
    let sent = client.send_to_with_flags(b"hello", &closed.into(), flags);
    let errno = socket::errno("sendto", sent)?;
    ensure_errno("sendto", errno, libc::ECONNREFUSED)?;
    Ok(vec![
        Expected::failure(Cause::ConnectRefused, "connect", errno, ends),
        Expected::delivered(Cause::ConnectRefused, errno, ends).known(
            &DISCONNECTED,
            "unsent_bytes",
            Claim::is(2),
        ),
    ])
}

/// Connect is called again after the failure was read.
pub(super) fn retried_after_failure(family: Family) -> Result<Vec<Expected>> {
    let refused = RefusedConnect::new(family)?;
    let first = socket::finish_connect(&refused.client)?;
    let errno = refused.connect_again()?;
    ensure_errno("connect", errno, libc::ECONNABORTED)?;
    let retried =
        Expected::failure(Cause::ConnectRetriedAfterFailure, "connect", errno, refused.ends)
            .known(&DISCONNECTED, "unacked_bytes", Claim::is(1))
            .known(&DISCONNECTED, "unsent_bytes", Claim::is(2))
            // They see the call before it takes the connection away.
            .right_by_kprobe("unsent_bytes");
    // Now the socket is as new, and the next attempt is one.
    socket::start_connect(&refused.client, refused.ends.remote)?;
    let again = socket::finish_connect(&refused.client)?;
    Ok(vec![refused.failure(first), retried, refused.failure(again)])
}

/// A socket is used for one attempt after another, and no attempt is taken for another.
pub(super) fn refused_repeatedly(family: Family) -> Result<Vec<Expected>> {
    // A port that the kernel chose would change with the attempts.
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

/// The program lets connect wait for some time only, and then closes the socket.
pub(super) fn cancelled_after_timeout(family: Family) -> Result<Vec<Expected>> {
    let UnansweredConnect { client, target, ends, cut } = UnansweredConnect::new(family)?;
    client.set_write_timeout(Some(Duration::from_millis(20)))?;
    let errno = socket::errno("connect", client.connect(&target.into()))?;
    ensure_errno("connect", errno, libc::EINPROGRESS)?;
    drop(client);
    drop(cut);
    Ok(vec![cancellation(ends)])
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
    // Its memory, and so its executable, is gone when its descriptors are closed.
    let dying = Process { executable: None, ..Process::child(child.id()) };
    Ok(vec![cancellation(ends).by(dying)])
}

/// The program loses patience and closes the socket while the SYN is unanswered.
pub(super) fn cancelled(family: Family) -> Result<Vec<Expected>> {
    let UnansweredConnect { client, target, ends, cut } = UnansweredConnect::new(family)?;
    socket::start_connect(&client, target)?;
    drop(client);
    drop(cut);
    Ok(vec![cancellation(ends)])
}

/// A signal ends a blocking connect; the attempt goes on until the socket is closed.
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

/// A signal that lets a blocking connect go on: the program does not notice.
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

/// A socket for connects that nobody answers.
struct UnansweredConnect {
    client: Socket,
    /// In the socket's own family, where `ends` has it as the network does.
    target: SocketAddr,
    ends: Ends,
    cut: Cut,
}

impl UnansweredConnect {
    fn new(family: Family) -> Result<Self> {
        let network = Network::get()?;
        let client = socket::bound(family.host())?;
        let target = family.peer_port(NOBODY_LISTENS);
        let ends = Ends::new(socket::local(&client)?, target);
        Ok(Self { client, target, ends, cut: network.cut(Silence::Drop)? })
    }
}

fn cancellation(ends: Ends) -> Expected {
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
        // A port that the kernel chose would change with the next attempt.
        let client = socket::bound(socket::closed_port(family)?)?;
        let ends = Ends::new(socket::local(&client)?, closed);
        socket::start_connect(&client, closed)?;
        // On loopback the answer is mostly there before the call returns, but not when the kernel
        // has left it to its own thread.
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
