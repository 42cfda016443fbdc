//! TCP's state of a connection that ends, reduced to the flags that a diagnosis is based on.

use socktrace_ebpf::{Flags, TcpState};

use super::{TcpSock, jiffies};
use crate::{
    load::{Load, number},
    offsets,
    verifier::{FlagBit as _, is_at_least, is_other, is_same},
};

impl<L: Load> TcpSock<L> {
    /// [`Flags::FAST_OPEN`] if a send call waits for the connection to be made: it keeps its data
    /// in the socket until then (`tcp_sendmsg_fastopen`), unless it is non-blocking.
    #[inline(always)]
    pub(crate) fn connecting_flags(self) -> Flags {
        let request = number(self.load(&offsets::TCP_FASTOPEN_REQ));
        let is_connecting = is_same(self.sock.state().into(), TcpState::SynSent as u64);
        Flags::empty().with_flag(Flags::FAST_OPEN, is_connecting & is_other(request, 0))
    }

    /// Flags that distinguish the timers, see `diagnosis`, after this many failed attempts to send;
    /// none if this kernel lacks a member that they are derived from.
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
        // Failures before the last acknowledgement no longer count.
        let has_failed = is_other(tries, 0) & is_other(retransmits | probes, 0);
        let is_connected = is_other(u64::from(self.sock.state()), TcpState::SynSent as u64);
        let has_all_failed = is_connected | is_at_least(tries, retransmits);
        Flags::empty()
            .with_flag(Flags::USER_TIMEOUT, is_other(u64::from(user_timeout), 0))
            .with_flag(Flags::RETRANSMITTED, is_other(retransmits, 0))
            // A peer that has not answered the SYN has advertised no window: the kernel stores 0 for it.
            .with_flag(Flags::ZERO_WINDOW, is_connected & is_same(u64::from(window), 0))
            .with_flag(Flags::UNSENT, is_other(u64::from(self.unsent()), 0))
            .with_flag(Flags::PROBED, is_other(probes, 0))
            .with_flag(Flags::PROBES_EXHAUSTED, is_at_least(probes, self.sock.retries2().into()))
            .with_flag(Flags::KEEPALIVE, self.sock.has_keepalive())
            .with_flag(Flags::SOFT_ERROR, is_soft)
            .with_flag(Flags::SEND_FAILED, has_failed & has_all_failed)
    }

    /// [`Flags::ZERO_WINDOW`] if the peer has closed its window.
    #[inline(always)]
    pub(crate) fn window_flags(self) -> Flags {
        if offsets::TCP_SND_WND.is_absent() {
            return Flags::empty();
        }
        let window: u32 = self.load(offsets::TCP_SND_WND.present());
        let is_connected = is_other(u64::from(self.sock.state()), TcpState::SynSent as u64);
        Flags::empty().with_flag(Flags::ZERO_WINDOW, is_connected & is_same(u64::from(window), 0))
    }

    /// Flags that distinguish resets, see `diagnosis`.
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

    /// 1 if the peer has acknowledged the SYN, but none of the data that was sent after it, and has
    /// sent no data; else 0.
    ///
    /// The SYN counts as one acknowledged byte, but only on the side that connected: an accepted
    /// socket begins after it (`tcp_create_openreq_child`).
    #[inline(always)]
    fn is_unanswered(self) -> u64 {
        let acked: u64 = self.load(&offsets::TCP_BYTES_ACKED);
        let received: u64 = self.load(&offsets::TCP_BYTES_RECEIVED);
        is_same(acked, 1) & is_same(received, 0) & is_other(self.unacked().into(), 0)
    }

    /// 1 if everything written is known to be acknowledged, else 0.
    #[inline(always)]
    fn is_acknowledged(self) -> u64 {
        if offsets::TCP_SND_NXT.is_absent() {
            return 0;
        }
        is_same(u64::from(self.unacked() | self.unsent()), 0)
    }

    /// 1 if the peer now answers after a long silence, else 0: it answers data that was sent after
    /// the silence (the time between the peer's last acknowledgement and our last transmission), or
    /// a keepalive probe.
    #[inline(always)]
    fn is_answer_after_silence(self) -> u64 {
        if offsets::TCP_RCV_TSTAMP.is_absent() {
            return 0;
        }
        let acknowledged: u32 = self.load(offsets::TCP_RCV_TSTAMP.present());
        let sent: u32 = self.load(offsets::TCP_LSNDTIME.present());
        let has_sent = is_other(self.unacked().into(), 0);
        let has_probed = is_other(self.load::<u8>(&offsets::ICSK_PROBES_OUT).into(), 0);
        // One or the other, by a mask instead of a branch.
        let asked = jiffies() ^ (jiffies() ^ sent) & (has_sent as u32).wrapping_neg();
        // A transmission before the acknowledgement yields a huge number, which is in truth negative.
        let silence = asked.wrapping_sub(acknowledged);
        let is_long = is_at_least(silence.into(), offsets::IDLE_JIFFIES.get().into());
        (has_sent | has_probed) & is_long & (1 ^ u64::from(silence >> 31))
    }
}
