//! TCP's state of a socket, read at offsets from the kernel's BTF.

mod answer;
mod describe;
mod flags;
mod flow;
mod segment;
mod sent_reset;

use aya_ebpf::helpers::generated::bpf_jiffies64;
use socktrace_ebpf::{Event, Report, TcpState};

use crate::{
    load::{Load, Probe},
    offsets::{self, Fact, Offset, Optional},
    sock::{Identity, Sock},
    verifier::{is_at_least, is_same},
};

pub(crate) use segment::Segment;

/// A socket known to be a `struct tcp_sock`, which begins with the other socket structures.
#[derive(Clone, Copy)]
pub(crate) struct TcpSock<L> {
    sock: Sock<L>,
    tcp: *const u8,
}

/// Reads TCP's part of the socket.
impl<L: Load> Sock<L> {
    /// This socket as a `struct tcp_sock`, or `None` if it is not a full TCP socket.
    #[inline(always)]
    pub(crate) fn tcp(self) -> Option<TcpSock<L>> {
        // SAFETY: this is a hook's `struct sock` argument.
        let tcp = unsafe { L::tcp_sock(self.pointer()) };
        (!tcp.is_null()).then_some(TcpSock { sock: self, tcp })
    }

    /// Identity of the socket that a program holds: for a subflow its MPTCP socket, else this socket.
    #[inline(always)]
    pub(crate) fn held_identity(self) -> Identity {
        match self.mptcp_key() {
            Some(connection) => Identity::of_mptcp(connection),
            None => self.identity(),
        }
    }

    /// Like [`Self::held_identity`], to make a record: the kernel makes a cookie if there is none yet.
    #[inline(always)]
    pub(crate) fn new_held_identity(self) -> Identity {
        match self.mptcp_key() {
            Some(connection) => Identity::of_mptcp(connection),
            None => self.new_identity(),
        }
    }

    /// Address of the MPTCP socket whose subflow this is, as a number.
    #[inline(always)]
    fn mptcp_key(self) -> Option<u64> {
        self.tcp()?.mptcp_key()
    }

    /// The first subflow of this MPTCP socket, by which it was connected or accepted. Only for use
    /// where `offsets::MPTCP` is 1.
    #[inline(always)]
    pub(crate) fn first_subflow(self) -> TcpSock<Probe> {
        let first: *const u8 =
            Probe::read_member(self.key() as *const u8, offsets::MPTCP_FIRST.present());
        TcpSock { sock: Sock::new(first), tcp: first }
    }

    /// Local port in host byte order, also when the connection is over.
    #[inline(always)]
    pub(crate) fn local_port(self) -> u16 {
        // Not one or the other: the compiler would merge them into one load, through a pointer of
        // two types, which the verifier rejects.
        let mut port = self.bound_port();
        if let Some(tcp) = self.tcp() {
            port = tcp.local_port();
        }
        port
    }

    /// Fills in what TCP stores about the connection, for a TCP socket.
    #[inline(always)]
    pub(crate) fn describe(self, event: &mut Event) {
        if let Some(tcp) = self.tcp() {
            tcp.describe(event);
        }
    }
}

impl<L: Load> TcpSock<L> {
    /// This socket as a `struct sock`.
    #[inline(always)]
    pub(crate) fn sock(self) -> Sock<L> {
        self.sock
    }

    /// This socket as a `struct sock`, by a pointer of which the verifier knows only the type:
    /// unlike a tracepoint's argument, the helper's result is not trusted. A pointer can therefore
    /// be loaded through it without the verifier searching all of the kernel's types by name
    /// (`btf_nested_type_is_trusted`, as in 6.12).
    #[inline(always)]
    pub(crate) fn untrusted_sock(self) -> Sock<L> {
        Sock::new(self.tcp)
    }

    /// Local port in host byte order. From `inet_sport`, because `skc_num` is cleared when an
    /// unbound socket is closed.
    #[inline(always)]
    pub(crate) fn local_port(self) -> u16 {
        u16::from_be(self.load(&offsets::INET_SPORT))
    }

    #[inline(always)]
    fn load<T: Copy>(self, offset: &impl Offset) -> T {
        // SAFETY: `self.tcp` is a `struct tcp_sock`, and every fact passed to this method, here and in
        // the modules below, is an offset in it or in `inet_connection_sock` or `inet_sock`, with which a
        // `tcp_sock` begins.
        unsafe { L::member(self.tcp, offset) }
    }

    /// Whether segments are in flight; a retransmission timer without any has nothing to do.
    #[inline(always)]
    pub(crate) fn has_packets_out(self) -> bool {
        self.load::<u32>(&offsets::TCP_PACKETS_OUT) != 0
    }

    /// Current retransmission timeout, in jiffies; `None` if this kernel lacks the member.
    #[inline(always)]
    pub(crate) fn rto(self) -> Option<u32> {
        (!offsets::ICSK_RTO.is_absent()).then(|| self.load(&offsets::ICSK_RTO))
    }

