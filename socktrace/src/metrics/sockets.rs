//! Metrics about this host's sockets.
//!
//! Measurements of a hook that is not attached are left out: a zero would mean that nothing
//! happened.

use std::{borrow::Cow, collections::BTreeMap};

use prometheus::IntCounterVec;
use socktrace_diagnosis::{
    Cause, Diagnosis, Errno, Finding, Timer, diagnose, level_name, option_name,
};
use socktrace_ebpf::{
    EventKind, Family, Protocol, RST_ANSWERERS, RST_REASONS, Signature, Sigpipe, Sockopt, TcpState,
    histogram::{ACCEPT_WAIT_MS, QUEUE_PERCENT, RTO_MS, SLOW_ACCEPT_MS, slots, sum_slot},
};

use super::{
    families::{Families, Observed},
    services::{self, Failure, Key, Meaning},
    snapshot::{About, Snapshot},
};
use crate::{
    kernel::{hooks::Hook, measures::Buckets},
    record::names::{family_name, protocol_name, signature_family_name, sigpipe_name, state_name},
};

/// Label values of whatever has no room, or no name.
const OTHER: &str = "other";
const UNKNOWN: &str = "unknown";

pub(super) fn add(
    families: &mut Families,
    about: &About,
    snapshot: &Snapshot,
) -> prometheus::Result<()> {
    let signatures = &snapshot.signatures;
    let watches_closes = about.health.is_attached(Hook::TcpClose);
    errors(families, signatures)?;
    if watches_closes {
        undelivered(families, signatures)?;
    }
    if let Some(page) = &snapshot.services {
        services(families, &page.series, about.service_ports, watches_closes)?;
    }
    timeouts(families, signatures)?;
    netstat(families, snapshot)?;
    if about.health.is_attached(Hook::SkStreamError) {
        sigpipe(families, signatures)?;
    }
    if about.health.is_attached(Hook::InetCskAccept) {
        accepted(families, snapshot)?;
        if about.measurable.accept_wait {
            accept_waits(families, about, snapshot);
        }
    }
    accept_queues(families, about, snapshot);
    if about.measurable.listener_drops && about.health.is_attached(Hook::Listen) {
        listener_drops(families, about, snapshot)?;
    }
    if about.health.is_attached(Hook::TcpRetransmitTimer) {
        retransmissions(families, signatures)?;
        if about.measurable.rto {
            let rtos = Observed { buckets: &snapshot.measured.rtos, bounds: &RTO_MS, scale: 1_000 };
            families.histogram(
                "socktrace_retransmission_timeout_seconds",
                "Retransmission timeouts (RTO) that ran out: how long they were.",
                vec![rtos.metric(&[])],
            );
        }
    }
    if about.health.is_attached(Hook::TcpSendActiveReset) {
        resets_sent(families, about, &snapshot.measured.resets_sent)?;
    }
    if [Hook::Setsockopt, Hook::Getsockopt].into_iter().any(|hook| about.health.is_attached(hook)) {
        sockopts(families, &snapshot.measured.sockopts, snapshot.sockopts_beyond)?;
    }
    Ok(())
}

/// Signatures that are failures.
fn failures(
    signatures: &BTreeMap<Signature, u64>,
) -> impl Iterator<Item = (Signature, Diagnosis, u64)> {
    signatures.iter().filter_map(|(signature, count)| match diagnose(*signature) {
        Finding::Failure(found) => Some((*signature, found, *count)),
        _ => None,
    })
}

const ERROR_LABELS: &[&str] = &["protocol", "errno", "cause", "direction", "family"];

fn errors(families: &Families, signatures: &BTreeMap<Signature, u64>) -> prometheus::Result<()> {
    let errors = families.counter(
        "socktrace_socket_errors_total",
        "Sockets that failed, by the errno their program gets and why.",
        ERROR_LABELS,
    )?;
    count_errors(&errors, failures(signatures));
    Ok(())
}

/// Errnos that no call returned, with the labels of failures, so that one can be subtracted from
/// the other.
fn undelivered(
    families: &Families,
    signatures: &BTreeMap<Signature, u64>,
) -> prometheus::Result<()> {
    let closed = families.counter(
        "socktrace_undelivered_total",
        "Sockets that failed and were closed before any call had returned the errno.",
        ERROR_LABELS,
    )?;
    let found = signatures.iter().filter_map(|(signature, count)| match diagnose(*signature) {
        Finding::Undelivered(found) => Some((*signature, found, *count)),
        _ => None,
    });
    count_errors(&closed, found);
    Ok(())
}

