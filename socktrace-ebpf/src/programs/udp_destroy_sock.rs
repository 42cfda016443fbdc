//! Traces `udp_destroy_sock` (`net/ipv4/udp.c`) and `udpv6_destroy_sock` (`net/ipv6/udp.c`): the
//! end of a UDP socket.
//!
//! Prototype: `void (struct sock *)` in 5.10 to 7.3; once per socket, with its last close. Forgets
//! the socket's owner. Attached only where records have no cookies, see [`crate::record`].

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};

use crate::{arguments::Arguments, record, sock::Sock};

/// Entry of `udp_destroy_sock`.
#[fentry(function = "udp_destroy_sock")]
fn udp_destroy_sock(ctx: FEntryContext) -> i32 {
    ends(&ctx)
}

/// Entry of `udp_destroy_sock` by kprobe.
#[kprobe(function = "udp_destroy_sock")]
fn udp_destroy_sock_kprobe(ctx: ProbeContext) -> i32 {
    ends(&ctx)
}

/// Entry of `udpv6_destroy_sock`.
#[fentry(function = "udpv6_destroy_sock")]
fn udpv6_destroy_sock(ctx: FEntryContext) -> i32 {
    ends(&ctx)
}

/// Entry of `udpv6_destroy_sock` by kprobe.
#[kprobe(function = "udpv6_destroy_sock")]
fn udpv6_destroy_sock_kprobe(ctx: ProbeContext) -> i32 {
    ends(&ctx)
}

#[inline(always)]
fn ends<A: Arguments>(ctx: &A) -> i32 {
    record::forget(Sock::<A::Load>::new(ctx.pointer(0)).key());
    0
}
