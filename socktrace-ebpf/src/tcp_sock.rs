//! Reads what TCP knows of a socket.

use aya_ebpf::helpers::generated::bpf_jiffies64;
use socktrace_ebpf::{Event, Flags, Report, TcpState, event::parts};

use crate::{
    load::{Load, Probe, number},
    offsets::{self, Fact, Offset, Optional},
    sock::{Identity, Sock},
    verifier::{FlagBit as _, is_at_least, is_other, is_same},
};

/// `TCPHDR_RST` in `include/net/tcp.h`.
const TCPHDR_RST: u8 = 0x04;

/// A socket known to be a `struct tcp_sock`, which begins with the other socket structures.
#[derive(Clone, Copy)]
pub(crate) struct TcpSock<L> {
    sock: Sock<L>,
    tcp: *const u8,
}

/// What takes a look at TCP's part of the socket.
impl<L: Load> Sock<L> {
    /// The same socket as `struct tcp_sock`, or `None` when it is not a full TCP socket.
    #[inline(always)]
    pub(crate) fn tcp(self) -> Option<TcpSock<L>> {
        // SAFETY: this is a hook's `struct sock` argument.
        let tcp = unsafe { L::tcp_sock(self.pointer()) };
        (!tcp.is_null()).then_some(TcpSock { sock: self, tcp })
    }

    /// What a program holds when it holds this socket: for a subflow its MPTCP socket, else the socket
    /// itself.
    #[inline(always)]
    pub(crate) fn held_identity(self) -> Identity {
        match self.mptcp_key() {
            Some(connection) => Identity::of_mptcp(connection),
            None => self.identity(),
        }
    }

    /// The same for a record to be made: the kernel makes a cookie if there is none yet.
    #[inline(always)]
    pub(crate) fn new_held_identity(self) -> Identity {
        match self.mptcp_key() {
            Some(connection) => Identity::of_mptcp(connection),
            None => self.new_identity(),
        }
    }

    /// The MPTCP socket whose subflow this is, as a number.
    #[inline(always)]
    fn mptcp_key(self) -> Option<u64> {
        self.tcp()?.mptcp_key()
    }

    /// The first subflow of this MPTCP socket, by which it was connected or accepted. To be asked where
    /// `offsets::MPTCP` is 1.
    #[inline(always)]
    pub(crate) fn first_subflow(self) -> TcpSock<Probe> {
        let first: *const u8 =
            Probe::read_member(self.key() as *const u8, offsets::MPTCP_FIRST.present());
        TcpSock { sock: Sock::new(first), tcp: first }
    }

    /// The local port in host byte order, also when the connection is over.
    #[inline(always)]
    pub(crate) fn local_port(self) -> u16 {
        // Not one or the other: the compiler would make one load of it, through a pointer of two
        // types, which the verifier refuses.
        let mut port = self.bound_port();
        if let Some(tcp) = self.tcp() {
            port = tcp.local_port();
        }
        port
    }

    /// Fills in the state of the timers, for a socket of TCP.
    #[inline(always)]
    pub(crate) fn describe_timers(self, event: &mut Event) {
        if let Some(tcp) = self.tcp() {
            tcp.describe_timers(event);
        }
    }
}

impl<L: Load> TcpSock<L> {
    /// The same as `struct sock`.
    #[inline(always)]
    pub(crate) fn sock(self) -> Sock<L> {
        self.sock
    }

    /// The same as `struct sock`, by a pointer that the verifier knows no more of than its type: what
    /// the helper returns is not trusted, unlike the argument of a tracepoint. So a pointer can be
    /// loaded through it without that the verifier searches all of the kernel's types by name
    /// (`btf_nested_type_is_trusted`, as in 6.12).
    #[inline(always)]
    pub(crate) fn untrusted_sock(self) -> Sock<L> {
        Sock::new(self.tcp)
    }

    /// The local port in host byte order. `inet_sport`, as `skc_num` is cleared when an unbound
    /// socket is closed.
    #[inline(always)]
    pub(crate) fn local_port(self) -> u16 {
        u16::from_be(self.load(&offsets::INET_SPORT))
    }

    #[inline(always)]
    fn load<T: Copy>(self, offset: &impl Offset) -> T {
        // SAFETY: `self.tcp` is a `struct tcp_sock`, and every fact passed in this file to this
        // method is an offset in it or in `inet_connection_sock` or `inet_sock`, with which a
        // `tcp_sock` begins.
        unsafe { L::member(self.tcp, offset) }
    }

