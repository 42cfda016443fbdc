//! UDP sockets: replies of the network to datagrams, and refusals by this host.

use std::{io, mem::MaybeUninit, net::SocketAddr, os::fd::AsRawFd as _, ptr};

use anyhow::{Context as _, Result, ensure};
use nix::libc;
use socket2::{Domain, Protocol, Socket, Type};

use socktrace_diagnosis::Cause;

use super::{
    blocked,
    expected::Expected,
    has_typed_calls,
    network::{self, Family, NOBODY_LISTENS, Network},
    process::Process,
    route::{self, RouteKind},
    socket::{self, Ends, ensure_errno},
    traces_dropped_datagrams,
};

/// Datagram that a client sends.
const QUESTION: &[u8] = b"question";

/// Number of times programs do something that is not a failure.
const OFTEN: usize = 200;

/// From `include/uapi/asm-generic/socket.h` and `linux/sock_diag.h`.
const SO_MEMINFO: i32 = 55;
const MEMINFO_DROPS: usize = 8;

/// From `include/uapi/linux/net_tstamp.h`: when a datagram is queued, and when it is passed to the device.
const TIMESTAMPS: i32 = 1 << 8 | 1 << 1 | 1 << 4;

/// A UDP socket bound to this address, with port 0 for any.
pub(super) fn bound(address: SocketAddr) -> Result<Socket> {
    let socket = unbound(address)?;
    socket.bind(&address.into()).with_context(|| format!("cannot bind {address}"))?;
    Ok(socket)
}

fn unbound(address: SocketAddr) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // Allows IPv4-mapped addresses, whatever the system's default.
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

/// A loopback address without a listener.
fn closed(family: Family) -> Result<SocketAddr> {
    socket::local(&bound(family.loopback())?)
}

/// A UDP socket connected to this address.
fn client(local: SocketAddr, remote: SocketAddr) -> Result<(Socket, Ends)> {
    let client = bound(local)?;
    client.connect(&remote.into())?;
    let ends = Ends::of_client(&client)?;
    Ok((client, ends))
}

fn receive(socket: &Socket) -> io::Result<usize> {
    socket.recv(&mut [MaybeUninit::uninit(); 64])
}

/// Calls recv, which must fail with this errno.
fn refused(socket: &Socket, wanted: i32) -> Result<()> {
    ensure_errno("recv", socket::errno("recv", receive(socket))?, wanted)
}

/// Type and code of the port unreachable message.
fn port_message(family: Family) -> (u8, u8) {
    match family {
        Family::Ipv4 | Family::Mapped => (3, 3),
        Family::Ipv6 => (1, 4),
    }
}

/// Expected report of a port unreachable message, sent by the remote end itself.
fn port_unreachable(family: Family, ends: Ends) -> Expected {
    let (kind, code) = port_message(family);
    let cause = Cause::PortUnreachable;
    let failure = Expected::failure(cause, "read_or_write", libc::ECONNREFUSED, ends).udp();
    // The answer may arrive when the program is already waiting for it.
    failure.icmp(kind, code, ends.remote).known_as(&["holder", "waiter"])
}

/// The next receive gets the errno.
pub(super) fn port_unreachable_to_recv(family: Family) -> Result<Vec<Expected>> {
    let (client, ends) = client(family.loopback(), closed(family)?)?;
    client.send(QUESTION)?;
    refused(&client, libc::ECONNREFUSED)?;
    // It is returned only once.
    client.set_nonblocking(true)?;
    refused(&client, libc::EAGAIN)?;
    Ok(vec![port_unreachable(family, ends).saying("nobody listens at the port")])
}

/// The next send gets the errno, and sends nothing; the one after that is answered again.
pub(super) fn port_unreachable_to_send(family: Family) -> Result<Vec<Expected>> {
    let (client, ends) = client(family.loopback(), closed(family)?)?;
    for _ in 0..2 {
        client.send(QUESTION)?;
        let errno = socket::errno("send", client.send(QUESTION))?;
        ensure_errno("send", errno, libc::ECONNREFUSED)?;
    }
    Ok(vec![port_unreachable(family, ends), port_unreachable(family, ends)])
}

