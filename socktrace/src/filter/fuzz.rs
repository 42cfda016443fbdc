//! Fuzz tests: filter values are parsed, or rejected with a list of valid forms.

use std::{net::IpAddr, str::FromStr};

use socktrace_diagnosis::{Cause, Errno, Severity};
use socktrace_ebpf::criteria::{self, End};

use super::{CgroupPath, Comm, ContainerName, Network, Pid, Port, Term, Uid, Unit};
use crate::owner::Service;

/// Input: a value, then a NUL and the path of a cgroup.
#[test]
fn values() {
    bolero::check!(name = "values").for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let (value, path) = text.split_once('\0').unwrap_or((&text, ""));
        let service = Service::from_cgroup_path(path);
        let _numbers = (read::<Pid>(value), read::<Uid>(value), read::<Port>(value));
        let _names = (read::<Errno>(value), read::<Cause>(value), read::<Severity>(value));
        if let Some(comm) = read::<Comm>(value) {
            assert!(!comm.is_of(&[b'x'; 16]), "no room for the end of {value:?}");
        }
        if let Some(unit) = read::<Unit>(value) {
            // The default service has no unit.
            assert!(!unit.is_of(&Service::default()));
            let _any = unit.is_of(&service);
        }
        if let Some(container) = read::<ContainerName>(value) {
            assert!(container.is_of(&service, true) || !container.is_of(&service, false));
        }
        if let Some(cgroup) = read::<CgroupPath>(value) {
            assert!(!cgroup.is_of(&Service::default()));
            let _any = cgroup.is_of(&service);
        }
        if let Some(network) = read::<Network>(value) {
            network_holds_together(&network, value);
        }
    });
}

/// A network contains its own address and itself, and is looked up by its significant bits.
fn network_holds_together(network: &Network, text: &str) {
    if let Ok(address) = text.parse::<IpAddr>() {
        assert!(network.contains(address.to_canonical()), "{text}");
    }
    assert!(network.covers(network), "{text}");
    let (bits, _) = network.key(End::Remote);
    let counting = bits.checked_sub(criteria::Network::SCOPE_BITS);
    assert!(counting.is_some_and(|bits| bits <= 128), "{text}: {bits}");
}

/// Parses the value, with and without a negation mark. Both must agree.
fn read<T: FromStr<Err = String> + Clone + PartialEq + std::fmt::Debug>(text: &str) -> Option<T> {
    let negated = format!("!{text}").parse::<Term<T>>();
    match text.parse::<T>() {
        Ok(value) => {
            let negated = super::Choice::new(&[negated.expect("as without a mark")]);
            assert_eq!(
                (negated.wanted.as_slice(), negated.unwanted.as_slice()),
                (&[][..], &[value.clone()][..])
            );
            Some(value)
        }
        Err(problem) => {
            assert!(!problem.is_empty());
            assert_eq!(negated, Err(problem));
            None
        }
    }
}