    /// Whether segments are in flight; a retransmission timer without any has nothing to do.
    #[inline(always)]
    pub(crate) fn has_packets_out(self) -> bool {
        self.load::<u32>(&offsets::TCP_PACKETS_OUT) != 0
    }

    /// The retransmission timeout in force, in jiffies; `None` where this kernel lacks the member.
    #[inline(always)]
    pub(crate) fn rto(self) -> Option<u32> {
        (!offsets::ICSK_RTO.is_absent()).then(|| self.load(&offsets::ICSK_RTO))
    }

    /// Whether it has been given a sequence number, to connect or by `tcp_disconnect`.
    #[inline(always)]
    pub(crate) fn has_sequence_number(self) -> bool {
        self.load::<u32>(&offsets::TCP_WRITE_SEQ) != 0
    }

    /// [`Flags::FAST_OPEN`], where a sending call waits for the connection to be made: it keeps its data
    /// there until then (`tcp_sendmsg_fastopen`), unless it does not wait.
    #[inline(always)]
    pub(crate) fn connecting_flags(self) -> Flags {
        let request = number(self.load(&offsets::TCP_FASTOPEN_REQ));
        let is_connecting = is_same(self.sock.state().into(), TcpState::SynSent as u64);
        Flags::empty().with_flag(Flags::FAST_OPEN, is_connecting & is_other(request, 0))
    }

    /// Whether its third handshake segment has been taken: 1, or 0 also where that cannot be told. The
    /// stamp of a connection that was just made is that of its listener, which has none.
    #[inline(always)]
    pub(crate) fn has_heard_from_peer(self) -> bool {
        self.load::<u32>(&offsets::TCP_RCV_TSTAMP) != 0
    }

    /// A report with what TCP knows.
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

    /// The flags that tell the timers apart, see `diagnosis`, after as many tries to send that failed;
    /// none where this kernel lacks a member that they are taken from.
    #[inline(always)]
    pub(crate) fn timer_flags(self, errno: u16, tries: u16) -> Flags {
        if offsets::ICSK_PROBES_OUT.is_absent() {
            return Flags::empty();
        }
        let probes = u64::from(self.load::<u8>(offsets::ICSK_PROBES_OUT.present()));
        let user_timeout: u32 = self.load(offsets::ICSK_USER_TIMEOUT.present());
        let retransmits: u8 = self.load(offsets::ICSK_RETRANSMITS.present());
        let window: u32 = self.load(offsets::TCP_SND_WND.present());
        let soft = u64::from(self.sock.soft_err());
        let is_soft = is_other(soft, 0) & is_same(soft, u64::from(errno));
        let (tries, retransmits) = (u64::from(tries), u64::from(retransmits));
        // What has failed before the last acknowledgement is over.
        let has_failed = is_other(tries, 0) & is_other(retransmits | probes, 0);
        let is_connected = is_other(u64::from(self.sock.state()), TcpState::SynSent as u64);
        let has_all_failed = is_connected | is_at_least(tries, retransmits);
        Flags::empty()
            .with_flag(Flags::USER_TIMEOUT, is_other(u64::from(user_timeout), 0))
            .with_flag(Flags::RETRANSMITTED, is_other(retransmits, 0))
            // A peer that has not answered the SYN has advertised no window: the kernel has 0 for it.
            .with_flag(Flags::ZERO_WINDOW, is_connected & is_same(u64::from(window), 0))
            .with_flag(Flags::UNSENT, is_other(u64::from(self.unsent()), 0))
            .with_flag(Flags::PROBED, is_other(probes, 0))
            .with_flag(Flags::PROBES_EXHAUSTED, is_at_least(probes, self.sock.retries2().into()))
            .with_flag(Flags::KEEPALIVE, self.sock.has_keepalive())
            .with_flag(Flags::SOFT_ERROR, is_soft)
            .with_flag(Flags::SEND_FAILED, has_failed & has_all_failed)
    }

    /// The flags that tell resets apart, see `diagnosis`.
    #[inline(always)]
    pub(crate) fn reset_flags(self) -> Flags {
        let retransmits = u64::from(self.load::<u8>(&offsets::ICSK_RETRANSMITS));
        let threshold = u64::from(offsets::RETRANSMIT_THRESHOLD.get());
        let is_first = is_same(retransmits, 0);
        let after_fin = is_same(self.sock.state().into(), TcpState::CloseWait as u64)
            & is_same(self.load::<u8>(&offsets::ICSK_PROBES_OUT).into(), 0);
        Flags::empty()
            .with_flag(Flags::RETRANSMITTED, is_at_least(retransmits, threshold))
            .with_flag(Flags::IDLE, is_first & self.is_answer_after_silence())
            .with_flag(Flags::UNANSWERED, self.is_unanswered())
            .with_flag(Flags::RECEIVING, self.sock.is_receiving())
            .with_flag(Flags::ACKED, after_fin & self.is_acknowledged())
    }