/// The other host answers by port unreachable, and a thread waits in recv.
pub(super) fn port_unreachable_to_waiter(family: Family) -> Result<Vec<Expected>> {
    Network::get()?;
    let (client, ends) = client(family.host(), family.peer_port(NOBODY_LISTENS))?;
    let (received, waiter) = blocked::during(
        libc::SYS_recvfrom,
        || (receive(&client), Process::this()),
        |_| Ok(client.send(QUESTION).map(drop)?),
    )?;
    ensure_errno("recv", socket::errno("recv", received)?, libc::ECONNREFUSED)?;
    let advice = format!("on {}: is the service running", ends.remote.ip());
    let failure = port_unreachable(family, ends).by(waiter).known_as(&["waiter"]);
    Ok(vec![failure.advising(&advice)])
}

/// The socket requests errors (`IP_RECVERR`) and is not connected: no record of its owner exists.
///
/// Each message that the program takes from the error queue makes the kernel report
/// the errno of the next one.
pub(super) fn port_unreachable_unconnected(family: Family) -> Result<Vec<Expected>> {
    let client = bound(family.loopback())?;
    ask_for_errors(&client, family)?;
    let mut expected = Vec::new();
    for _ in 0..3 {
        let nobody = closed(family)?;
        client.send_to(QUESTION, &nobody.into())?;
        refused(&client, libc::ECONNREFUSED)?;
        let ends = Ends::new(socket::local(&client)?, nobody);
        expected.push(of_socket(port_unreachable(family, ends)).state("CLOSE"));
    }
    for _ in 0..3 {
        take_error(&client)?;
    }
    client.set_nonblocking(true)?;
    refused(&client, libc::EAGAIN)?;
    Ok(expected)
}

/// No process is known, only the socket's user and cgroup.
fn of_socket(failure: Expected) -> Expected {
    let failure = failure.unaccepted().with("uid", 0).with("cgroup", "/");
    failure.with("owner_unknown", "no_process")
}

fn ask_for_errors(socket: &Socket, family: Family) -> Result<()> {
    let (level, option) = match family {
        Family::Ipv6 => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
        Family::Ipv4 | Family::Mapped => (libc::IPPROTO_IP, libc::IP_RECVERR),
    };
    Ok(socket::set_option(socket, level, option, 1)?)
}

/// Takes a message from the error queue.
fn take_error(socket: &Socket) -> Result<()> {
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    socket
        .recv_with_flags(&mut [MaybeUninit::uninit(); 64], flags)
        .context("no error is queued")?;
    Ok(())
}

/// Transmit timestamps are reported while the errno is still pending.
pub(super) fn port_unreachable_beside_timestamps(family: Family) -> Result<Vec<Expected>> {
    let (client, ends) = client(family.loopback(), closed(family)?)?;
    socket::set_option(&client, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, TIMESTAMPS)?;
    client.send(QUESTION)?;
    // Two of them: taking one makes the kernel report the other, with the errno.
    take_error(&client)?;
    take_error(&client)?;
    refused(&client, libc::ECONNREFUSED)?;
    Ok(vec![port_unreachable(family, ends)])
}

/// A firewall of the other host rejects the datagram as prohibited: an error that a connected
/// socket gets without requesting errors.
pub(super) fn prohibited(family: Family) -> Result<Vec<Expected>> {
    let (kind, code, wanted) = match family {
        Family::Ipv4 | Family::Mapped => (3, 13, libc::EHOSTUNREACH),
        Family::Ipv6 => (1, 1, libc::EACCES),
    };
    rejected(family, "admin-prohibited", (kind, code, wanted), |_| Ok(()))
}

/// The host is reported as unreachable: an error that a socket only gets if it requests errors.
pub(super) fn unreachable(family: Family) -> Result<Vec<Expected>> {
    let (kind, code) = network::host_unreachable(family);
    let wanted = (kind, code, libc::EHOSTUNREACH);
    rejected(family, "host-unreachable", wanted, |client| ask_for_errors(client, family))
}

fn rejected(
    family: Family,
    with: &str,
    (kind, code, wanted): (u8, u8, i32),
    prepare: impl FnOnce(&Socket) -> Result<()>,
) -> Result<Vec<Expected>> {
    let network = Network::get()?;
    let (client, ends) = client(family.host(), family.peer_port(NOBODY_LISTENS))?;
    prepare(&client)?;
    let rule = format!("meta l4proto udp reject with icmpx type {with}");
    let cut = network.filter(&[("input", &rule)])?;
    client.send(QUESTION)?;
    refused(&client, wanted)?;
    drop(cut);
    let cause = Cause::UnreachableReported;
    let failure = Expected::failure(cause, "read_or_write", wanted, ends).udp();
    let failure = failure.icmp(kind, code, ends.remote).known_as(&["waiter", "holder"]);
    Ok(vec![failure.saying("a datagram cannot be delivered")])
}

