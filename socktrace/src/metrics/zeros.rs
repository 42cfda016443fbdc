//! Zeros of failures that have not happened yet, so that `increase()` sees the first.
//!
//! A counter that begins with its first failure has no sample before it, and Prometheus counts from
//! the second. So each known pair of cause and errno is there from the start, provided that the
//! hooks that show it are attached. A zero is a signature that is diagnosed as that pair, counted 0
//! times: it has the labels of later counts, and passes the same filters.

use std::collections::{BTreeMap, BTreeSet};

use nix::libc;
use socktrace_diagnosis::{Cause, Errno, Errnos, diagnose};
use socktrace_ebpf::{
    Domain, EventKind, Family, Flags, Origin, Protocol, Signature,
    TcpState::{
        self, Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv,
        SynSent,
    },
};

use super::snapshot::About;
use crate::{
    counts::Counts,
    kernel::{health::Health, hooks::Hook},
};

/// Protocol and family of a socket, as in a signature.
type Socket = (u8, u8);

const IPV4: u8 = Family::Ipv4 as u8;
const IPV6: u8 = Family::Ipv6 as u8;
const TCP: &[Socket] = &[(Protocol::Tcp as u8, IPV4), (Protocol::Tcp as u8, IPV6)];
const UDP: &[Socket] = &[(Protocol::Udp as u8, IPV4), (Protocol::Udp as u8, IPV6)];
/// For failures that IPv6 shows only since Linux 6.5.
const UDP_IPV4: &[Socket] = &[(Protocol::Udp as u8, IPV4)];
const UNIX: &[Socket] = &[(Protocol::Unix as u8, Domain::Unix as u8)];
const NETLINK: &[Socket] = &[(Protocol::Netlink as u8, Domain::Netlink as u8)];
const PACKET: &[Socket] = &[(Protocol::Packet as u8, Domain::Packet as u8)];
const VSOCK: &[Socket] = &[(Protocol::Vsock as u8, Domain::Vsock as u8)];
/// For a descriptor that is not a socket.
const NONE: &[Socket] = &[(0, 0)];

/// Errnos that only a connect that has waited returns: return probes lose them. EINPROGRESS is not
/// among them, because a fast open returns it elsewhere, too.
const WAITED: &[i32] = &[libc::EINTR, libc::ECONNRESET, libc::EALREADY];
/// Errnos of a connect that sends nothing, and so does not wait.
const AT_ONCE: &[i32] = &[
    libc::ENETUNREACH,
    libc::EHOSTUNREACH,
    libc::EADDRNOTAVAIL,
    libc::EACCES,
    libc::EPERM,
    libc::ENOBUFS,
    libc::ENOMEM,
    libc::EAFNOSUPPORT,
    libc::EINVAL,
];
/// Errnos of a connect of a Unix socket.
const OF_UNIX_CONNECT: &[i32] = &[
    libc::ECONNREFUSED,
    libc::EAGAIN,
    libc::ENOENT,
    libc::ENOTDIR,
    libc::EPROTOTYPE,
    libc::EACCES,
    libc::EPERM,
    libc::EINVAL,
    libc::EINTR,
];
/// Errnos that only a Unix socket gets, whose address is a file or a name.
const OF_NAMES: &[i32] = &[libc::ENOENT, libc::ENOTDIR, libc::EPROTOTYPE];
/// Errnos for a descriptor that is not a socket.
const NO_SOCKET: &[i32] = &[libc::EBADF, libc::ENOTSOCK];
/// Errnos that no `ICMPv6` message (`icmpv6_err_convert`) and no IPv6 route is mapped to.
const OF_IPV4: &[i32] = &[libc::ENOPROTOOPT, libc::EHOSTDOWN, libc::ENONET, libc::EOPNOTSUPP];

/// One way in which sockets fail, as seen by hooks: the errno decides the cause, or follows from
/// it.
#[derive(Clone, Copy)]
struct Moment {
    kind: EventKind,
    /// All of these are needed to show it.
    hooks: &'static [Hook],
    sockets: &'static [Socket],
    origin: Origin,
    flags: Flags,
    /// The failure is the same in each state; only the label of a timer differs.
    states: &'static [TcpState],
    /// Errnos that it cannot have, in addition to those that its cause cannot have.
    except: &'static [i32],
    /// The only errnos that it can have; all if empty.
    only: &'static [i32],
}