    /// 1 where the peer has acknowledged the SYN, and nothing of the data that was sent after it, nor
    /// sent any; else 0.
    ///
    /// The SYN counts as one acknowledged byte, and only of the side that connected: an accepted socket
    /// begins behind it (`tcp_create_openreq_child`).
    #[inline(always)]
    fn is_unanswered(self) -> u64 {
        let acked: u64 = self.load(&offsets::TCP_BYTES_ACKED);
        let received: u64 = self.load(&offsets::TCP_BYTES_RECEIVED);
        is_same(acked, 1) & is_same(received, 0) & is_other(self.unacked().into(), 0)
    }

    /// 1 where all that was written is known to be acknowledged, else 0.
    #[inline(always)]
    fn is_acknowledged(self) -> u64 {
        if offsets::TCP_SND_NXT.is_absent() {
            return 0;
        }
        is_same(u64::from(self.unacked() | self.unsent()), 0)
    }

    /// 1 where the peer answers now after a long silence, else 0: data that was sent after it, the time
    /// between the peer's last acknowledgement and our last transmission; or a keepalive probe.
    #[inline(always)]
    fn is_answer_after_silence(self) -> u64 {
        if offsets::TCP_RCV_TSTAMP.is_absent() {
            return 0;
        }
        let acknowledged: u32 = self.load(offsets::TCP_RCV_TSTAMP.present());
        let sent: u32 = self.load(offsets::TCP_LSNDTIME.present());
        let has_sent = is_other(self.unacked().into(), 0);
        let has_probed = is_other(self.load::<u8>(&offsets::ICSK_PROBES_OUT).into(), 0);
        // One or the other, by a mask in place of a branch.
        let asked = jiffies() ^ (jiffies() ^ sent) & (has_sent as u32).wrapping_neg();
        // A transmission before the acknowledgement makes a huge, in truth negative, number.
        let silence = asked.wrapping_sub(acknowledged);
        let is_long = is_at_least(silence.into(), offsets::IDLE_JIFFIES.get().into());
        (has_sent | has_probed) & is_long & (1 ^ u64::from(silence >> 31))
    }

