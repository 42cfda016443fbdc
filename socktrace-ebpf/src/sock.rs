//! Reads a socket by direct loads at offsets that the kernel's BTF gave.
//!
//! The pointers come from the arguments of fentry and fexit programs, whose type the verifier
//! knows: it checks every load against the kernel's BTF, and a load through a stale or NULL
//! pointer reads 0 instead of faulting. No `bpf_probe_read_kernel`, which
//! lockdown=confidentiality forbids, is involved.

use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_skc_to_tcp_sock};
use socktrace_ebpf::{Address, Event, Family, Flags};

use crate::offsets::{self, Fact};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// Numbers of `enum sock_flags` in `include/net/sock.h`; the same in 5.10 to 7.2.
const SOCK_DEAD: u64 = 1 << 0;
const SOCK_KEEPOPEN: u64 = 1 << 3;
/// `TCPHDR_RST` in `include/net/tcp.h`.
const TCPHDR_RST: u8 = 0x04;

/// Loads a `T` at `base` plus the fact's offset.
///
/// # Safety
/// `base` is a pointer the verifier has typed (an argument of the hook or a member reached from
/// one), and the fact is the offset of a member of that type that is a `T`. The verifier rejects
/// the program otherwise, so that a mistake here cannot reach the kernel.
#[inline(always)]
unsafe fn load<T: Copy>(base: *const u8, offset: &Fact) -> T {
    // SAFETY: the caller's contract; checked by the verifier load by load.
    let member = unsafe { base.add(offset.get() as usize) };
    // SAFETY: likewise. Volatile, so that loads are neither merged nor widened past a member.
    unsafe { member.cast::<T>().read_volatile() }
}

/// A `struct sock` as handed to a hook.
#[derive(Clone, Copy)]
pub(crate) struct Sock(*const u8);

impl Sock {
    #[inline(always)]
    pub(crate) fn new(pointer: *const u8) -> Self {
        Self(pointer)
    }

    #[inline(always)]
    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// The address as a map key: it identifies the socket while a hook runs on it.
    #[inline(always)]
    pub(crate) fn key(self) -> u64 {
        self.0 as u64
    }

    #[inline(always)]
    fn load<T: Copy>(self, offset: &Fact) -> T {
        // SAFETY: `self.0` is a hook's `struct sock` argument, and every fact passed in this
        // file to this method is named `SOCK_*`, an offset in `struct sock`.
        unsafe { load(self.0, offset) }
    }

    /// `sk_err`: the errno the next call will take, positive, 0 for none.
    #[inline(always)]
    pub(crate) fn err(self) -> u16 {
        self.load::<i32>(&offsets::SOCK_ERR) as u16
    }

    #[inline(always)]
    pub(crate) fn state(self) -> u8 {
        self.load(&offsets::SOCK_STATE)
    }

    /// Whether a task holds the socket's lock, so that the current task is the one operating on
    /// it. Softirq and timers work on unowned sockets only, and leave owned ones to their owner.
    #[inline(always)]
    pub(crate) fn is_owned(self) -> bool {
        self.load::<i32>(&offsets::SOCK_OWNED) != 0
    }

    /// Whether a program still holds the socket, or never did: [`Flags::ORPHAN`] and
    /// [`Flags::UNACCEPTED`].
    #[inline(always)]
    pub(crate) fn holder_flags(self) -> Flags {
        let dead = self.load::<u64>(&offsets::SOCK_FLAGS) & SOCK_DEAD != 0;
        // Loaded behind a branch of its own: the verifier allows no arithmetic on the pointer,
        // such as a compiler would use to test both conditions at once.
        let unaccepted = !dead && self.load::<*const u8>(&offsets::SOCK_SOCKET).is_null();
        Flags::empty().with_if(Flags::ORPHAN, dead).with_if(Flags::UNACCEPTED, unaccepted)
    }

    /// The address family a person would name: `::ffff:192.0.2.1` is IPv4.
    #[inline(always)]
    pub(crate) fn family(self) -> Option<Family> {
        match self.load::<u16>(&offsets::SOCK_FAMILY) {
            AF_INET => Some(Family::Ipv4),
            AF_INET6 if self.is_v4_mapped() => Some(Family::Ipv4),
            AF_INET6 => Some(Family::Ipv6),
            _ => None,
        }
    }

