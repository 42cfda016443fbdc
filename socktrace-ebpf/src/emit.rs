//! Counts a signature and streams its event: in this order, always.

use aya_ebpf::{
    btf_maps::RingBuf,
    helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, generated::bpf_ktime_get_boot_ns},
    macros::btf_map,
};
use socktrace_ebpf::{Counter, Event, Family, RING_BYTES, Signature};

use crate::{offsets, sock::TcpSock, tally};

#[btf_map]
static EVENTS: RingBuf<Event, RING_BYTES> = RingBuf::new();

/// Counts `signature`, then tries to send the event.
///
/// `in_process`: whether the current task is the one operating on the socket; only then is it
/// named. The count is exact; the event is lost, and that counted, when the ring buffer is full.
#[inline(always)]
pub(crate) fn emit(signature: &Signature, family: Family, tcp: TcpSock, in_process: bool) {
    tally::count(signature);
    if offsets::STREAM.get() == 0 {
        return;
    }
    let Some(mut entry) = EVENTS.reserve(0) else {
        tally::bump(Counter::EventsLost);
        return;
    };
    let event = entry.write(Event::default());
    // SAFETY: the helper takes nothing and cannot fail.
    event.boot_ns = unsafe { bpf_ktime_get_boot_ns() };
    event.signature = *signature;
    tcp.describe(family, event);
    if in_process {
        let pid_tgid = bpf_get_current_pid_tgid();
        event.tgid = (pid_tgid >> 32) as u32;
        event.tid = pid_tgid as u32;
        event.comm = bpf_get_current_comm().unwrap_or_default();
    }
    entry.submit(0);
}