fn count_errors(
    counter: &IntCounterVec,
    counts: impl Iterator<Item = (Signature, Diagnosis, u64)>,
) {
    for (signature, found, count) in counts {
        let errno = found.errno.name();
        let labels = [
            protocol(signature.protocol),
            &errno,
            found.cause.id(),
            found.direction.id(),
            family(signature),
        ];
        counter.with_label_values(&labels).inc_by(count);
    }
}

fn services(
    families: &Families,
    series: &[(Key, u64)],
    by_port: bool,
    watches_closes: bool,
) -> prometheus::Result<()> {
    let mut labels = vec!["protocol", "errno", "cause"];
    labels.extend(services::NAMES);
    if by_port {
        labels.push("service_port");
    }
    let errors = families.counter(
        "socktrace_service_errors_total",
        "Sockets that failed, by the service whose they were.",
        &labels,
    )?;
    count_services(&errors, series, false, by_port);
    if watches_closes {
        let closed = families.counter(
            "socktrace_service_undelivered_total",
            "Sockets that failed and were closed before any call had returned the errno, by the \
             service whose they were.",
            &labels,
        )?;
        count_services(&closed, series, true, by_port);
    }
    Ok(())
}

fn count_services(
    counter: &IntCounterVec,
    series: &[(Key, u64)],
    is_undelivered: bool,
    by_port: bool,
) {
    for (key, count) in series {
        let Meaning::Failure(Failure { protocol, cause, errno, is_undelivered: is }) = key.meaning
        else {
            continue;
        };
        if is != is_undelivered {
            continue;
        }
        let errno = errno.name();
        let mut values = vec![protocol_name(protocol), errno.as_str(), cause.id()];
        values.extend(key.labels.values());
        let port = port(key);
        if by_port {
            values.push(&port);
        }
        counter.with_label_values(&values).inc_by(*count);
    }
}

/// Value of the label for a service's port.
fn port(key: &Key) -> String {
    if key.service_port == 0 { String::new() } else { key.service_port.to_string() }
}

fn timeouts(families: &Families, signatures: &BTreeMap<Signature, u64>) -> prometheus::Result<()> {
    let timeouts = families.counter(
        "socktrace_timeouts_total",
        "TCP connections that a timer gave up, by timer and state.",
        &["timer", "state", "family"],
    )?;
    for (signature, count) in signatures {
        if let Some(timer) = Timer::of(*signature) {
            let labels = [timer.id(), state(*signature), family(*signature)];
            timeouts.with_label_values(&labels).inc_by(*count);
        }
    }
    Ok(())
}

/// Counters that the kernel keeps for the host's network namespace, and for others.
fn netstat(families: &Families, snapshot: &Snapshot) -> prometheus::Result<()> {
    let host = families.counter(
        "socktrace_host_netstat_total",
        "Numbers of the host's network namespace, as the kernel has them since its start.",
        &["name"],
    )?;
    let others = families.counter(
        "socktrace_other_netstat_total",
        "The same, summed over other network namespaces in which somebody listens.",
        &["name"],
    )?;
    for (family, numbers) in [(host, &snapshot.netstat), (others, &snapshot.other_netstat)] {
        for (name, number) in numbers {
            family.with_label_values(&[name]).inc_by(*number);
        }
    }
    Ok(())
}

fn sigpipe(families: &Families, signatures: &BTreeMap<Signature, u64>) -> prometheus::Result<()> {
    let verdicts = families.counter(
        "socktrace_sigpipe_total",
        "Writes that failed with EPIPE, by what SIGPIPE does to the process.",
        &["verdict"],
    )?;
    for verdict in Sigpipe::ALL.iter().filter_map(|verdict| sigpipe_name(*verdict)) {
        verdicts.with_label_values(&[verdict]);
    }
    for (signature, count) in signatures {
        // The write that delivers a failure may get EPIPE too.
        if let Finding::Failure(found) | Finding::Delivery(found) = diagnose(*signature)
            && let Some(verdict) = sigpipe_name(found.sigpipe)
        {
            verdicts.with_label_values(&[verdict]).inc_by(*count);
        }
    }
    Ok(())
}

