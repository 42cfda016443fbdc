use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use nix::libc;
use socktrace_ebpf::{
    EventKind, Family, Flags, Origin, Protocol, RST_REASONS, Signature, Sigpipe, Sockopt, TcpState,
};
use socktrace_exporter::Format;
use socktrace_otlp::Numbers;

use super::*;
use crate::{
    counts::StreamProgress,
    kernel::{
        health::{Health, HookState},
        hooks::Hook,
        load::Measurable,
        measures::{Buckets, Measured},
        programs::Runs,
    },
    metrics::services::tests::page as service_page,
};

/// Expected page, without the metrics of the process itself, which are the library's.
const GOLDEN: &str = include_str!("testdata/metrics.txt");

/// Documentation of each metric.
const DOCUMENT: &str = include_str!("../../../docs/metrics.md");

fn render(about: &About, snapshot: &Snapshot) -> String {
    let families = families(about, snapshot, |_| Ok(())).expect("sound");
    Format::Text.encode(&families).expect("sound")
}

fn about(accept: HookState) -> About {
    let mut health = Health::default();
    for hook in Hook::ALL {
        health.record(*hook, HookState::Attached);
    }
    health.record(Hook::InetCskAccept, accept);
    About {
        health,
        measurable: Measurable {
            rto: true,
            accept_wait: true,
            accept_queue: true,
            listener_drops: true,
            reset_segment: true,
        },
        rst_reasons: vec![(15, "tcp_abort_on_close".to_owned())],
        service_ports: true,
        version: "1.2.3",
        commit: "0123456789ab",
        kernel: "6.12.0".to_owned(),
        max_sockets: 16_384,
    }
}

fn reset(state: TcpState, flags: Flags) -> Signature {
    Signature {
        kind: EventKind::ConnectionEnded as u8,
        origin: Origin::Reset as u8,
        state: state as u8,
        family: Family::Ipv4 as u8,
        protocol: Protocol::Tcp as u8,
        errno: errno(libc::ECONNRESET),
        flags: flags.0,
        ..Signature::default()
    }
}

fn errno(number: i32) -> u16 {
    u16::try_from(number).expect("small")
}

fn accepted_reset() -> Signature {
    Signature {
        kind: EventKind::Accept as u8,
        ..reset(TcpState::Close, Flags::UNACCEPTED.with(Flags::DELIVERY))
    }
}

fn retransmission() -> Signature {
    Signature {
        kind: EventKind::Retransmission as u8,
        origin: Origin::RetransmitTimer as u8,
        errno: 0,
        ..reset(TcpState::SynSent, Flags::empty())
    }
}

fn signatures() -> BTreeMap<Signature, u64> {
    let gave_up = Signature {
        origin: Origin::RetransmitTimer as u8,
        errno: errno(libc::ETIMEDOUT),
        family: Family::Ipv6 as u8,
        ..reset(TcpState::SynSent, Flags::empty())
    };
    let killed = Signature {
        protocol: Protocol::Mptcp as u8,
        kind: EventKind::Write as u8,
        errno: errno(libc::EPIPE),
        sigpipe: Sigpipe::Kills as u8,
        ..reset(TcpState::Close, Flags::REPORTED)
    };
    let unread = Signature {
        kind: EventKind::ClosedUnread as u8,
        ..reset(TcpState::Established, Flags::empty())
    };
    BTreeMap::from([
        (reset(TcpState::FinWait1, Flags::empty()), 3),
        (reset(TcpState::FinWait2, Flags::ORPHAN), 4),
        (reset(TcpState::Established, Flags::empty()), 5),
        (accepted_reset(), 6),
        (retransmission(), 2),
        (gave_up, 1),
        (killed, 8),
        (unread, 2),
    ])
}

