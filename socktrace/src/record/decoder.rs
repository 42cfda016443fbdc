//! Decoding of events into records.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use socktrace_diagnosis::{Cause, Finding, advice::Icmp};
use socktrace_ebpf::{
    Address, Detail, EventKind, Family, FarEnd, Flags, NamedEvent, Origin, OwnerSource, Signature,
    TcpState,
    event::{BY_LISTENER, EXE_NAME},
    facts::ABSENT,
};

use super::{
    Arguments, Flow, Hops, Killer, Listener, Process, Record, Rst, Sender,
    full_listener::FullListeners, path, recent::RecentProcesses,
};
use crate::{
    kernel::{
        clock::{Clock, TimeOfDay},
        listeners::ListenerTable,
    },
    owner::{Owners, Service, Sighting, Unknown, is_deceptive},
};

/// Decodes events into records.
pub(crate) struct Decoder {
    clock: Clock,
    pub(super) time: TimeOfDay,
    /// Names of the kernel's `enum sk_rst_reason`.
    rst_reasons: Vec<(u32, Arc<str>)>,
    pub(super) owners: Owners,
    processes: RecentProcesses,
    /// The last sender or killer named: its name from the kernel, and as shown.
    last_peer: ([u8; 16], Arc<str>),
    /// Whether there was no room for the owners of some sockets.
    owners_full: bool,
    full_listeners: FullListeners,
}

impl Decoder {
    pub(crate) fn new(clock: Clock, rst_reasons: Vec<(u32, String)>, owners: Owners) -> Self {
        let rst_reasons =
            rst_reasons.into_iter().map(|(value, name)| (value, name.into())).collect();
        Self {
            clock,
            time: TimeOfDay::default(),
            rst_reasons,
            owners,
            processes: RecentProcesses::default(),
            last_peer: ([0; 16], "".into()),
            owners_full: false,
            full_listeners: FullListeners::default(),
        }
    }

    /// Looks up listeners that clients on this host could not connect to.
    pub(crate) fn with_listeners(self, table: Option<Arc<ListenerTable>>) -> Self {
        Self { full_listeners: FullListeners::of(table), ..self }
    }

    /// Notes that there has been no room for the owners of some sockets.
    pub(crate) fn owners_are_full(&mut self) {
        self.owners_full = true;
    }

    /// Whether services are found by cgroup alone, so that a cgroup always has the same one.
    pub(crate) fn finds_services_by_cgroup(&self) -> bool {
        self.owners.are_by_cgroup()
    }