fn accepted(families: &Families, snapshot: &Snapshot) -> prometheus::Result<()> {
    let all = families.counter(
        "socktrace_connections_accepted_total",
        "Connections that programs accepted.",
        &["family"],
    )?;
    let resets = families.counter(
        "socktrace_accepted_resets_total",
        "Connections that a program accepted after they had been reset.",
        &["family"],
    )?;
    for (family, count) in Family::ALL.iter().zip(&snapshot.measured.accepted) {
        let family = family_name(*family);
        all.with_label_values(&[family]).inc_by(*count);
        resets.with_label_values(&[family]);
    }
    for (signature, count) in &snapshot.signatures {
        if signature.kind == EventKind::Accept as u8
            && let Finding::Delivery(found) = diagnose(*signature)
            && found.cause == Cause::ResetBeforeAccept
        {
            resets.with_label_values(&[family(*signature)]).inc_by(*count);
        }
    }
    Ok(())
}

/// Time that connections waited to be accepted.
fn accept_waits(families: &mut Families, about: &About, snapshot: &Snapshot) {
    let buckets = &snapshot.measured.accept_waits;
    families.histogram(
        "socktrace_accept_wait_seconds",
        "How long connections waited to be accepted, since their handshake.",
        vec![Observed { buckets, bounds: &ACCEPT_WAIT_MS, scale: 1_000 }.metric(&[])],
    );
    let Some(page) = &snapshot.services else { return };
    let mut services: BTreeMap<_, Buckets> = BTreeMap::new();
    for (key, count) in &page.series {
        let Meaning::SlowAccept(slot) = key.meaning else { continue };
        let buckets = services.entry((&key.labels, port(key))).or_default();
        buckets.counts.resize(slots(SLOW_ACCEPT_MS.len()) - 1, 0);
        if slot == sum_slot(SLOW_ACCEPT_MS.len()) {
            buckets.sum += count;
        } else if let Some(bucket) = buckets.counts.get_mut(slot) {
            *bucket += count;
        }
    }
    let metrics: Vec<_> = services
        .into_iter()
        .map(|((labels, port), buckets)| {
            let mut labels: Vec<_> = services::NAMES.into_iter().zip(labels.values()).collect();
            if about.service_ports {
                labels.push(("service_port", &port));
            }
            Observed { buckets: &buckets, bounds: &SLOW_ACCEPT_MS, scale: 1_000 }.metric(&labels)
        })
        .collect();
    if !metrics.is_empty() {
        families.histogram(
            "socktrace_service_accept_wait_seconds",
            "How long connections waited to be accepted, since their handshake, by the service that \
             accepted them: those that waited for more than a tick of the kernel's clock.",
            metrics,
        );
    }
}

fn accept_queues(families: &mut Families, about: &About, snapshot: &Snapshot) {
    if !about.measurable.accept_queue {
        return;
    }
    let measured = &snapshot.measured;
    // Kprobes do not see the listener.
    let is_traced = |hook| about.health.is_attached_in_full(hook);
    let queues = [
        (Hook::InetCskAccept, Cause::ResetBeforeAccept, &measured.queues_at_resets),
        (Hook::SysAccept4, Cause::AcceptResources, &measured.queues_at_failures),
    ];
    let metrics: Vec<_> = queues
        .into_iter()
        .filter(|(hook, ..)| is_traced(*hook))
        .map(|(_, cause, buckets)| {
            Observed { buckets, bounds: &QUEUE_PERCENT, scale: 100 }
                .metric(&[("cause", cause.id()), ("protocol", protocol_name(Some(Protocol::Tcp)))])
        })
        .collect();
    if !metrics.is_empty() {
        families.histogram(
            "socktrace_accept_queue_fill_ratio",
            "How full the accept queue was when a connection was accepted that had been reset, or \
             when accept failed: 1 is full.",
            metrics,
        );
    }
}