    #[inline(always)]
    fn is_v4_mapped(self) -> bool {
        let [a, b, c, _]: [u32; 4] = self.load(&offsets::SOCK_DADDR6);
        a == 0 && b == 0 && c == 0xffff_u32.to_be()
    }

    #[inline(always)]
    fn address(self, family: Family, v4: &Fact, v6: &Fact) -> Address {
        let words: [u32; 4] = match family {
            Family::Ipv4 => [self.load(v4), 0, 0, 0],
            Family::Ipv6 => self.load(v6),
        };
        let mut octets = [0; 16];
        for (chunk, word) in octets.chunks_exact_mut(4).zip(words) {
            // The kernel's words are in network byte order in memory already.
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
        Address { octets }
    }

    /// The socket's network namespace.
    #[inline(always)]
    fn net(self) -> *const u8 {
        self.load(&offsets::SOCK_NET)
    }

    /// `net.ipv4.tcp_retries2` of the socket's network namespace.
    #[inline(always)]
    fn retries2(self) -> u32 {
        let net = self.net();
        // The sysctl is a byte in current kernels and was an int in early 5.10.
        if offsets::NET_RETRIES2_SIZE.get() == 1 {
            // SAFETY: a `struct net` reached from the socket, and an offset in it.
            u32::from(unsafe { load::<u8>(net, &offsets::NET_RETRIES2) })
        } else {
            // SAFETY: likewise.
            unsafe { load::<u32>(net, &offsets::NET_RETRIES2) }
        }
    }

    /// The same socket as `struct tcp_sock`, or `None` when it is not a full TCP socket.
    #[inline(always)]
    pub(crate) fn tcp(self) -> Option<TcpSock> {
        // SAFETY: the helper takes any typed socket pointer and checks what it is.
        let tcp = unsafe { bpf_skc_to_tcp_sock(self.0.cast_mut().cast()) };
        (!tcp.is_null()).then_some(TcpSock { sock: self, tcp: tcp.cast_const().cast() })
    }
}

/// A socket known to be a `struct tcp_sock`, which begins with the other socket structures.
#[derive(Clone, Copy)]
pub(crate) struct TcpSock {
    sock: Sock,
    tcp: *const u8,
}

impl TcpSock {
    #[inline(always)]
    fn load<T: Copy>(self, offset: &Fact) -> T {
        // SAFETY: `self.tcp` is a `struct tcp_sock`, and every fact passed in this file to this
        // method is an offset in it or in `inet_connection_sock` or `inet_sock`, with which a
        // `tcp_sock` begins.
        unsafe { load(self.tcp, offset) }
    }

    /// Whether segments are in flight; a retransmission timer without any has nothing to do.
    #[inline(always)]
    pub(crate) fn has_packets_out(self) -> bool {
        self.load::<u32>(&offsets::TCP_PACKETS_OUT) != 0
    }

    /// The flags that tell the timers apart, see `diagnosis`.
    #[inline(always)]
    pub(crate) fn timer_flags(self, errno: u16) -> Flags {
        let probes = self.load::<u8>(&offsets::ICSK_PROBES_OUT);
        let soft = self.sock.load::<i32>(&offsets::SOCK_ERR_SOFT) as u16;
        let keepalive = self.sock.load::<u64>(&offsets::SOCK_FLAGS) & SOCK_KEEPOPEN != 0;
        Flags::empty()
            .with_if(Flags::USER_TIMEOUT, self.load::<u32>(&offsets::ICSK_USER_TIMEOUT) != 0)
            .with_if(Flags::RETRANSMITTED, self.load::<u8>(&offsets::ICSK_RETRANSMITS) != 0)
            .with_if(Flags::ZERO_WINDOW, self.load::<u32>(&offsets::TCP_SND_WND) == 0)
            .with_if(Flags::UNSENT, self.unsent() != 0)
            .with_if(Flags::PROBED, probes != 0)
            .with_if(Flags::PROBES_EXHAUSTED, u32::from(probes) >= self.sock.retries2())
            .with_if(Flags::KEEPALIVE, keepalive)
            .with_if(Flags::SOFT_ERROR, soft != 0 && soft == errno)
    }