    /// Decodes an event whose diagnosis is `finding`. Looks up its service; see
    /// [`Owners::service`].
    pub(crate) fn decode(&mut self, named: &NamedEvent, finding: Finding) -> Record {
        let event = &named.event;
        let has_socket = event.signature.kind != EventKind::Socket as u8;
        let family = Family::try_from(event.signature.family).ok().filter(|_| has_socket);
        let (process, service) = match self.process(named) {
            Ok((process, there)) => {
                (Some(process), self.owners.service(event.cgroup_id, Some(there)))
            }
            Err(why) => (None, self.service_without_process(event.cgroup_id, why)),
        };
        let (mut icmp, mut sender, mut killer, mut listener) = (None, None, None, None);
        let mut arguments = Arguments::default();
        let (mut send_timeout_ms, mut sent_reason) = (None, None);
        match event.detail() {
            Some(Detail::Icmp { router, kind, code }) => {
                icmp = Some(Icmp { kind, code, router: address(router, family) });
            }
            // From a connect, or a datagram, that found no room.
            Some(Detail::Peer { tgid: pid, comm, .. })
                if [EventKind::Connect, EventKind::DatagramSend]
                    .map(|kind| kind as u8)
                    .contains(&event.signature.kind) =>
            {
                let process = (pid != 0).then(|| (pid, self.peer_name(comm)));
                let FarEnd { waiting, limit, .. } = named.far_end;
                listener = Some(Listener { process, waiting, limit });
            }
            Some(Detail::Peer { rst_reason, .. })
                if event.signature.kind == EventKind::ResetSent as u8 =>
            {
                sent_reason = self.rst_reason(rst_reason);
            }
            Some(Detail::Peer { tgid: pid, comm, rst_reason }) if pid != 0 => {
                let comm = self.peer_name(comm);
                if event.signature.origin == Origin::Abort as u8 {
                    killer = Some(Killer { pid, comm });
                } else {
                    let (rst_reason, by_listener) = sender_reason(rst_reason);
                    let reason = self.rst_reason(rst_reason);
                    sender = Some(Sender { pid, comm, reason, by_listener });
                }
            }
            Some(Detail::Call { fd, level, option }) => {
                arguments = Arguments { fd: (fd >= 0).then_some(fd), level, option };
            }
            Some(Detail::SendTimeout { jiffies }) => {
                send_timeout_ms = Some(self.clock.jiffies_to_ms(jiffies));
            }
            _ => {}
        }
        let far_cgroup = named.far_end.cgroup_id;
        let peer_service = (far_cgroup != 0).then(|| self.owners.service(far_cgroup, None));
        let local = SocketAddr::new(address(event.local, family), event.local_port);
        let remote = SocketAddr::new(address(event.remote, family), event.remote_port);
        if matches!(finding, Finding::Failure(found) if found.cause == Cause::ConnectTimeout) {
            listener = self.full_listeners.find(event.netns, local, remote);
        }
        Record {
            time: self.time.of(event.boot_ns),
            finding,
            family,
            state: TcpState::try_from(event.signature.state).ok(),
            local,
            remote,
            remote_name: None,
            flow: Flow::of(event.first_bytes),
            rst: rst(event.rst),
            hops: hops(event.rst_ttl, event.handshake_ttl),
            role: event.signature.role(event.role),
            process,
            service,
            icmp,
            sender,
            sent_reason,
            killer,
            listener,
            path: path::text(&named.path),
            peer_service,
            arguments,
            rto_ms: self.clock.jiffies_to_ms(event.rto_jiffies),
            silent_ms: self.clock.jiffies_to_ms(event.silent_jiffies),
            send_timeout_ms,
            event: *event,
        }
    }

    /// Service of a socket whose process is unknown for this reason: a process that has gone leaves
    /// its cgroup behind, and some sockets keep their creator's.
    pub(super) fn service_without_process(&mut self, cgroup_id: u64, why: Unknown) -> Arc<Service> {
        if !matches!(why, Unknown::ProcessGone | Unknown::NoProcess) || cgroup_id == 0 {
            return Arc::new(Service::unknown(why));
        }
        let service = self.owners.service(cgroup_id, None);
        Arc::new(Service { unknown: Some(why), ..(*service).clone() })
    }

    /// The process to name, and when it existed; otherwise the reason why none is known.
    fn process(&mut self, named: &NamedEvent) -> Result<(Arc<Process>, Sighting), Unknown> {
        let event = &named.event;
        let there =
            Sighting { pid: event.tgid, seen_ns: event.owner_seen_ns, at_ns: event.boot_ns };
        let is = |source: OwnerSource| event.owner_source == source as u8;
        if is(OwnerSource::HandedOn) {
            return Err(Unknown::HandedOn);
        }
        if is(OwnerSource::Socket) {
            return Err(Unknown::NoProcess);
        }
        if event.tgid == 0 {
            return Err(self.why_none_is_recorded(event.signature));
        }
        if is(OwnerSource::Gone) && !self.owners.is_there(there) {
            return Err(Unknown::ProcessGone);
        }
        if let Some(process) = self.processes.find(named) {
            return Ok((process, there));
        }
        let (exe, until_ns) = self.exe(&named.names.exe, there);
        let process = Arc::new(Process {
            pid: event.tgid,
            tid: event.tid,
            uid: event.uid,
            comm: command_name(&event.comm),
            leader_comm: some_name(&named.names.comm),
            exe,
            source: source_name(event.owner_source),
        });
        if let Some(until_ns) = until_ns {
            self.processes.keep(named, until_ns, &process);
        }
        Ok((process, there))
    }

