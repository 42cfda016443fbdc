//! Self-test: makes sockets fail, and checks that each failure is reported once and counted once.
//!
//! The sockets live in their own network namespace. Its inode distinguishes their events from the
//! host's, which continue meanwhile. Counts carry no namespace. The test therefore checks only that
//! every reported event was counted, and every counted event reported.

use std::{
    collections::BTreeMap,
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use serde::Serialize;
use socktrace_diagnosis::{Cause, Finding, diagnose};
use socktrace_ebpf::{Counter, Event, EventKind, Signature};
use tokio::runtime;

use super::{follow_test, netns, provoke};
use crate::kernel::{events::Events, health::Health, hooks::Hook, load::Loaded, tally::Tallies};

/// Longest wait for an event.
const PATIENCE: Duration = Duration::from_secs(5);

/// Time without events after which a test counts as complete.
const QUIET: Duration = Duration::from_millis(50);

/// Interval between polls.
const PAUSE: Duration = Duration::from_millis(5);

/// A provoked failure, and the reports expected for it.
struct Test {
    name: &'static str,
    provoke: fn() -> Result<()>,
    /// All reports expected, in order: kind of event and cause.
    expects: &'static [(EventKind, Cause)],
    /// Hooks that the test proves to work. It is skipped unless the first one is attached.
    proves: &'static [Hook],
}

/// The test that needs IPv6.
const BIND_IPV6: &str = "bind_in_use_ipv6";

const TESTS: &[Test] = &[
    Test {
        name: "refused",
        provoke: provoke::refused,
        expects: &[(EventKind::ConnectionEnded, Cause::ConnectRefused)],
        proves: &[Hook::TcpDone, Hook::TcpReset],
    },
    Test {
        name: "reset",
        provoke: provoke::reset,
        expects: &[(EventKind::ConnectionEnded, Cause::ResetByPeer)],
        proves: &[Hook::TcpDone, Hook::TcpReset, Hook::TcpSendActiveReset],
    },
    Test {
        name: "timed_out",
        provoke: provoke::timed_out,
        expects: &[(EventKind::ConnectionEnded, Cause::UserTimeout)],
        proves: &[Hook::TcpDone, Hook::TcpRetransmitTimer],
    },
    Test {
        name: "aborted_before_accept",
        provoke: provoke::aborted_before_accept,
        expects: &[
            (EventKind::ConnectionEnded, Cause::ResetBeforeAccept),
            (EventKind::Accept, Cause::ResetBeforeAccept),
        ],
        proves: &[Hook::InetCskAccept, Hook::TcpDone, Hook::TcpReset],
    },
    Test {
        name: "cancelled",
        provoke: provoke::cancelled,
        expects: &[(EventKind::CloseWhileConnecting, Cause::ConnectCancelled)],
        proves: &[Hook::TcpClose],
    },
    Test {
        name: "no_route",
        provoke: provoke::no_route,
        expects: &[(EventKind::Connect, Cause::ConnectNoRoute)],
        proves: &[Hook::Connect],
    },
    Test {
        name: "udp_no_route",
        provoke: provoke::udp_no_route,
        expects: &[(EventKind::Connect, Cause::ConnectNoRoute)],
        proves: &[Hook::InetDgramConnect],
    },
    Test {
        name: "udp_refused",
        provoke: provoke::udp_refused,
        expects: &[(EventKind::ErrorReported, Cause::PortUnreachable)],
        proves: &[Hook::SkErrorReport],
    },
    Test {
        name: "udp_dropped",
        provoke: provoke::udp_dropped,
        expects: &[(EventKind::ReceiveQueueFull, Cause::ReceiveQueueFull)],
        proves: &[Hook::UdpFailQueueRcvSkb],
    },
    Test {
        name: "udp_not_sent",
        provoke: provoke::udp_not_sent,
        expects: &[(EventKind::DatagramSend, Cause::SendRefused)],
        proves: &[Hook::UdpSendmsg],
    },
    Test {
        name: "write_after_shutdown",
        provoke: provoke::write_after_shutdown,
        expects: &[(EventKind::Write, Cause::WriteAfterShutdown)],
        proves: &[Hook::SkStreamError],
    },
    Test {
        name: "unix_refused",
        provoke: provoke::unix_refused,
        expects: &[(EventKind::Connect, Cause::ConnectRefused)],
        proves: &[Hook::Connect],
    },
    Test {
        name: "unix_write_after_close",
        provoke: provoke::unix_write_after_close,
        expects: &[(EventKind::Write, Cause::WriteAfterPeerClose)],
        proves: &[Hook::SendSig],
    },
    Test {
        name: "unix_not_sent",
        provoke: provoke::unix_not_sent,
        expects: &[(EventKind::DatagramSend, Cause::NoSuchSocket)],
        proves: &[Hook::UnixSendmsg],
    },
    Test {
        name: "premature_eof",
        provoke: provoke::premature_eof,
        expects: &[(EventKind::PeerClosed, Cause::PrematureEof)],
        proves: &[Hook::TcpFin],
    },
    Test {
        name: "bind_in_use_ipv4",
        provoke: provoke::bind,
        expects: &[(EventKind::Bind, Cause::BindFailed)],
        proves: &[Hook::Bind],
    },
    Test {
        name: BIND_IPV6,
        provoke: provoke::bind6,
        expects: &[(EventKind::Bind, Cause::BindFailed)],
        proves: &[Hook::Bind],
    },
    Test {
        name: "listen_in_use",
        provoke: provoke::listen,
        expects: &[(EventKind::Listen, Cause::ListenFailed)],
        proves: &[Hook::Listen],
    },
    Test {
        name: "setsockopt_unknown",
        provoke: provoke::set_option,
        expects: &[(EventKind::Setsockopt, Cause::SockoptRejected)],
        proves: &[Hook::Setsockopt],
    },
    Test {
        name: "getsockopt_unknown",
        provoke: provoke::get_option,
        expects: &[(EventKind::Getsockopt, Cause::SockoptRejected)],
        proves: &[Hook::Getsockopt],
    },
];

/// Outcome of one test.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) name: &'static str,
    /// Causes that were reported, each reported once and counted once.
    #[serde(rename = "told")]
    pub(super) reported: Vec<&'static str>,
    /// The problem; null if the test passed.
    pub(super) problem: Option<String>,
    /// Why the test was skipped; null if it ran.
    pub(super) skipped: Option<String>,
    #[serde(skip)]
    pub(super) proves: &'static [Hook],
}

