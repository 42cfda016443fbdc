//! Reasons why this host did not send, and how much it did not.

use std::borrow::Cow;

use nix::libc;

use super::{gave_up::waited, reason::duration};
use crate::record::Record;

/// Reason of a connect whose SYNs were not sent again.
pub(super) fn connecting(record: &Record) -> String {
    format!(
        "no SYN retry left this host: {} in {} failed ({})",
        tries(record),
        waited(record),
        why(record)
    )
}

/// Reason of a connection that was given up.
pub(super) fn connected(record: &Record) -> String {
    let event = &record.event;
    let what = match (event.unacked_bytes, event.unsent_bytes) {
        (0, 0) => "no keepalive probe left this host".to_owned(),
        (0, unsent) => format!("{} could never be sent", bytes(unsent)),
        (unacked, _) => format!("{} could not be sent again", bytes(unacked)),
    };
    let limit = match event.user_timeout_ms {
        0 => String::new(),
        limit => format!("; TCP_USER_TIMEOUT is {}", duration(u64::from(limit))),
    };
    if event.send_tries == 0 {
        // The transmissions were not seen. The window that stayed open shows that none succeeded.
        let (probes, waited) = (event.probes, waited(record));
        return format!(
            "{what} by this host, though the window is open: {probes} tries in {waited}{limit}"
        );
    }
    let (tries, waited, why) = (tries(record), waited(record), why(record));
    format!("{what}: {tries} in {waited} failed on this host ({why}){limit}")
}

fn bytes(count: u32) -> String {
    if count == 1 { "1 byte".to_owned() } else { format!("{count} bytes") }
}

fn tries(record: &Record) -> String {
    match record.event.send_tries {
        1 => "1 try".to_owned(),
        tries => format!("{tries} tries"),
    }
}

/// Errno of the last transmission, and its origin (`ip_local_out`, `ip6_local_out` and
/// `__dev_queue_xmit`, and the route look-up before).
fn why(record: &Record) -> Cow<'static, str> {
    let Some(errno) = record.send_errno() else {
        return "the kernel does not say why".into();
    };
    let what = match i32::from(errno.number()) {
        libc::EPERM => "its own firewall, a BPF program of the cgroup or a full conntrack table",
        libc::ENETUNREACH | libc::EHOSTUNREACH => "the route, the address or the link is gone",
        libc::EINVAL => "a blackhole route",
        libc::EACCES => "a prohibit route",
        libc::ENETDOWN => "the device is down",
        libc::EADDRNOTAVAIL => "the address is gone",
        libc::ENOBUFS => "the queue of the device is full",
        libc::ENOMEM => "memory is short",
        libc::EMSGSIZE => "too large for the device",
        _ => return errno.text(),
    };
    format!("{errno}: {what}").into()
}

#[cfg(test)]
mod tests {
    use socktrace_ebpf::{Event, EventKind, Flags, Origin, TcpState};

    use super::super::reason::reason;
    use crate::record::tests::{record, reset_event};

    fn given_up(errno: i32, state: TcpState, flags: Flags) -> Event {
        let mut event = Event { elapsed_ms: 13_200, ..reset_event() };
        event.signature.kind = EventKind::ConnectionEnded as u8;
        event.signature.origin = Origin::RetransmitTimer as u8;
        event.signature.state = state as u8;
        event.signature.errno = u16::try_from(nix::libc::ETIMEDOUT).expect("small");
        event.signature.flags = flags.with(Flags::SEND_FAILED).0;
        event.send_errno = u16::try_from(errno).expect("small");
        event
    }

    #[test]
    fn what_was_not_sent_is_said_with_its_numbers() {
        let event = Event {
            unsent_bytes: 6,
            send_tries: 5,
            ..given_up(nix::libc::EPERM, TcpState::Established, Flags::UNSENT)
        };
        assert_eq!(
            reason(&record(event)),
            "6 bytes could never be sent: 5 tries in 13.2 s failed on this host (EPERM: its own \
             firewall, a BPF program of the cgroup or a full conntrack table)"
        );
        let event = Event {
            unacked_bytes: 1,
            send_tries: 1,
            user_timeout_ms: 1_500,
            ..given_up(nix::libc::ENETUNREACH, TcpState::LastAck, Flags::RETRANSMITTED)
        };
        assert_eq!(
            reason(&record(event)),
            "1 byte could not be sent again: 1 try in 13.2 s failed on this host (ENETUNREACH: the \
             route, the address or the link is gone); TCP_USER_TIMEOUT is 1.5 s"
        );
        let event = Event {
            unacked_bytes: 1,
            send_tries: 6,
            ..given_up(nix::libc::ENOBUFS, TcpState::SynSent, Flags::RETRANSMITTED)
        };
        assert_eq!(
            reason(&record(event)),
            "no SYN retry left this host: 6 tries in 13.2 s failed (ENOBUFS: the queue of the device \
             is full)"
        );
    }

    #[test]
    fn an_open_window_says_that_nothing_was_sent() {
        let mut event = Event {
            unsent_bytes: 6,
            probes: 15,
            ..given_up(0, TcpState::Established, Flags::UNSENT)
        };
        event.signature.origin = Origin::Other as u8;
        event.signature.flags = Flags::UNSENT.with(Flags::PROBED).0;
        assert_eq!(
            reason(&record(event)),
            "6 bytes could never be sent by this host, though the window is open: 15 tries in 13.2 s"
        );
    }
}
