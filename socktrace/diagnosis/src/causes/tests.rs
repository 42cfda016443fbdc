//! Tests that diagnosis, documents and alert rules agree with the table.

use std::{
    collections::{BTreeSet, HashSet},
    env,
    fmt::Write as _,
    fs,
    path::PathBuf,
};

use nix::libc;
use socktrace_ebpf::{EventKind, Flags, Origin, Protocol, Signature, TcpState};

use super::*;
use crate::diagnose;

/// Set to any value, this variable makes the test write the document.
const WRITE: &str = "SOCKTRACE_WRITE_DOCS";

#[test]
fn ids_are_distinct_and_fit_for_labels() {
    let ids: HashSet<_> = Cause::ALL.iter().map(|cause| cause.id()).collect();
    assert_eq!(ids.len(), Cause::ALL.len());
    for id in ids {
        assert!(id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{id}");
    }
    assert_eq!(Cause::by_group().count(), Cause::ALL.len());
}

/// Sets of up to three flags: no decision depends on more.
fn flag_sets() -> Vec<Flags> {
    let mut sets = BTreeSet::from([Flags::empty()]);
    for _ in 0..3 {
        let larger: Vec<_> = sets
            .iter()
            .flat_map(|set| Flags::NAMES.iter().map(|(flag, _)| set.with(*flag)))
            .collect();
        sets.extend(larger);
    }
    sets.into_iter().collect()
}

/// Every errno in the table, none, and one that no row has.
fn errnos() -> BTreeSet<u16> {
    let rows = Cause::ALL.iter().map(|cause| cause.row().errnos);
    let listed = rows.flat_map(|errnos| match errnos {
        Errnos::Of(errnos) => errnos,
        Errnos::Any | Errnos::None => &[],
    });
    listed.map(|errno| errno.number()).chain([0, Errno::of(libc::EXDEV).number()]).collect()
}

/// Signatures with every kind of event, and with every state and origin if these matter.
fn signatures() -> impl Iterator<Item = Signature> {
    let (flag_sets, errnos) = (flag_sets(), errnos());
    let mut moments = Vec::new();
    for &kind in EventKind::ALL {
        let decides = matches!(
            kind,
            EventKind::ConnectionEnded
                | EventKind::ErrorReported
                | EventKind::ClosedUnread
                | EventKind::Write
                | EventKind::Accept
                | EventKind::AcceptCall
        );
        let (states, origins) = if decides {
            (TcpState::ALL, Origin::ALL)
        } else {
            (&[TcpState::SynSent, TcpState::Established][..], &[Origin::Other][..])
        };
        for &state in states {
            moments.extend(origins.iter().map(|origin| (kind, state, *origin)));
        }
    }
    let of_unix = errnos.clone().into_iter().map(|errno| Signature {
        kind: EventKind::Connect as u8,
        state: TcpState::Close as u8,
        protocol: Protocol::Unix as u8,
        errno,
        ..Signature::default()
    });
    let others = moments.into_iter().flat_map(move |(kind, state, origin)| {
        let flag_sets = flag_sets.clone();
        errnos.clone().into_iter().flat_map(move |errno| {
            flag_sets.clone().into_iter().map(move |flags| Signature {
                kind: kind as u8,
                state: state as u8,
                origin: origin as u8,
                errno,
                flags: flags.0,
                ..Signature::default()
            })
        })
    });
    others.chain(of_unix).chain(unix_sends())
}

/// Signatures specific to sends on Unix sockets.
fn unix_sends() -> impl Iterator<Item = Signature> {
    let kinds = [EventKind::Write, EventKind::DatagramSend];
    let flags = [Flags::empty(), Flags::PEER_CLOSED, Flags::SEND_SHUTDOWN];
    let of = move |kind, errno| {
        flags.map(|flags| Signature {
            kind: kind as u8,
            state: TcpState::Established as u8,
            protocol: Protocol::Unix as u8,
            errno,
            flags: flags.0,
            ..Signature::default()
        })
    };
    errnos()
        .into_iter()
        .flat_map(move |errno| kinds.into_iter().flat_map(move |kind| of(kind, errno)))
}

/// Signatures specific to UDP sockets.
fn datagram_signatures() -> impl Iterator<Item = Signature> {
    let kinds = [EventKind::ErrorReported, EventKind::Connect, EventKind::DatagramSend];
    let states = [TcpState::Established, TcpState::Close];
    kinds
        .into_iter()
        .flat_map(|kind| errnos().into_iter().map(move |errno| (kind, errno)))
        .flat_map(move |(kind, errno)| {
            states.map(|state| Signature {
                kind: kind as u8,
                errno,
                state: state as u8,
                origin: match kind {
                    EventKind::ErrorReported => Origin::Report as u8,
                    _ => 0,
                },
                protocol: Protocol::Udp as u8,
                ..Signature::default()
            })
        })
}

/// Signatures of errors stored in sockets of other protocols.
fn reports_of_others() -> impl Iterator<Item = Signature> {
    let report = |protocol, errno, flags: Flags| Signature {
        kind: EventKind::ErrorReported as u8,
        origin: Origin::Report as u8,
        state: TcpState::Close as u8,
        protocol: protocol as u8,
        errno: Errno::of(errno).number(),
        flags: flags.0,
        ..Signature::default()
    };
    let none = Flags::empty();
    [
        report(Protocol::Netlink, libc::ENOBUFS, none),
        report(Protocol::Packet, libc::ENETDOWN, none),
        report(Protocol::Vsock, libc::ECONNRESET, Flags::CONNECTING),
        report(Protocol::Vsock, libc::ECONNRESET, none),
        report(Protocol::Vsock, libc::ETIMEDOUT, Flags::CONNECTING),
        report(Protocol::Raw, libc::ENOPROTOOPT, none),
    ]
    .into_iter()
}

/// The failure whose errno was still pending when its socket was closed.
fn reported_by(signature: Signature) -> Signature {
    let stayed_open = Flags(signature.flags).has(Flags::STAYED_OPEN);
    let kind = if stayed_open { EventKind::ErrorReported } else { EventKind::ConnectionEnded };
    Signature { kind: kind as u8, ..signature }
}

/// Whether the kernel stores this errno at such a moment, or its call returns it. Calls that can
/// return many errnos are not checked.
fn is_possible(signature: Signature) -> bool {
    let flags = Flags(signature.flags);
    let is = |numbers: &[i32]| numbers.contains(&i32::from(signature.errno));
    let is_icmp = Cause::UnreachableReported.row().errnos.contain(Errno(signature.errno));
    // This errno comes from a route, not from a message.
    let not_sent = Flags::SEND_FAILED.with(Flags::SOFT_ERROR);
    let is_blackhole = is(&[libc::EINVAL]) && flags.has(not_sent);
    let state = TcpState::try_from(signature.state).expect("a state");
    let origin = Origin::try_from(signature.origin).expect("an origin");
    let ended = || match origin {
        // `tcp_reset`
        Origin::Reset => {
            let errno = match state {
                TcpState::SynSent => libc::ECONNREFUSED,
                TcpState::CloseWait => libc::EPIPE,
                _ => libc::ECONNRESET,
            };
            let reads = !matches!(state, TcpState::FinWait1 | TcpState::FinWait2);
            is(&[errno]) && !(reads && flags.has(Flags::NO_RST))
        }
        Origin::RetransmitTimer => is(&[libc::ETIMEDOUT]) || is_icmp || is_blackhole,
        Origin::Abort => is(&[libc::ECONNABORTED]),
        Origin::Other => is(&[libc::ETIMEDOUT, libc::ECONNABORTED]) || is_icmp || is_blackhole,
        Origin::Report => is_icmp,
        Origin::Dissolved | Origin::SendTimeout | Origin::SpareService | Origin::ClientClose => {
            false
        }
    };
    match EventKind::try_from(signature.kind).expect("a kind") {
        EventKind::ConnectionEnded => ended(),
        EventKind::Write | EventKind::Accept if flags.has(Flags::DELIVERY) => ended(),
        EventKind::ErrorReported if flags.has(Flags::MPTCP) => ended(),
        EventKind::Write if origin == Origin::Dissolved => is(&[libc::EPIPE, libc::ECONNRESET]),
        EventKind::Write => is(&[libc::EPIPE, libc::EAGAIN]),
        EventKind::ErrorReported if signature.protocol != 0 => true,
        EventKind::ErrorReported => is_icmp,
        EventKind::ClosedUnread => is_possible(reported_by(signature)),
        EventKind::Connect if signature.protocol == Protocol::Unix as u8 => is(&[
            libc::ECONNREFUSED,
            libc::EAGAIN,
            libc::ENOENT,
            libc::EACCES,
            libc::EPERM,
            libc::EPROTOTYPE,
            libc::ENOTDIR,
            libc::EINVAL,
            libc::EINTR,
        ]),
        EventKind::Connect if flags.has(Flags::POLICY) => is(&[libc::EACCES, libc::EPERM]),
        EventKind::Connect if flags.has(Flags::MALFORMED) => {
            is(&[libc::EINVAL, libc::EAFNOSUPPORT, libc::EOPNOTSUPP])
        }
        EventKind::Connect => is(&[
            libc::EINTR,
            libc::ECONNABORTED,
            libc::ENETUNREACH,
            libc::EHOSTUNREACH,
            libc::EINVAL,
            libc::EADDRNOTAVAIL,
            libc::EACCES,
            libc::EPERM,
            libc::ENOBUFS,
            libc::ENOMEM,
            libc::EAFNOSUPPORT,
            libc::EOPNOTSUPP,
            libc::ECONNRESET,
            libc::EINPROGRESS,
            libc::EALREADY,
        ]),
        EventKind::CloseWhileConnecting => is(&[libc::ECANCELED, libc::ETIMEDOUT]) || is_icmp,
        EventKind::Accept => is(&[libc::EINTR, libc::EINVAL]),
        EventKind::AcceptCall => is(&[
            libc::EINTR,
            libc::EINVAL,
            libc::EMFILE,
            libc::ENFILE,
            libc::ENOBUFS,
            libc::ENOMEM,
            libc::EACCES,
            libc::EPERM,
            libc::EFAULT,
            libc::ECONNABORTED,
        ]),
        EventKind::PeerClosed | EventKind::HandshakesDropped | EventKind::ReceiveQueueFull => {
            is(&[0])
        }
        EventKind::Bind
        | EventKind::Listen
        | EventKind::Socket
        | EventKind::Setsockopt
        | EventKind::Getsockopt
        | EventKind::DatagramSend
        | EventKind::Retransmission
        | EventKind::ResetSent => false,
    }
}

/// Errnos that tell a program that this kernel lacks the requested feature.
const PROBES: &[Errno] = errnos![EAFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT, ENOPROTOOPT];

#[test]
fn every_finding_agrees_with_its_row() {
    let mut given: BTreeSet<(Cause, u16)> = BTreeSet::new();
    let all = signatures().chain(datagram_signatures()).chain(reports_of_others());
    for signature in all {
        let Some(found) = diagnose(signature).diagnosis() else { continue };
        let row = found.cause.row();
        assert_eq!(found.direction, row.direction, "{signature:?}");
        let is_held = !Flags(signature.flags).has(Flags::ORPHAN);
        let is_probe = found.cause == Cause::SocketFailed && PROBES.contains(&found.errno);
        let is_farewell =
            found.cause == Cause::PrematureEof && Flags(signature.flags).has(Flags::FAREWELL);
        let is_address_probe = signature.protocol == Protocol::Udp as u8
            && signature.kind == EventKind::Connect as u8
            && errnos![ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL].contains(&found.errno);
        let is_expected = !is_held || is_probe || is_farewell || is_address_probe;
        let severity = if is_expected { Severity::Expected } else { row.severity };
        assert_eq!(found.severity, severity, "{signature:?}");
        if is_possible(signature) {
            let is_listed = match row.errnos {
                Errnos::Any => true,
                Errnos::None => found.errno == Errno::NONE,
                Errnos::Of(errnos) => errnos.contains(&found.errno),
            };
            assert!(is_listed, "{} gives {}: {signature:?}", row.id, found.errno);
        }
        given.insert((found.cause, found.errno.number()));
    }
    for cause in Cause::ALL {
        let is_given = |errno: u16| given.contains(&(*cause, errno));
        match cause.row().errnos {
            Errnos::Any | Errnos::None => assert!(is_given(0), "nothing is {cause}"),
            Errnos::Of(errnos) => {
                for errno in errnos {
                    assert!(is_given(errno.number()), "nothing is {cause} with {errno}");
                }
            }
        }
    }
}

/// Path of a file in the repository.
fn file(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(file(path)).expect("a file of the repository")
}

#[test]
fn the_document_is_the_table() {
    const PATH: &str = "docs/causes.md";
    let text = document();
    if env::var_os(WRITE).is_some() {
        fs::write(file(PATH), &text).expect("written");
    }
    let kept = fs::read_to_string(file(PATH)).unwrap_or_default();
    assert!(kept == text, "{PATH} is stale: {WRITE}=1 cargo test -p socktrace-diagnosis renews it");
}

/// `docs/causes.md`.
fn document() -> String {
    let mut text = "\
<!-- Made of socktrace/diagnosis/src/causes/table.rs by its test: SOCKTRACE_WRITE_DOCS=1 cargo test -p socktrace-diagnosis -->
# Causes

Why sockets fail, as `cause` in the stream, in JSON and in metrics. `socktrace explain CAUSE` has more
on each: what Linux really does, what to do and how to confirm it. [coverage.md](coverage.md) has which
causes each kernel can show.

*Who* is who caused it, `direction` in JSON and metrics. *Severity* is that of a socket that a program
holds. Without a program the failure reaches nobody and is `expected`; what is expected is counted and
shown with `--all`. `socket_failed` is expected with EAFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT and
ENOPROTOOPT, by which programs find out what the kernel has. So is what the C library meets when it looks
for its name service cache (`/var/run/nscd/socket`) and systemd for the boot splash
(`@/org/freedesktop/plymouthd`), a client of a Unix socket that goes before it has read all, and what a connect of UDP returns where there is no way to an address:
C libraries try each address that a name has (`getaddrinfo`).

*Look at* is what holds of each such failure. `advice` in JSON says it for the one at hand: by errno, with
its port, peer and process, and with commands for the network namespace that the socket is in.
"
    .to_owned();
    for group in Group::ALL {
        let heading = match group {
            Group::Connect => "Connecting",
            Group::Accept => "Accepting",
            Group::Reset => "Resets and closed connections",
            Group::Write => "Writing to a closed connection",
            Group::Timeout => "Timeouts and unreachable peers",
            Group::Datagram => "Datagrams",
            Group::Call => "Refused and interrupted calls",
        };
        let _written = write!(
            text,
            "\n## {heading}\n\n| cause | errno | who | severity | what happened | look at |\n|---|---|---|---|---|---|\n"
        );
        for cause in Cause::in_group(group) {
            let Row { id, direction, severity, errnos, summary, advice, .. } = cause.row();
            let errnos = match errnos {
                Errnos::Any => "any".to_owned(),
                Errnos::None => "none".to_owned(),
                Errnos::Of(errnos) => {
                    errnos.iter().map(Errno::to_string).collect::<Vec<_>>().join(", ")
                }
            };
            let advice = advice.replace('|', "\\|");
            let (direction, severity) = (direction.id(), severity.id());
            let _written = writeln!(
                text,
                "| `{id}` | {errnos} | {direction} | {severity} | {summary} | {advice} |"
            );
        }
    }
    text
}

#[test]
fn every_cause_is_covered() {
    let document = read("docs/coverage.md");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next());
    let covered: BTreeSet<_> = rows.filter(|cell| !matches!(*cell, "cause" | "")).collect();
    let covered: BTreeSet<_> = covered.into_iter().filter(|cell| !cell.starts_with('-')).collect();
    let causes: BTreeSet<_> = Cause::ALL.iter().map(|cause| cause.id()).collect();
    assert_eq!(covered, causes);
}