impl Outcome {
    fn of(test: &Test) -> Self {
        Self {
            name: test.name,
            reported: Vec::new(),
            problem: None,
            skipped: None,
            proves: test.proves,
        }
    }

    fn skipped(test: &Test, reason: String) -> Self {
        Self { skipped: Some(reason), proves: &[], ..Self::of(test) }
    }
}

/// Runs every test that the attached hooks allow.
///
/// # Errors
/// When no network namespace can be made, or the programs' maps cannot be read.
pub(super) fn run(loaded: &mut Loaded) -> Result<Vec<Outcome>> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("cannot watch the event ring buffer")?;
    let _entered = runtime.enter();
    let mut watch = Watch {
        tallies: Tallies::new(&mut loaded.object)?,
        events: Events::new(&mut loaded.object)?,
        reported: BTreeMap::new(),
    };
    let follows = follow_test::run(loaded)?;
    let health = &loaded.health;
    // The namespace belongs to the thread and disappears with it.
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let namespace = netns::enter()?;
            let outcomes = TESTS.iter().map(|test| watch.make(test, health, namespace));
            let mut outcomes = outcomes.collect::<Result<Vec<_>>>()?;
            outcomes.push(follows);
            outcomes.push(watch.compare_counts()?);
            Ok(outcomes)
        });
        thread.join().map_err(|_| anyhow!("the self-test panicked"))?
    })
}

/// Events and counts of the kernel programs.
struct Watch {
    tallies: Tallies,
    events: Events,
    /// Number of reports by signature, for all sockets of the host.
    reported: BTreeMap<Signature, u64>,
}

impl Watch {
    /// Runs one test.
    fn make(&mut self, test: &Test, health: &Health, namespace: u32) -> Result<Outcome> {
        if let Some(hook) = test.proves.first().filter(|hook| !health.is_attached(**hook)) {
            return Ok(Outcome::skipped(test, format!("{} is not attached", hook.id())));
        }
        if test.name == BIND_IPV6 && !fs::exists("/proc/net/if_inet6")? {
            return Ok(Outcome::skipped(test, "this host has no IPv6".to_owned()));
        }
        let mut outcome = Outcome::of(test);
        if let Err(error) = (test.provoke)() {
            outcome.problem = Some(format!("the failure could not be made: {error:#}"));
            return Ok(outcome);
        }
        let events = self.collect(namespace, test.expects.len());
        let (retransmits, failures): (Vec<_>, Vec<_>) = events
            .iter()
            .map(|event| (EventKind::try_from(event.signature.kind), diagnose(event.signature)))
            .partition(|(_, finding)| *finding == Finding::Retransmission);
        let reported: Vec<_> = failures
            .iter()
            .filter_map(|(seen, finding)| Some((seen.ok()?, cause(*finding)?)))
            .collect();
        outcome.reported = reported.iter().map(|(_, cause)| cause.id()).collect();
        let by_timer = test.proves.contains(&Hook::TcpRetransmitTimer)
            && health.is_attached(Hook::TcpRetransmitTimer);
        if reported != test.expects {
            let words = |list: &[(EventKind, Cause)]| {
                let words = list.iter().map(|(seen, cause)| format!("{} by {seen:?}", cause.id()));
                if list.is_empty() {
                    "nothing".to_owned()
                } else {
                    words.collect::<Vec<_>>().join(", ")
                }
            };
            outcome.problem =
                Some(format!("reported {} instead of {}", words(&reported), words(test.expects)));
        } else if by_timer && retransmits.is_empty() {
            outcome.problem = Some("no retransmission timeout was reported".to_owned());
        }
        Ok(outcome)
    }

