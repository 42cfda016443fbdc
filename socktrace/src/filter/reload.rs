//! Filters that change on reload while the kernel side keeps applying the old ones.

use std::net::IpAddr;

use socktrace_ebpf::criteria::mode;

use super::{Choice, Filter, Network};
use crate::record::Flood;

impl Filter {
    /// Names of the filters by which this one would admit events that the kernel side, set up for
    /// `at_start`, always drops.
    pub(crate) fn dropped_in_kernel(&self, at_start: &Self) -> Vec<&'static str> {
        fn is_same<T: PartialEq>(one: &T, other: &T) -> bool {
            one == other
        }
        let comm = at_start.comm.exact_part();
        let mut dropped: Vec<_> = [
            ("pid", self.pid.is_within(&at_start.pid, is_same, false)),
            ("comm", self.comm.is_within(&comm, super::Comm::covers, false)),
            ("uid", self.uid.is_within(&at_start.uid, is_same, false)),
            ("netns", self.netns.is_within(&at_start.netns, is_same, false)),
            ("port", self.port.is_within(&at_start.port, is_same, true)),
            ("local", self.local.is_within(&at_start.local, Network::covers, false)),
            ("remote", self.remote.is_within(&at_start.remote, Network::covers, false)),
        ]
        .into_iter()
        .filter_map(|(name, is_within)| (!is_within).then_some(name))
        .collect();
        // Services are judged as they appear. If some were wanted at the start, sockets without a
        // service were dropped immediately.
        if at_start.service_mode() == mode::ONLY && self.service_mode() != mode::ONLY {
            let kinds = [
                ("unit", at_start.unit.mode()),
                ("container", at_start.container.mode()),
                ("cgroup", at_start.cgroup.mode()),
            ];
            let wanted = kinds.into_iter().filter(|(_, of_kind)| *of_kind == mode::ONLY);
            dropped.extend(wanted.map(|(name, _)| name));
        }
        dropped
    }

    /// Criteria for processes and connections that differ from the kernel side's; `None` if none
    /// do.
    pub(crate) fn changed_subjects(&self, at_start: &Self) -> Option<Self> {
        fn changed<T: Clone + PartialEq>(new: &Choice<T>, old: &Choice<T>) -> Choice<T> {
            if new == old { Choice::new(&[]) } else { new.clone() }
        }
        let changed = Self {
            pid: changed(&self.pid, &at_start.pid),
            comm: changed(&self.comm, &at_start.comm),
            uid: changed(&self.uid, &at_start.uid),
            netns: changed(&self.netns, &at_start.netns),
            port: changed(&self.port, &at_start.port),
            local: changed(&self.local, &at_start.local),
            remote: changed(&self.remote, &at_start.remote),
            path: changed(&self.path, &at_start.path),
            unit: Choice::new(&[]),
            container: Choice::new(&[]),
            cgroup: Choice::new(&[]),
            protocol: Choice::new(&[]),
            errno: Choice::new(&[]),
            cause: Choice::new(&[]),
            severity: Choice::new(&[]),
        };
        changed.asks_for_subjects().then_some(changed)
    }

    fn asks_for_subjects(&self) -> bool {
        !(self.pid.is_any()
            && self.comm.is_any()
            && self.uid.is_any()
            && self.netns.is_any()
            && self.port.is_any()
            && self.local.is_any()
            && self.remote.is_any()
            && self.path.is_any())
    }

    /// Whether the process and connections of a flood pass. A field whose value differs between the
    /// flood's events matches no value.
    pub(crate) fn admits_flood(&self, flood: &Flood) -> bool {
        let process = flood.process.as_ref();
        let within = |network: &Network, address: Option<IpAddr>| {
            address.is_some_and(|address| network.contains(address))
        };
        self.pid.admits(|pid| process.is_some_and(|process| process.pid == pid.0))
            && self
                .comm
                .admits(|comm| process.is_some_and(|process| comm.is_of_shown(&process.comm)))
            && self.uid.admits(|uid| process.is_some_and(|process| process.uid == uid.0))
            && self.netns.wanted.is_empty()
            && self.port.admits(|port| flood.service_port == Some(port.0))
            && self.local.admits(|network| within(network, None))
            && self.remote.admits(|network| within(network, flood.remote))
            && self.path.wanted.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    fn filter(text: &str) -> Filter {
        let words = std::iter::once("socktrace").chain(text.split_whitespace());
        Filter::from(&Cli::try_parse_from(words).expect("sound").filters)
    }

    #[test]
    fn what_the_kernel_side_drops_for_good_is_named() {
        for (at_start, now, dropped) in [
            ("", "--pid 1 --unit a --cause other", &[][..]),
            ("--pid 1 --pid 2", "--pid 1", &[]),
            ("--pid 1", "--pid 2", &["pid"]),
            ("--pid 1", "--pid 1 --pid 2", &["pid"]),
            ("--pid 1", "--pid 1 --pid 2 --not-pid 2", &[]),
            ("--pid 1", "", &["pid"]),
            ("--pid 1", "--not-pid 2", &["pid"]),
            ("--not-pid 1", "--not-pid 1 --not-pid 2", &[]),
            ("--not-pid 1", "--pid 2", &[]),
            ("--not-pid 1", "--not-pid 2", &["pid"]),
            ("--not-pid 1", "--pid 1", &["pid"]),
            // The other end may have a different port.
            ("--not-port 1", "--port 2", &["port"]),
            ("--not-port 1", "--port 2 --not-port 1", &[]),
            ("--remote 10.0.0.0/8", "--remote 10.1.0.0/16", &[]),
            ("--remote 10.1.0.0/16", "--remote 10.0.0.0/8", &["remote"]),
            ("--not-local 10.1.0.0/16", "--not-local 10.0.0.0/8", &[]),
            ("--not-local 10.1.0.0/16", "--local 10.0.0.0/8", &["local"]),
            ("--not-local 10.1.0.0/16", "--local 10.2.0.0/16", &[]),
            ("--comm nginx", "--comm ng*", &["comm"]),
            ("--comm ng*", "--comm php*", &[]),
            ("--comm ng* --comm php", "--comm curl", &[]),
            ("--comm nginx --comm php", "--comm php --port 1", &[]),
            ("--not-comm nginx", "--not-comm ng*", &[]),
            ("--not-comm nginx", "--not-comm php", &["comm"]),
            // Cgroups, causes and paths are judged when they appear.
            ("--unit a", "--unit b", &[]),
            ("--not-unit a", "", &[]),
            ("--unit a --cgroup /b", "", &["unit", "cgroup"]),
            ("--unit a", "--cgroup /b", &[]),
            ("--cause other --path /run/a", "", &[]),
        ] {
            let found = filter(now).dropped_in_kernel(&filter(at_start));
            assert_eq!(found, dropped, "{at_start:?}, then {now:?}");
        }
    }

    #[test]
    fn only_what_changed_is_asked_of_floods() {
        let changed = |at_start: &str, now: &str| {
            filter(now)
                .changed_subjects(&filter(at_start))
                .map(|filter| [filter.pid.is_any(), filter.port.is_any(), filter.remote.is_any()])
        };
        assert_eq!(changed("--pid 1", "--pid 1 --unit a --cause other"), None);
        assert_eq!(changed("--pid 1 --port 2", ""), None);
        assert_eq!(changed("--pid 1 --port 2", "--pid 1 --port 3"), Some([true, false, true]));
    }
}