/// Expands a pattern such as `(a|b)_c|d`.
fn alternatives(pattern: &str) -> Vec<String> {
    if let Some((group, rest)) = pattern.strip_prefix('(').and_then(|it| it.split_once(')')) {
        return group.split('|').map(|one| format!("{one}{rest}")).collect();
    }
    pattern.split('|').map(str::to_owned).collect()
}

#[test]
fn alert_rules_and_documents_name_causes_that_exist() {
    let mut found = 0;
    for path in [
        "deploy/prometheus/socktrace.rules.yml",
        "deploy/prometheus/socktrace.rules.test.yml",
        "docs/metrics.md",
        "docs/patterns.md",
        "README.md",
    ] {
        let text = read(path);
        let labels = ["cause=\"", "cause=~\""].into_iter().flat_map(|mark| {
            let parts = text.split(mark).skip(1);
            parts.filter_map(|rest| rest.split('"').next())
        });
        let options = text.split("--cause ").skip(1).map(|rest| {
            rest.split(|c: char| !(c.is_ascii_lowercase() || c == '_')).next().unwrap_or(rest)
        });
        // Unwanted values and wildcards contain no name.
        for name in labels.chain(options).flat_map(alternatives).filter(|name| !name.is_empty()) {
            found += 1;
            let is_known = Cause::ALL.iter().any(|cause| cause.id() == name);
            assert!(is_known, "{path} names {name}, which is no cause");
        }
    }
    assert!(found > 20, "only {found} names were found: are they written in another way now?");
}
