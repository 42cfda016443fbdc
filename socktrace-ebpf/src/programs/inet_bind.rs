//! Traces the return of `inet_bind` (`net/ipv4/af_inet.c`) and `inet6_bind`
//! (`net/ipv6/af_inet6.c`), by system call or by `io_uring`.
//!
//! Prototype: `int (struct socket *, struct sockaddr *, int addr_len)` in 5.10 to 6.18. Produces
//! an event when it fails.

use aya_ebpf::{macros::fexit, programs::FExitContext};
use socktrace_ebpf::{Address, Family, Flags, Hook};

use super::{describe_call, failed_call};
use crate::{
    emit::emit,
    errno::returned,
    load::{Direct, Load as _, Probe},
    offsets,
    sock::Socket,
};

/// Offsets in `struct sockaddr_in` and `sockaddr_in6`, which are ABI: port, addresses.
const PORT: usize = 2;
const IPV4_ADDRESS: usize = 4;
const IPV6_ADDRESS: usize = 8;

/// Return of `inet_bind`.
#[fexit(function = "inet_bind")]
fn inet_bind_return(ctx: FExitContext) -> i32 {
    failed(&ctx)
}

/// Return of `inet6_bind`.
#[fexit(function = "inet6_bind")]
fn inet6_bind_return(ctx: FExitContext) -> i32 {
    failed(&ctx)
}

#[inline(always)]
fn failed(ctx: &FExitContext) -> i32 {
    let errno = returned(ctx.arg(3));
    if errno == 0 {
        return 0;
    }
    let sock = Socket::new(ctx.arg(0)).sock();
    let (Some(family), Some(tcp)) = (sock.family(), sock.tcp()) else {
        return 0;
    };
    let signature = failed_call(Hook::InetBind, tcp, family, errno, Flags::empty());
    emit(&signature, |event| {
        describe_call(event, tcp, family);
        // The address that was asked for, which the socket did not get.
        let wanted: *const u8 = ctx.arg(1);
        // SAFETY: the hook's `struct sockaddr` argument, which is 16 bytes long.
        event.local_port = u16::from_be(unsafe { Direct::load(wanted, PORT) });
        event.local = Address::default();
        if family == Family::Ipv4 {
            // SAFETY: likewise.
            let ip: [u8; 4] = unsafe { Direct::load(wanted, IPV4_ADDRESS) };
            event.local.octets[..4].copy_from_slice(&ip);
        } else if offsets::READ_KERNEL.get() == 1 {
            // Past the 16 bytes that the type admits.
            event.local.octets = Probe::read(wanted, IPV6_ADDRESS);
        }
    });
    0
}
