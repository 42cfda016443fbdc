//! Traces `udp_destroy_sock` (`net/ipv4/udp.c`) and `udpv6_destroy_sock` (`net/ipv6/udp.c`): a socket of
//! UDP ends.
//!
//! Prototype: `void (struct sock *)` in 5.10 to 7.3; once a socket, with its last close. Forgets whose it
//! was. Attached only where records have no cookies, see [`crate::record`].

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

/// The same by kprobe.
#[kprobe(function = "udp_destroy_sock")]
fn udp_destroy_sock_kprobe(ctx: ProbeContext) -> i32 {
    ends(&ctx)
}

/// Entry of `udpv6_destroy_sock`.
#[fentry(function = "udpv6_destroy_sock")]
fn udpv6_destroy_sock(ctx: FEntryContext) -> i32 {
    ends(&ctx)
}

/// The same by kprobe.
#[kprobe(function = "udpv6_destroy_sock")]
fn udpv6_destroy_sock_kprobe(ctx: ProbeContext) -> i32 {
    ends(&ctx)
}

#[inline(always)]
fn ends<A: Arguments>(ctx: &A) -> i32 {
    record::forget(Sock::<A::Load>::new(ctx.pointer(0)).key());
    0
}
