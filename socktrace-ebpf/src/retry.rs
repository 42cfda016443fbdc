//! Programs that retry with plain TCP what was refused to an MPTCP socket.
//!
//! Go listens with MPTCP since 1.24. If that fails, it repeats everything with TCP (`listenMPTCP`,
//! `src/net/mptcpsock_linux.go`), whatever the reason: an address in use is refused twice for one
//! listen. The second refusal is nothing new.

use aya_ebpf::{
    btf_maps::LruHashMap,
    helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_boot_ns},
    macros::btf_map,
};
use socktrace_ebpf::{EventKind, Protocol, RETRY_ENTRIES};

/// Time after a refusal within which the same refusal is its repetition.
const SOON_NS: u64 = 1_000_000_000;

/// Refused call.
#[repr(C)]
#[derive(Clone, Copy)]
struct Refusal {
    at_ns: u64,
    errno: u16,
    port: u16,
    kind: u8,
    family: u8,
    reserved: u16,
}

/// Last refusal of an MPTCP socket, by process.
#[btf_map]
static REFUSALS: LruHashMap<u32, Refusal, RETRY_ENTRIES> = LruHashMap::new();

/// Whether a call of the current process on a TCP socket repeats one that was just refused to an
/// MPTCP socket, and reported. Records refusals of MPTCP sockets.
#[inline(always)]
pub(crate) fn repeats(kind: EventKind, protocol: u8, family: u8, port: u16, errno: u16) -> bool {
    let process = (bpf_get_current_pid_tgid() >> 32) as u32;
    // SAFETY: takes nothing and cannot fail.
    let at_ns = unsafe { bpf_ktime_get_boot_ns() };
    if protocol == Protocol::Mptcp as u8 {
        let refusal = Refusal { at_ns, errno, port, kind: kind as u8, family, reserved: 0 };
        // An LRU map evicts entries to make room; at worst the repetition is reported too.
        let _full = REFUSALS.insert(process, refusal, 0);
        return false;
    }
    // SAFETY: copied at once.
    let Some(last) = unsafe { REFUSALS.get(process) }.copied() else {
        return false;
    };
    let repeated = last.kind == kind as u8
        && last.family == family
        && last.port == port
        && last.errno == errno
        && at_ns.wrapping_sub(last.at_ns) < SOON_NS;
    if repeated {
        let _gone = REFUSALS.remove(process);
    }
    repeated
}
