//! Events of one kind that were counted instead of streamed one by one.

use std::{net::IpAddr, sync::Arc};

use jiff::Timestamp;
use socktrace_diagnosis::{Finding, diagnose};
use socktrace_ebpf::{
    Address, Family, OwnerSource, Repeats, Role, Signature, TcpState,
    repeats::{PEER_BITS, bytes},
};

use super::decoder::{Decoder, address, command_name};
use crate::{
    kernel::repeats::Kind,
    owner::{Service, Sighting, Unknown},
};

/// A flood, with what all its events share.
#[derive(Clone, Debug)]
pub(crate) struct Flood {
    /// Time of the last event.
    pub(crate) time: Timestamp,
    pub(crate) count: u64,
    /// Time from the first event to the last, in milliseconds.
    pub(crate) span_ms: u64,
    pub(crate) peers: Peers,
    pub(crate) signature: Signature,
    pub(crate) finding: Finding,
    pub(crate) state: Option<TcpState>,
    pub(crate) role: Option<Role>,
    /// Port of the listening side, if the role is known and all events have the same.
    pub(crate) service_port: Option<u16>,
    pub(crate) service: Arc<Service>,
    /// The process, if all events have the same.
    pub(crate) process: Option<FloodProcess>,
    /// The remote address, if all events have the same.
    pub(crate) remote: Option<IpAddr>,
}

/// A process with a flood of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FloodProcess {
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    /// Command name of its threads in the flood.
    pub(crate) comm: String,
    /// Path of its executable, if it still exists and may be inspected.
    pub(crate) exe: Option<Arc<str>>,
}

/// Number of remote addresses that events came from since the flood began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peers {
    /// There is no remote end.
    None,
    /// This many.
    Exactly(u64),
    /// About this many. The standard error is below 5 % up to 1,000 and 8 % at 2,000.
    About(u64),
    /// This many, or any number beyond.
    AtLeast(u64),
}

impl Peers {
    /// Estimates the number from the bits that are set (linear counting: Whang, Vander-Zanden and
    /// Taylor, 1990).
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "small positive numbers"
    )]
    fn of(repeats: &Repeats) -> Self {
        let is_one = repeats.remotes_differ == 0;
        if is_one {
            return if repeats.remote == [0; 2] { Self::None } else { Self::Exactly(1) };
        }
        let set: u32 = repeats.peers.iter().map(|word| word.count_ones()).sum();
        let bits = PEER_BITS as f64;
        let estimate = |clear: f64| (bits * (bits / clear).ln()).round() as u64;
        match PEER_BITS - set as usize {
            0 => Self::AtLeast(estimate(1.0)),
            clear => Self::About(estimate(clear as f64).max(2)),
        }
    }
}

impl Decoder {
    /// Decodes events that were counted since a time, in nanoseconds since boot. Looks up their
    /// service; see [`crate::owner::Owners::service`].
    pub(crate) fn decode_flood(
        &mut self,
        kind: &Kind,
        count: u64,
        since_ns: u64,
        repeats: &Repeats,
    ) -> Flood {
        let signature = kind.owned.signature;
        let family = Family::try_from(signature.family).ok();
        #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
        let (pid, uid) = (repeats.process as u32, (repeats.process >> 32) as u32);
        let is = |source: OwnerSource| kind.owned.reserved == source as u16;
        let is_one = pid != 0 && repeats.processes_differ == 0 && !is(OwnerSource::Gone);
        let there = Sighting { pid, seen_ns: repeats.since_ns, at_ns: repeats.last_ns };
        // Unless cgroups are distinguished, each process has its own kinds.
        let cgroup = if kind.by_cgroup { kind.owned.cgroup_id } else { 0 };
        let service = if is(OwnerSource::HandedOn) {
            self.service_without_process(0, Unknown::HandedOn)
        } else if is(OwnerSource::Gone) {
            self.service_without_process(cgroup, Unknown::ProcessGone)
        } else if is(OwnerSource::Socket) {
            self.service_without_process(kind.owned.cgroup_id, Unknown::NoProcess)
        } else if kind.owned.cgroup_id == 0 {
            let why = self.why_none_is_recorded(signature);
            self.service_without_process(0, why)
        } else if kind.by_cgroup {
            self.owners.service(cgroup, None)
        } else {
            self.owners.service(0, Some(there))
        };
        let process = is_one.then(|| {
            let comm = command_name(&bytes(repeats.comm));
            let exe = self.owners.exe(there).map(|(path, _)| path);
            FloodProcess { pid, uid, comm, exe }
        });
        let is_known = repeats.remotes_differ == 0 && repeats.remote != [0; 2];
        let remote = is_known.then(|| address(Address { octets: bytes(repeats.remote) }, family));
        #[expect(clippy::cast_possible_truncation, reason = "a small number")]
        let role = signature.role(repeats.role as u8);
        let port = Some(kind.owned.service_port).filter(|port| *port != 0 && !kind.of_any_port);
        Flood {
            time: self.time.of(repeats.last_ns),
            count,
            span_ms: repeats.last_ns.saturating_sub(since_ns) / 1_000_000,
            peers: Peers::of(repeats),
            signature,
            finding: diagnose(signature),
            state: TcpState::try_from(signature.state).ok(),
            role,
            service_port: role.and(port),
            service,
            process,
            remote,
        }
    }
}

