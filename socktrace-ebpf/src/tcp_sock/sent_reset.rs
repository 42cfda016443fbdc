//! RSTs that a socket sends: the reason, and the numbers in the header.

use socktrace_ebpf::{Flags, Origin, SentReset, TcpState};

use super::TcpSock;
use crate::{load::Load, note, offsets};

impl<L: Load> TcpSock<L> {
    /// Reason for an RST that it sends of its own accord (`tcp_send_active_reset`), from where that
    /// is called, in 5.10 to 7.3, and in which state. `holder` are its [`Flags`].
    ///
    /// A program that closes or dissolves a connection sets the state to CLOSE first
    /// (`__tcp_close`, `tcp_disconnect`); all other callers change it later (`tcp_keepalive_timer`,
    /// `tcp_out_of_resources`, `tcp_abort`).
    #[inline(always)]
    pub(crate) fn why_reset(self, holder: Flags) -> SentReset {
        let sock = self.sock;
        let state = sock.state();
        let is_dead = holder.has(Flags::ORPHAN);
        if self.mptcp_key().is_some() {
            return SentReset::Mptcp;
        }
        if state != TcpState::Close as u8 {
            if note::origin(sock) == Origin::Abort as u8 {
                return SentReset::Aborted;
            }
            if !is_dead {
                return SentReset::Keepalive;
            }
            return if state == TcpState::FinWait2 as u8 {
                SentReset::OrphanTimeout
            } else {
                SentReset::OutOfMemory
            };
        }
        if is_dead {
            // At the end of a close.
            return if self.leaves_no_time() {
                SentReset::OrphanTimeout
            } else {
                SentReset::OutOfMemory
            };
        }
        if holder.has(Flags::UNACCEPTED) {
            return SentReset::ListenerClosed;
        }
        // A close shuts down both directions first.
        if !sock.is_shut_down() {
            return SentReset::Dissolved;
        }
        if self.unread() != 0 {
            return SentReset::UnreadData;
        }
        if sock.has_linger() { SentReset::LingerZero } else { SentReset::Other }
    }

    /// Whether the peer gets no time to close after its program has (`TCP_LINGER2`).
    #[inline(always)]
    pub(crate) fn leaves_no_time(self) -> bool {
        self.load::<i32>(&offsets::TCP_LINGER2) < 0
    }

    /// Sequence and acknowledgement numbers of the RST that it sends: the next number or, if the
    /// peer has closed its window over what was sent, the end of the window (`tcp_acceptable_seq`).
    #[inline(always)]
    pub(crate) fn own_rst(self) -> [u32; 2] {
        if offsets::TCP_SND_NXT.is_absent() {
            return [0, 0];
        }
        let next: u32 = self.load(offsets::TCP_SND_NXT.present());
        let unacked: u32 = self.load(offsets::TCP_SND_UNA.present());
        let window: u32 = self.load(offsets::TCP_SND_WND.present());
        let end = unacked.wrapping_add(window);
        let beyond = next.wrapping_sub(end);
        // What the scale of the window rounds off counts as within the window.
        let is_scaled = self.bit(&offsets::TCP_WSCALE_OK_BIT);
        let rounded = if is_scaled { 1_u32 << self.receive_scale() } else { 0 };
        let is_within = beyond.cast_signed() <= 0 || beyond < rounded;
        let sequence = if is_within { next } else { end };
        [sequence, self.load(offsets::TCP_RCV_NXT.present())]
    }

    /// Number of bits by which its window is scaled (`rx_opt.rcv_wscale`, four bits).
    #[inline(always)]
    fn receive_scale(self) -> u32 {
        let bit = offsets::TCP_RCV_WSCALE_BIT.present().get() as usize;
        // SAFETY: the byte of `struct tcp_sock` in which the bit-field begins, which is within it.
        let byte: u8 = unsafe { L::load(self.tcp, bit / 8) };
        u32::from(byte >> (bit % 8) & 0xf)
    }
}
