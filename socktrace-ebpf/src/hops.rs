//! How far the RST that ended a connection had come, beside the segment that completed its handshake: the
//! TTL of IPv4, the hop limit of IPv6 (`--hops`).
//!
//! Kept by the socket's address alone: each connection at it begins with a handshake, which overwrites what
//! is left of a former one.

use aya_ebpf::{btf_maps::LruHashMap, macros::btf_map};
use socktrace_ebpf::{Event, EventKind, Origin, SOCKETS, Signature, TcpState};

use crate::{load::Probe, offsets};

/// TTLs, or hop limits, of the segments when they arrived; 0 where they are not known.
#[repr(C)]
#[derive(Clone, Copy)]
struct Hops {
    handshake: u32,
    rst: u32,
}

#[btf_map]
static HOPS_LEFT: LruHashMap<u64, Hops, SOCKETS> = LruHashMap::new();

/// This segment completes the handshake of a connection; NULL where there was none (`TCP_REPAIR`).
#[inline(always)]
pub(crate) fn handshake(sock: u64, segment: *const u8) {
    // A map of this kind makes room by itself, unless all that this processor could give away is in use.
    if HOPS_LEFT.insert(sock, Hops { handshake: left(segment), rst: 0 }, 0).is_err() {
        // What a former connection has left is not to be believed. There may be none.
        let _gone = HOPS_LEFT.remove(sock);
    }
}

/// This RST has come for a connection.
#[inline(always)]
pub(crate) fn reset(sock: u64, segment: *const u8) {
    if let Some(hops) = HOPS_LEFT.get_ptr_mut(sock) {
        // SAFETY: an entry of a map stays valid memory while a program runs.
        unsafe { (*hops).rst = left(segment) };
    }
}

/// Adds to the event of a reset of this socket what was left of both.
#[inline(always)]
pub(crate) fn describe(sock: u64, event: &mut Event) {
    let Signature { kind, origin, state, .. } = event.signature;
    let is_reset = kind == EventKind::ConnectionEnded as u8 && origin == Origin::Reset as u8;
    // Without a handshake what is there is a former connection's.
    if offsets::HOPS.get() != 1 || !is_reset || state == TcpState::SynSent as u8 {
        return;
    }
    if let Some(hops) = HOPS_LEFT.get_ptr(sock) {
        // SAFETY: an entry of a map stays valid memory while a program runs.
        let Hops { handshake, rst } = unsafe { *hops };
        (event.handshake_ttl, event.rst_ttl) = (handshake as u8, rst as u8);
    }
}

/// How many hops more the packet of this segment might have made, 0 where there is none.
#[inline(always)]
fn left(segment: *const u8) -> u32 {
    /// Where the number lies in the headers of IPv4 and IPv6.
    const TTL: usize = 8;
    const HOP_LIMIT: usize = 7;

    if segment.is_null() {
        return 0;
    }
    let head: *const u8 = Probe::read_member(segment, &offsets::SKB_HEAD);
    let offset: u16 = Probe::read_member(segment, &offsets::SKB_NETWORK_HEADER);
    let header = head.wrapping_add(usize::from(offset));
    // Both at once: the version, by which they differ, is the upper half of the first byte.
    let [first, .., hop_limit, ttl] = Probe::read::<[u8; TTL + 1]>(header, 0);
    const { assert!(HOP_LIMIT + 1 == TTL) };
    u32::from(if first >> 4 == 6 { hop_limit } else { ttl })
}