    /// Collects the events of a network namespace, until the expected number of failures has
    /// arrived and no more follow.
    fn collect(&mut self, namespace: u32, failures: usize) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        let mut deadline = Instant::now() + PATIENCE;
        let mut complete = false;
        while Instant::now() < deadline {
            events.extend(self.drain().into_iter().filter(|event| event.netns == namespace));
            let found = events
                .iter()
                .filter(|event| diagnose(event.signature).diagnosis().is_some())
                .count();
            if !complete && found >= failures {
                complete = true;
                deadline = Instant::now() + QUIET;
            }
            thread::sleep(PAUSE);
        }
        events
    }

    fn drain(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let mut batch = Vec::new();
            let more = self.events.drain(&mut batch);
            events.extend(batch.into_iter().map(|named| named.event));
            if !more {
                break;
            }
        }
        // Sent RSTs are counted only by reason.
        for event in events.iter().filter(|event| event.signature.kind != RESET_SENT) {
            *self.reported.entry(event.signature.counted()).or_default() += 1;
        }
        events
    }

    /// Compares counts with reports.
    ///
    /// Other sockets of the host fail meanwhile. Reports are therefore read between two readings of
    /// the counts: events in the first reading have been reported by then, and reported events are
    /// in the second.
    fn compare_counts(&mut self) -> Result<Outcome> {
        let mut outcome = Outcome {
            name: "counts",
            reported: Vec::new(),
            problem: None,
            skipped: None,
            proves: &[],
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let before = self.tallies.signatures()?;
            // An event is counted first and sent a moment later.
            thread::sleep(QUIET);
            self.drain();
            let after = self.tallies.signatures()?;
            let lost = self.tallies.counter(Counter::EventsLost)?;
            outcome.problem = difference(&before, &self.reported, &after, lost);
            if outcome.problem.is_none() || Instant::now() > deadline {
                return Ok(outcome);
            }
        }
    }
}

const RESET_SENT: u8 = EventKind::ResetSent as u8;

/// The first difference between counts and reports, if any.
fn difference(
    before: &BTreeMap<Signature, u64>,
    reported: &BTreeMap<Signature, u64>,
    after: &BTreeMap<Signature, u64>,
    lost: u64,
) -> Option<String> {
    let number =
        |counts: &BTreeMap<Signature, u64>, signature| counts.get(signature).copied().unwrap_or(0);
    let unreported =
        before.iter().find(|(signature, count)| **count > number(reported, signature) + lost);
    if let Some((signature, count)) = unreported {
        let reported = number(reported, signature);
        return Some(format!("counted {count} times and reported {reported} times: {signature:?}"));
    }
    let uncounted = reported.iter().find(|(signature, count)| **count > number(after, signature));
    uncounted.map(|(signature, count)| {
        let after = number(after, signature);
        format!("reported {count} times and counted {after} times: {signature:?}")
    })
}

fn cause(finding: Finding) -> Option<Cause> {
    finding.diagnosis().map(|found| found.cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(list: &[(u16, u64)]) -> BTreeMap<Signature, u64> {
        list.iter()
            .map(|(errno, count)| (Signature { errno: *errno, ..Signature::default() }, *count))
            .collect()
    }

    #[test]
    fn counts_that_differ_are_reported() {
        let (one, two) = (counts(&[(104, 1)]), counts(&[(104, 2)]));
        assert_eq!(difference(&one, &one, &one, 0), None);
        // Another socket failed between the two readings.
        assert_eq!(difference(&one, &two, &two, 0), None);
        assert_eq!(difference(&one, &one, &two, 0), None);
        let reported = difference(&two, &one, &two, 0).expect("unreported");
        assert!(reported.starts_with("counted 2 times and reported 1 times"), "{reported}");
        assert_eq!(difference(&two, &one, &two, 1), None);
        let reported = difference(&counts(&[]), &two, &one, 0).expect("uncounted");
        assert!(reported.starts_with("reported 2 times and counted 1 times"), "{reported}");
    }

    #[test]
    fn each_test_says_what_it_proves() {
        for test in TESTS {
            assert!(!test.expects.is_empty() && !test.proves.is_empty(), "{}", test.name);
        }
    }

    #[test]
    fn failures_are_made_as_they_should_be() {
        let made = thread::spawn(|| {
            // Without permission to make namespaces, loopback suffices for all tests but the
            // missing route.
            let alone = netns::enter().is_ok();
            for test in TESTS {
                let needs = match test.name {
                    "no_route" => alone,
                    "bind_in_use_ipv6" => fs::exists("/proc/net/if_inet6").unwrap_or(false),
                    _ => true,
                };
                if needs {
                    (test.provoke)().unwrap_or_else(|error| panic!("{}: {error:#}", test.name));
                }
            }
        });
        made.join().expect("made");
    }
}
