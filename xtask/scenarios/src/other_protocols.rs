//! Errors that arrive at sockets of other protocols than TCP and UDP, as an errno for the next call.

use std::{
    fs,
    mem::MaybeUninit,
    net::SocketAddr,
    os::fd::{AsFd as _, AsRawFd as _},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use socktrace_diagnosis::Cause;

use super::{
    expected::Expected,
    modules,
    network::{self, Family, Network},
    socket::{self, Ends, ensure_errno},
    timeout::READ_OR_WRITE,
};

/// Time for a message to arrive over the network, as nothing waits for it.
const MOMENT: Duration = Duration::from_millis(200);

fn receive_errno(socket: &Socket) -> Result<i32> {
    // The error is already pending, or never arrives.
    socket.set_nonblocking(true)?;
    socket::errno("recv", socket.recv(&mut [MaybeUninit::uninit(); 64]))
}

/// An address without a port.
fn host(mut address: SocketAddr) -> SocketAddr {
    address.set_port(0);
    address
}

/// Packets of a protocol that the other host rejects as unknown; for IPv6, packets to a
/// host that does not exist.
pub(super) fn raw(family: Family) -> Result<Vec<Expected>> {
    const EXPERIMENT: i32 = 253;
    // An ICMP error quotes at least eight bytes (`icmp_socket_deliver`).
    const DATA: [u8; 8] = *b"question";

    Network::get()?;
    let peer = host(family.peer());
    let raw = Socket::new(Domain::for_address(peer), Type::RAW, Some(EXPERIMENT.into()))?;
    if family == Family::Ipv6 {
        return Ok(vec![unanswered(&raw, family, DATA)?.of_protocol("raw")]);
    }
    let local = host(family.host());
    raw.bind(&local.into())?;
    raw.connect(&peer.into())?;
    raw.send(&DATA)?;
    thread::sleep(MOMENT);
    let errno = receive_errno(&raw)?;
    ensure_errno("recv", errno, libc::ENOPROTOOPT)?;
    let ends = Ends::new(local, peer);
    let failure = Expected::failure(Cause::UnreachableReported, READ_OR_WRITE, errno, ends);
    Ok(vec![failure.of_protocol("raw").of_no_process()])
}

/// A ping of a host that does not exist; the program waits for the answer.
pub(super) fn icmp(family: Family) -> Result<Vec<Expected>> {
    const ALLOWED: &str = "/proc/sys/net/ipv4/ping_group_range";

    Network::get()?;
    let (protocol, kind) = match family {
        Family::Ipv6 => (Protocol::ICMPV6, 128),
        Family::Ipv4 | Family::Mapped => (Protocol::ICMPV4, 8),
    };
    let before = fs::read_to_string(ALLOWED).context(ALLOWED)?;
    fs::write(ALLOWED, "0 0")?;
    let ping = Socket::new(Domain::for_address(family.nobody()), Type::DGRAM, Some(protocol));
    fs::write(ALLOWED, before)?;
    let request = [kind, 0, 0, 0, 0, 0, 0, 1];
    Ok(vec![unanswered(&ping?, family, request)?.of_protocol("icmp")])
}

/// Sends `data` to a host that does not exist, and waits until this host reports that.
fn unanswered(socket: &Socket, family: Family, data: [u8; 8]) -> Result<Expected> {
    let (local, nobody) = (host(family.host()), host(family.nobody()));
    let (level, option) = match family {
        Family::Ipv6 => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
        Family::Ipv4 | Family::Mapped => (libc::IPPROTO_IP, libc::IP_RECVERR),
    };
    socket::set_option(socket, level, option, 1)?;
    socket.bind(&local.into())?;
    socket.connect(&nobody.into())?;
    socket.send(&data)?;
    let mut polled = [PollFd::new(socket.as_fd(), PollFlags::empty())];
    ensure!(poll(&mut polled, PollTimeout::from(60_000_u16))? == 1, "nothing comes");
    let errno = receive_errno(socket)?;
    ensure_errno("recv", errno, libc::EHOSTUNREACH)?;
    let ends = Ends::new(local, nobody);
    let failure = Expected::failure(Cause::UnreachableReported, READ_OR_WRITE, errno, ends);
    Ok(failure.known_as(&["waiter"]))
}

/// More link notifications than fit in the receive queue of a program that does not read.
pub(super) fn netlink(_: Family) -> Result<Vec<Expected>> {
    const LINKS: u32 = 1;

    network::on_lonely_host(|| {
        let domain = Domain::from(libc::AF_NETLINK);
        let netlink = Socket::new(domain, Type::RAW, Some(libc::NETLINK_ROUTE.into()))?;
        netlink.set_recv_buffer_size(1)?;
        bind(&netlink, libc::AF_NETLINK, |address: &mut libc::sockaddr_nl| {
            address.nl_groups = LINKS;
        })?;
        for length in 1..=30 {
            network::ip(&format!("link set lo txqueuelen {length}"))?;
        }
        let errno = receive_errno(&netlink)?;
        ensure_errno("recv", errno, libc::ENOBUFS)?;
        Ok(vec![Expected::arrived(Cause::NetlinkOverrun, errno, "netlink", "netlink")])
    })
}

/// The device goes down.
pub(super) fn packet(_: Family) -> Result<Vec<Expected>> {
    const EVERYTHING: u16 = 3;
    const LOOPBACK: i32 = 1;

    network::on_lonely_host(|| {
        let protocol = EVERYTHING.to_be();
        let packet = Socket::new(Domain::PACKET, Type::RAW, Some(i32::from(protocol).into()))?;
        bind(&packet, libc::AF_PACKET, |address: &mut libc::sockaddr_ll| {
            (address.sll_protocol, address.sll_ifindex) = (protocol, LOOPBACK);
        })?;
        network::ip("link set lo down")?;
        let errno = receive_errno(&packet)?;
        ensure_errno("recv", errno, libc::ENETDOWN)?;
        Ok(vec![Expected::arrived(Cause::DeviceDown, errno, "packet", "packet")])
    })
}

/// Connect to a port of this machine without a listener. Handling of the answer may wake the
/// connect before it reports the error (`sk_write_space` in `virtio_transport_recv_pkt`): then
/// there is no waiter.
pub(super) fn vsock(_: Family) -> Result<Vec<Expected>> {
    const NOBODY_LISTENS: u32 = 4_711;

    modules::require("vsock_loopback")?;
    let vsock = Socket::new(Domain::VSOCK, Type::STREAM, None)?;
    let nobody = SockAddr::vsock(libc::VMADDR_CID_LOCAL, NOBODY_LISTENS);
    let errno = socket::errno("connect", vsock.connect(&nobody))?;
    ensure_errno("connect", errno, libc::ECONNRESET)?;
    let refused = Expected::arrived(Cause::ConnectRefused, errno, "vsock", "vsock");
    let refused = refused.called("connect").with("role", ()).flags(&["connecting"]);
    let refused = refused.or_by_this(&["waiter"]);
    Ok(vec![refused.saying("nobody listens at the vsock port")])
}

/// Binds to an address of this family.
fn bind<T>(socket: &Socket, family: i32, fill: impl FnOnce(&mut T)) -> Result<()> {
    // SAFETY: all zeros are a valid address of any family.
    let mut address: T = unsafe { std::mem::zeroed() };
    fill(&mut address);
    let family = libc::sa_family_t::try_from(family)?;
    // SAFETY: every address type begins with its family.
    unsafe { (&raw mut address).cast::<libc::sa_family_t>().write(family) };
    let length = size_of::<T>().try_into()?;
    // SAFETY: the address is as long as `length` says.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    ensure!(result == 0, "cannot bind: {}", std::io::Error::last_os_error());
    Ok(())
}