fn snapshot() -> Snapshot {
    let mut resets_sent = vec![0; 2 * (RST_REASONS + 1)];
    (resets_sent[15], resets_sent[RST_REASONS]) = (11, 1);
    // In answer to segments for which there was no socket.
    resets_sent[2 * RST_REASONS + 1] = 4;
    let keepalive = Sockopt::new(
        EventKind::Setsockopt as u8,
        Protocol::Tcp as u8,
        libc::SOL_SOCKET,
        libc::SO_KEEPALIVE,
        errno(libc::EINVAL),
    );
    let strange = Sockopt::new(EventKind::Getsockopt as u8, 0, 9_999, 1, errno(libc::EOPNOTSUPP));
    Snapshot {
        signatures: signatures(),
        counters: vec![(Counter::EventsLost, 9), (Counter::TallyOverflow, 0)],
        measured: Measured {
            accepted: vec![100, 20],
            listener_drops: vec![4, 0, 17, 1],
            accept_waits: Buckets {
                counts: vec![110, 4, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 2, 1],
                sum: 66_630,
            },
            rtos: Buckets { counts: vec![0, 0, 0, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1], sum: 131_450 },
            queues_at_resets: Buckets { counts: vec![5, 0, 0, 0, 0, 1, 0], sum: 110 },
            queues_at_failures: Buckets { counts: vec![0, 0, 0, 0, 0, 0, 2], sum: 203 },
            resets_sent,
            sockopts: BTreeMap::from([(keepalive, 3), (strange, 1)]),
        },
        netstat: vec![("ListenOverflows", 18), ("SyncookiesSent", 3)],
        other_netstat: vec![("SyncookiesSent", 1)],
        sockopts_beyond: 7,
        services: Some(service_page()),
        stream: Some(StreamProgress { shown: 21, repeated: 12_408, dropped: 2 }),
        otlp: Some(Numbers {
            sent: 20,
            dropped: [3, 2, 1, 0],
            own: 4,
            unjoined: 12_408,
            failed_requests: 5,
            queued_records: 7,
            queued_bytes: 8_192,
        }),
        history: Some(socktrace_history::Numbers {
            written: 19,
            dropped: [2, 1, 0],
            file_bytes: 65_536,
            queued_bytes: 4_096,
        }),
        missed: BTreeMap::from([(Hook::TcpDone, 3), (Hook::TcpReset, 0)]),
        runs: Some(BTreeMap::from([(
            "tcp_done",
            Runs { count: 12, time: Duration::from_micros(1_500) },
        )])),
        maps: vec![MapFill { map: "owners", entries: 17, max_entries: 16_384 }],
        bpf_memory: Some(4_096),
        duration: Duration::from_millis(3),
    }
}

#[test]
fn the_page_is_the_golden_one() {
    let page = render(&about(HookState::Attached), &snapshot());
    assert!(page == GOLDEN, "the page differs from testdata/metrics.txt; it is now:\n{page}");
}

#[test]
fn every_metric_is_documented() {
    let families = families(&about(HookState::Attached), &snapshot(), |_| Ok(())).expect("sound");
    let missing: BTreeSet<_> = families
        .iter()
        .map(MetricFamily::name)
        .filter(|name| !DOCUMENT.contains(&format!("`{name}`")))
        .collect();
    assert!(missing.is_empty(), "docs/metrics.md does not document {missing:?}");
}

#[test]
fn progress_and_deliveries_are_no_failures() {
    let unread = Signature {
        kind: EventKind::ClosedUnread as u8,
        ..reset(TcpState::Established, Flags::empty())
    };
    let signatures = BTreeMap::from([(retransmission(), 2), (accepted_reset(), 6), (unread, 3)]);
    let text = render(&about(HookState::Attached), &Snapshot { signatures, ..snapshot() });
    assert!(!text.contains("socktrace_socket_errors_total{"), "{text}");
    assert!(!text.contains("socktrace_timeouts_total{"), "{text}");
    assert!(text.contains(r#"socktrace_accepted_resets_total{family="ipv4"} 6"#), "{text}");
}

#[test]
fn what_is_not_measured_is_no_zero() {
    let absent = || HookState::Absent("no such function".to_owned());
    let mut about = about(absent());
    for hook in [Hook::SysAccept4, Hook::SkStreamError, Hook::TcpRetransmitTimer, Hook::Listen] {
        about.health.record(hook, absent());
    }
    about.health.record(Hook::TcpSendActiveReset, absent());
    for hook in [Hook::Setsockopt, Hook::Getsockopt] {
        about.health.record(hook, absent());
    }
    let unmeasured = Snapshot {
        services: None,
        stream: None,
        otlp: None,
        history: None,
        runs: None,
        ..snapshot()
    };
    let text = render(&about, &unmeasured);
    for name in [
        "connections_accepted",
        "accepted_resets",
        "accept_queue",
        "accept_wait",
        "listener_drops",
        "sigpipe",
        "retransmission",
        "resets_sent",
        "sockopt",
        "service_errors",
        "events",
        "otlp",
        "history",
        "bpf_run",
    ] {
        assert!(!text.contains(&format!("socktrace_{name}")), "{name}\n{text}");
    }
    assert!(text.contains(r#"socktrace_hook_attached{hook="inet_csk_accept",state="absent"} 0"#));
}

#[test]
fn events_that_are_only_sent_can_be_lost() {
    let text = render(&about(HookState::Attached), &Snapshot { stream: None, ..snapshot() });
    assert!(text.contains("events_lost_total{reason=\"ring_buffer_full\"} 9"), "{text}");
    assert!(!text.contains("events_shown") && !text.contains("reader_slow"), "{text}");
}

#[test]
fn kprobes_do_not_see_the_accept_queue() {
    let fallback = HookState::Fallback("no trampolines".to_owned());
    let text = render(&about(fallback), &snapshot());
    assert!(text.contains("socktrace_connections_accepted_total{family=\"ipv4\"} 100"), "{text}");
    assert!(!text.contains(r#"fill_ratio_count{cause="reset_before_accept""#), "{text}");
    assert!(
        text.contains(r#"fill_ratio_count{cause="accept_resources",protocol="tcp"} 2"#),
        "{text}"
    );
}
