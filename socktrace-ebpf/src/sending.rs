//! Tries to send that fail on this host: its own firewall, a BPF program of the cgroup or a full conntrack
//! table drops the segment; the route, the address or the link has gone; a queue is full.
//!
//! TCP only tries again, by its timers (`tcp_retransmit_skb` and `tcp_write_wakeup` in
//! `net/ipv4/tcp_output.c`): when it gives up, what has never left this host looks as if lost on the way.
//! So the record of the socket that sends, which may be a subflow of MPTCP, has how the last tries ended.

use socktrace_ebpf::{Counter, Event};

use crate::{
    errno::{EAGAIN, EBUSY, EHOSTUNREACH, ENOBUFS},
    load::Load,
    record::Record,
    sock::{Identity, Sock},
    tally,
    tcp_sock::TcpSock,
};

/// Tries that failed, one after the other, as records have them: in the upper half whose they are, as in
/// that of a [`crate::note::Note`]; how many there were, and the errno of the last one.
#[derive(Clone, Copy)]
pub(crate) struct Failing(u64);

impl Failing {
    #[inline(always)]
    fn new(address: u64, tries: u16, errno: u16) -> Self {
        Self(address << 32 | u64::from(tries) << 16 | u64::from(errno))
    }

    /// How many there were, 0 for none.
    #[inline(always)]
    pub(crate) fn tries(self) -> u16 {
        (self.0 >> 16) as u16
    }

    #[inline(always)]
    pub(crate) fn describe(self, event: &mut Event) {
        (event.send_errno, event.send_tries) = (self.0 as u16, self.tries());
    }
}

/// Kind of what a timer sends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Segment {
    /// A retransmission (`tcp_retransmit_skb`).
    Old,
    /// New data or a probe (`tcp_write_wakeup`).
    New,
}

/// A function that sends has returned this.
#[inline(always)]
pub(crate) fn tried<L: Load>(sock: Sock<L>, segment: Segment, result: i32) -> i32 {
    let Some(tcp) = sock.tcp() else {
        return 0;
    };
    if result == 0 {
        // Retransmissions that no timeout is the reason of are many, and no failure precedes them that
        // would count: a connection is given up after a timeout only, whose retransmission comes here too.
        if segment == Segment::New || tcp.has_timed_out() {
            succeeded(sock);
        }
        return 0;
    }
    let errno = errno(tcp, segment, result);
    // The segment still waits in a queue below, or the window has no room: nothing was tried.
    if errno != EBUSY && errno != EAGAIN {
        failed(sock, errno);
    }
    0
}

/// The errno behind a result that is not 0.
#[inline(always)]
fn errno<L: Load>(tcp: TcpSock<L>, segment: Segment, result: i32) -> u16 {
    if result > 0 {
        // `NET_XMIT_DROP` of a queueing discipline (`net_xmit_eval`).
        return ENOBUFS;
    }
    let errno = result.wrapping_neg() as u16;
    // `__tcp_retransmit_skb` returns this for whatever the look-up of a route returned, and that is in
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

/// One has succeeded.
#[inline(always)]
fn succeeded<L: Load>(sock: Sock<L>) {
    if let Some(record) = Record::find(sock.identity()) {
        record.failing = 0;
    }
}

/// How the last tries on this socket failed: none if the last one did not.
#[inline(always)]
pub(crate) fn find<L: Load>(sock: Sock<L>) -> Failing {
    let socket = sock.identity();
    Failing(failing_of(socket.address, socket.cookie))
}

/// The connection has ended. What is remembered of a subflow is from now on remembered of the socket that
/// programs hold; of any other socket nothing is.
#[inline(always)]
pub(crate) fn hand_up<L: Load>(sock: Sock<L>, held: Identity) {
    let socket = sock.identity();
    move_failing(socket.address, socket.cookie, held.address, held.cookie);
}

/// A global function, as the next one: the verifier goes through it once in a program, whatever the
/// paths to it, and takes numbers for arguments only.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn failing_of(address: u64, cookie: u64) -> u64 {
    match Record::find(Identity::of_numbers(address, cookie)) {
        Some(record) if is_of(record.failing, address) => record.failing,
        _ => 0,
    }
}

/// Always 0: a global function has to return something.
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
