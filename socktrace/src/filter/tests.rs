use std::sync::Arc;

use clap::Parser as _;
use proptest::prelude::*;
use socktrace_ebpf::{
    Address, Event, EventKind, Family,
    criteria::{self, End, mode},
};

use super::*;
use crate::{
    cli::Cli,
    record::tests::{record, reset_event},
};

fn filter(args: &[&str]) -> Filter {
    let cli = Cli::try_parse_from(std::iter::once(&"socktrace").chain(args)).expect("sound");
    Filter::from(&cli.filters)
}

fn refusal(args: &[&str]) -> String {
    let parsed = Cli::try_parse_from(std::iter::once(&"socktrace").chain(args));
    let error = parsed.expect_err("a wrong value");
    assert_eq!(error.exit_code(), 2, "{args:?}");
    error.to_string()
}

/// A reset of 10.0.0.7:443 by 10.0.0.9:50412, held by nginx, process 81 of user 33.
fn reset_in(cgroup: &str) -> Record {
    let mut record = record(reset_event());
    record.service = Arc::new(Service::from_cgroup_path(cgroup));
    record
}

fn admits(args: &[&str]) -> bool {
    filter(args).admits(&reset_in("/system.slice/web.service"))
}

#[test]
fn each_kind_admits_its_value_and_nothing_else() {
    assert!(admits(&[]));
    for (option, value, other) in [
        ("--pid", "81", "82"),
        ("--comm", "nginx", "ngin"),
        ("--uid", "33", "0"),
        ("--uid", "33", "root"),
        ("--comm", "ng*", "ng?"),
        ("--comm", "[mn]gin?", "[!n]ginx"),
        ("--comm", "*", r"\*"),
        ("--unit", "w?b", "w?bb"),
        ("--unit", "web.*", "we"),
        ("--unit", "sys*.slice", "*.slice*.slice"),
        ("--cgroup", "/sys*", "/web*"),
        ("--cgroup", "/*/web.*", "/*/?"),
        ("--unit", "web", "db.service"),
        ("--unit", "system.slice", "user.slice"),
        ("--cgroup", "/system.slice", "/system.slice/web"),
        ("--netns", "4026531840", "net:[4026531841]"),
        ("--port", "443", "444"),
        ("--port", "50412", "1"),
        ("--local", "10.0.0.7", "10.0.0.9"),
        ("--remote", "10.0.0.0/24", "10.0.1.0/24"),
        ("--remote", "::ffff:10.0.0.9", "::/0"),
        ("--remote", "::ffff:10.0.0.0/120", "2001:db8::1"),
        ("--errno", "ECONNRESET", "EPIPE"),
        ("--errno", "econnreset", "110"),
        ("--cause", "reset_by_peer", "other"),
        ("--severity", "failure", "notable"),
    ] {
        assert!(admits(&[option, value]), "{option} {value}");
        assert!(!admits(&[option, other]), "{option} {other}");
        let (not_value, not_other) = (format!("!{value}"), format!("!{other}"));
        assert!(!admits(&[option, &not_value]), "{option} {not_value}");
        assert!(admits(&[option, &not_other]), "{option} {not_other}");
        // The negative option instead of the mark.
        let not_option = option.replace("--", "--not-");
        assert!(!admits(&[&not_option, value]), "{not_option} {value}");
        assert!(admits(&[&not_option, other]), "{not_option} {other}");
        assert!(!admits(&[option, value, &not_option, value]), "{option} {value} and not");
        // Any of the wanted values, none of the unwanted ones.
        assert!(admits(&[option, other, option, value]), "{option} {other} or {value}");
        assert!(!admits(&[option, value, option, &not_value]), "{option} {value} and not");
    }
    // Criteria of different kinds must all match.
    assert!(admits(&["--port", "443", "--pid", "81"]));
    assert!(!admits(&["--port", "443", "--pid", "82"]));
}

#[test]
fn what_is_unknown_has_no_value() {
    let nobody = record(Event { tgid: 0, uid: 0, comm: [0; 16], ..reset_event() });
    for option in [["--pid", "81"], ["--uid", "0"], ["--comm", "nginx"], ["--cgroup", "/"]] {
        assert!(!filter(&option).admits(&nobody), "{option:?}");
        let not = [option[0], &format!("!{}", option[1])];
        assert!(filter(&not).admits(&nobody), "{not:?}");
    }
    // Without a socket there is no address.
    let mut nowhere = reset_event();
    nowhere.signature.family = 0;
    (nowhere.local, nowhere.remote) = Default::default();
    let nowhere = record(nowhere);
    for network in ["0.0.0.0/0", "::/0"] {
        assert!(!filter(&["--remote", network]).admits(&nowhere), "{network}");
    }
}

#[test]
fn progress_is_no_failure() {
    let mut event = reset_event();
    event.signature.kind = EventKind::Retransmission as u8;
    let progress = record(event);
    assert!(filter(&["--port", "443"]).admits(&progress));
    assert!(filter(&["--errno", "!EPIPE"]).admits(&progress));
    assert!(!filter(&["--severity", "failure"]).admits(&progress));
}

