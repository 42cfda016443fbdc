//! Remaining TTL (IPv4) or hop limit (IPv6) of the RST that ended a connection, and of the segment
//! that completed its handshake (`--hops`).
//!
//! Both are keyed by the socket's address alone: each connection at that address begins with a
//! handshake, which overwrites what an earlier one has left.

use aya_ebpf::{btf_maps::LruHashMap, macros::btf_map};
use socktrace_ebpf::{Event, EventKind, Origin, SOCKETS, Signature, TcpState};

use crate::{load::Probe, offsets};

/// TTLs, or hop limits, of the segments on arrival; 0 if unknown.
#[repr(C)]
#[derive(Clone, Copy)]
struct Hops {
    handshake: u32,
    rst: u32,
}

#[btf_map]
static HOPS_LEFT: LruHashMap<u64, Hops, SOCKETS> = LruHashMap::new();

/// Stores the TTL of the segment that completes a handshake; NULL if there was no handshake
/// (`TCP_REPAIR`).
#[inline(always)]
pub(crate) fn handshake(sock: u64, segment: *const u8) {
    // An LRU map evicts entries to make room, unless every entry that this CPU could evict is in use.
    if HOPS_LEFT.insert(sock, Hops { handshake: left(segment), rst: 0 }, 0).is_err() {
        // An earlier connection's values must not be taken for this one's. There may be none.
        let _gone = HOPS_LEFT.remove(sock);
    }
}

/// Stores the TTL of an RST that has arrived for a connection.
#[inline(always)]
pub(crate) fn reset(sock: u64, segment: *const u8) {
    if let Some(hops) = HOPS_LEFT.get_ptr_mut(sock) {
        // SAFETY: an entry of a map stays valid memory while a program runs.
        unsafe { (*hops).rst = left(segment) };
    }
}

/// Adds both TTLs to the event of this socket's reset.
#[inline(always)]
pub(crate) fn describe(sock: u64, event: &mut Event) {
    let Signature { kind, origin, state, .. } = event.signature;
    let is_reset = kind == EventKind::ConnectionEnded as u8 && origin == Origin::Reset as u8;
    // Without a handshake, the entry is from an earlier connection.
    if offsets::HOPS.get() != 1 || !is_reset || state == TcpState::SynSent as u8 {
        return;
    }
    if let Some(hops) = HOPS_LEFT.get_ptr(sock) {
        // SAFETY: an entry of a map stays valid memory while a program runs.
        let Hops { handshake, rst } = unsafe { *hops };
        (event.handshake_ttl, event.rst_ttl) = (handshake as u8, rst as u8);
    }
}

/// Number of hops that the packet of this segment had left; 0 if there is none.
#[inline(always)]
fn left(segment: *const u8) -> u32 {
    /// Offsets of the field in the headers of IPv4 and IPv6.
    const TTL: usize = 8;
    const HOP_LIMIT: usize = 7;

    if segment.is_null() {
        return 0;
    }
    let head: *const u8 = Probe::read_member(segment, &offsets::SKB_HEAD);
    let offset: u16 = Probe::read_member(segment, &offsets::SKB_NETWORK_HEADER);
    let header = head.wrapping_add(usize::from(offset));
    // Both at once: the version, which selects one, is the upper half of the first byte.
    let [first, .., hop_limit, ttl] = Probe::read::<[u8; TTL + 1]>(header, 0);
    const { assert!(HOP_LIMIT + 1 == TTL) };
    u32::from(if first >> 4 == 6 { hop_limit } else { ttl })
}
