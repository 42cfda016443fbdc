//! Sockets that have failed, remembered for what their programs do next: so that the call that
//! delivers the errno is not taken for a second failure, and a later one is told from it.

use aya_ebpf::{btf_maps::LruHashMap, helpers::generated::bpf_ktime_get_boot_ns, macros::btf_map};
use socktrace_ebpf::{FAILURE_ENTRIES, Signature};

use crate::{load::Load, sock::Sock};

/// How a socket failed.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Failure {
    /// When, in nanoseconds since boot.
    pub(crate) boot_ns: u64,
    /// Ports of the connection: the kernel reuses a socket's address for others.
    pub(crate) local_port: u16,
    pub(crate) remote_port: u16,
    /// The flags of that failure's signature.
    pub(crate) flags: u32,
    /// The errno that the kernel stored; 0 of [`Failure::NONE`].
    pub(crate) errno: u16,
    /// The origin that `tcp_done` knew, and the state it saw.
    pub(crate) origin: u8,
    pub(crate) state: u8,
    /// Whether a call is known to have returned it: 1 or 0.
    pub(crate) delivered: u8,
    /// Whether it is the program's: 1, or 0 while it is only a subflow's of its MPTCP socket.
    pub(crate) told: u8,
    reserved: [u8; 2],
}

impl Failure {
    /// No failure. Not an `Option`, whose value the compiler reads before it knows that there is
    /// one, which the verifier refuses.
    const NONE: Self = Self {
        boot_ns: 0,
        local_port: 0,
        remote_port: 0,
        flags: 0,
        errno: 0,
        origin: 0,
        state: 0,
        delivered: 0,
        told: 0,
        reserved: [0; 2],
    };

    /// Whether there is one.
    #[inline(always)]
    pub(crate) fn is_some(&self) -> bool {
        self.errno != 0
    }
}

#[btf_map]
static FAILURES: LruHashMap<u64, Failure, FAILURE_ENTRIES> = LruHashMap::new();

/// Remembers that the socket has failed, as this signature says, and whether the program has been told.
#[inline(always)]
pub(crate) fn record<L: Load>(sock: Sock<L>, signature: &Signature, told: bool) {
    let failure = Failure {
        // SAFETY: the helper takes nothing and cannot fail.
        boot_ns: unsafe { bpf_ktime_get_boot_ns() },
        local_port: sock.local_port(),
        remote_port: sock.remote_port(),
        flags: signature.flags,
        errno: signature.errno,
        origin: signature.origin,
        state: signature.state,
        delivered: 0,
        told: u8::from(told),
        reserved: [0; 2],
    };
    // A map of this kind makes room by itself.
    let _forgotten = FAILURES.insert(sock.held_key(), failure, 0);
}

/// How the socket has failed before, if it has.
#[inline(always)]
pub(crate) fn find<L: Load>(sock: Sock<L>) -> Failure {
    // The ports tell whether it is about this connection.
    let failure = find_connecting(sock);
    let (local_port, remote_port) = (sock.local_port(), sock.remote_port());
    // An MPTCP socket learns its port when its first subflow is connected.
    let same_local = failure.local_port == local_port || (local_port == 0 && sock.is_mptcp());
    // A failed connect forgets where it was to go.
    let same_remote = failure.remote_port == remote_port || remote_port == 0;
    if same_local && same_remote { failure } else { Failure::NONE }
}

/// The failure of a socket that is connecting, whose ports are forgotten when it fails: to be
/// asked only after [`forget`] at the start of the attempt.
#[inline(always)]
pub(crate) fn find_connecting<L: Load>(sock: Sock<L>) -> Failure {
    // SAFETY: copied at once.
    unsafe { FAILURES.get(sock.held_key()) }.copied().unwrap_or(Failure::NONE)
}

/// Notes that a call has returned the errno.
#[inline(always)]
pub(crate) fn deliver<L: Load>(sock: Sock<L>, failure: Failure) {
    let _forgotten = FAILURES.insert(sock.held_key(), Failure { delivered: 1, ..failure }, 0);
}

/// Forgets what is known under this socket's address: a new attempt begins.
#[inline(always)]
pub(crate) fn forget<L: Load>(sock: Sock<L>) {
    let _unknown = FAILURES.remove(sock.held_key());
}
