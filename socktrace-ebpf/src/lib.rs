//! The wire format between socktrace's kernel programs and its daemon.
//!
//! This crate's library is compiled for both sides: for `bpfel-unknown-none` into the kernel
//! programs and for the host into the daemon. It holds plain data only. Every structure is
//! `repr(C)`, has no implicit padding, and its size and alignment are asserted at compile time.
//!
//! A hook turns a moment in the kernel into a [`Signature`], which suffices to explain what
//! happened and is counted exactly, and an [`Event`], which adds addresses and numbers for people
//! and may be lost.

#![no_std]

mod counted;
pub mod counter;
pub mod criteria;
pub mod event;
pub mod facts;
mod first_byte;
pub mod histogram;
pub mod listener;
pub mod owned;
pub mod repeats;
mod report;
mod role;
pub mod signature;
mod socket_call;
pub mod sockopt;

pub use counter::Counter;
pub use criteria::{Criterion, CriterionKind};
pub use event::{
    AcceptQueue, Address, Detail, Event, FarEnd, Given, NamedEvent, Names, OwnerSource, Path,
};
pub use first_byte::first_byte;
pub use listener::ListenerState;
pub use owned::Owned;
pub use repeats::Repeats;
pub use report::Report;
pub use signature::{
    Domain, EventKind, Family, Flags, Origin, Protocol, Role, SentReset, Signature, Sigpipe,
    TcpState,
};
pub use socket_call::SocketCall;
pub use sockopt::Sockopt;

/// Number of distinct [`Signature`]s the kernel side can count.
///
/// They are counted as [`Signature::counted`] reduces them, of which far fewer occur in practice
/// (kind, state and errno largely determine each other). Signatures that do not fit are counted in
/// [`Counter::TallyOverflow`].
pub const TALLY_ENTRIES: usize = 2048;

/// Number of calls that can be in progress at once on functions with a return probe: threads within
/// bind, listen, connect, setsockopt and getsockopt. Many times what CPUs can run, because the
/// kernel evicts entries of such maps in per-CPU batches.
pub const CALL_ENTRIES: usize = 4 * 1024;

/// Number of processes whose last refused MPTCP socket is remembered, in case they retry with plain TCP.
pub const RETRY_ENTRIES: usize = 256;

/// Number of sockets tracked, unless the daemon makes the table larger.
pub const SOCKETS: usize = 16 * 1024;

/// Entries per set of that table; a socket has the choice of two sets.
pub const SOCKET_WAYS: usize = 4;

/// Number of Unix listeners tracked, for connects that find their queues full.
pub const UNIX_LISTENERS: usize = 4 * 1024;

/// Number of processes that can be followed at once, and of ended ones still tracked.
pub const FOLLOWED_ENTRIES: usize = 16 * 1024;

/// Number of ICMP errors, and of resets sent, remembered for the sockets they concern.
pub const TUPLE_ENTRIES: usize = 1024;

/// Default size of the event ring buffer, in bytes: room for some 5,000 events.
pub const RING_BYTES: usize = 1024 * 1024;

/// Default number of metric series by service; each needs a few entries in the map of counts by
/// owner, see [`OWNED_PER_SERIES`].
pub const SERIES: usize = 1_000;

/// Entries per series in the map of counts by owner: for signatures that differ but mean the same,
/// and for owners that have gone since the last scrape.
pub const OWNED_PER_SERIES: usize = 8;

/// Size in bytes of the ring buffer that announces owners failing for the first time: room for 256
/// between two reads by the daemon.
pub const NEWCOMER_BYTES: usize = 4 * 1024;

/// Number of reasons for sending an RST that are counted one by one: the kernel's `enum
/// sk_rst_reason` has some 30. Reasons beyond these are counted as unknown, in the slot after them.
pub const RST_REASONS: usize = 64;

/// Number of kinds of sockets that answer segments with an RST, by which these RSTs are counted. In
/// order: none, a listener, a request, one in `TIME_WAIT`, a full one.
pub const RST_ANSWERERS: usize = 5;
