//! The wire format between socktrace's kernel programs and its daemon.
//!
//! This crate's library is compiled for both sides: for `bpfel-unknown-none` into the kernel
//! programs and for the host into the daemon. It holds plain data only. Every structure is
//! `repr(C)`, has no implicit padding, and its size and alignment are asserted at compile time.
//!
//! A hook turns a kernel moment into a [`Signature`], which is enough to say what happened and is
//! counted exactly, and an [`Event`], which adds addresses and numbers for people and may be lost.

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
/// They are counted as [`Signature::counted`] has them, of which there are far fewer in practice (kind,
/// state and errno determine each other to a large part). What does not fit is counted in
/// [`Counter::TallyOverflow`].
pub const TALLY_ENTRIES: usize = 2048;

/// Number of calls that can be under way at once where functions are probed at their return: threads
/// within bind, listen, connect, setsockopt and getsockopt. Many times what CPUs can run, as the
/// kernel evicts entries of such maps in batches of each CPU.
pub const CALL_ENTRIES: usize = 4 * 1024;

/// Number of processes whose last refused MPTCP socket is remembered, for the retry by plain TCP.
pub const RETRY_ENTRIES: usize = 256;

/// Number of sockets that are remembered, unless the daemon makes the table larger.
pub const SOCKETS: usize = 16 * 1024;

/// Places of a set of that table: of each two sets that a socket has the choice of.
pub const SOCKET_WAYS: usize = 4;

/// Number of listeners of Unix sockets that are remembered, for connects that find their queues full.
pub const UNIX_LISTENERS: usize = 4 * 1024;

/// Number of processes that can be followed at a time, and of those that have ended and are still known.
pub const FOLLOWED_ENTRIES: usize = 16 * 1024;

/// Number of ICMP errors and of resets sent that are remembered for the socket they concern.
pub const TUPLE_ENTRIES: usize = 1024;

/// Default size of the event ring buffer, in bytes: room for some 5,000 events.
pub const RING_BYTES: usize = 1024 * 1024;

/// Default number of metric series by service; each needs a few entries of the map of counts by owner,
/// see [`OWNED_PER_SERIES`].
pub const SERIES: usize = 1_000;

/// Room in the map of counts by owner for each series: signatures that differ and mean the same, and
/// owners that have gone since the last scrape.
pub const OWNED_PER_SERIES: usize = 8;

/// Size of the ring buffer by which owners are announced that fail for the first time, in bytes: room
/// for 256 between two looks of the daemon.
pub const NEWCOMER_BYTES: usize = 4 * 1024;

/// Reasons for sending an RST that are counted one by one: the kernel's `enum sk_rst_reason` has some
/// 30. Those that it may add beyond are counted as unknown, in the slot after these.
pub const RST_REASONS: usize = 64;

/// The kinds of sockets that answer segments by RST, by which those are counted, in this order: none, a
/// listener, a request, one in `TIME_WAIT`, a full one.
pub const RST_ANSWERERS: usize = 5;
