use socktrace_diagnosis::{Finding, Timer};
use socktrace_exporter::Format;

use super::*;
use crate::{
    kernel::{health::HookState, load::Measurable},
    metrics::{families::Families, snapshot::Snapshot, sockets},
};

const DOCUMENT: &str = include_str!("../../../docs/metrics.md");

/// Counters that begin at zero, in the order of the page.
const BEGIN_AT_ZERO: [&str; 3] =
    ["socktrace_socket_errors_total", "socktrace_timeouts_total", "socktrace_undelivered_total"];

fn about(state: impl Fn(Hook) -> HookState) -> About {
    let mut health = Health::default();
    for hook in Hook::ALL {
        health.record(*hook, state(*hook));
    }
    let measurable = Measurable {
        rto: true,
        accept_wait: true,
        accept_queue: true,
        listener_drops: true,
        reset_segment: true,
    };
    About { health, measurable, ..About::default() }
}

fn whole() -> About {
    about(|_| HookState::Attached)
}

/// Pairs of cause and errno, from failures of calls and from what is stored in sockets.
fn pairs(about: &About) -> BTreeSet<(Cause, Errno)> {
    let found = of(about).into_iter().filter_map(|zero| match diagnose(zero) {
        Finding::Failure(found) => Some((found.cause, found.errno)),
        _ => None,
    });
    found.collect()
}

#[test]
fn every_pair_of_the_table_has_a_zero() {
    let known = Cause::ALL.iter().flat_map(|cause| match cause.row().errnos {
        Errnos::Of(errnos) => errnos.iter().map(|errno| (*cause, *errno)).collect::<Vec<_>>(),
        Errnos::None => vec![(*cause, Errno::NONE)],
        Errnos::Any => Vec::new(),
    });
    let known: BTreeSet<_> = known.collect();
    let zeros = pairs(&whole());
    let missing: Vec<_> = known.difference(&zeros).collect();
    assert!(missing.is_empty(), "no moment shows {missing:?}");
    let strange: Vec<_> = zeros.difference(&known).collect();
    assert!(strange.is_empty(), "the table has no {strange:?}");
}

#[test]
fn what_a_hook_alone_shows_has_no_zero_without_it() {
    let without = |gone: &[Hook]| {
        let is_gone = |hook| gone.contains(&hook);
        let absent = || HookState::Absent("no such function".to_owned());
        pairs(&about(|hook| if is_gone(hook) { absent() } else { HookState::Attached }))
    };
    assert!(without(Hook::ALL).is_empty());
    for (gone, cause) in [
        (&[Hook::TcpDone][..], Cause::RetransmitTimeout),
        (&[Hook::TcpReset], Cause::ResetBeforeAccept),
        (&[Hook::TcpRetransmitSkb], Cause::ConnectSendFailed),
        (&[Hook::TcpRetransmitSkb, Hook::TcpWriteWakeup], Cause::SendFailedLocally),
        (&[Hook::InetCskAccept, Hook::SysAccept4], Cause::ListenerClosed),
        (&[Hook::SkStreamError], Cause::WriteAfterTimeout),
        (
            &[Hook::SkStreamError, Hook::InetSkErrorReport, Hook::SkErrorReport],
            Cause::UnreachableReported,
        ),
        (&[Hook::SkErrorReport], Cause::PortUnreachable),
        (&[Hook::UdpFailQueueRcvSkb], Cause::ReceiveQueueFull),
        (&[Hook::UnixSendmsg], Cause::PeerQueueFull),
        (&[Hook::UnixSendmsg, Hook::UdpSendmsg], Cause::SendRefused),
        (&[Hook::TcpFin], Cause::PrematureEof),
        (&[Hook::Listen], Cause::AcceptQueueOverflow),
        (&[Hook::SysSocket], Cause::SocketFailed),
        (&[Hook::Setsockopt, Hook::Getsockopt], Cause::SockoptRejected),
    ] {
        let is_cause = |(found, _): &(Cause, Errno)| *found == cause;
        assert!(!without(gone).iter().any(is_cause), "{cause} without {gone:?}");
        assert!(without(&gone[1..]).iter().any(is_cause), "{cause} without {:?}", &gone[1..]);
    }
}

#[test]
fn what_a_kernel_or_kprobes_cannot_show_has_no_zero() {
    let fallback = about(|hook| match hook {
        Hook::SysAccept4 => HookState::Absent("not by kprobe".to_owned()),
        _ => HookState::Fallback("asked for".to_owned()),
    });
    let by_kprobes = pairs(&fallback);
    for (cause, errno) in [(Cause::Interrupted, libc::EINTR), (Cause::ListenerClosed, libc::EINVAL)]
    {
        assert!(!by_kprobes.contains(&(cause, Errno::of(errno))), "{cause}");
    }
    for (cause, errno) in
        [(Cause::ConnectLocal, libc::EADDRNOTAVAIL), (Cause::ConnectSendTimeout, libc::EINPROGRESS)]
    {
        assert!(by_kprobes.contains(&(cause, Errno::of(errno))), "{cause}");
    }
    let mut old = whole();
    (old.measurable.reset_segment, old.measurable.listener_drops) = (false, false);
    let old = pairs(&old);
    for cause in [Cause::DataAfterShutdown, Cause::AcceptQueueOverflow] {
        assert!(!old.iter().any(|(found, _)| *found == cause), "{cause}");
    }
}

#[test]
fn timers_have_zeros_in_each_state_that_they_run_in() {
    let mut states: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for zero in of(&whole()) {
        if let Some(timer) = Timer::of(zero) {
            states.entry(timer).or_default().insert(zero.state);
        }
    }
    let of = |states: &[TcpState]| states.iter().map(|state| *state as u8).collect();
    let retransmission = [&[SynSent], SENDING].concat();
    assert_eq!(
        states,
        BTreeMap::from([
            (Timer::Retransmission, of(&retransmission)),
            (Timer::Persist, of(SENDING)),
            (Timer::Keepalive, of(SILENT)),
        ])
    );
}

#[test]
fn the_document_has_their_number() {
    let about = whole();
    let signatures = of(&about).into_iter().map(|zero| (zero, 0)).collect();
    let mut families = Families::new();
    sockets::add(&mut families, &about, &Snapshot { signatures, ..Snapshot::default() })
        .expect("sound");
    let mut families = families.finish();
    families.retain(|family| BEGIN_AT_ZERO.contains(&family.name()));
    let page = Format::Text.encode(&families).expect("sound");
    let zeros: Vec<_> = page.lines().filter(|line| line.ends_with(" 0")).collect();
    let rows = BEGIN_AT_ZERO.map(|name| {
        let zeros = zeros.iter().filter(|line| line.starts_with(&format!("{name}{{"))).count();
        format!("| `{name}` | {zeros} |\n")
    });
    let kilobytes = zeros.iter().map(|line| line.len() + 1).sum::<usize>().div_ceil(1_000);
    for part in [rows.concat(), format!("{} series, of {kilobytes} kB", zeros.len())] {
        assert!(DOCUMENT.contains(&part), "docs/metrics.md does not have\n{part}");
    }
}