impl Moment {
    const fn of(
        kind: EventKind,
        hooks: &'static [Hook],
        sockets: &'static [Socket],
        flags: Flags,
    ) -> Self {
        let states = &[Established];
        Self { kind, hooks, sockets, origin: Origin::Other, flags, states, except: &[], only: &[] }
    }

    const fn of_sockets(self, sockets: &'static [Socket]) -> Self {
        Self { sockets, ..self }
    }

    const fn by(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }

    const fn in_states(self, states: &'static [TcpState]) -> Self {
        Self { states, ..self }
    }

    const fn except(self, except: &'static [i32]) -> Self {
        Self { except, ..self }
    }

    const fn only(self, only: &'static [i32]) -> Self {
        Self { only, ..self }
    }

    /// Whether failures with this errno are seen.
    fn is_seen(&self, health: &Health, errno: i32) -> bool {
        self.hooks.iter().all(|hook| match hook {
            Hook::Connect if WAITED.contains(&errno) => health.is_attached_in_full(*hook),
            // Kprobes see only accepts that succeed.
            Hook::InetCskAccept => health.is_attached_in_full(*hook),
            hook => health.is_attached(*hook),
        })
    }

    /// Signatures that are counted when sockets fail with this errno.
    fn signatures(&self, errno: Errno) -> impl Iterator<Item = Signature> {
        let number = i32::from(errno.number());
        let is_given =
            (self.only.is_empty() || self.only.contains(&number)) && !self.except.contains(&number);
        let by_icmp = matches!(
            self.kind,
            EventKind::ConnectionEnded | EventKind::ErrorReported | EventKind::Write
        );
        let is_ipv4s = by_icmp && OF_IPV4.contains(&number);
        let sockets = self.sockets.iter();
        let sockets = sockets.filter(move |(_, family)| is_given && !(is_ipv4s && *family == IPV6));
        sockets.flat_map(move |&(protocol, family)| {
            self.states.iter().map(move |state| Signature {
                kind: self.kind as u8,
                origin: self.origin as u8,
                state: *state as u8,
                flags: self.flags.0,
                errno: errno.number(),
                protocol,
                family,
                ..Signature::default()
            })
        })
    }
}

/// A connection ends.
const fn ended(hooks: &'static [Hook], flags: Flags) -> Moment {
    Moment::of(EventKind::ConnectionEnded, hooks, TCP, flags)
}

/// A connection ends by an RST.
const fn reset(flags: Flags) -> Moment {
    ended(&[Hook::TcpDone, Hook::TcpReset], flags).by(Origin::Reset)
}

/// The retransmission timer gives a connection up.
const fn given_up(hooks: &'static [Hook], flags: Flags) -> Moment {
    ended(hooks, flags).by(Origin::RetransmitTimer)
}

/// An error is stored in a socket that stays open.
const fn reported(hook: &'static [Hook], sockets: &'static [Socket]) -> Moment {
    Moment::of(EventKind::ErrorReported, hook, sockets, PLAIN)
}

/// A call fails, whatever the state of its socket.
const fn call(kind: EventKind, hook: &'static [Hook], sockets: &'static [Socket]) -> Moment {
    Moment::of(kind, hook, sockets, PLAIN)
}

/// A write fails on a connection that has failed before.
const fn written(hooks: &'static [Hook], origin: Origin, flags: Flags) -> Moment {
    Moment::of(EventKind::Write, hooks, TCP, flags)
        .by(origin)
        .in_states(&[Close])
        .only(&[libc::EPIPE])
}

const PLAIN: Flags = Flags::empty();
const PERSIST: Flags = Flags::UNSENT.with(Flags::ZERO_WINDOW);
const KEEPALIVE: Flags = Flags::KEEPALIVE.with(Flags::PROBED);
const NOT_SENT: Flags = Flags::SEND_FAILED.with(Flags::SOFT_ERROR);
/// Data, or a FIN, may be in flight.
const SENDING: &[TcpState] = &[Established, CloseWait, FinWait1, Closing, LastAck];
/// Nothing is in flight.
const SILENT: &[TcpState] = &[Established, CloseWait, FinWait2];