    /// Reason why the opener of a socket is unknown.
    pub(super) fn why_none_is_recorded(&self, signature: Signature) -> Unknown {
        match Flags(signature.flags).has(Flags::UNACCEPTED) {
            true => Unknown::NotAccepted,
            false if self.owners_full => Unknown::OwnerMapFull,
            false => Unknown::NotRecorded,
        }
    }

    /// Path of the executable that the process had at the time, if known: its last part must match
    /// the name that the kernel programs saw. Also returns until when that holds, if the process
    /// was inspected.
    fn exe(&mut self, name: &[u8], there: Sighting) -> (Option<Arc<str>>, Option<u64>) {
        let name = some_name(name);
        let (path, until_ns) = self.owners.exe(there).unzip();
        let exe = match (name, path) {
            (Some(name), Some(path)) if path_ends_in(&path, &name) => Some(path),
            (Some(name), _) => Some(name.into()),
            (None, path) => path,
        };
        (exe, until_ns)
    }

    fn peer_name(&mut self, comm: [u8; 16]) -> Arc<str> {
        if self.last_peer.0 != comm {
            self.last_peer = (comm, command_name(&comm).into());
        }
        Arc::clone(&self.last_peer.1)
    }

    fn rst_reason(&self, value: u32) -> Option<Arc<str>> {
        let (_, name) = self.rst_reasons.iter().find(|(known, _)| *known == value)?;
        Some(Arc::clone(name))
    }
}

pub(super) fn address(address: Address, family: Option<Family>) -> IpAddr {
    let octets = address.octets;
    match family {
        Some(Family::Ipv4) => IpAddr::from([octets[0], octets[1], octets[2], octets[3]]),
        Some(Family::Ipv6) | None => IpAddr::from(octets),
    }
}

/// The kernel's reason for an RST, and whether the RST went to a connection in the queue of a
/// closed listener; see [`BY_LISTENER`].
fn sender_reason(reason: u32) -> (u32, bool) {
    let by_listener = (reason | BY_LISTENER == ABSENT) != (reason & BY_LISTENER != 0);
    (if by_listener { reason ^ BY_LISTENER } else { reason }, by_listener)
}

/// Both TTLs, or none.
fn hops(rst: u8, handshake: u8) -> Option<Hops> {
    (rst != 0 && handshake != 0).then_some(Hops { rst, handshake })
}

fn rst([seq, ack]: [u32; 2]) -> Option<Rst> {
    ((seq, ack) != (0, 0)).then_some(Rst { seq, ack })
}

/// Whether the last part of a path is this name, whose end may be missing.
fn path_ends_in(path: &str, name: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or(path);
    last.starts_with(name) && (last.len() == name.len() || name.len() + 1 >= EXE_NAME)
}

/// JSON word for an [`OwnerSource`] that names a process.
fn source_name(source: u8) -> &'static str {
    const NAMES: [(OwnerSource, &str); 3] = [
        (OwnerSource::Caller, "caller"),
        (OwnerSource::Waiter, "waiter"),
        (OwnerSource::Holder, "holder"),
    ];
    let named = NAMES.iter().find(|(known, _)| *known as u8 == source);
    named.map_or("opener", |(_, name)| name)
}

fn some_name(name: &[u8]) -> Option<String> {
    Some(command_name(name)).filter(|name| !name.is_empty())
}

/// Command name as text. A program may give itself any name, so characters that could deceive on a
/// terminal or in a log are replaced.
pub(crate) fn command_name(comm: &[u8]) -> String {
    let length = comm.iter().position(|&byte| byte == 0).unwrap_or(comm.len());
    let name = &comm[..length];
    // Nearly all names are.
    if name.iter().all(|byte| matches!(byte, b' '..=b'~'))
        && let Ok(name) = str::from_utf8(name)
    {
        return name.to_owned();
    }
    String::from_utf8_lossy(name).replace(is_deceptive, "?")
}

