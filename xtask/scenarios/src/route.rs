//! Connects that this host itself refuses.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use nix::libc;
use socket2::Socket;
use socktrace_diagnosis::Cause;

use super::{
    bind,
    expected::Expected,
    network::{self, Family, NOBODY_LISTENS, Network},
    socket::{self, Ends, Pair, ensure_errno},
};

/// Bind to an address, and leave the choice of the port to connect.
const IP_BIND_ADDRESS_NO_PORT: i32 = 24;

/// Range of local ports for connections.
const PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// A route type, and its errno.
pub(super) type RouteKind = (&'static str, i32);

pub(super) const UNREACHABLE: RouteKind = ("unreachable", libc::EHOSTUNREACH);
pub(super) const PROHIBIT: RouteKind = ("prohibit", libc::EACCES);
pub(super) const BLACKHOLE: RouteKind = ("blackhole", libc::EINVAL);
pub(super) const THROW: RouteKind = ("throw", libc::ENETUNREACH);

/// A route whose type refuses the connect.
pub(super) fn refused(family: Family, (kind, wanted): RouteKind) -> Result<Vec<Expected>> {
    Network::get()?;
    let target = family.elsewhere();
    let route = Route::new(kind, target)?;
    let expected = connect(family, target, wanted)?;
    drop(route);
    let reason = match kind {
        "throw" => "no route to",
        "unreachable" => "a route of this host says",
        _ => kind,
    };
    Ok(expected.into_iter().map(|failure| failure.saying(reason)).collect())
}

/// A link-local address without the interface that it belongs to.
pub(super) fn without_scope(family: Family) -> Result<Vec<Expected>> {
    misuse(family, "[fe80::1]:80", libc::EINVAL, "fe80::1 was given without a scope")
}

/// A multicast address.
pub(super) fn multicast(family: Family) -> Result<Vec<Expected>> {
    let target = if family == Family::Ipv4 { "224.0.0.1:80" } else { "[ff02::1]:80" };
    misuse(family, target, libc::ENETUNREACH, "is a multicast address")
}

fn misuse(family: Family, target: &str, wanted: i32, reason: &str) -> Result<Vec<Expected>> {
    Network::get()?;
    let failures = connect_from(bind::unspecified(family), target.parse()?, wanted)?;
    Ok(failures.into_iter().map(|failure| failure.saying(reason)).collect())
}

/// From loopback to another host.
pub(super) fn from_loopback(family: Family) -> Result<Vec<Expected>> {
    Network::get()?;
    let target = family.peer_port(NOBODY_LISTENS);
    let failures = connect_from(family.loopback(), target, libc::EINVAL)?;
    Ok(failures
        .into_iter()
        .map(|failure| {
            failure.saying("the socket is bound to 127.0.0.1, from which nothing leaves")
        })
        .collect())
}

/// An IPv6-only socket connects to an IPv4-mapped address.
pub(super) fn only_v6(family: Family) -> Result<Vec<Expected>> {
    let client = socket::stream(family.loopback())?;
    client.set_only_v6(true)?;
    client.bind(&bind::unspecified(family).into())?;
    let target = family.peer_port(NOBODY_LISTENS);
    let errno = socket::errno("connect", client.connect(&target.into()))?;
    ensure_errno("connect", errno, libc::ENETUNREACH)?;
    let mut local = bind::unspecified(Family::Ipv4);
    local.set_port(socket::local(&client)?.port());
    let failure =
        Expected::failure(Cause::ConnectNoRoute, "connect", errno, Ends::new(local, target));
    Ok(vec![failure.saying("the socket is for IPv6 alone (IPV6_V6ONLY)")])
}

/// No route.
pub(super) fn none(family: Family) -> Result<Vec<Expected>> {
    Network::get()?;
    connect(family, family.elsewhere(), libc::ENETUNREACH)
}

/// No route for a connect by a sending call.
pub(super) fn none_by_fast_open(family: Family) -> Result<Vec<Expected>> {
    Network::get()?;
    let target = family.elsewhere();
    let client = socket::bound(family.host())?;
    let ends = Ends::new(socket::local(&client)?, target);
    let flags = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL;
    let sent = client.send_to_with_flags(b"hello", &target.into(), flags);
    let errno = socket::errno("sendto", sent)?;
    ensure_errno("sendto", errno, libc::ENETUNREACH)?;
    let failure = Expected::failure(Cause::ConnectNoRoute, "write", errno, ends);
    Ok(vec![failure.flags(&["fast_open"])])
}

/// A connect to the network's broadcast address.
pub(super) fn broadcast(family: Family) -> Result<Vec<Expected>> {
    Network::get()?;
    connect(family, "10.77.0.255:9".parse()?, libc::ENETUNREACH)
}

fn connect(family: Family, target: SocketAddr, wanted: i32) -> Result<Vec<Expected>> {
    connect_from(family.host(), target, wanted)
}

fn connect_from(local: SocketAddr, target: SocketAddr, wanted: i32) -> Result<Vec<Expected>> {
    let client = socket::bound(local)?;
    let ends = Ends::new(socket::local(&client)?, target);
    let errno = socket::errno("connect", client.connect(&target.into()))?;
    ensure_errno("connect", errno, wanted)?;
    let cause = if errno == libc::EACCES { Cause::ConnectLocal } else { Cause::ConnectNoRoute };
    Ok(vec![Expected::failure(cause, "connect", errno, ends)])
}

/// All local ports for connections to one server are in use.
pub(super) fn ports_used_up(family: Family) -> Result<Vec<Expected>> {
    network::on_lonely_host(|| {
        std::fs::write(PORT_RANGE, "50000 50001")?;
        let mut server_address = family.loopback();
        server_address.set_port(80);
        let server = socket::listener(server_address, 8)?;
        let pairs = [Pair::through(&server)?, Pair::through(&server)?];
        let client = socket::stream(server_address)?;
        socket::set_option(&client, libc::IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)?;
        client.bind(&family.loopback().into())?;
        let errno = socket::errno("connect", client.connect(&server_address.into()))?;
        ensure_errno("connect", errno, libc::EADDRNOTAVAIL)?;
        let ends = Ends::new(family.loopback(), server_address);
        // Closed in order, so that no end is reset.
        for Pair { client, server } in pairs {
            drop(client);
            socket::read_end(&server)?;
        }
        Ok(vec![Expected::failure(Cause::ConnectLocal, "connect", errno, ends)])
    })
}

/// An IPv4 socket connects to an IPv6 address.
pub(super) fn other_family(family: Family) -> Result<Vec<Expected>> {
    let client: Socket = socket::bound(family.loopback())?;
    let target = Family::Ipv6.loopback();
    ensure!(family == Family::Ipv4, "only IPv4 sockets answer so");
    let errno = socket::errno("connect", client.connect(&target.into()))?;
    ensure_errno("connect", errno, libc::EAFNOSUPPORT)?;
    let failure = Expected::alone(Cause::ConnectLocal, "connect", errno, socket::local(&client)?);
    let reason = "the address given is of family AF_INET6, the socket of family AF_INET";
    Ok(vec![failure.flags(&["malformed"]).saying(reason)])
}

/// A route to one host, removed when dropped.
pub(super) struct Route {
    words: String,
}

impl Route {
    pub(super) fn new(kind: &str, target: SocketAddr) -> Result<Self> {
        let words = format!("{kind} {}", target.ip().to_canonical());
        network::ip(&format!("route add {words}"))?;
        Ok(Self { words })
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        if let Err(error) = network::ip(&format!("route del {}", self.words)) {
            eprintln!("a route stays: {error:#}");
        }
    }
}
