//! Reports of errnos that are stored in sockets of protocols without hooks of their own, and taken
//! by the next call: what the network answers to raw, ICMP and SCTP sockets (`raw_err`, `ping_err`,
//! `sctp_err_finish`), messages that netlink drops (`netlink_overrun`), a device that goes down
//! under a packet or XDP socket (`packet_notifier`, `xsk_notifier`), and the end of a vsock connect
//! or connection (`virtio_transport_recv_connecting`, `vsock_connect_timeout`,
//! `vhost_vsock_reset_orphans`; 5.10 to 7.3).

use socktrace_ebpf::{Domain, EventKind, Flags, Origin, Protocol, Signature};

use crate::{
    emit::emit,
    load::Load,
    recipient::Question,
    sock::{Kind, Sock},
    subject::Subject,
    verifier::FlagBit as _,
};

/// Reports an errno that was stored in a socket. The task operating on the socket is unrelated.
#[inline(always)]
pub(super) fn reported<L: Load>(sock: Sock<L>, kind: Kind, errno: u16) -> i32 {
    if !is_watched(kind) {
        return 0;
    }
    let signature = Signature {
        errno,
        kind: EventKind::ErrorReported as u8,
        origin: Origin::Report as u8,
        state: sock.state(),
        family: kind.family,
        protocol: kind.protocol as u8,
        flags: Flags::empty().with_flag(Flags::CONNECTING, sock.is_in_connect()).0,
        ..Signature::default()
    };
    let question = Question::search(sock.identity(), Flags::empty(), false);
    let locate = |subject: &mut Subject| {
        subject.netns = sock.netns();
        // Instead of ports they have numbers of another kind.
        if let Some(family) = sock.family() {
            (subject.local, subject.remote) = (sock.local(family), sock.remote(family));
        }
    };
    emit(&signature, question, locate, |_| {});
    0
}

/// Whether errors on this kind of socket are reported here. Other kinds report what is not a
/// failure, or have hooks for it.
#[inline(always)]
fn is_watched(kind: Kind) -> bool {
    const XDP: u8 = Domain::Xdp as u8;
    match kind.protocol {
        Protocol::Raw
        | Protocol::Icmp
        | Protocol::Sctp
        | Protocol::Netlink
        | Protocol::Packet
        | Protocol::Vsock => true,
        Protocol::Other => kind.family == XDP,
        Protocol::Tcp | Protocol::Mptcp | Protocol::Udp | Protocol::Unix => false,
    }
}
