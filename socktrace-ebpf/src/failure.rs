//! Records of failed sockets. They keep the call that delivers the errno from being taken for a
//! second failure, and distinguish later failures from it.

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use socktrace_ebpf::{Origin, Signature, TcpState};

use crate::{
    errno::ECONNRESET,
    icmp,
    load::Load,
    record::Record,
    sock::{Identity, Sock},
    verifier::is_other,
};

/// How a socket failed.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Failure {
    /// Time of the failure, in nanoseconds since boot.
    pub(crate) boot_ns: u64,
    /// Ports of the connection: the kernel reuses a socket's address for others.
    pub(crate) local_port: u16,
    pub(crate) remote_port: u16,
    /// Flags of the failure's signature.
    pub(crate) flags: u32,
    /// Errno that the kernel stored; 0 in [`Failure::NONE`].
    pub(crate) errno: u16,
    /// Origin and state of the failure's signature.
    pub(crate) origin: u8,
    pub(crate) state: u8,
    /// Whether a call is known to have returned the errno: 1 or 0.
    pub(crate) delivered: u8,
    /// Whether the program's socket has failed: 1, or 0 while only a subflow of its MPTCP socket has.
    pub(crate) reported: u8,
    /// [`socktrace_ebpf::EventKind`] that reported it.
    pub(crate) kind: u8,
    reserved: u8,
}

impl Failure {
    /// No failure. Not an `Option`: the compiler reads an option's value before it knows that there
    /// is one, which the verifier rejects.
    const NONE: Self = Self {
        boot_ns: 0,
        local_port: 0,
        remote_port: 0,
        flags: 0,
        errno: 0,
        origin: 0,
        state: 0,
        delivered: 0,
        reported: 0,
        kind: 0,
        reserved: 0,
    };

    /// Resets it to no failure.
    #[inline(always)]
    pub(crate) fn clear(&mut self) {
        *self = Self::NONE;
    }

    /// Current value of the time: another program may be writing it.
    #[inline(always)]
    fn time(&self) -> u64 {
        // SAFETY: reads a live, aligned field.
        unsafe { (&raw const self.boot_ns).read_volatile() }
    }

    /// Whether it came from an ICMP error, or from an equivalent such as a lost route: 1 or 0. RSTs
    /// share an errno with them.
    #[inline(always)]
    pub(crate) fn is_by_icmp(&self) -> u64 {
        icmp::is_its_errno(self.errno) & is_other(self.origin.into(), Origin::Reset as u64)
    }

    /// Whether a failure is recorded.
    #[inline(always)]
    pub(crate) fn is_some(&self) -> bool {
        self.errno != 0
    }
}

/// Records that the socket has failed with this signature. `reported` is false while only a subflow
/// of an MPTCP socket has failed.
#[inline(always)]
pub(crate) fn record<L: Load>(
    sock: Sock<L>,
    socket: Identity,
    signature: &Signature,
    reported: bool,
) {
    if let Some(record) = Record::claim(socket, 0, 0) {
        let failure = &mut record.failure;
        // SAFETY: the helper takes nothing and cannot fail.
        failure.boot_ns = unsafe { bpf_ktime_get_boot_ns() };
        (failure.local_port, failure.remote_port) = (sock.local_port(), sock.remote_port());
        (failure.flags, failure.errno) = (signature.flags, signature.errno);
        (failure.origin, failure.state) = (signature.origin, signature.state);
        (failure.delivered, failure.reported) = (0, u8::from(reported));
        failure.kind = signature.kind;
    }
}

/// Records that the program dissolves a live connection, which explains whatever calls fail next on
/// this socket.
#[inline(always)]
pub(crate) fn dissolve<L: Load>(sock: Sock<L>) {
    let signature = Signature {
        errno: ECONNRESET,
        origin: Origin::Dissolved as u8,
        state: TcpState::Close as u8,
        ..Signature::default()
    };
    record(sock, sock.new_held_identity(), &signature, true);
}

/// Earlier failure of the socket, if any.
#[inline(always)]
pub(crate) fn find<L: Load>(sock: Sock<L>) -> Failure {
    // The ports show whether the record is about this connection.
    let failure = find_connecting(sock);
    let (local_port, remote_port) = (sock.local_port(), sock.remote_port());
    // An MPTCP socket gets its port when its first subflow is connected.
    let same_local = failure.local_port == local_port || (local_port == 0 && sock.is_mptcp());
    // A failed connect clears the destination.
    let same_remote = failure.remote_port == remote_port || remote_port == 0;
    if same_local && same_remote { failure } else { Failure::NONE }
}

/// Failure of a socket that was connecting, whose ports are cleared when it fails.
#[inline(always)]
pub(crate) fn find_connecting<L: Load>(sock: Sock<L>) -> Failure {
    Record::find(sock.held_identity()).map_or(Failure::NONE, |record| record.failure)
}

/// Marks the errno as returned by a call.
#[inline(always)]
pub(crate) fn deliver<L: Load>(sock: Sock<L>) {
    if let Some(record) = Record::find(sock.held_identity()) {
        record.failure.delivered = 1;
    }
}

/// Forgets the failure of this socket, because a new attempt begins.
#[inline(always)]
pub(crate) fn forget<L: Load>(sock: Sock<L>) {
    if let Some(record) = Record::find(sock.held_identity()) {
        record.failure.clear();
        record.failing = 0;
    }
}

/// Forgets failures that precede a connect that has begun or succeeded. Failures since it began are
/// kept: the peer may have answered before the call returned.
#[inline(always)]
pub(crate) fn forget_former<L: Load>(sock: Sock<L>, record: &mut Record) {
    // Read before the state: a failure that comes in between belongs to this connection.
    let former = record.failure.time();
    if sock.state() != TcpState::Close as u8 && record.failure.time() == former {
        record.failure.clear();
    }
}