#[cfg(test)]
mod tests {
    use socktrace_ebpf::{
        Owned,
        repeats::{peer_bit, words},
    };

    use super::*;
    use crate::record::tests::{decoder, reset_event};

    /// The kernel's counts after events from this many peers in 10.0.0.0/8.
    fn repeats_of(peers: u32) -> Repeats {
        let address = |host: u32| Address::ipv4((0x0a00_0000 + host).to_be_bytes());
        let remote = |host| words(address(host).octets);
        let mut repeats = Repeats {
            since_ns: 1_000_000_000,
            last_ns: 4_200_000_000,
            process: (33 << 32) + 81,
            comm: words(*b"nginx\0\0\0\0\0\0\0\0\0\0\0"),
            remote: remote(1),
            remotes_differ: u64::from(peers > 1),
            ..Repeats::NONE
        };
        for host in 1..=peers {
            let bit = peer_bit(remote(host));
            repeats.peers[bit / 64] |= 1 << (bit % 64);
        }
        repeats
    }

    fn flood(repeats: &Repeats) -> Flood {
        let signature = reset_event().signature;
        let owned = Owned { cgroup_id: 7, signature, service_port: 443, ..Owned::default() };
        let kind = Kind { owned, by_cgroup: true, of_any_port: false };
        decoder().decode_flood(&kind, 12_408, repeats.since_ns, repeats)
    }

    #[test]
    fn what_all_have_in_common_is_reported() {
        let flood = flood(&repeats_of(1));
        assert_eq!((flood.count, flood.span_ms, flood.peers), (12_408, 3_200, Peers::Exactly(1)));
        assert_eq!(flood.remote, Some([10, 0, 0, 1].into()));
        let process = flood.process.expect("one process");
        assert_eq!((process.pid, process.uid, process.comm.as_str()), (81, 33, "nginx"));
        // How the sockets were opened is unknown, and so is which port listens.
        assert_eq!((flood.role, flood.service_port), (None, None));
    }

    #[test]
    fn what_differs_is_not_reported() {
        let role = Role::Server as u64;
        let flood = flood(&Repeats { processes_differ: 1, role, ..repeats_of(2) });
        assert_eq!((flood.process, flood.remote, flood.peers), (None, None, Peers::About(2)));
        assert_eq!((flood.role, flood.service_port), (Some(Role::Server), Some(443)));
    }

    #[test]
    fn peers_are_estimated_within_what_is_promised() {
        for (peers, percent) in [(20, 15.0), (340, 12.0), (1_000, 15.0), (2_000, 24.0)] {
            let Peers::About(found) = flood(&repeats_of(peers)).peers else { panic!("{peers}") };
            let off = (f64::from(u32::try_from(found).expect("small")) / f64::from(peers) - 1.0)
                .abs()
                * 100.0;
            // Three standard deviations.
            assert!(off <= percent, "{found} of {peers}: {off} % off");
        }
        let full = Repeats { peers: [u64::MAX; 8], ..repeats_of(2) };
        assert_eq!(Peers::of(&full), Peers::AtLeast(3_194));
        assert_eq!(Peers::of(&Repeats::NONE), Peers::None);
    }
}
