//! An event with its finding, decoded for output.

use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use socktrace_ebpf::{Address, Event, Family, TcpState};

use crate::{
    diagnosis::{Finding, diagnose},
    kernel::clock::Clock,
};

/// The process that was operating on the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// Process id.
    pub(crate) pid: u32,
    /// Thread id.
    pub(crate) tid: u32,
    /// Command name of the thread.
    pub(crate) comm: String,
}

/// What an output needs of one event.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) time: Timestamp,
    pub(crate) finding: Finding,
    pub(crate) family: Option<Family>,
    pub(crate) state: Option<TcpState>,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) process: Option<Process>,
    /// Retransmission timeout in force, in milliseconds.
    pub(crate) rto_ms: u64,
    /// Time since the peer's last acknowledgement, in milliseconds.
    pub(crate) silent_ms: u64,
    pub(crate) event: Event,
}

impl Record {
    /// Decodes and diagnoses an event.
    pub(crate) fn new(event: Event, clock: Clock) -> Self {
        let family = Family::try_from(event.signature.family).ok();
        Self {
            time: Clock::time_of_day(event.boot_ns),
            finding: diagnose(event.signature),
            family,
            state: TcpState::try_from(event.signature.state).ok(),
            local: SocketAddr::new(address(event.local, family), event.local_port),
            remote: SocketAddr::new(address(event.remote, family), event.remote_port),
            process: process(&event),
            rto_ms: clock.jiffies_to_ms(event.rto_jiffies),
            silent_ms: clock.jiffies_to_ms(event.silent_jiffies),
            event,
        }
    }
}

fn address(address: Address, family: Option<Family>) -> IpAddr {
    let octets = address.octets;
    match family {
        Some(Family::Ipv4) => IpAddr::from([octets[0], octets[1], octets[2], octets[3]]),
        Some(Family::Ipv6) | None => IpAddr::from(octets),
    }
}

fn process(event: &Event) -> Option<Process> {
    if event.tgid == 0 {
        return None;
    }
    let length = event.comm.iter().position(|&byte| byte == 0).unwrap_or(event.comm.len());
    // A program may give itself any name: no control characters on a terminal or in a log.
    let comm = String::from_utf8_lossy(&event.comm[..length]).replace(char::is_control, "?");
    Some(Process { pid: event.tgid, tid: event.tid, comm })
}

#[cfg(test)]
pub(crate) mod tests {
    use socktrace_ebpf::{Flags, Hook, Origin, Signature};

    use super::*;

    /// A reset of an established IPv4 connection, as the kernel side sends it.
    pub(crate) fn reset_event() -> Event {
        let mut comm = [0; 16];
        comm[..5].copy_from_slice(b"nginx");
        let v4 = |octets: [u8; 4]| {
            let mut address = Address::default();
            address.octets[..4].copy_from_slice(&octets);
            address
        };
        Event {
            boot_ns: 5_000_000_000,
            signature: Signature {
                hook: Hook::TcpDone as u8,
                origin: Origin::Reset as u8,
                state: TcpState::Established as u8,
                family: Family::Ipv4 as u8,
                errno: u16::try_from(nix::libc::ECONNRESET).expect("small"),
                flags: Flags::empty().0,
            },
            local: v4([10, 0, 0, 7]),
            remote: v4([10, 0, 0, 9]),
            local_port: 443,
            remote_port: 50_412,
            netns: 4_026_531_840,
            tgid: 81,
            tid: 82,
            comm,
            ..Event::default()
        }
    }

    pub(crate) fn record(event: Event) -> Record {
        Record::new(event, Clock::new().expect("a clock"))
    }

    #[test]
    fn decodes_addresses_and_process() {
        let record = record(reset_event());
        assert_eq!(record.local.to_string(), "10.0.0.7:443");
        assert_eq!(record.remote.to_string(), "10.0.0.9:50412");
        let process = record.process.expect("known");
        assert_eq!((process.pid, process.tid, process.comm.as_str()), (81, 82, "nginx"));
    }

    #[test]
    fn no_process_is_none_not_the_idle_task() {
        let event = Event { tgid: 0, tid: 0, ..reset_event() };
        assert_eq!(record(event).process, None);
    }

    #[test]
    fn ipv6_addresses_are_whole() {
        let mut event = reset_event();
        event.signature.family = Family::Ipv6 as u8;
        event.local.octets = std::net::Ipv6Addr::LOCALHOST.octets();
        assert_eq!(record(event).local.to_string(), "[::1]:443");
    }

    #[test]
    fn a_hostile_command_name_cannot_move_the_cursor() {
        let mut event = reset_event();
        event.comm[..6].copy_from_slice(b"a\x1b[2Jb");
        assert_eq!(record(event).process.expect("known").comm, "a?[2Jb");
    }
}