/// Each with the fewest flags that decide its cause.
const MOMENTS: &[Moment] = &[
    // Connecting.
    reset(PLAIN).in_states(&[SynSent]),
    ended(&[Hook::TcpDone], PLAIN).in_states(&[SynSent]),
    given_up(&[Hook::TcpDone], PLAIN).in_states(&[SynSent]),
    given_up(&[Hook::TcpDone, Hook::TcpRetransmitSkb], Flags::SEND_FAILED).in_states(&[SynSent]),
    call(EventKind::CloseWhileConnecting, &[Hook::TcpClose], TCP)
        .in_states(&[SynSent])
        .only(&[libc::ECANCELED]),
    call(EventKind::Connect, &[Hook::Connect], TCP).except(OF_NAMES),
    Moment::of(EventKind::Connect, &[Hook::Connect], TCP, Flags::MALFORMED).only(&[libc::EINVAL]),
    // Not accepted yet.
    reset(Flags::UNACCEPTED),
    ended(&[Hook::TcpDone], Flags::UNACCEPTED).in_states(&[SynRecv]),
    call(EventKind::HandshakesDropped, &[Hook::Listen], TCP).in_states(&[Listen]),
    call(EventKind::Accept, &[Hook::InetCskAccept], TCP).in_states(&[Close]),
    call(EventKind::AcceptCall, &[Hook::SysAccept4], TCP).in_states(&[Close]),
    call(EventKind::AcceptCall, &[Hook::SysAccept4], TCP).in_states(&[Listen]),
    // Reset.
    reset(PLAIN),
    reset(Flags::RETRANSMITTED),
    reset(Flags::RETRANSMITTED.with(Flags::UNANSWERED)),
    reset(Flags::IDLE),
    reset(PLAIN).in_states(&[CloseWait, FinWait1]),
    reset(Flags::NO_RST).in_states(&[FinWait1]),
    ended(&[Hook::TcpDone], PLAIN).by(Origin::Abort),
    call(EventKind::PeerClosed, &[Hook::TcpFin], TCP),
    // Given up by a timer.
    given_up(&[Hook::TcpDone], Flags::SOFT_ERROR).in_states(SENDING),
    given_up(&[Hook::TcpDone], Flags::USER_TIMEOUT).in_states(SENDING),
    given_up(&[Hook::TcpDone, Hook::TcpRetransmitSkb], NOT_SENT).in_states(SENDING),
    ended(&[Hook::TcpDone], PERSIST).in_states(SENDING),
    ended(&[Hook::TcpDone], PERSIST.with(Flags::USER_TIMEOUT)).in_states(SENDING),
    ended(&[Hook::TcpDone, Hook::TcpWriteWakeup], NOT_SENT.with(Flags::UNSENT)).in_states(SENDING),
    ended(&[Hook::TcpDone], KEEPALIVE.with(Flags::SOFT_ERROR)).in_states(SILENT),
    reported(&[Hook::InetSkErrorReport], TCP),
    // Written to.
    written(&[Hook::SkStreamError, Hook::TcpDone, Hook::TcpReset], Origin::Reset, Flags::REPORTED),
    written(&[Hook::SkStreamError, Hook::TcpDone], Origin::RetransmitTimer, Flags::REPORTED),
    written(
        &[Hook::SkStreamError, Hook::TcpDone],
        Origin::Other,
        Flags::REPORTED.with(Flags::UNREACHABLE),
    ),
    call(EventKind::Write, &[Hook::SkStreamError], TCP).in_states(&[Close]).only(&[libc::EPIPE]),
    Moment::of(EventKind::Write, &[Hook::SkStreamError], TCP, Flags::SEND_SHUTDOWN)
        .in_states(&[FinWait2])
        .only(&[libc::EPIPE]),
    call(EventKind::Write, &[Hook::SkStreamError], TCP)
        .by(Origin::Dissolved)
        .only(&[libc::ECONNRESET]),
    call(EventKind::Write, &[Hook::SkStreamError], TCP).except(&[libc::EPIPE]),
    // Datagrams.
    reported(&[Hook::SkErrorReport], UDP),
    call(EventKind::Connect, &[Hook::InetDgramConnect], UDP).only(AT_ONCE),
    call(EventKind::DatagramSend, &[Hook::UdpSendmsg], UDP),
    call(EventKind::ReceiveQueueFull, &[Hook::UdpFailQueueRcvSkb], UDP_IPV4),
    // Unix sockets.
    call(EventKind::Connect, &[Hook::Connect], UNIX).only(OF_UNIX_CONNECT),
    ended(&[Hook::UnixRelease], PLAIN).of_sockets(UNIX).by(Origin::Reset).only(&[libc::ECONNRESET]),
    Moment::of(EventKind::Write, &[Hook::SendSig], UNIX, Flags::PEER_CLOSED).only(&[libc::EPIPE]),
    call(EventKind::Write, &[Hook::SendSig], UNIX).only(&[libc::EPIPE]),
    call(EventKind::Write, &[Hook::UnixSendmsg], UNIX),
    call(EventKind::DatagramSend, &[Hook::UnixSendmsg], UNIX),
    Moment::of(EventKind::DatagramSend, &[Hook::UnixSendmsg], UNIX, Flags::PEER_CLOSED)
        .only(&[libc::ECONNREFUSED]),
    // Sockets of other kinds.
    reported(&[Hook::SkErrorReport], NETLINK).only(&[libc::ENOBUFS]),
    reported(&[Hook::SkErrorReport], PACKET).only(&[libc::ENETDOWN]),
    Moment::of(EventKind::ErrorReported, &[Hook::SkErrorReport], VSOCK, Flags::CONNECTING)
        .only(&[libc::ECONNRESET]),
    // Refused calls.
    call(EventKind::Socket, &[Hook::SysSocket], TCP),
    call(EventKind::Bind, &[Hook::Bind], TCP).except(OF_NAMES),
    call(EventKind::Bind, &[Hook::Bind], UDP).except(OF_NAMES),
    call(EventKind::Bind, &[Hook::Bind], UNIX).except(&[libc::ENODEV, libc::EADDRNOTAVAIL]),
    call(EventKind::Listen, &[Hook::Listen], TCP),
    call(EventKind::Setsockopt, &[Hook::Setsockopt], TCP).except(NO_SOCKET),
    call(EventKind::Getsockopt, &[Hook::Getsockopt], TCP).except(NO_SOCKET),
    call(EventKind::Setsockopt, &[Hook::Setsockopt], NONE).only(NO_SOCKET),
    call(EventKind::Getsockopt, &[Hook::Getsockopt], NONE).only(NO_SOCKET),
];