/// There is no route to the address, which libc determines by such a connect (`getaddrinfo`).
pub(super) fn connect_no_route(family: Family) -> Result<Vec<Expected>> {
    Network::get()?;
    let failure = connect(family, family.elsewhere(), libc::ENETUNREACH, Cause::ConnectNoRoute)?;
    Ok(vec![failure.with("severity", "expected")])
}

/// A route of this host refuses the connect.
pub(super) fn connect_refused_by_route(
    family: Family,
    (kind, wanted): RouteKind,
) -> Result<Vec<Expected>> {
    Network::get()?;
    let target = family.elsewhere();
    let _route = route::Route::new(kind, target)?;
    if wanted == libc::EHOSTUNREACH {
        let failure = connect(family, target, wanted, Cause::ConnectNoRoute)?;
        return Ok(vec![failure.with("severity", "expected")]);
    }
    Ok(vec![connect(family, target, wanted, Cause::ConnectLocal)?.saying(kind)])
}

/// A broadcast address, without `SO_BROADCAST`.
pub(super) fn connect_broadcast(family: Family) -> Result<Vec<Expected>> {
    Network::get()?;
    let target = "10.77.0.255:9".parse()?;
    Ok(vec![connect(family, target, libc::EACCES, Cause::ConnectLocal)?.saying("SO_BROADCAST")])
}

fn connect(family: Family, to: SocketAddr, wanted: i32, cause: Cause) -> Result<Expected> {
    let client = bound(family.host())?;
    let ends = Ends::new(socket::local(&client)?, to);
    let errno = socket::errno("connect", client.connect(&to.into()))?;
    ensure_errno("connect", errno, wanted)?;
    Ok(Expected::failure(cause, "connect", errno, ends).udp())
}

/// The port is in use, and the address is not one of this host's.
pub(super) fn bind_failed(family: Family) -> Result<Vec<Expected>> {
    let first = bound(family.loopback())?;
    let taken = socket::local(&first)?;
    [(taken, libc::EADDRINUSE), (family.elsewhere(), libc::EADDRNOTAVAIL)]
        .into_iter()
        .map(|(address, wanted)| {
            let errno = socket::errno("bind", unbound(address)?.bind(&address.into()))?;
            ensure_errno("bind", errno, wanted)?;
            let local = Ends::new(address, address).local;
            let failure = Expected::alone(Cause::BindFailed, "bind", errno, local).udp();
            Ok(if wanted == libc::EADDRINUSE {
                failure.saying("another UDP socket").advising("SO_REUSEPORT")
            } else {
                failure
            })
        })
        .collect()
}

/// An option that does not exist.
pub(super) fn option_rejected(family: Family) -> Result<Vec<Expected>> {
    let socket = bound(family.loopback())?;
    let local = Ends::new(socket::local(&socket)?, family.loopback()).local;
    let result = socket::set_option(&socket, libc::SOL_SOCKET, 9_999, 1);
    let errno = socket::errno("setsockopt", result)?;
    ensure_errno("setsockopt", errno, libc::ENOPROTOOPT)?;
    let mut failure = Expected::alone(Cause::SockoptRejected, "setsockopt", errno, local).udp();
    if !has_typed_calls() {
        failure = failure.with("fd", socket.as_raw_fd());
    }
    Ok(vec![failure.option("SOL_SOCKET", "option_9999")])
}

/// The program does not read, and its receive buffer is full.
pub(super) fn receive_queue_full(family: Family) -> Result<Vec<Expected>> {
    let server = bound(family.loopback())?;
    server.set_recv_buffer_size(4_096)?;
    let client = bound(family.loopback())?;
    let to = socket::local(&server)?;
    let mut sent = 0;
    // Two drops, the most that a flood shows singly.
    while drops(&server)? < 2 {
        client.send_to(&[0; 512], &to.into())?;
        sent += 1;
        ensure!(sent < OFTEN, "nothing is dropped");
    }
    if !traces_dropped_datagrams(family) {
        return Ok(Vec::new());
    }
    let local = Ends::new(to, to).local;
    let dropped = || {
        let failure = Expected::alone(Cause::ReceiveQueueFull, "none", 0, local).udp();
        let failure =
            failure.with("severity", "notable").with("delivered", serde_json::Value::Null);
        of_socket(failure).within("unread_bytes", 512, 1 << 20).saying("receive buffer")
    };
    Ok(vec![dropped(), dropped()])
}

