//! Additions to the reason of a failure, if they are known: an answer that waits unread, a silence
//! before a reset, an MD5 key, segments too large for the path.

use std::fmt::Write as _;

use socktrace_diagnosis::Cause;
use socktrace_ebpf::event::parts;

use super::reason::duration;
use crate::record::{Hops, Listener, Record};

/// Minimum silence worth mentioning, in milliseconds.
const SILENCE_MS: u64 = 1_000;

/// Adds what else is known of a failure.
pub(super) fn add(text: &mut String, record: &Record, cause: Cause) {
    let event = &record.event;
    let has = |part| event.parts & part != 0;
    if is_reset(cause) {
        if record.silent_ms >= SILENCE_MS {
            let silence = duration(record.silent_ms);
            // Writing to a string cannot fail.
            let _ = write!(text, "; nothing had come from the peer for {silence}");
        }
        if event.unread_bytes != 0 {
            let _ = write!(text, "; {} bytes from the peer wait unread", event.unread_bytes);
        }
    }
    if let Some(Hops { rst, handshake }) = record.hops
        && rst != handshake
        // A known sender is named instead.
        && record.sender.is_none()
    {
        let hops = rst.abs_diff(handshake);
        let _ = write!(
            text,
            "; its TTL differs by {hops} from the handshake's: probably sent on the way"
        );
    }
    if cause == Cause::ConnectTimeout
        && let Some(Listener { process, waiting, limit }) = &record.listener
    {
        let whose = process.as_ref().map(|(pid, comm)| format!(", {comm}[{pid}],"));
        let _ = write!(
            text,
            "; the listener there{} has a full accept queue ({waiting} wait, limit {limit})",
            whose.unwrap_or_default()
        );
    }
    if is_unanswered(cause) {
        if has(parts::FULL_SIZED_LOST) {
            text.push_str(
                "; full-sized segments were lost and a small one arrived: is the MTU of the path smaller",
            );
        }
        if has(parts::MD5_KEY) {
            text.push_str(
                "; the socket has an MD5 key (TCP_MD5SIG): a peer with another or none drops what it gets",
            );
        }
    }
}

/// Whether an RST ended an open connection.
const fn is_reset(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::ResetByPeer
            | Cause::ResetAfterIdle
            | Cause::ResetAfterRetransmit
            | Cause::ResetAfterPeerClose
    )
}

/// Whether data was sent and never answered.
const fn is_unanswered(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::ConnectTimeout
            | Cause::RetransmitTimeout
            | Cause::UserTimeout
            | Cause::UnreachableTimeout
            | Cause::KeepaliveTimeout
    )
}

#[cfg(test)]
mod tests {
    use socktrace_ebpf::Event;

    use super::*;
    use crate::record::{
        Sender,
        tests::{record, reset_event},
    };

    fn remarks(event: Event, silent_ms: u64, cause: Cause) -> String {
        let mut text = String::new();
        add(&mut text, &Record { silent_ms, ..record(event) }, cause);
        text
    }

    #[test]
    fn a_reset_has_its_silence_and_what_waits_unread() {
        let event = Event { unread_bytes: 53, ..reset_event() };
        let both =
            "; nothing had come from the peer for 20.0 s; 53 bytes from the peer wait unread";
        assert_eq!(remarks(event, 20_000, Cause::ResetByPeer), both);
        assert_eq!(remarks(event, 999, Cause::ResetByPeer), "; 53 bytes from the peer wait unread");
        assert_eq!(remarks(event, 20_000, Cause::ResetBeforeAccept), "");
        assert_eq!(remarks(event, 20_000, Cause::RetransmitTimeout), "");
    }

    #[test]
    fn a_reset_says_so_where_it_came_another_way() {
        let of = |rst, handshake, sender: Option<Sender>| {
            let hops = Some(Hops { rst, handshake });
            let mut text = String::new();
            let record = Record { hops, sender, ..record(reset_event()) };
            add(&mut text, &record, Cause::ResetByPeer);
            text
        };
        let remark = "; its TTL differs by 1 from the handshake's: probably sent on the way";
        assert_eq!(of(64, 63, None), remark);
        assert_eq!(of(63, 64, None), remark);
        assert_eq!(of(63, 63, None), "");
        let named = Sender { pid: 7, comm: "x".into(), reason: None, by_listener: false };
        assert_eq!(of(64, 63, Some(named)), "");
    }

    #[test]
    fn a_timeout_has_its_key_and_its_large_segments() {
        let event = Event { parts: parts::MD5_KEY, ..reset_event() };
        assert!(remarks(event, 0, Cause::ConnectTimeout).contains("TCP_MD5SIG"));
        assert_eq!(remarks(event, 0, Cause::ResetByPeer), "");
        let event = Event { parts: parts::FULL_SIZED_LOST, ..reset_event() };
        assert!(remarks(event, 0, Cause::UserTimeout).contains("MTU"));
        assert_eq!(remarks(reset_event(), 0, Cause::UserTimeout), "");
    }
}
