//! Facts about the running kernel, set by the daemon before the programs are verified.
//!
//! Facts are in read-only data that is frozen at load, so the verifier knows their values: code
//! behind `is_absent` tests disappears, and an offset added to a pointer is a constant.

use socktrace_ebpf::{facts::ABSENT, kernel_facts};

/// A fact: an offset, size or bit position from the kernel's BTF, or [`ABSENT`].
///
/// Transparent over `u32`: the daemon overwrites it as four bytes.
#[repr(transparent)]
pub(crate) struct Fact(u32);

impl Fact {
    /// The value. The read is volatile, because the compiler must not fold the initial value.
    #[inline(always)]
    pub(crate) fn get(&self) -> u32 {
        // SAFETY: reads a live, aligned static of this type.
        unsafe { core::ptr::read_volatile(&raw const self.0) }
    }
}

/// A fact that this kernel may lack. The type makes programs check for it.
///
/// Transparent over `u32`, like [`Fact`].
#[repr(transparent)]
pub(crate) struct Optional(Fact);

/// Facts that are the offset of a member.
pub(crate) trait Offset {
    /// Offset of the member, if this kernel has it.
    fn offset(&self) -> Option<usize>;
}

impl Offset for Fact {
    #[inline(always)]
    fn offset(&self) -> Option<usize> {
        Some(self.get() as usize)
    }
}

impl Offset for Optional {
    #[inline(always)]
    fn offset(&self) -> Option<usize> {
        let value = self.0.get();
        (value != ABSENT).then_some(value as usize)
    }
}

impl Optional {
    /// The fact itself, for use where another fact of its group is present: see
    /// [`socktrace_ebpf::kernel_facts`]. Each test of a fact costs the verifier a branch to follow,
    /// and to remove from the program again.
    #[inline(always)]
    pub(crate) fn present(&self) -> &Fact {
        &self.0
    }

    /// Whether this kernel lacks the fact.
    #[inline(always)]
    pub(crate) fn is_absent(&self) -> bool {
        self.offset().is_none()
    }
}

macro_rules! globals {
    ($($need:ident $arguments:tt {
        $($name:ident = $ty:literal, $path:literal, $kind:ident;)+
    })+) => {
        $($(globals!(@ $need $name, concat!("Where `", $ty, ".", $path, "` lies, or its size."));)+)+
    };
    (@ feature $name:ident, $doc:expr) => { globals!(@ optional $name, $doc); };
    (@ optional $name:ident, $doc:expr) => {
        #[doc = $doc]
        #[unsafe(no_mangle)]
        pub(crate) static $name: Optional = Optional(Fact(ABSENT));
    };
    (@ $need:ident $name:ident, $doc:expr) => {
        #[doc = $doc]
        #[unsafe(no_mangle)]
        pub(crate) static $name: Fact = Fact(ABSENT);
    };
}
kernel_facts!(globals);

/// Position of the `skb` argument of `tcp_reset`; absent in 5.10, which passes only the socket.
#[unsafe(no_mangle)]
pub(crate) static TCP_RESET_SKB_ARG: Optional = Optional(Fact(ABSENT));

/// The kernel's `SK_RST_REASON_INVALID_SYN`, with which it answers a segment of a handshake in
/// progress (since 6.10); absent before.
#[unsafe(no_mangle)]
pub(crate) static RST_INVALID_SYN: Fact = Fact(ABSENT);

/// Whether `bpf_probe_read_kernel` may be used: 1, or 0 under lockdown=confidentiality. Facts that
/// only it can read are then missing; everything else is read by direct loads.
#[unsafe(no_mangle)]
pub(crate) static READ_KERNEL: Fact = Fact(0);

/// Whether MPTCP sockets are distinguished from their subflows: 1, or 0 where the facts, the
/// tracepoint `inet_sk_error_report` or [`READ_KERNEL`] are missing. Each subflow is then reported
/// as a socket.
#[unsafe(no_mangle)]
pub(crate) static MPTCP: Fact = Fact(0);

/// Whether connections are closed before their error is reported: 1, or 0 where the kernel has no
/// `tcp_done_with_error`.
#[unsafe(no_mangle)]
pub(crate) static CLOSES_FIRST: Fact = Fact(0);

/// Whether the return of `tcp_sendmsg_fastopen` is hooked: 1 or 0.
#[unsafe(no_mangle)]
pub(crate) static FAST_OPEN_RETURNS: Fact = Fact(0);

/// Whether the kernel has `bpf_get_current_task_btf` (5.11): 1 or 0.
#[unsafe(no_mangle)]
pub(crate) static TASK_BTF: Fact = Fact(0);

/// Whether the kernel has `bpf_task_pt_regs` (5.15): 1 or 0.
#[unsafe(no_mangle)]
pub(crate) static TASK_REGISTERS: Fact = Fact(0);

