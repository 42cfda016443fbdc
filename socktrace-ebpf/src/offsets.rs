//! Facts about the running kernel, set by the daemon before the programs are verified.
//!
//! Each lies in read-only data that is frozen at load, so the verifier knows its value: code
//! behind `is_absent` tests disappears, and an offset added to a pointer is a constant.

use socktrace_ebpf::{facts::ABSENT, kernel_facts};

/// A fact: an offset, size or bit position from the kernel's BTF, or [`ABSENT`].
///
/// Transparent over `u32`: the daemon overwrites it as four bytes.
#[repr(transparent)]
pub(crate) struct Fact(u32);

impl Fact {
    /// The value. The read is volatile, as the compiler must not fold the initial one.
    #[inline(always)]
    pub(crate) fn get(&self) -> u32 {
        // SAFETY: reads a live, aligned static of this type.
        unsafe { core::ptr::read_volatile(&raw const self.0) }
    }
}

/// A fact that this kernel may lack: to be asked for, so that no program forgets it.
///
/// Transparent over `u32`, as [`Fact`].
#[repr(transparent)]
pub(crate) struct Optional(Fact);

/// What the offset of a member can be asked of.
pub(crate) trait Offset {
    /// The offset, where this kernel has the member.
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
    /// The fact itself, to be read where another one of its group is there: see
    /// [`socktrace_ebpf::kernel_facts`]. Each test of one costs the verifier a branch to follow, and to
    /// take out of the program again.
    #[inline(always)]
    pub(crate) fn present(&self) -> &Fact {
        &self.0
    }

    /// Whether this kernel lacks it.
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

/// Position of the `skb` argument of `tcp_reset`; absent in 5.10, which passes the socket alone.
#[unsafe(no_mangle)]
pub(crate) static TCP_RESET_SKB_ARG: Optional = Optional(Fact(ABSENT));

/// The kernel's `SK_RST_REASON_INVALID_SYN`, for which it answers a segment of a handshake under way (since
/// 6.10); absent before.
#[unsafe(no_mangle)]
pub(crate) static RST_INVALID_SYN: Fact = Fact(ABSENT);

/// Whether `bpf_probe_read_kernel` may be used: 1, or 0 under lockdown=confidentiality. What it
/// alone can read is then missing; everything else goes by direct loads.
#[unsafe(no_mangle)]
pub(crate) static READ_KERNEL: Fact = Fact(0);

/// Whether MPTCP sockets are distinguished from their subflows: 1, or 0 where the facts, the tracepoint
/// `inet_sk_error_report` or [`READ_KERNEL`] are missing. Then each subflow is reported as a socket.
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

/// Whether programs at trampolines can have the kernel make a socket's cookie (5.12): 1 or 0.
#[unsafe(no_mangle)]
pub(crate) static COOKIES: Fact = Fact(0);

/// Whether programs may ask for an ancestor of the current cgroup (5.15): 1 or 0.
#[unsafe(no_mangle)]
pub(crate) static SLICES: Fact = Fact(0);

/// Number of sets of the table of sockets, a power of two, less 1.
#[unsafe(no_mangle)]
pub(crate) static SOCKET_SET_MASK: Fact = Fact(0);

/// Silence, in jiffies, after which a reset of the first data counts as one of an idle connection.
#[unsafe(no_mangle)]
pub(crate) static IDLE_JIFFIES: Fact = Fact(ABSENT);

/// Retransmissions after which a reset counts as one after retransmissions.
#[unsafe(no_mangle)]
pub(crate) static RETRANSMIT_THRESHOLD: Fact = Fact(1);

/// Whether retransmission timeouts are streamed too: 1 or 0. They are counted always.
#[unsafe(no_mangle)]
pub(crate) static STREAM_RETRANSMITS: Fact = Fact(0);

/// Whether events are streamed: 1 or 0. Without a reader they would only fill the ring buffer.
#[unsafe(no_mangle)]
pub(crate) static STREAM: Fact = Fact(1);

/// Whether filters ask anything of what events are about: 1 or 0. What they ask of each kind is a
/// [`socktrace_ebpf::criteria::mode`].
#[unsafe(no_mangle)]
pub(crate) static FILTER: Fact = Fact(0);

/// Whether they ask for processes that are followed.
#[unsafe(no_mangle)]
pub(crate) static FILTER_FOLLOWED: Fact = Fact(0);

/// Their criteria for processes.
#[unsafe(no_mangle)]
pub(crate) static FILTER_PID: Fact = Fact(0);

/// Of its command name.
#[unsafe(no_mangle)]
pub(crate) static FILTER_COMM: Fact = Fact(0);

/// Of its user.
#[unsafe(no_mangle)]
pub(crate) static FILTER_UID: Fact = Fact(0);

/// Of its service, which the daemon finds by the cgroup.
#[unsafe(no_mangle)]
pub(crate) static FILTER_SERVICE: Fact = Fact(0);

/// Of the network namespace.
#[unsafe(no_mangle)]
pub(crate) static FILTER_NETNS: Fact = Fact(0);

/// Of the ports.
#[unsafe(no_mangle)]
pub(crate) static FILTER_PORT: Fact = Fact(0);

/// Of this host's address.
#[unsafe(no_mangle)]
pub(crate) static FILTER_LOCAL: Fact = Fact(0);

/// Of the other end's address.
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

/// Whether they are counted by the service's port too: 1 or 0.
#[unsafe(no_mangle)]
pub(crate) static SERVICE_PORTS: Fact = Fact(0);

/// Number of events of one kind within [`socktrace_ebpf::repeats::WINDOW_NS`] after which they are
/// counted, and streamed no more; 0 streams all.
#[unsafe(no_mangle)]
pub(crate) static REPEAT_AFTER: Fact = Fact(0);

/// Whether kinds of events are distinguished by cgroup: 1, or by process: 0, where cgroups do not say which
/// service a process belongs to.
#[unsafe(no_mangle)]
pub(crate) static FLOODS_BY_CGROUP: Fact = Fact(1);

/// Whether the return of each send of UDP is seen: 1 or 0.
#[unsafe(no_mangle)]
pub(crate) static UDP_SENDS: Fact = Fact(0);

/// Whether sends of Unix sockets are seen: 1 or 0.
#[unsafe(no_mangle)]
pub(crate) static UNIX_SENDS: Fact = Fact(0);

/// Whether it is kept how far segments have come: 1 or 0.
#[unsafe(no_mangle)]
pub(crate) static HOPS: Fact = Fact(0);

/// The length of a jiffy in microseconds.
#[unsafe(no_mangle)]
pub(crate) static JIFFY_US: Fact = Fact(4_000);
