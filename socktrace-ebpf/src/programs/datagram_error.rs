//! Reports of errnos that are stored in non-TCP sockets, and taken by the next call.

use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid};
use socktrace_ebpf::{
    Detail, Event, EventKind, Family, Flags, Origin, Protocol, Signature, facts::ABSENT,
};

use crate::{
    datagram_icmp,
    emit::emit,
    errno::ECONNABORTED,
    failure,
    load::Load,
    offsets,
    recipient::Question,
    sock::{Kind, Sock},
    subject::Subject,
};

/// Reports an errno that was stored in a socket, but not one that is reported again without having
/// been stored again.
///
/// Each network message that the kernel stores is a failure of its own, although the program gets
/// one errno for all that arrive before its next call.
#[inline(always)]
pub(super) fn reported<L: Load>(sock: Sock<L>, kind: Kind, errno: u16) -> i32 {
    if kind.protocol as u8 != Protocol::Udp as u8 {
        return 0;
    }
    let icmp = datagram_icmp::take(sock, errno);
    // `udp_abort` holds the socket lock, which timestamps do not take.
    let is_killed = errno == ECONNABORTED && sock.is_owned();
    if icmp.is_none() && !is_killed {
        return 0;
    }
    // An IPv6 socket may have sent an IPv4 datagram.
    let family = match icmp {
        Some(icmp) => icmp.family(),
        None => sock.shown_family().unwrap_or(Family::Ipv4),
    };
    let signature = Signature {
        errno,
        kind: EventKind::ErrorReported as u8,
        origin: if is_killed { Origin::Abort } else { Origin::Report } as u8,
        state: sock.state(),
        family: family as u8,
        protocol: kind.protocol as u8,
        ..Signature::default()
    };
    let socket = if offsets::UDP_SENDS.get() == 1 {
        // The next send may return it.
        let socket = sock.new_identity();
        failure::record(sock, socket, &signature, true);
        socket
    } else {
        sock.identity()
    };
    // The current task is unrelated, even if this host refuses its own datagram, or is the killer.
    let question = Question::search(socket, Flags::empty(), false);
    let locate = |subject: &mut Subject| {
        subject.locate(sock, family);
        if let Some(icmp) = icmp {
            icmp.locate(subject);
        }
    };
    emit(&signature, question, locate, |event: &mut Event| {
        if let Some(icmp) = icmp {
            icmp.describe(event);
        } else {
            let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
            let comm = bpf_get_current_comm().unwrap_or_default();
            event.set_detail(Detail::Peer { tgid, comm, rst_reason: ABSENT });
        }
    });
    0
}