/// Whether programs at trampolines can make the kernel create a socket's cookie (5.12): 1 or 0.
#[unsafe(no_mangle)]
pub(crate) static COOKIES: Fact = Fact(0);

/// Whether programs may query an ancestor of the current cgroup (5.15): 1 or 0.
#[unsafe(no_mangle)]
pub(crate) static SLICES: Fact = Fact(0);

/// Number of sets in the table of sockets, a power of two, minus 1.
#[unsafe(no_mangle)]
pub(crate) static SOCKET_SET_MASK: Fact = Fact(0);

/// Silence, in jiffies, after which a reset on the first data counts as a reset of an idle connection.
#[unsafe(no_mangle)]
pub(crate) static IDLE_JIFFIES: Fact = Fact(ABSENT);

/// Number of retransmissions from which a reset counts as one after retransmissions.
#[unsafe(no_mangle)]
pub(crate) static RETRANSMIT_THRESHOLD: Fact = Fact(1);

/// Whether retransmission timeouts are streamed too: 1 or 0. They are always counted.
#[unsafe(no_mangle)]
pub(crate) static STREAM_RETRANSMITS: Fact = Fact(0);

/// Whether events are streamed: 1 or 0. Without a reader they would only fill the ring buffer.
#[unsafe(no_mangle)]
pub(crate) static STREAM: Fact = Fact(1);

/// Whether any filter tests what events are about: 1 or 0. The filter for each kind of value is a
/// [`socktrace_ebpf::criteria::mode`].
#[unsafe(no_mangle)]
pub(crate) static FILTER: Fact = Fact(0);

/// Filter for followed processes.
#[unsafe(no_mangle)]
pub(crate) static FILTER_FOLLOWED: Fact = Fact(0);

/// Filter on process ids.
#[unsafe(no_mangle)]
pub(crate) static FILTER_PID: Fact = Fact(0);

/// Filter on command names.
#[unsafe(no_mangle)]
pub(crate) static FILTER_COMM: Fact = Fact(0);

/// Filter on users.
#[unsafe(no_mangle)]
pub(crate) static FILTER_UID: Fact = Fact(0);

/// Filter on services, which the daemon finds by the cgroup.
#[unsafe(no_mangle)]
pub(crate) static FILTER_SERVICE: Fact = Fact(0);

/// Filter on network namespaces.
#[unsafe(no_mangle)]
pub(crate) static FILTER_NETNS: Fact = Fact(0);

/// Filter on ports.
#[unsafe(no_mangle)]
pub(crate) static FILTER_PORT: Fact = Fact(0);

/// Filter on this host's address.
#[unsafe(no_mangle)]
pub(crate) static FILTER_LOCAL: Fact = Fact(0);

/// Filter on the peer's address.
#[unsafe(no_mangle)]
pub(crate) static FILTER_REMOTE: Fact = Fact(0);

/// Whether the daemon judges signatures: 1 or 0.
#[unsafe(no_mangle)]
pub(crate) static FILTER_SIGNATURE: Fact = Fact(0);

/// Whether filters narrow the counts too: 1 or 0.
#[unsafe(no_mangle)]
pub(crate) static FILTER_COUNTS: Fact = Fact(0);

/// Whether failures are counted by owner: 1 or 0.
#[unsafe(no_mangle)]
pub(crate) static OWNED_COUNTS: Fact = Fact(0);

/// Whether failures counted by owner are counted by the service's port too: 1 or 0.
#[unsafe(no_mangle)]
pub(crate) static SERVICE_PORTS: Fact = Fact(0);

/// Number of events of one kind within [`socktrace_ebpf::repeats::WINDOW_NS`] after which further
/// ones are counted instead of streamed; 0 streams all.
#[unsafe(no_mangle)]
pub(crate) static REPEAT_AFTER: Fact = Fact(0);

/// Whether kinds of events are distinguished by cgroup (1), or by process (0) because cgroups do
/// not show which service a process belongs to.
#[unsafe(no_mangle)]
pub(crate) static FLOODS_BY_CGROUP: Fact = Fact(1);

/// Whether the return of each UDP send is hooked: 1 or 0.
#[unsafe(no_mangle)]
pub(crate) static UDP_SENDS: Fact = Fact(0);

/// Whether sends on Unix sockets are hooked: 1 or 0.
#[unsafe(no_mangle)]
pub(crate) static UNIX_SENDS: Fact = Fact(0);

/// Whether TTLs of segments are stored, see [`crate::hops`]: 1 or 0.
#[unsafe(no_mangle)]
pub(crate) static HOPS: Fact = Fact(0);

/// Length of a jiffy in microseconds.
#[unsafe(no_mangle)]
pub(crate) static JIFFY_US: Fact = Fact(4_000);