#[test]
fn slices_and_cgroups_stand_for_all_below() {
    let user = reset_in("/user.slice/user-1000.slice/user@1000.service/app.slice/sync.service");
    for args in [
        ["--unit", "user.slice"],
        ["--unit", "user-1000.slice"],
        ["--unit", "user@1000"],
        ["--unit", "sync.service"],
        ["--cgroup", "/user.slice/user-1000.slice/"],
        ["--cgroup", "/sys/fs/cgroup/user.slice"],
        ["--cgroup", "/"],
    ] {
        assert!(filter(&args).admits(&user), "{args:?}");
    }
    // A user manager may have slices of any name.
    assert!(!filter(&["--unit", "app.slice"]).admits(&user));
    assert!(!filter(&["--cgroup", "/user.slice/user-1000"]).admits(&user));
}

const ID: &str = "cf87ba651579c9231db817909e7865e5747bd7abcac0c57ce23cf4abbaee046b";

#[test]
fn containers_go_by_name_id_and_pod() {
    let pod = "kubepods-burstable-pod8712f785_1a3e_41ec_a00b_e2dcc77431cb.slice";
    let scope = format!("cri-containerd-{ID}.scope");
    let mut record = reset_in(&format!("/kubepods.slice/kubepods-burstable.slice/{pod}/{scope}"));
    for (args, is) in [(&ID[..12], true), (ID, true), (&ID[..11], false), ("web", false)] {
        assert_eq!(filter(&["--container", args]).admits(&record), is, "{args}");
    }
    let mut service = (*record.service).clone();
    service.container.as_mut().expect("one").name = Some("web".to_owned());
    let pod = service.pod.as_mut().expect("one");
    (pod.namespace, pod.name) = (Some("shop".to_owned()), Some("cart-0".to_owned()));
    record.service = Arc::new(service);
    for (args, is) in [
        ("web", true),
        ("shop/cart-0", true),
        ("shop/cart-0/web", true),
        ("shop/cart-0/db", false),
        ("shop/cart-1", false),
    ] {
        assert_eq!(filter(&["--container", args]).admits(&record), is, "{args}");
        assert_eq!(filter(&["--container", &format!("!{args}")]).admits(&record), !is, "!{args}");
    }
}

#[test]
fn the_kernel_side_never_drops_what_patterns_let_pass() {
    let choice = |terms: &[&str]| {
        let terms: Vec<Term<Comm>> =
            terms.iter().map(|term| term.parse().expect("sound")).collect();
        let in_kernel = Choice::new(&terms).in_kernel();
        (in_kernel.mode(), in_kernel.wanted.len(), in_kernel.unwanted.len())
    };
    assert_eq!(choice(&["nginx", "!php"]), (mode::ONLY, 1, 1));
    assert_eq!(choice(&["nginx", "!php*"]), (mode::ONLY, 1, 0));
    assert_eq!(choice(&["nginx", "php*", "!curl"]), (mode::EXCEPT, 0, 1));
    assert_eq!(choice(&["nginx", "php*"]), (mode::ANY, 0, 0));
    assert_eq!(choice(&["!php*"]), (mode::ANY, 0, 0));
}

#[test]
fn a_claim_brings_into_the_stream_and_keeps_nothing_out() {
    let path = format!("/user.slice/user-1000.slice/user@1000.service/docker-{ID}.scope");
    let record = reset_in(&path);
    assert!(record.service.container.as_ref().expect("one").claimed);
    assert!(filter(&["--container", ID]).admits(&record));
    assert!(filter(&["--container", &format!("!{ID}")]).admits(&record));
}

#[test]
fn errors_name_the_accepted_values() {
    for (option, value, reported) in [
        ("--pid", "nginx", "a process id"),
        ("--pid", "0", "a process id"),
        ("--uid", "no such user", "id -u NAME"),
        ("--uid", "4294967295", "/etc/passwd"),
        ("--comm", "a?[b", "unclosed"),
        ("--comm", "a-very-*-command1", "15 bytes"),
        ("--unit", "a[", "nginx.service"),
        ("--container", "a[", "NAMESPACE/POD"),
        ("--cgroup", "/a[", "/system.slice/nginx.service"),
        ("--comm", "a-very-long-command", "\"a-very-long-com\""),
        ("--unit", "/system.slice", "nginx.service"),
        ("--container", "", "NAMESPACE/POD"),
        ("--cgroup", "system.slice", "/system.slice/nginx.service"),
        ("--netns", "no-such", "name of ip netns"),
        ("--port", "0", "1 to 65535"),
        ("--port", "https", "1 to 65535"),
        ("--local", "10.0.0.7:443", "--port"),
        ("--remote", "db1", "10.0.0.0/8"),
        ("--remote", "10.0.0.0/33", "10.0.0.0/8"),
        ("--errno", "ECONRESET", "did you mean ECONNRESET"),
        ("--errno", "zebra", "errno(3)"),
        ("--errno", "5000", "4095"),
        ("--cause", "reset_by_pear", "did you mean reset_by_peer"),
        ("--cause", "zebra", "socktrace explain"),
        ("--severity", "bad", "expected, notable, failure"),
    ] {
        let not_option = option.replace("--", "--not-");
        for (option, value) in
            [(option, value), (option, &format!("!{value}")), (&not_option, value)]
        {
            let said = refusal(&[option, value]);
            // The message can be wrapped at any width.
            let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(said.contains(reported) && said.contains(option), "{option} {value}: {said}");
        }
    }
}