    /// Whether the peer, closing now, leaves something unanswered, 1 or 0, and the flags that say what:
    /// data of ours that it has not taken, a request after its last word, all we ever sent, or a
    /// connection on which a greeting was due.
    ///
    /// To be asked of the connecting side at entry of `tcp_fin`, when the FIN is counted as one
    /// received byte already and a segment's data has set `lrcvtime`, which begins with the time of
    /// connecting. Times that are equal, at the kernel's tick, say nothing. A heuristic:
    /// - who has been sent small segments again and again, and never a byte back, is a log collector or
    ///   the like, and so is who takes a long upload that ends with this side's FIN: nothing is owed;
    /// - who closes right after what follows an answer may have been said farewell to.
    #[inline(always)]
    pub(crate) fn awaits_answer(self) -> (u64, Flags) {
        let state = u64::from(self.sock.state());
        let is_open = is_same(state, TcpState::Established as u64);
        // This side's SYN and FIN count as a byte each.
        let fin_taken = is_same(state, TcpState::FinWait2 as u64);
        let fin_waits = 1 ^ (is_open | fin_taken);
        let sent: u64 = self.load(&offsets::TCP_BYTES_ACKED);
        let has_asked = is_at_least(sent, 2 + fin_taken);
        let is_mute = is_at_least(1, self.load(&offsets::TCP_BYTES_RECEIVED));
        let waiting = u64::from(self.unacked()) + u64::from(self.unsent());
        let untaken = is_other(waiting, fin_waits);

        let last_received: u32 = self.load(&offsets::ICSK_LRCVTIME);
        let mut last_sent: u32 = last_received;
        if !offsets::TCP_LSNDTIME.is_absent() {
            last_sent = self.load(offsets::TCP_LSNDTIME.present());
        }
        let lag = last_sent.wrapping_sub(last_received);
        let asked_last = is_other(lag.into(), 0) & (1 ^ u64::from(lag >> 31));

        let segment = u64::from(self.load::<u32>(&offsets::TCP_MSS_CACHE));
        let segments = u64::from(self.load::<u32>(&offsets::TCP_DATA_SEGS_OUT));
        // Two more than the data fills, as headers and body of a request are often written apart.
        let is_one_way = is_at_least(segments * segment, sent + 2 * segment)
            | (1 ^ is_open) & is_at_least(sent, UPLOAD);
        let unanswered = has_asked & is_mute & (1 ^ is_one_way);
        let unanswered_later = has_asked & asked_last & (1 ^ is_mute);
        let ungreeted = is_open & is_mute & (1 ^ has_asked) & is_within(last_received, GREETING_US);
        let farewell = unanswered_later & is_within(last_sent, FAREWELL_US);

        let mut flags = Flags::empty()
            .with_flag(Flags::NO_DATA, ungreeted & (1 ^ untaken))
            .with_flag(Flags::FAREWELL, farewell & (1 ^ untaken));
        if !offsets::TCP_SND_NXT.is_absent() {
            flags = flags.with_flag(Flags::ACKED, has_asked & (1 ^ untaken));
        }
        (untaken | unanswered | unanswered_later | ungreeted, flags)
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

    /// Milliseconds since the segment at the head of the queue was first retransmitted (a SYN:
    /// first sent), as the kernel itself measures a give-up (`retransmits_timed_out`). To be
    /// asked where this kernel has the members.
    #[inline(always)]
    fn retransmitting_ms(self) -> u32 {
        let stamp: u32 = self.load(offsets::TCP_RETRANS_STAMP.present());
        if stamp == 0 {
            return 0;
        }
        let now_us: u64 = self.load(offsets::TCP_MSTAMP.present());
        if self.has_microsecond_stamps() {
            (now_us as u32).wrapping_sub(stamp) / 1000
        } else {
            ((now_us / 1000) as u32).wrapping_sub(stamp)
        }
    }

    /// Milliseconds since the persist timer fired first for what waits to be sent, as the kernel itself
    /// measures a give-up (`tcp_probe_timer`); 0 once the connection is over.
    #[inline(always)]
    fn probing_ms(self) -> u32 {
        let stamp: u32 = self.load(&offsets::ICSK_PROBES_TSTAMP);
        if stamp == 0 || self.sock.state() == TcpState::Close as u8 {
            return 0;
        }
        let jiffies = jiffies().wrapping_sub(stamp);
        (u64::from(jiffies) * u64::from(offsets::JIFFY_US.get()) / 1000) as u32
    }

    /// Whether a segment with this sequence number is under way, as the kernel asks before it believes an
    /// ICMP error (`tcp_v4_err`, `tcp_v6_err`): 1 or 0.
    #[inline(always)]
    pub(crate) fn has_sent(self, sequence: u32) -> u64 {
        if offsets::TCP_SND_NXT.is_absent() {
            return 0;
        }
        // A child of Fast Open waits for its SYN-ACK to be acknowledged too, which comes before
        // (`tcp_create_openreq_child`).
        let is_opening = is_same(self.sock.state().into(), TcpState::SynRecv as u64) as u32;
        let unacked: u32 = self.load(offsets::TCP_SND_UNA.present());
        let first = unacked.wrapping_sub(is_opening);
        let under_way = self.sent_sequence().wrapping_sub(first);
        is_at_least(under_way.into(), sequence.wrapping_sub(first).into())
    }

    /// The sequence number that this end sends next; 0 where this kernel lacks the member.
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

    /// `tcp_usec_ts`: 6.7 and later can keep `retrans_stamp` in microseconds, by route.
    #[inline(always)]
    fn has_microsecond_stamps(self) -> bool {
        self.bit(&offsets::TCP_USEC_TS_BIT)
    }

    /// Whether a flag is set; not if this kernel lacks it.
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

    /// The MPTCP socket whose subflow this is (`struct mptcp_subflow_context`), as a map key.
    #[inline(always)]
    pub(crate) fn mptcp_key(self) -> Option<u64> {
        // The facts are all there where this is 1.
        if offsets::MPTCP.get() != 1 || !self.known_bit(offsets::TCP_IS_MPTCP_BIT.present()) {
            return None;
        }
        let subflow: *const u8 = self.load(offsets::ICSK_ULP_DATA.present());
        let connection: u64 = Probe::read_member(subflow, offsets::SUBFLOW_CONN.present());
        (connection != 0).then_some(connection)
    }

    /// Fills in the state of the connection's timers.
    #[inline(always)]
    pub(crate) fn describe_timers(self, event: &mut Event) {
        if !offsets::ICSK_RTO.is_absent() {
            let next: u32 = self.load(offsets::TCP_SND_NXT.present());
            let unacked: u32 = self.load(offsets::TCP_SND_UNA.present());
            let written: u32 = self.load(offsets::TCP_WRITE_SEQ.present());
            // `tcp_disconnect` moves the numbers of a socket on that is closed, and reset ones keep those
            // of a connection that is no more.
            let state = u64::from(self.sock.state());
            let is_open = is_other(state, TcpState::Close as u64) as u32;
            let is_open = is_open & is_other(state, TcpState::Listen as u64) as u32;
            event.unacked_bytes = is_open * next.wrapping_sub(unacked);
            event.unsent_bytes = is_open * written.wrapping_sub(next);
            event.retransmits = self.load(offsets::ICSK_RETRANSMITS.present());
            event.probes = self.load(offsets::ICSK_PROBES_OUT.present());
            event.rto_jiffies = self.load(offsets::ICSK_RTO.present());
            event.user_timeout_ms = self.load(offsets::ICSK_USER_TIMEOUT.present());
            event.elapsed_ms = self.retransmitting_ms();
            if next == unacked && written != next {
                event.elapsed_ms = self.probing_ms();
            }
        }
        // 0 until the peer has acknowledged something; and where this kernel lacks the member.
        let acknowledged: u32 = self.load(&offsets::TCP_RCV_TSTAMP);
        if acknowledged != 0 {
            // As the kernel measures it for keepalive (`keepalive_time_elapsed`).
            let now = jiffies();
            let data = now.wrapping_sub(self.load(&offsets::ICSK_LRCVTIME));
            event.silent_jiffies = now.wrapping_sub(acknowledged).min(data);
        }
        self.describe_data(event);
        let md5_key = number(self.load(&offsets::TCP_MD5SIG_INFO));
        event.parts |= parts::MD5_KEY * is_other(md5_key, 0) as u8;
    }

    /// Fills in what became of the data that came and was sent.
    #[inline(always)]
    fn describe_data(self, event: &mut Event) {
        if offsets::TCP_COPIED_SEQ.is_absent() || offsets::TCP_RCV_NXT.is_absent() {
            return;
        }
        let next: u32 = self.load(offsets::TCP_RCV_NXT.present());
        let read: u32 = self.load(offsets::TCP_COPIED_SEQ.present());
        // The FIN has a number too.
        let fin = self.sock.is_done() as u32;
        let unread = next.wrapping_sub(read).wrapping_sub(fin);
        // A socket that is taken apart while it is read may look as if more was read than came.
        if unread < 1 << 31 {
            event.unread_bytes = unread;
        }
        let full: u32 = self.load(offsets::TCP_MSS_CACHE.present());
        let arrived: u32 = self.load(offsets::TCP_SACKED_OUT.present());
        let is_full = is_at_least(event.unacked_bytes.into(), full.into());
        event.parts |= parts::FULL_SIZED_LOST * (is_full & is_same(arrived.into(), 1)) as u8;
    }
}

/// A connection on which this side has sent more before it shut down sending is an upload.
const UPLOAD: u64 = 16 * 1024;

/// A server that speaks first does so within this time; one that closes later got tired of waiting.
const GREETING_US: u64 = 5_000_000;

/// Who closes later than this after a request has worked on it.
const FAREWELL_US: u64 = 500_000;

/// Whether a time of [`jiffies`] is no longer ago than that: 1 or 0.
#[inline(always)]
fn is_within(time: u32, microseconds: u64) -> u64 {
    let age = u64::from(jiffies().wrapping_sub(time));
    is_at_least(microseconds, age * u64::from(offsets::JIFFY_US.get()))
}

/// The kernel's clock as TCP keeps it (`tcp_jiffies32`).
#[inline(always)]
fn jiffies() -> u32 {
    // SAFETY: the helper takes nothing and cannot fail.
    unsafe { bpf_jiffies64() as u32 }
}

/// Whether a segment handed to `tcp_reset` carries RST; taken for granted where this kernel does
/// not let it be read.
///
/// `tcp_v4_rcv` and `tcp_v6_rcv` copy the header's flags into the buffer's control block before
/// any state is looked at (`tcp_v4_fill_cb`; one byte up to 6.12, two in host order from 6.16),
/// which is part of `struct sk_buff` itself and so needs no packet access.
#[inline(always)]
pub(crate) fn segment_has_rst<L: Load>(skb: *const u8) -> bool {
    let Some(control_block) = offsets::SKB_CB.offset() else {
        return true;
    };
    let Some(flags) = offsets::SKB_CB_TCP_FLAGS.offset() else {
        return true;
    };
    // SAFETY: the hook's `struct sk_buff` argument, and a `struct tcp_skb_cb` in its control block;
    // x86 and arm64 are little-endian, so the low byte comes first in both layouts.
    let flags: u8 = unsafe { L::load(skb, control_block + flags) };
    flags & TCPHDR_RST != 0
}
