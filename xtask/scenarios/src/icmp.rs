//! Connects answered by ICMP: by a firewall of the other host, or by this host for want of a neighbor.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::libc;
use serde_json::Value;

use socktrace_diagnosis::Cause;

use super::{
    blocked,
    expected::Expected,
    inject::Injector,
    network::{Family, HOST_UNREACHABLE, Line, NOBODY_LISTENS, Network, Silence, host_unreachable},
    process::Process,
    socket::{self, Ends, Role, ensure_errno},
};

/// Time that waking the program may take.
const WAKING: Duration = Duration::from_millis(500);

/// Attempts to get an answer at the right moment.
const ATTEMPTS: usize = 5;

/// An ICMP message, and its errno during connect.
#[derive(Clone, Copy)]
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) code: u8,
    pub(super) errno: i32,
}

impl Message {
    pub(super) const fn new(kind: u8, code: u8, errno: i32) -> Self {
        Self { kind, code, errno }
    }

    /// Whether the kernel reverts a timeout's backoff when the message answers the retransmission
    /// (RFC 6069): the network works again, only the route does not.
    fn takes_doubling_back(self, ends: Ends) -> bool {
        ends.local.is_ipv4() && self.kind == 3 && self.code <= 1
    }

    /// Expected report of a connect that this message ended.
    pub(super) fn expected(
        self,
        errno: i32,
        ends: Ends,
        router: std::net::SocketAddr,
    ) -> Result<Expected> {
        ensure_errno("connect", errno, self.errno)?;
        let cause = match self.errno {
            libc::ECONNREFUSED => Cause::ConnectRefusedIcmp,
            _ => Cause::ConnectUnreachable,
        };
        let failure = Expected::failure(cause, "connect", errno, ends);
        Ok(failure.icmp(self.kind, self.code, router))
    }

    /// Expected report of a connect whose SYN was retransmitted `retransmits` times within `waited`.
    pub(super) fn expected_late(
        self,
        errno: i32,
        ends: Ends,
        router: std::net::SocketAddr,
        retransmits: u32,
        waited: Duration,
    ) -> Result<Expected> {
        let failure = self.expected(errno, ends, router)?.with("retransmits", retransmits);
        let failure = failure.with("rto_ms", Network::syn_timeout(retransmits)?);
        let failure = failure.lasted("elapsed_ms", waited, WAKING).known_as(&["waiter"]);
        Ok(failure.flags(&["retransmitted", "soft_error"]))
    }
}