    /// Jiffies since the handshake of a connection on which nothing was sent: its child is made
    /// with the time of the handshake (`tcp_create_openreq_child`, 5.10 to 7.3). Only for use where
    /// this kernel has the member.
    #[inline(always)]
    pub(crate) fn since_handshake(self) -> u32 {
        jiffies().wrapping_sub(self.load(offsets::TCP_LSNDTIME.present()))
    }

    /// Whether it has been given a sequence number, by connect or `tcp_disconnect`.
    #[inline(always)]
    pub(crate) fn has_sequence_number(self) -> bool {
        self.load::<u32>(&offsets::TCP_WRITE_SEQ) != 0
    }

    /// Whether the third segment of its handshake has been accepted; `false` also if that cannot be
    /// read. A connection that was just made has the timestamp of its listener, which has none.
    #[inline(always)]
    pub(crate) fn has_heard_from_peer(self) -> bool {
        self.load::<u32>(&offsets::TCP_RCV_TSTAMP) != 0
    }

    /// Adds what TCP stores about the connection to a report.
    #[inline(always)]
    pub(crate) fn add_to(self, report: Report) -> Report {
        Report {
            soft_errno: self.sock.soft_err(),
            unacked: self.unacked(),
            probes: self.load(&offsets::ICSK_PROBES_OUT),
            user_timeout: self.load(&offsets::ICSK_USER_TIMEOUT),
            ..report
        }
    }

    /// Whether a retransmission timeout has fired since the last acknowledgement.
    #[inline(always)]
    pub(crate) fn has_timed_out(self) -> bool {
        self.load::<u8>(&offsets::ICSK_RETRANSMITS) != 0
    }

    #[inline(always)]
    fn unacked(self) -> u32 {
        if offsets::TCP_SND_NXT.is_absent() {
            return 0;
        }
        let snd_nxt: u32 = self.load(offsets::TCP_SND_NXT.present());
        snd_nxt.wrapping_sub(self.load(offsets::TCP_SND_UNA.present()))
    }

    #[inline(always)]
    fn unsent(self) -> u32 {
        if offsets::TCP_SND_NXT.is_absent() {
            return 0;
        }
        let write_seq: u32 = self.load(offsets::TCP_WRITE_SEQ.present());
        write_seq.wrapping_sub(self.load(offsets::TCP_SND_NXT.present()))
    }

    /// Whether a segment with this sequence number is in flight, as the kernel checks before it
    /// believes an ICMP error (`tcp_v4_err`, `tcp_v6_err`): 1 or 0.
    #[inline(always)]
    pub(crate) fn has_sent(self, sequence: u32) -> u64 {
        if offsets::TCP_SND_NXT.is_absent() {
            return 0;
        }
        // A Fast Open child also waits for the acknowledgement of its SYN-ACK, whose number comes
        // before (`tcp_create_openreq_child`).
        let is_opening = is_same(self.sock.state().into(), TcpState::SynRecv as u64) as u32;
        let unacked: u32 = self.load(offsets::TCP_SND_UNA.present());
        let first = unacked.wrapping_sub(is_opening);
        let under_way = self.sent_sequence().wrapping_sub(first);
        is_at_least(under_way.into(), sequence.wrapping_sub(first).into())
    }

    /// Sequence number that this end sends next; 0 if this kernel lacks the member.
    #[inline(always)]
    pub(crate) fn sent_sequence(self) -> u32 {
        self.load(&offsets::TCP_SND_NXT)
    }

    /// Whether this is the sequence number that the peer sends next: 1 or 0.
    #[inline(always)]
    pub(crate) fn awaits(self, sequence: u32) -> u64 {
        if offsets::TCP_RCV_NXT.is_absent() {
            return 0;
        }
        let awaited: u32 = self.load(offsets::TCP_RCV_NXT.present());
        is_same(awaited.into(), sequence.into())
    }

    /// Whether a flag is set; `false` if this kernel lacks it.
    #[inline(always)]
    fn bit(self, position: &Optional) -> bool {
        !position.is_absent() && self.known_bit(position.present())
    }

    #[inline(always)]
    fn known_bit(self, position: &Fact) -> bool {
        let bit = position.get() as usize;
        // SAFETY: the byte of `struct tcp_sock` that holds the flag.
        let byte: u8 = unsafe { L::load(self.tcp, bit / 8) };
        byte >> (bit % 8) & 1 != 0
    }

    /// Address of the MPTCP socket whose subflow this is (`struct mptcp_subflow_context`), as a map key.
    #[inline(always)]
    pub(crate) fn mptcp_key(self) -> Option<u64> {
        // The facts are all present where this is 1.
        if offsets::MPTCP.get() != 1 || !self.known_bit(offsets::TCP_IS_MPTCP_BIT.present()) {
            return None;
        }
        let subflow: *const u8 = self.load(offsets::ICSK_ULP_DATA.present());
        let connection: u64 = Probe::read_member(subflow, offsets::SUBFLOW_CONN.present());
        (connection != 0).then_some(connection)
    }
}

/// The kernel's clock as TCP uses it (`tcp_jiffies32`).
#[inline(always)]
fn jiffies() -> u32 {
    // SAFETY: the helper takes nothing and cannot fail.
    unsafe { bpf_jiffies64() as u32 }
}
