//! socktrace's kernel programs, one file per kernel hook under `programs/`.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(
    clippy::inline_always,
    reason = "the verifier follows a kernel pointer within one function, not into a subprogram"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "the program macros hand the context over by value"
)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the kernel packs values into wider words, which are taken apart here"
)]

#[macro_use]
mod log;

mod arguments;
mod calls;
mod datagram_icmp;
mod descriptor;
mod draft;
mod emit;
mod errno;
mod failure;
mod filter;
mod flood;
mod follow;
mod holder;
mod hops;
mod icmp;
mod icmp_packet;
mod io_uring;
mod layer;
mod listeners;
mod load;
mod measure;
mod note;
mod offsets;
mod owned_tally;
mod owner;
mod packet;
mod policy;
mod programs;
mod recipient;
mod record;
mod retry;
mod sending;
mod signal;
mod sigpipe;
mod sock;
mod sockaddr;
mod socket;
mod subject;
mod system_call;
mod tally;
mod task;
mod tcp_sock;
mod tuple;
mod uapi;
mod unix;
mod verifier;
mod waiter;

/// A reachable panic would leave an endless loop behind, which the verifier rejects.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel offers helpers such as `bpf_skc_to_tcp_sock` only to GPL-compatible programs. It
/// recognizes this crate's license, MIT or GPL-2.0, by this name.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