#[cfg(test)]
pub(crate) mod tests {
    use socktrace_diagnosis::diagnose;
    use socktrace_ebpf::{Event, Names, Protocol, Signature};

    use super::*;

    /// Reset of an established IPv4 connection, as sent by the kernel programs.
    pub(crate) fn reset_event() -> Event {
        let mut comm = [0; 16];
        comm[..5].copy_from_slice(b"nginx");
        Event {
            boot_ns: 5_000_000_000,
            signature: Signature {
                kind: EventKind::ConnectionEnded as u8,
                origin: Origin::Reset as u8,
                state: TcpState::Established as u8,
                family: Family::Ipv4 as u8,
                protocol: Protocol::Tcp as u8,
                errno: u16::try_from(nix::libc::ECONNRESET).expect("small"),
                flags: Flags::empty().0,
                ..Signature::default()
            },
            local: Address::ipv4([10, 0, 0, 7]),
            remote: Address::ipv4([10, 0, 0, 9]),
            local_port: 443,
            remote_port: 50_412,
            netns: 4_026_531_840,
            tgid: 81,
            tid: 82,
            uid: 33,
            comm,
            ..Event::default()
        }
    }

    pub(crate) fn decoder() -> Decoder {
        let reasons = vec![(15, "tcp_abort_on_close".to_owned())];
        Decoder::new(Clock::new().expect("a clock"), reasons, Owners::nowhere())
    }

    /// Event whose process, thread and executable have one name.
    pub(crate) fn named(event: Event) -> NamedEvent {
        NamedEvent { event, names: Names::of_thread(event.comm), ..NamedEvent::default() }
    }

    pub(crate) fn record(event: Event) -> Record {
        decoder().decode(&named(event), diagnose(event.signature))
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
        let mut event = Event { tgid: 0, tid: 0, ..reset_event() };
        let unknown = record(event);
        assert_eq!(unknown.process, None);
        assert_eq!(unknown.service.unknown, Some(Unknown::NotRecorded));
        event.signature.flags = Flags::UNACCEPTED.0;
        assert_eq!(record(event).service.unknown, Some(Unknown::NotAccepted));
    }

    #[test]
    fn the_kernels_reason_is_named_in_its_own_words() {
        let mut event = reset_event();
        let mut comm = [0; 16];
        comm[..4].copy_from_slice(b"curl");
        event.set_detail(Detail::Peer { tgid: 90, comm, rst_reason: 15 });
        let sender = record(event).sender.expect("known");
        assert_eq!((sender.pid, &*sender.comm), (90, "curl"));
        assert_eq!(sender.reason.as_deref(), Some("tcp_abort_on_close"));
        event.set_detail(Detail::Peer { tgid: 90, comm, rst_reason: ABSENT });
        assert_eq!(record(event).sender.expect("known").reason, None);
    }

    #[test]
    fn an_rst_of_a_closing_listener_is_recognized() {
        let of = |rst_reason| {
            let mut event = reset_event();
            event.set_detail(Detail::Peer { tgid: 90, comm: [b'x'; 16], rst_reason });
            let sender = record(event).sender.expect("known");
            (sender.reason.as_deref().map(str::to_owned), sender.by_listener)
        };
        let named = || Some("tcp_abort_on_close".to_owned());
        assert_eq!(of(15), (named(), false));
        assert_eq!(of(15 ^ BY_LISTENER), (named(), true));
        assert_eq!(of(ABSENT), (None, false));
        assert_eq!(of(ABSENT ^ BY_LISTENER), (None, true));
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
        event.comm[..7].copy_from_slice("a\u{202e}bcd".as_bytes());
        assert_eq!(record(event).process.expect("known").comm, "a?bcd");
    }
}