    #[inline(always)]
    fn unsent(self) -> u32 {
        let write_seq: u32 = self.load(&offsets::TCP_WRITE_SEQ);
        write_seq.wrapping_sub(self.load(&offsets::TCP_SND_NXT))
    }

    /// Milliseconds since the segment at the head of the queue was first retransmitted (a SYN:
    /// first sent), as the kernel itself measures a give-up (`retransmits_timed_out`).
    #[inline(always)]
    fn retransmitting_ms(self) -> u32 {
        let stamp: u32 = self.load(&offsets::TCP_RETRANS_STAMP);
        if stamp == 0 {
            return 0;
        }
        let now_us: u64 = self.load(&offsets::TCP_MSTAMP);
        if self.has_microsecond_stamps() {
            (now_us as u32).wrapping_sub(stamp) / 1000
        } else {
            ((now_us / 1000) as u32).wrapping_sub(stamp)
        }
    }

    /// `tcp_usec_ts`: 6.7 and later can keep `retrans_stamp` in microseconds, by route.
    #[inline(always)]
    fn has_microsecond_stamps(self) -> bool {
        if offsets::TCP_USEC_TS_BIT.is_absent() {
            return false;
        }
        let bit = offsets::TCP_USEC_TS_BIT.get();
        // SAFETY: the byte of `struct tcp_sock` that holds the bit-field.
        let byte = unsafe { self.tcp.add((bit / 8) as usize) };
        // SAFETY: likewise.
        unsafe { byte.read_volatile() >> (bit % 8) & 1 != 0 }
    }

    /// Fills in where the connection ran and the state of its timers.
    #[inline(always)]
    pub(crate) fn describe(self, family: Family, event: &mut Event) {
        let sock = self.sock;
        event.local = sock.address(family, &offsets::SOCK_SADDR, &offsets::SOCK_SADDR6);
        event.remote = sock.address(family, &offsets::SOCK_DADDR, &offsets::SOCK_DADDR6);
        // `inet_sport`, as `skc_num` is cleared when an unbound socket is closed.
        event.local_port = u16::from_be(self.load(&offsets::INET_SPORT));
        event.remote_port = u16::from_be(sock.load(&offsets::SOCK_DPORT));
        // SAFETY: a `struct net` reached from the socket, and an offset in it.
        event.netns = unsafe { load(sock.net(), &offsets::NET_INUM) };

        let snd_nxt: u32 = self.load(&offsets::TCP_SND_NXT);
        event.unacked_bytes = snd_nxt.wrapping_sub(self.load(&offsets::TCP_SND_UNA));
        event.unsent_bytes = self.unsent();
        event.retransmits = self.load(&offsets::ICSK_RETRANSMITS);
        event.probes = self.load(&offsets::ICSK_PROBES_OUT);
        event.rto_jiffies = self.load(&offsets::ICSK_RTO);
        event.user_timeout_ms = self.load(&offsets::ICSK_USER_TIMEOUT);
        event.elapsed_ms = self.retransmitting_ms();
        // SAFETY: the helper takes nothing and cannot fail.
        let jiffies = unsafe { bpf_jiffies64() } as u32;
        event.silent_jiffies = jiffies.wrapping_sub(self.load(&offsets::TCP_RCV_TSTAMP));
    }
}

/// Whether a segment handed to `tcp_reset` carries RST.
///
/// `tcp_v4_rcv` and `tcp_v6_rcv` copy the header's flags into the buffer's control block before
/// any state is looked at (`tcp_v4_fill_cb`; one byte up to 6.16, two in host order since), which
/// is part of `struct sk_buff` itself and so needs no packet access.
#[inline(always)]
pub(crate) fn segment_has_rst(skb: *const u8) -> bool {
    // SAFETY: the hook's `struct sk_buff` argument, and the offset of its control block.
    let control_block = unsafe { skb.add(offsets::SKB_CB.get() as usize) };
    // SAFETY: `struct tcp_skb_cb` lies in the control block; x86 and arm64 are little-endian, so
    // the low byte comes first in both layouts.
    let flags: u8 = unsafe { load(control_block, &offsets::SKB_CB_TCP_FLAGS) };
    flags & TCPHDR_RST != 0
}
