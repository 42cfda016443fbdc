//! Traces the return of `udp_sendmsg` (`net/ipv4/udp.c`) and `udpv6_sendmsg` (`net/ipv6/udp.c`): a
//! datagram was sent, or was not.
//!
//! Prototype: `int (struct sock *, struct msghdr *, size_t)` in 5.10 to 7.3. Runs for each
//! datagram, so it is attached only on request, and leaves at the first test if the datagram was
//! sent. Produces an event if this host did not take it. What the network reported about an earlier
//! datagram was counted when it arrived, and the call only delivers it.

use aya_ebpf::{macros::fexit, programs::FExitContext};
use socktrace_ebpf::{EventKind, Family, Flags, Protocol};

use super::emit_call_of;
use crate::{
    arguments::Arguments as _,
    errno::{EAGAIN, ECONNREFUSED, EINTR, returned},
    failure,
    load::{Direct, Probe},
    offsets,
    sock::Sock,
    sockaddr::SockAddr,
    subject::Subject,
};

/// Return of `udp_sendmsg`. For an IPv6 socket, `udpv6_sendmsg` returns the same.
#[fexit(function = "udp_sendmsg")]
fn udp_sendmsg_return(ctx: FExitContext) -> i32 {
    sent(&ctx, Family::Ipv4)
}

/// Return of `udpv6_sendmsg`.
#[fexit(function = "udpv6_sendmsg")]
fn udpv6_sendmsg_return(ctx: FExitContext) -> i32 {
    sent(&ctx, Family::Ipv6)
}

#[inline(always)]
fn sent(ctx: &FExitContext, own: Family) -> i32 {
    let errno = returned(ctx.argument(3));
    // ECONNREFUSED comes only from ICMP.
    if matches!(errno, 0 | EAGAIN | EINTR | ECONNREFUSED) {
        return 0;
    }
    let sock = Sock::<Direct>::new(ctx.pointer(0));
    if sock.own_family() as u8 != own as u8 || sock.kind().protocol as u8 != Protocol::Udp as u8 {
        return 0;
    }
    let known = failure::find_connecting(sock);
    if known.errno == errno && known.delivered == 0 {
        failure::deliver(sock);
        return 0;
    }
    // The name is a `void *`.
    let name: *const u8 = Probe::read_member(ctx.pointer(1), &offsets::MSG_NAME);
    let length: i32 = Probe::read_member(ctx.pointer(1), &offsets::MSG_NAME_LENGTH);
    let target = SockAddr::<Probe>::new(name, length);
    let to = target.end(sock);
    let is_given = to.port != 0;
    let family = if is_given { to.family } else { sock.shown_family().unwrap_or(own) };
    let locate = |subject: &mut Subject| {
        if is_given {
            (subject.remote, subject.remote_port) = (to.ip, to.port);
        }
    };
    let (protocol, flags) = (Protocol::Udp as u8, Flags::empty());
    emit_call_of(protocol, EventKind::DatagramSend, sock, family, errno, flags, locate, |_| {})
}