#[test]
fn a_network_namespace_goes_by_path() {
    use std::os::unix::fs::MetadataExt as _;
    let own = std::fs::metadata("/proc/self/ns/net").expect("a namespace").ino();
    let event = Event { netns: u32::try_from(own).expect("small"), ..reset_event() };
    assert!(filter(&["--netns", "/proc/self/ns/net"]).admits(&record(event)));
}

/// The kernel side's verdict on an address: that of the longest prefix.
fn kernel_admits(choice: &Choice<Network>, family: Family, octets: [u8; 16]) -> bool {
    let criteria::Network(wanted) = criteria::Network::new(End::Remote, family as u8, octets);
    let bit = |data: &[u8; 20], bit: usize| data[bit / 8] >> (7 - bit % 8) & 1;
    let verdict = kernel_filter::network_verdicts(choice, End::Remote)
        .filter(|(bits, criteria::Network(key), _)| {
            (0..*bits as usize).all(|index| bit(key, index) == bit(&wanted, index))
        })
        .max_by_key(|(bits, ..)| *bits)
        .map(|(.., is_wanted)| is_wanted);
    verdict.unwrap_or(choice.mode() != mode::ONLY)
}

fn network() -> impl Strategy<Value = String> {
    // A small address space, so that many addresses are in many networks.
    let v4 = (0..4_u8, 0..4_u8, 0..=32_u8).prop_map(|(a, b, bits)| format!("10.{a}.0.{b}/{bits}"));
    let v6 = (0..4_u8, 0..=128_u8).prop_map(|(a, bits)| format!("2001:db8::{a}/{bits}"));
    let mapped = (0..4_u8, 96..=128_u8).prop_map(|(a, bits)| format!("::ffff:10.{a}.0.1/{bits}"));
    prop_oneof![v4, v6, mapped]
}

proptest! {
    #[test]
    fn the_kernel_side_judges_networks_alike(
        terms in proptest::collection::vec((any::<bool>(), network()), 0..6),
        (a, b, is_v6) in (0..4_u8, 0..4_u8, any::<bool>()),
    ) {
        let terms: Vec<Term<Network>> = terms
            .into_iter()
            .map(|(negated, text)| {
                let mark = if negated { "!" } else { "" };
                format!("{mark}{text}").parse().expect("sound")
            })
            .collect();
        let choice = Choice::new(&terms);
        let (family, octets) = if is_v6 {
            let address = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, a.into());
            (Family::Ipv6, address.octets())
        } else {
            (Family::Ipv4, Address::ipv4([10, a, 0, b]).octets)
        };
        let mut event = reset_event();
        event.signature.family = family as u8;
        event.remote = Address { octets };
        let address = record(event).remote.ip();
        prop_assert_eq!(
            choice.admits(|network| network.contains(address)),
            kernel_admits(&choice, family, octets)
        );
    }
}

#[test]
fn paths_are_asked_for_by_patterns() {
    let mut of_unix = record(reset_event());
    of_unix.event.signature.protocol = Protocol::Unix as u8;
    of_unix.path = Some("/run/php/php8.2-fpm.sock".to_owned());
    let unnamed = Record { path: None, ..of_unix.clone() };
    for (pattern, is_of) in [
        ("/run/php/*.sock", true),
        ("/run/*", true),
        ("/run/php/php8.?-fpm.sock", true),
        ("/run/php/php8.[0-3]-fpm.sock", true),
        ("/run/php", false),
        ("php8.2-fpm.sock", false),
        (r"/run/php/\*", false),
        ("@*", false),
    ] {
        assert_eq!(filter(&["--path", pattern]).admits(&of_unix), is_of, "{pattern}");
        let others = filter(&["--path", &format!("!{pattern}")]);
        assert_eq!(others.admits(&of_unix), !is_of, "!{pattern}");
        // A socket without a path matches no pattern.
        assert!(others.admits(&unnamed) && !filter(&["--path", pattern]).admits(&unnamed));
    }
    // Nor do sockets of other protocols.
    assert!(!admits(&["--path", "*"]));
    assert!(admits(&["--path", "!*"]));
    assert!(refusal(&["--path", ""]).contains("expected a path"));
    assert!(refusal(&["--path", "/run/[a"]).contains("expected a path"));
}
