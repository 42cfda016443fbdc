//! Attempts to send that fail on this host: its own firewall, a BPF program of the cgroup or a full
//! conntrack table drops the segment; the route, the address or the link has gone; a queue is full.
//!
//! TCP only tries again, by its timers (`tcp_retransmit_skb` and `tcp_write_wakeup` in
//! `net/ipv4/tcp_output.c`). When it gives up, what has never left this host looks as if it were
//! lost on the way. The record of the socket that sends, which may be an MPTCP subflow, therefore
//! stores how the last attempts ended.

use socktrace_ebpf::{Counter, Event};

use crate::{
    errno::{EAGAIN, EBUSY, EHOSTUNREACH, ENOBUFS},
    load::Load,
    record::Record,
    sock::{Identity, Sock},
    tally,
    tcp_sock::TcpSock,
};

/// Consecutive failed attempts, as stored in records. The upper half identifies the socket, as in a
/// [`crate::note::Note`]; the lower half holds their number, and the errno of the last one.
#[derive(Clone, Copy)]
pub(crate) struct Failing(u64);

impl Failing {
    #[inline(always)]
    fn new(address: u64, tries: u16, errno: u16) -> Self {
        Self(address << 32 | u64::from(tries) << 16 | u64::from(errno))
    }

    /// Number of failed attempts, 0 for none.
    #[inline(always)]
    pub(crate) fn tries(self) -> u16 {
        (self.0 >> 16) as u16
    }

    #[inline(always)]
    pub(crate) fn describe(self, event: &mut Event) {
        (event.send_errno, event.send_tries) = (self.0 as u16, self.tries());
    }
}

/// Kind of segment that a timer sends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Segment {
    /// A retransmission (`tcp_retransmit_skb`).
    Old,
    /// New data or a probe (`tcp_write_wakeup`).
    New,
}

/// Handles the return of a function that sends.
#[inline(always)]
pub(crate) fn tried<L: Load>(sock: Sock<L>, segment: Segment, result: i32) -> i32 {
    let Some(tcp) = sock.tcp() else {
        return 0;
    };
    if result == 0 {
        // Retransmissions without a timeout are many, and follow no failure that would count: a
        // connection is given up only after a timeout, whose retransmission comes here too.
        if segment == Segment::New || tcp.has_timed_out() {
            succeeded(sock);
        }
        return 0;
    }
    let errno = errno(tcp, segment, result);
    // The segment still waits in a queue below, or the window has no room: nothing was attempted.
    if errno != EBUSY && errno != EAGAIN {
        failed(sock, errno);
    }
    0
}

/// Errno behind a nonzero result.
#[inline(always)]
fn errno<L: Load>(tcp: TcpSock<L>, segment: Segment, result: i32) -> u16 {
    if result > 0 {
        // `NET_XMIT_DROP` of a queueing discipline (`net_xmit_eval`).
        return ENOBUFS;
    }
    let errno = result.wrapping_neg() as u16;
    // `__tcp_retransmit_skb` returns this whatever the route lookup returned, which is in
    // `sk_err_soft` (`inet_sk_rebuild_header`, `inet6_sk_rebuild_header`).
    let soft = tcp.sock().soft_err();
    if segment == Segment::Old && errno == EHOSTUNREACH && soft != 0 { soft } else { errno }
}

#[inline(always)]
fn failed<L: Load>(sock: Sock<L>, errno: u16) {
    let socket = sock.new_identity();
    let Some(record) = Record::claim(socket, 0, 0) else {
        tally::bump(Counter::NotesLost);
        return;
    };
    let before = if is_of(record.failing, socket.address) { record.failing } else { 0 };
    let tries = Failing(before).tries().saturating_add(1);
    record.failing = Failing::new(socket.address, tries, errno).0;
}

#[inline(always)]
fn is_of(packed: u64, address: u64) -> bool {
    packed >> 32 == address & 0xffff_ffff
}

/// Records that an attempt has succeeded.
#[inline(always)]
fn succeeded<L: Load>(sock: Sock<L>) {
    if let Some(record) = Record::find(sock.identity()) {
        record.failing = 0;
    }
}

/// Failures of the last attempts on this socket: none if the last one succeeded.
#[inline(always)]
pub(crate) fn find<L: Load>(sock: Sock<L>) -> Failing {
    let socket = sock.identity();
    Failing(failing_of(socket.address, socket.cookie))
}

/// Handles the end of a connection. The failed attempts of a subflow are moved to the socket that
/// programs hold; those of any other socket are forgotten.
#[inline(always)]
pub(crate) fn hand_up<L: Load>(sock: Sock<L>, held: Identity) {
    let socket = sock.identity();
    move_failing(socket.address, socket.cookie, held.address, held.cookie);
}

/// A global function, like the next one: the verifier walks it once per program, whatever the paths
/// to it, and allows only numbers as arguments.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn failing_of(address: u64, cookie: u64) -> u64 {
    match Record::find(Identity::of_numbers(address, cookie)) {
        Some(record) if is_of(record.failing, address) => record.failing,
        _ => 0,
    }
}

/// Always returns 0: a global function has to return something.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn move_failing(address: u64, cookie: u64, to: u64, to_cookie: u64) -> u64 {
    let Some(record) = Record::find(Identity::of_numbers(address, cookie)) else {
        return 0;
    };
    let failing = Failing(record.failing);
    record.failing = 0;
    if to != address
        && is_of(failing.0, address)
        && let Some(record) = Record::find(Identity::of_numbers(to, to_cookie))
    {
        record.failing = Failing::new(to, failing.tries(), failing.0 as u16).0;
    }
    0
}