/// Sends `count` datagrams to a program that does not read; returns the number dropped.
pub(super) fn overload(family: Family, count: u64) -> Result<u64> {
    let server = bound(family.loopback())?;
    let client = bound(family.loopback())?;
    let to = socket::local(&server)?;
    server.set_recv_buffer_size(4_096)?;
    for _ in 0..count {
        client.send_to(QUESTION, &to.into())?;
    }
    Ok(drops(&server)?.into())
}

/// Number of datagrams that a socket has dropped for lack of room.
fn drops(socket: &Socket) -> Result<u32> {
    let mut info = [0_u32; MEMINFO_DROPS + 1];
    let mut length = libc::socklen_t::try_from(size_of_val(&info))?;
    // SAFETY: the buffer has `length` bytes, which the kernel may change.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            ptr::from_mut(&mut info).cast(),
            &raw mut length,
        )
    };
    ensure!(result == 0, "no SO_MEMINFO: {}", io::Error::last_os_error());
    Ok(info[MEMINFO_DROPS])
}

/// Sends refused by this host's firewall, by its routes, and for their length.
pub(super) fn send_refused(family: Family) -> Result<Vec<Expected>> {
    let no_firewall = || network::run("nft", "delete table inet own");
    Network::get()?;
    let client = bound(family.host())?;
    let local = socket::local(&client)?;
    let rule = format!(
        "table inet own {{ chain output {{ type filter hook output priority 0; udp sport {} drop; }}; }}",
        local.port()
    );
    network::run("nft", &rule)?;
    let to = family.peer_port(NOBODY_LISTENS);
    let sent = client.send_to(QUESTION, &to.into());
    no_firewall()?;
    let errno = socket::errno("sendto", sent)?;
    ensure_errno("sendto", errno, libc::EPERM)?;
    let mut expected = vec![not_taken(errno, Ends::new(local, to))];

    let elsewhere = family.elsewhere();
    let errno = socket::errno("sendto", client.send_to(QUESTION, &elsewhere.into()))?;
    ensure_errno("sendto", errno, libc::ENETUNREACH)?;
    expected.push(not_taken(errno, Ends::new(local, elsewhere)));

    let (connected, ends) = self::client(family.host(), to)?;
    let errno = socket::errno("send", connected.send(&vec![0; 70_000]))?;
    ensure_errno("send", errno, libc::EMSGSIZE)?;
    expected.push(not_taken(errno, ends).state("ESTABLISHED"));
    Ok(expected)
}

fn not_taken(errno: i32, ends: Ends) -> Expected {
    Expected::failure(Cause::SendRefused, "write", errno, ends).udp()
}

/// A busy client and server, connected and unconnected, with timestamps; and datagrams to an unused
/// port from a socket that gets no errors, as it has not requested them.
pub(super) fn quiet(family: Family) -> Result<Vec<Expected>> {
    let server = bound(family.loopback())?;
    let to = socket::local(&server)?;
    let (connected, _) = client(family.loopback(), to)?;
    socket::set_option(&connected, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, TIMESTAMPS)?;
    let other = bound(family.loopback())?;
    for _ in 0..OFTEN {
        for client in [&connected, &other] {
            client.send_to(QUESTION, &to.into())?;
            let mut question = [MaybeUninit::uninit(); 64];
            let (length, from) = server.recv_from(&mut question)?;
            ensure!(length == QUESTION.len(), "{length} bytes came");
            server.send_to(b"answer", &from)?;
            receive(client)?;
        }
        take_error(&connected)?;
        take_error(&connected)?;
    }
    let nobody = closed(family)?;
    for _ in 0..OFTEN {
        other.send_to(QUESTION, &nobody.into())?;
    }
    other.set_nonblocking(true)?;
    refused(&other, libc::EAGAIN)?;
    Ok(Vec::new())
}
