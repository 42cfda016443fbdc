//! Numbers of a connection that people want with an event.

use socktrace_ebpf::{Event, TcpState, event::parts};

use super::{TcpSock, jiffies};
use crate::{
    load::{Load, number},
    offsets,
    verifier::{is_at_least, is_other, is_same},
};

impl<L: Load> TcpSock<L> {
    /// Fills in what people want to know about a connection.
    #[inline(always)]
    pub(crate) fn describe(self, event: &mut Event) {
        self.describe_timers(event);
        self.describe_first_bytes(event);
    }

    /// Fills in the state of the connection's timers. A separate function: otherwise its stack
    /// would be part of each program's frame.
    #[inline(never)]
    fn describe_timers(self, event: &mut Event) {
        if !offsets::ICSK_RTO.is_absent() {
            let next: u32 = self.load(offsets::TCP_SND_NXT.present());
            let unacked: u32 = self.load(offsets::TCP_SND_UNA.present());
            let written: u32 = self.load(offsets::TCP_WRITE_SEQ.present());
            // `tcp_disconnect` advances the sequence numbers of a closed socket, and reset sockets
            // keep the numbers of a connection that no longer exists.
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
        // 0 until the peer has acknowledged something, and if this kernel lacks the member.
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

    /// Fills in what became of the data received and sent.
    #[inline(always)]
    fn describe_data(self, event: &mut Event) {
        if offsets::TCP_COPIED_SEQ.is_absent() || offsets::TCP_RCV_NXT.is_absent() {
            return;
        }
        event.unread_bytes = self.unread();
        let full: u32 = self.load(offsets::TCP_MSS_CACHE.present());
        let arrived: u32 = self.load(offsets::TCP_SACKED_OUT.present());
        let is_full = is_at_least(event.unacked_bytes.into(), full.into());
        event.parts |= parts::FULL_SIZED_LOST * (is_full & is_same(arrived.into(), 1)) as u8;
    }

    /// Number of bytes received but not read; 0 if this kernel lacks the members.
    #[inline(always)]
    pub(super) fn unread(self) -> u32 {
        if offsets::TCP_COPIED_SEQ.is_absent() || offsets::TCP_RCV_NXT.is_absent() {
            return 0;
        }
        let next: u32 = self.load(offsets::TCP_RCV_NXT.present());
        let read: u32 = self.load(offsets::TCP_COPIED_SEQ.present());
        // The FIN has a sequence number too.
        let fin = self.sock.is_done() as u32;
        let unread = next.wrapping_sub(read).wrapping_sub(fin);
        // A socket that is torn down while it is read may look as if more was read than received.
        if unread < 1 << 31 { unread } else { 0 }
    }

    /// Milliseconds since the segment at the head of the queue was first retransmitted (a SYN:
    /// first sent), as the kernel itself measures when it gives up (`retransmits_timed_out`). Only
    /// for use where this kernel has the members.
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

    /// Milliseconds since the persist timer first fired for the data waiting to be sent, as the
    /// kernel itself measures when it gives up (`tcp_probe_timer`); 0 once the connection is over.
    #[inline(always)]
    fn probing_ms(self) -> u32 {
        let stamp: u32 = self.load(&offsets::ICSK_PROBES_TSTAMP);
        if stamp == 0 || self.sock.state() == TcpState::Close as u8 {
            return 0;
        }
        let jiffies = jiffies().wrapping_sub(stamp);
        (u64::from(jiffies) * u64::from(offsets::JIFFY_US.get()) / 1000) as u32
    }

    /// `tcp_usec_ts`: 6.7 and later can keep `retrans_stamp` in microseconds, by route.
    #[inline(always)]
    fn has_microsecond_stamps(self) -> bool {
        self.bit(&offsets::TCP_USEC_TS_BIT)
    }
}