/// A message that nft can send, and its expression for it.
pub(super) type Reject = (&'static str, Message);

pub(super) const NET: Reject = ("icmp type net-unreachable", Message::new(3, 0, libc::ENETUNREACH));
pub(super) const HOST: Reject =
    ("icmp type host-unreachable", Message::new(3, 1, libc::EHOSTUNREACH));
pub(super) const PROTOCOL: Reject =
    ("icmp type prot-unreachable", Message::new(3, 2, libc::ENOPROTOOPT));
pub(super) const PORT: Reject =
    ("icmp type port-unreachable", Message::new(3, 3, libc::ECONNREFUSED));
pub(super) const NET_PROHIBITED: Reject =
    ("icmp type net-prohibited", Message::new(3, 9, libc::ENETUNREACH));
pub(super) const HOST_PROHIBITED: Reject =
    ("icmp type host-prohibited", Message::new(3, 10, libc::EHOSTUNREACH));
pub(super) const ADMIN_PROHIBITED: Reject =
    ("icmp type admin-prohibited", Message::new(3, 13, libc::EHOSTUNREACH));

pub(super) const NO_ROUTE6: Reject =
    ("icmpv6 type no-route", Message::new(1, 0, libc::ENETUNREACH));
pub(super) const ADMIN_PROHIBITED6: Reject =
    ("icmpv6 type admin-prohibited", Message::new(1, 1, libc::EACCES));
pub(super) const ADDRESS6: Reject =
    ("icmpv6 type addr-unreachable", Message::new(1, 3, libc::EHOSTUNREACH));
pub(super) const PORT6: Reject =
    ("icmpv6 type port-unreachable", Message::new(1, 4, libc::ECONNREFUSED));
pub(super) const POLICY_FAIL6: Reject =
    ("icmpv6 type policy-fail", Message::new(1, 5, libc::EACCES));
pub(super) const REJECT_ROUTE6: Reject =
    ("icmpv6 type reject-route", Message::new(1, 6, libc::EACCES));

/// The other host's firewall answers the SYN.
///
/// The first answer arrives while connect still holds the socket, and is only remembered. The
/// answer to the retransmitted SYN, a second later, takes effect.
pub(super) fn rejected(family: Family, (words, message): Reject) -> Result<Vec<Expected>> {
    let network = Network::get()?;
    let peer = family.peer_port(NOBODY_LISTENS);
    let client = socket::bound(family.host())?;
    let ends = Ends::new(socket::local(&client)?, peer);
    let cut = network.cut(Silence::Reject(words))?;
    let began = Instant::now();
    let errno = socket::errno("connect", client.connect(&peer.into()))?;
    let waited = began.elapsed();
    drop(cut);
    let failure = message.expected_late(errno, ends, peer, 1, waited)?;
    let doubled = u32::from(!message.takes_doubling_back(ends));
    Ok(vec![failure.with("rto_ms", Network::syn_timeout(doubled)?)])
}

/// The program sends after its connect was refused by ICMP.
pub(super) fn write_after_refused(family: Family) -> Result<Vec<Expected>> {
    let network = Network::get()?;
    let peer = family.peer_port(NOBODY_LISTENS);
    let client = socket::bound(family.host())?;
    let ends = Ends::new(socket::local(&client)?, peer);
    let message = match family {
        Family::Ipv4 | Family::Mapped => Message::new(3, 3, libc::ECONNREFUSED),
        Family::Ipv6 => Message::new(1, 4, libc::ECONNREFUSED),
    };
    let injector = network.in_peer(|| Injector::new(ends, message))?;
    let cut = network.cut(Silence::Drop)?;
    let errno = injector.during(|| {
        socket::start_connect(&client, peer)?;
        // A message that arrives while connect holds the socket is left for SO_ERROR, and ends nothing.
        socket::until_closed(&client)?;
        socket::finish_connect(&client)
    })?;
    drop(cut);
    let pipe = socket::write_errno(&client)?;
    ensure_errno("write", pipe, libc::EPIPE)?;
    let ends_then = ends.of_role(Role::Client);
    let after = Expected::failure(Cause::WriteAfterUnreachable, "write", pipe, ends_then);
    let after = after.with("flow", Value::Null);
    Ok(vec![message.expected(errno, ends, peer)?, after.first(errno).sigpipe("none")])
}

/// The other host's firewall answers only the first SYN, while connect still holds the socket. Then
/// nothing answers until the retries run out.
pub(super) fn rejected_once(family: Family) -> Result<Vec<Expected>> {
    // A first connection, so that addresses are resolved and the SYN leaves at once.
    let network = Line::new(family)?.close()?;
    let peer = family.peer_port(NOBODY_LISTENS);
    let client = socket::bound(family.host())?;
    let ends = Ends::new(socket::local(&client)?, peer);
    let mut cut = Some(network.cut(HOST_UNREACHABLE)?);
    let began = Instant::now();
    let (connected, caller) = blocked::during(
        libc::SYS_connect,
        || (client.connect(&peer.into()), Process::this()),
        |_| {
            drop(cut.take());
            cut = Some(network.cut(Silence::Drop)?);
            Ok(())
        },
    )?;
    let errno = socket::errno("connect", connected)?;
    let waited = began.elapsed();
    drop(cut);
    let (kind, code) = host_unreachable(family);
    let retries = Network::syn_retries()?;
    let message = Message::new(kind, code, libc::EHOSTUNREACH);
    let failure = message.expected_late(errno, ends, peer, retries, waited)?.by(caller);
    Ok(vec![failure.known_as(&["waiter"])])
}

/// The same with a non-blocking program. On IPv4 the first answer wakes it, and `SO_ERROR` returns
/// the errno while the kernel still retries.
pub(super) fn rejected_nonblocking(
    family: Family,
    (words, message): Reject,
) -> Result<Vec<Expected>> {
    let network = Network::get()?;
    let peer = family.peer_port(NOBODY_LISTENS);
    let client = socket::bound(family.host())?;
    let ends = Ends::new(socket::local(&client)?, peer);
    let cut = network.cut(Silence::Reject(words))?;
    let began = Instant::now();
    socket::start_connect(&client, peer)?;
    let errno = socket::finish_connect(&client)?;
    let waited = began.elapsed();
    drop(client);
    drop(cut);
    Ok(vec![match family {
        // The attempt ends when the program closes the socket.
        Family::Ipv4 | Family::Mapped => message.expected(errno, ends, peer)?.known_as(&["caller"]),
        Family::Ipv6 => message.expected_late(errno, ends, peer, 1, waited)?,
    }])
}

/// The firewall answers while connect still holds the socket, and the program closes it without
/// reading the errno.
///
/// An answer that the kernel defers until connect has returned ends the attempt: it is reported,
/// and another attempt is made.
pub(super) fn cancelled(family: Family) -> Result<Vec<Expected>> {
    // A first connection, so that addresses are resolved and the SYN leaves at once.
    let network = Line::new(family)?.close()?;
    let peer = family.peer_port(NOBODY_LISTENS);
    let (kind, code) = host_unreachable(family);
    let message = Message::new(kind, code, libc::EHOSTUNREACH);
    let mut reported = Vec::new();
    for _ in 0..ATTEMPTS {
        let client = socket::bound(family.host())?;
        let ends = Ends::new(socket::local(&client)?, peer);
        let cut = network.cut(HOST_UNREACHABLE)?;
        let answers = unreachables(family)?;
        socket::start_connect(&client, peer)?;
        socket::until("no answer", || Ok(unreachables(family)? > answers))?;
        let is_cancelled = socket::is_connecting(&client)?;
        drop(client);
        drop(cut);
        if is_cancelled {
            let cancelled =
                Expected::failure(Cause::ConnectCancelled, "none", libc::ECANCELED, ends);
            reported.push(cancelled.icmp(kind, code, peer));
            return Ok(reported);
        }
        reported.push(message.expected(message.errno, ends, peer)?);
    }
    bail!("{ATTEMPTS} times the answer came after connect had returned")
}

/// Number of "unreachable" ICMP messages received in this family.
fn unreachables(family: Family) -> Result<u64> {
    let count = match family {
        Family::Ipv4 | Family::Mapped => {
            let table = fs::read_to_string("/proc/net/snmp")?;
            // A line of names, and a line of numbers.
            let mut lines = table.lines().filter_map(|line| line.strip_prefix("Icmp: "));
            let mut columns = || lines.next().unwrap_or_default().split_whitespace();
            let (mut names, mut numbers) = (columns(), columns());
            let column = names.position(|name| name == "InDestUnreachs");
            column.and_then(|column| numbers.nth(column)).map(str::to_owned)
        }
        Family::Ipv6 => {
            let table = fs::read_to_string("/proc/net/snmp6")?;
            let mut lines = table.lines();
            let line = lines.find_map(|line| line.strip_prefix("Icmp6InDestUnreachs"));
            line.map(|count| count.trim().to_owned())
        }
    };
    Ok(count.context("the kernel does not count ICMP messages")?.parse()?)
}

/// No host of the network has the address: this host itself reports it.
pub(super) fn no_neighbour(family: Family) -> Result<Vec<Expected>> {
    Network::get()?;
    let nobody = family.nobody();
    let client = socket::bound(family.host())?;
    let ends = Ends::new(socket::local(&client)?, nobody);
    let began = Instant::now();
    let errno = socket::errno("connect", client.connect(&nobody.into()))?;
    let (kind, code) = host_unreachable(family);
    let message = Message::new(kind, code, libc::EHOSTUNREACH);
    // The kernel asks for the neighbor three times, once a second, as often as it retransmits the SYN.
    let failure = message.expected_late(errno, ends, ends.local, 3, began.elapsed())?;
    let failure = failure.within("retransmits", 1, 3);
    let failure = failure.within("rto_ms", Network::syn_timeout(1)?, Network::syn_timeout(3)?);
    Ok(vec![failure.flags(&["retransmitted"])])
}