/// Packets dropped by listeners, and the current state of their queues.
fn listener_drops(
    families: &Families,
    about: &About,
    snapshot: &Snapshot,
) -> prometheus::Result<()> {
    let all = families.counter(
        "socktrace_listener_drops_total",
        "Segments that listeners dropped, by whether the accept queue was full.",
        &["accept_queue", "family"],
    )?;
    let kinds =
        [false, true].into_iter().flat_map(|full| Family::ALL.iter().map(move |it| (full, it)));
    for ((full, family), count) in kinds.zip(&snapshot.measured.listener_drops) {
        all.with_label_values(&[fullness(full), family_name(*family)]).inc_by(*count);
    }
    let Some(page) = &snapshot.services else { return Ok(()) };
    let mut labels = services::NAMES.to_vec();
    if about.service_ports {
        labels.push("service_port");
    }
    let length = families.gauge(
        "socktrace_service_accept_queue_length",
        "Connections that wait to be accepted, in the service's fullest queue.",
        &labels,
    )?;
    let limit = families.gauge(
        "socktrace_service_accept_queue_limit",
        "Limit of that queue, beyond which one more may wait.",
        &labels,
    )?;
    for queue in &page.queues {
        let port = queue.service_port.to_string();
        let mut values = queue.labels.values().to_vec();
        if about.service_ports {
            values.push(&port);
        }
        length.with_label_values(&values).set(queue.waiting.into());
        limit.with_label_values(&values).set(queue.limit.into());
    }
    labels.insert(0, "accept_queue");
    let drops = families.counter(
        "socktrace_service_listener_drops_total",
        "Segments that listeners dropped, by the service that accepts, or should, and by whether the \
         accept queue was full.",
        &labels,
    )?;
    for (key, count) in &page.series {
        let Meaning::Dropped { is_full } = key.meaning else { continue };
        let port = port(key);
        let mut values = vec![fullness(is_full)];
        values.extend(key.labels.values());
        if about.service_ports {
            values.push(&port);
        }
        drops.with_label_values(&values).inc_by(*count);
    }
    Ok(())
}

/// Label value for whether an accept queue was full.
const fn fullness(is_full: bool) -> &'static str {
    if is_full { "full" } else { "not_full" }
}

fn retransmissions(
    families: &Families,
    signatures: &BTreeMap<Signature, u64>,
) -> prometheus::Result<()> {
    let timeouts = families.counter(
        "socktrace_retransmission_timeouts_total",
        "Retransmission timeouts (RTO) after which the connection lived on, by TCP state.",
        &["state", "family"],
    )?;
    for (signature, count) in signatures {
        if diagnose(*signature) == Finding::Retransmission {
            let labels = [state(*signature), family(*signature)];
            timeouts.with_label_values(&labels).inc_by(*count);
        }
    }
    Ok(())
}

/// Kinds of sockets that answered with an RST, in the kernel programs' order; the first stands for
/// RSTs that answered nothing.
const ANSWERERS: [&str; RST_ANSWERERS + 1] =
    ["", "none", "listener", "request", "time_wait", "full"];

fn resets_sent(families: &Families, about: &About, counts: &[u64]) -> prometheus::Result<()> {
    let resets = families.counter(
        "socktrace_resets_sent_total",
        "RSTs that this host sent, by the kernel's reason, and by the kind of socket that answered a \
         segment; empty where one sent it of its own accord.",
        &["reason", "answered_by"],
    )?;
    for (counts, answered_by) in counts.chunks(RST_REASONS + 1).zip(ANSWERERS) {
        for (index, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let is = |value: &u32| usize::try_from(*value).is_ok_and(|value| value == index);
            let known = about.rst_reasons.iter().find(|(value, _)| is(value));
            let reason = known.map_or(UNKNOWN, |(_, name)| name.as_str());
            resets.with_label_values(&[reason, answered_by]).inc_by(*count);
        }
    }
    Ok(())
}

fn sockopts(
    families: &Families,
    counts: &BTreeMap<Sockopt, u64>,
    beyond: u64,
) -> prometheus::Result<()> {
    let refused = families.counter(
        "socktrace_sockopt_errors_total",
        "Socket options that were refused.",
        &["protocol", "call", "level", "option", "errno"],
    )?;
    for (sockopt, count) in counts {
        let Sockopt { level, option, errno, kind, protocol } = *sockopt;
        let call = if kind == EventKind::Setsockopt as u8 { "setsockopt" } else { "getsockopt" };
        let named =
            |number, name| if number == Sockopt::OTHER { Cow::Borrowed(OTHER) } else { name };
        let level_label = named(level, level_name(level));
        let option_label = named(option, option_name(level, option));
        let errno = Errno(errno).name();
        let labels = [self::protocol(protocol), call, &level_label, &option_label, &errno];
        refused.with_label_values(&labels).inc_by(*count);
    }
    if beyond > 0 {
        refused.with_label_values(&[OTHER; 5]).inc_by(beyond);
    }
    Ok(())
}

/// Name of a [`Protocol`] in the wire format.
fn protocol(protocol: u8) -> &'static str {
    protocol_name(Protocol::try_from(protocol).ok())
}

fn family(signature: Signature) -> &'static str {
    signature_family_name(signature)
}

fn state(signature: Signature) -> &'static str {
    TcpState::try_from(signature.state).map_or(UNKNOWN, state_name)
}
