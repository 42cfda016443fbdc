//! Sockets that have failed, remembered for what their programs do next: so that the call that
//! delivers the errno is not taken for a second failure, and a later one is told from it.

use aya_ebpf::{btf_maps::LruHashMap, helpers::generated::bpf_ktime_get_boot_ns, macros::btf_map};
use socktrace_ebpf::{FAILURE_ENTRIES, Signature};

use crate::{load::Load, tcp_sock::TcpSock};

/// How a socket failed.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Failure {
    /// When, in nanoseconds since boot.
    pub(crate) boot_ns: u64,
    /// Ports of the connection: the kernel reuses a socket's address for others.
    local_port: u16,
    pub(crate) remote_port: u16,
    /// The flags of that failure's signature.
    pub(crate) flags: u32,
    /// The errno that the kernel stored.
    pub(crate) errno: u16,
    /// The origin that `tcp_done` knew, and the state it saw.
    pub(crate) origin: u8,
    pub(crate) state: u8,
    /// Whether a call is known to have returned it: 1 or 0.
    pub(crate) delivered: u8,
    reserved: [u8; 3],
}

#[btf_map]
static FAILURES: LruHashMap<u64, Failure, FAILURE_ENTRIES> = LruHashMap::new();

/// Remembers that the socket has failed, as this signature says.
#[inline(always)]
pub(crate) fn record<L: Load>(tcp: TcpSock<L>, signature: &Signature) {
    let failure = Failure {
        // SAFETY: the helper takes nothing and cannot fail.
        boot_ns: unsafe { bpf_ktime_get_boot_ns() },
        local_port: tcp.local_port(),
        remote_port: tcp.sock().remote_port(),
        flags: signature.flags,
        errno: signature.errno,
        origin: signature.origin,
        state: signature.state,
        delivered: 0,
        reserved: [0; 3],
    };
    // A map of this kind makes room by itself.
    let _forgotten = FAILURES.insert(tcp.sock().key(), failure, 0);
}

/// How the socket has failed before, if it has.
#[inline(always)]
pub(crate) fn find<L: Load>(tcp: TcpSock<L>) -> Option<Failure> {
    // SAFETY: copied at once; the ports tell whether it is about this connection.
    let failure = *unsafe { FAILURES.get(tcp.sock().key()) }?;
    let remote_port = tcp.sock().remote_port();
    // A failed connect forgets where it was to go.
    let same = failure.local_port == tcp.local_port()
        && (failure.remote_port == remote_port || remote_port == 0);
    same.then_some(failure)
}

/// The failure of a socket that is connecting, whose ports are forgotten when it fails: to be
/// asked only after [`forget`] at the start of the attempt.
#[inline(always)]
pub(crate) fn find_connecting<L: Load>(tcp: TcpSock<L>) -> Option<Failure> {
    // SAFETY: copied at once.
    unsafe { FAILURES.get(tcp.sock().key()) }.copied()
}

/// Notes that a call has returned the errno.
#[inline(always)]
pub(crate) fn deliver<L: Load>(tcp: TcpSock<L>, failure: Failure) {
    let _forgotten = FAILURES.insert(tcp.sock().key(), Failure { delivered: 1, ..failure }, 0);
}

/// Forgets what is known under this socket's address: a new attempt begins.
#[inline(always)]
pub(crate) fn forget<L: Load>(tcp: TcpSock<L>) {
    let _unknown = FAILURES.remove(tcp.sock().key());
}