/// Failures that have not happened yet, and can.
pub(crate) struct Zeros(BTreeSet<Signature>);

impl Zeros {
    /// Zeros that the attached hooks can report, if they pass the filter of the counts.
    pub(crate) fn new(about: &About, counts: &Counts) -> Self {
        Self(of(about).into_iter().filter(|zero| counts.admits(*zero)).collect())
    }

    /// Adds the zeros of signatures without a count.
    pub(super) fn add_to(&self, signatures: &mut BTreeMap<Signature, u64>) {
        for zero in &self.0 {
            signatures.entry(*zero).or_default();
        }
    }
}

/// Every zero that the attached hooks can report.
fn of(about: &About) -> BTreeSet<Signature> {
    let listed = Cause::ALL.iter().flat_map(|cause| match cause.row().errnos {
        Errnos::Of(errnos) => errnos,
        Errnos::Any | Errnos::None => &[],
    });
    let errnos: BTreeSet<_> = listed.copied().chain([Errno::NONE]).collect();
    let mut zeros = BTreeSet::new();
    for moment in MOMENTS {
        for errno in &errnos {
            let is_seen = moment.is_seen(&about.health, errno.number().into());
            let known = moment.signatures(*errno).filter(|zero| is_seen && is_known(about, *zero));
            zeros.extend(known.flat_map(|zero| [Some(zero), undelivered(zero)]).flatten());
        }
    }
    zeros
}

/// Whether the table has the diagnosis of a signature, and this kernel can show it.
fn is_known(about: &About, zero: Signature) -> bool {
    let Some(found) = diagnose(zero).diagnosis() else { return false };
    let is_shown = match found.cause {
        Cause::DataAfterShutdown => about.measurable.reset_segment,
        Cause::AcceptQueueOverflow => about.measurable.listener_drops,
        _ => true,
    };
    is_shown
        && match found.cause.row().errnos {
            Errnos::Of(errnos) => errnos.contains(&found.errno),
            Errnos::None => found.errno == Errno::NONE,
            Errnos::Any => false,
        }
}

/// The same TCP failure, if no call returns the errno before the socket is closed (`__tcp_close`).
fn undelivered(zero: Signature) -> Option<Signature> {
    let stayed_open = match EventKind::try_from(zero.kind) {
        Ok(EventKind::ConnectionEnded) => Flags::empty(),
        Ok(EventKind::ErrorReported) => Flags::STAYED_OPEN,
        _ => return None,
    };
    let flags = Flags(zero.flags).with(stayed_open).0;
    let is_tcp = zero.protocol == Protocol::Tcp as u8;
    is_tcp.then_some(Signature { kind: EventKind::ClosedUnread as u8, flags, ..zero })
}

#[cfg(test)]
#[path = "zeros_tests.rs"]
mod tests;
