//! Layers between a program and TCP: kTLS, and the programs of a sockmap.
//!
//! Their `sendmsg` transforms what is written and sends the result with TCP's. If that fails, TCP's
//! calls `sk_stream_error`, and then theirs does so for the program (`tls_sw_sendmsg`,
//! `tcp_bpf_sendmsg`; 5.10 to 7.3): one write fails, with the errno of the second call. Other
//! failures have no second call: kernel threads send what is left over (`tx_work_handler`,
//! `sk_psock_backlog`), and so does close. No program gets an errno for these.

use crate::{
    load::{Load, Probe},
    offsets,
    sock::Sock,
    task,
};

/// `MSG_NO_SHARED_FRAGS` in `include/linux/socket.h`: `tcp_bpf_sendmsg` adds it to the flags of
/// what it sends (5.10 to 7.3), but not to the program's.
const MSG_NO_SHARED_FRAGS: i32 = 0x8_0000;

/// Whether `sk_stream_error`, called with these flags, ends a send that no program has made.
#[inline(always)]
pub(crate) fn is_inner_call<L: Load>(sock: Sock<L>, message_flags: i32) -> bool {
    lies_below(sock)
        && (message_flags & MSG_NO_SHARED_FRAGS != 0
            || ktls(sock.key()) == SENDING
            || task::current_is_kernel_thread())
}

/// Whether a program's call is in progress on a socket for which kTLS encrypts.
#[inline(always)]
pub(crate) fn encrypts_for_a_program<L: Load>(sock: Sock<L>) -> bool {
    lies_below(sock)
        && sock.is_owned()
        && ktls(sock.key()) != NONE
        && !task::current_is_kernel_thread()
}

/// Whether a layer lies above TCP on this socket: two loads, after which all other sockets are done.
#[inline(always)]
pub(crate) fn lies_below<L: Load>(sock: Sock<L>) -> bool {
    // Not trusted: see `TcpSock::untrusted_sock`.
    sock.tcp().is_some_and(|tcp| tcp.untrusted_sock().has_other_protocol())
}

/// State of kTLS on a socket: none if it does not encrypt what is sent, or the device does.
const NONE: u64 = 0;
const ENCRYPTS: u64 = 1;
/// kTLS is sending what it has encrypted.
const SENDING: u64 = 2;

/// Name of kTLS among upper-layer protocols, with its NUL.
const TLS: u32 = u32::from_ne_bytes(*b"tls\0");

/// `TLS_SW` in `include/net/tls.h`; the same in 5.10 to 7.3. With device offload, kTLS's `sendmsg`
/// (`tls_device_sendmsg`) leaves `sk_stream_error` to TCP's.
const TLS_SW: u8 = 1;

/// State of kTLS on a TCP socket. A global function: the verifier walks it once per program,
/// whatever the paths to it, and allows only numbers as arguments.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn ktls(sock: u64) -> u64 {
    if offsets::READ_KERNEL.get() != 1 || offsets::ICSK_ULP_OPS.is_absent() {
        return NONE;
    }
    let sock = sock as *const u8;
    let ops: *const u8 = Probe::read_member(sock, offsets::ICSK_ULP_OPS.present());
    if Probe::read_member::<u32>(ops, offsets::ULP_NAME.present()) != TLS {
        return NONE;
    }
    let context: *const u8 = Probe::read_member(sock, offsets::ICSK_TLS_CONTEXT.present());
    let bit = offsets::TLS_TX_CONF_BIT.present().get() as usize;
    let byte: u8 = Probe::read(context, bit / 8);
    if byte >> (bit % 8) & 0b111 != TLS_SW {
        return NONE;
    }
    // `tls_push_sg` sets the one that this kernel has; the other reads as zero.
    let before: u8 = Probe::read_member(context, &offsets::TLS_IN_SENDPAGES);
    let since: u8 = Probe::read_member(context, &offsets::TLS_SPLICING_PAGES);
    if before | since != 0 { SENDING } else { ENCRYPTS }
}
