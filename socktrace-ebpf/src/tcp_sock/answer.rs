//! Guess, from the shape of an exchange, whether a peer that closes owes an answer.

use socktrace_ebpf::{Flags, TcpState};

use super::{TcpSock, jiffies};
use crate::{
    load::Load,
    offsets,
    verifier::{FlagBit as _, is_at_least, is_other, is_same},
};

/// Number of bytes sent before this side shut down sending from which a connection counts as an upload.
const UPLOAD: u64 = 16 * 1024;

/// Time within which a server that speaks first does so; one that closes later got tired of waiting.
const GREETING_US: u64 = 5_000_000;

/// Time after a request beyond which a peer that closes has worked on it.
const FAREWELL_US: u64 = 500_000;

impl<L: Load> TcpSock<L> {
    /// Whether the peer, closing now, leaves something unanswered, 1 or 0, and the flags that tell
    /// what: data of ours that it has not taken, a request after its last word, all that we ever
    /// sent, or a connection on which a greeting was due.
    ///
    /// Only for the connecting side at the entry of `tcp_fin`, when the FIN is already counted as
    /// one received byte and a segment's data has set `lrcvtime`, which begins with the time of
    /// connecting. Times that are equal, at the kernel's tick, mean nothing. A heuristic:
    /// - a peer that was sent small segments again and again, and has never sent a byte back, is a
    ///   log collector or similar, and so is a peer that takes a long upload that ends with this
    ///   side's FIN: nothing is owed;
    /// - a peer that closes right after data that follows an answer may have been sent a farewell.
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
        // Two more than the data fills, because headers and body of a request are often written
        // separately.
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
}

/// Whether a time of [`jiffies`] is at most this long ago: 1 or 0.
#[inline(always)]
fn is_within(time: u32, microseconds: u64) -> u64 {
    let age = u64::from(jiffies().wrapping_sub(time));
    is_at_least(microseconds, age * u64::from(offsets::JIFFY_US.get()))
}
