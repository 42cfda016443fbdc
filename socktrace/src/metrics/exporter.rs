//! The metrics and where their numbers come from.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context as _;
use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry, proto::MetricFamily};
use socktrace_ebpf::{Counter, Family, Hook, Signature, TcpState};

use crate::{
    diagnosis::{Finding, diagnose},
    filter::Counts,
    kernel::{health::Health, hooks::Hook as Point, missed::Missed},
    output::names::{family_name, state_name},
};

/// Turns tallies into metrics.
///
/// Nothing is kept between scrapes: each reads the kernel's counts and applies the diagnosis that
/// the stream applies, so that the two cannot disagree.
pub(crate) struct Exporter {
    counts: Arc<Counts>,
    missed: Arc<Missed>,
    health: Health,
}

impl Exporter {
    pub(crate) fn new(counts: Arc<Counts>, missed: Arc<Missed>, health: Health) -> Self {
        Self { counts, missed, health }
    }

    /// The metrics as they are now.
    pub(crate) fn gather(&self) -> anyhow::Result<Vec<MetricFamily>> {
        let signatures = self.counts.signatures()?;
        let counters = Counter::ALL
            .iter()
            .map(|&counter| Ok((counter, self.counts.counter(counter)?)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        gather(&signatures, &counters, &self.missed.counts(), &self.health)
            .context("cannot make the metrics")
    }
}

fn gather(
    signatures: &BTreeMap<Signature, u64>,
    counters: &[(Counter, u64)],
    missed: &BTreeMap<Point, u64>,
    health: &Health,
) -> prometheus::Result<Vec<MetricFamily>> {
    let registry = Registry::new();
    register_errors(&registry, signatures)?;
    // What is not measured is left out: a zero would say that nothing happened.
    if health.is_attached(Point::InetCskAccept) {
        register_accepted_resets(&registry, signatures)?;
    }
    if health.is_attached(Point::TcpRetransmitTimer) {
        register_retransmissions(&registry, signatures)?;
    }
    register_missed(&registry, missed)?;
    register_self(&registry, counters, health)?;
    Ok(registry.gather())
}

fn counter_vec(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<IntCounterVec> {
    let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}

fn register_errors(
    registry: &Registry,
    signatures: &BTreeMap<Signature, u64>,
) -> prometheus::Result<()> {
    let errors = counter_vec(
        registry,
        "socktrace_socket_errors_total",
        "TCP sockets that failed, by the errno their program gets and why.",
        &["errno", "cause", "direction", "family"],
    )?;
    for (signature, count) in signatures {
        if let Finding::Failure(found) = diagnose(*signature) {
            errors
                .with_label_values(&[
                    found.errno.name().as_str(),
                    found.cause.id(),
                    found.direction.id(),
                    family(*signature),
                ])
                .inc_by(*count);
        }
    }
    Ok(())
}

fn register_accepted_resets(
    registry: &Registry,
    signatures: &BTreeMap<Signature, u64>,
) -> prometheus::Result<()> {
    let accepted = counter_vec(
        registry,
        "socktrace_accepted_resets_total",
        "Connections that a program accepted after they had been reset.",
        &["family"],
    )?;
    for family in Family::ALL {
        accepted.with_label_values(&[family_name(Some(*family))]);
    }
    for (signature, count) in signatures {
        if signature.hook == Hook::InetCskAccept as u8
            && let Finding::Delivery(_) = diagnose(*signature)
        {
            accepted.with_label_values(&[family(*signature)]).inc_by(*count);
        }
    }
    Ok(())
}

fn register_retransmissions(
    registry: &Registry,
    signatures: &BTreeMap<Signature, u64>,
) -> prometheus::Result<()> {
    let timeouts = counter_vec(
        registry,
        "socktrace_retransmission_timeouts_total",
        "Retransmission timeouts (RTO) after which the connection lived on, by TCP state.",
        &["state", "family"],
    )?;
    for (signature, count) in signatures {
        if diagnose(*signature) == Finding::Retransmission {
            let state = TcpState::try_from(signature.state).map_or("unknown", state_name);
            timeouts.with_label_values(&[state, family(*signature)]).inc_by(*count);
        }
    }
    Ok(())
}

fn register_missed(registry: &Registry, missed: &BTreeMap<Point, u64>) -> prometheus::Result<()> {
    let calls = counter_vec(
        registry,
        "socktrace_hook_missed_total",
        "Calls of a hooked function that the kernel kept from socktrace; no other counter has them.",
        &["hook"],
    )?;
    for (hook, count) in missed {
        calls.with_label_values(&[hook.id()]).inc_by(*count);
    }
    Ok(())
}

/// Metrics about socktrace itself.
fn register_self(
    registry: &Registry,
    counters: &[(Counter, u64)],
    health: &Health,
) -> prometheus::Result<()> {
    for (counter, value) in counters {
        let (name, help) = match counter {
            Counter::EventsLost => (
                "socktrace_events_lost_total",
                "Events that found the stream's ring buffer full; they are in all other counters.",
            ),
            Counter::TallyOverflow => (
                "socktrace_tally_overflow_total",
                "Failures counted here alone, because the map of signatures was full.",
            ),
            Counter::StashFull => (
                "socktrace_stash_full_total",
                "Failures whose origin was not remembered, because the stash was full.",
            ),
            Counter::OwnersFull => (
                "socktrace_owners_full_total",
                "Sockets whose process was not remembered, because the map of owners was full.",
            ),
        };
        let metric = IntCounter::new(name, help)?;
        metric.inc_by(*value);
        registry.register(Box::new(metric))?;
    }

    let hooks = IntGaugeVec::new(
        Opts::new(
            "socktrace_hook_attached",
            "Whether the kernel function is hooked: 1, or 0 with the state telling why not.",
        ),
        &["hook", "state"],
    )?;
    registry.register(Box::new(hooks.clone()))?;
    for (hook, state) in health.iter() {
        let attached = i64::from(health.is_attached(hook));
        hooks.with_label_values(&[hook.id(), state.id()]).set(attached);
    }

    let build =
        IntGaugeVec::new(Opts::new("socktrace_build_info", "Always 1; the build."), &["version"])?;
    registry.register(Box::new(build.clone()))?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    Ok(())
}

fn family(signature: Signature) -> &'static str {
    family_name(Family::try_from(signature.family).ok())
}

#[cfg(test)]
mod tests {
    use socktrace_ebpf::{Flags, Origin};

    use super::*;
    use crate::{kernel::health::HookState, metrics::format::Format};

    fn render(
        signatures: &BTreeMap<Signature, u64>,
        counters: &[(Counter, u64)],
        missed: &BTreeMap<Point, u64>,
        health: &Health,
    ) -> prometheus::Result<String> {
        Format::Text.encode(&gather(signatures, counters, missed, health)?)
    }

    fn health(accept: HookState) -> Health {
        let mut health = Health::default();
        for function in [Point::TcpDone, Point::TcpReset, Point::TcpRetransmitTimer] {
            health.record(function, HookState::Attached);
        }
        health.record(Point::InetCskAccept, accept);
        health
    }

    fn reset(state: TcpState, flags: Flags) -> Signature {
        Signature {
            hook: Hook::TcpDone as u8,
            origin: Origin::Reset as u8,
            state: state as u8,
            family: Family::Ipv4 as u8,
            errno: u16::try_from(nix::libc::ECONNRESET).expect("small"),
            flags: flags.0,
            ..Signature::default()
        }
    }

    #[test]
    fn signatures_of_one_meaning_are_added_up() {
        let signatures = BTreeMap::from([
            (reset(TcpState::FinWait1, Flags::empty()), 3),
            (reset(TcpState::FinWait2, Flags::ORPHAN), 4),
            (reset(TcpState::Established, Flags::empty()), 5),
        ]);
        let text = render(&signatures, &[], &BTreeMap::new(), &health(HookState::Attached))
            .expect("metrics");
        for line in [
            "# TYPE socktrace_socket_errors_total counter",
            r#"socktrace_socket_errors_total{cause="reset_while_closing",direction="peer",errno="ECONNRESET",family="ipv4"} 7"#,
            r#"socktrace_socket_errors_total{cause="reset_by_peer",direction="peer",errno="ECONNRESET",family="ipv4"} 5"#,
            r#"socktrace_accepted_resets_total{family="ipv6"} 0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn progress_and_deliveries_are_no_failures() {
        let timeout = Signature {
            hook: Hook::TcpRetransmitTimer as u8,
            origin: Origin::RetransmitTimer as u8,
            errno: 0,
            ..reset(TcpState::SynSent, Flags::empty())
        };
        let accepted = Signature {
            hook: Hook::InetCskAccept as u8,
            ..reset(TcpState::Close, Flags::UNACCEPTED.with(Flags::DELIVERY))
        };
        let signatures = BTreeMap::from([(timeout, 2), (accepted, 6)]);
        let text = render(&signatures, &[], &BTreeMap::new(), &health(HookState::Attached))
            .expect("metrics");
        assert!(!text.contains("socktrace_socket_errors_total{"), "{text}");
        assert!(text.contains(
            r#"socktrace_retransmission_timeouts_total{family="ipv4",state="SYN_SENT"} 2"#
        ));
        assert!(text.contains(r#"socktrace_accepted_resets_total{family="ipv4"} 6"#));
    }

    #[test]
    fn an_absent_hook_exports_no_zero() {
        let absent = HookState::Absent("no such function".to_owned());
        let text =
            render(&BTreeMap::new(), &[], &BTreeMap::new(), &health(absent)).expect("metrics");
        assert!(!text.contains("socktrace_accepted_resets_total"), "{text}");
        assert!(
            text.contains(r#"socktrace_hook_attached{hook="inet_csk_accept",state="absent"} 0"#)
        );
    }

    #[test]
    fn losses_are_exported() {
        let counters = [(Counter::EventsLost, 9), (Counter::TallyOverflow, 0)];
        let missed = BTreeMap::from([(Point::TcpDone, 3), (Point::TcpReset, 0)]);
        let text = render(&BTreeMap::new(), &counters, &missed, &health(HookState::Attached))
            .expect("metrics");
        for line in [
            "socktrace_events_lost_total 9",
            "socktrace_tally_overflow_total 0",
            r#"socktrace_hook_missed_total{hook="tcp_done"} 3"#,
            r#"socktrace_hook_missed_total{hook="tcp_reset"} 0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains(r#"missed_total{hook="tcp_abort"}"#), "{text}");
    }
}
