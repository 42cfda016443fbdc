//! Verdicts on scenarios, from a guest's reports and from how it ended.

use std::time::Duration;

use xtask_common::report::Report;

use crate::boot::Outcome;

/// Stands for a whole boot in place of a scenario's name.
pub const BOOT: &str = "(boot)";

/// Result of one scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The scenario's name.
    pub scenario: String,
    /// Cause and family of each failure that it triggered, such as `reset_by_peer/ipv4`.
    pub covers: Vec<String>,
    /// Description of what was wrong, if it failed.
    pub failure: Option<String>,
    /// Reason why it could not run here, if it was skipped.
    pub skipped: Option<String>,
    /// Its duration on the host, if it finished.
    pub took: Option<Duration>,
    /// Whether it failed only because the boot ended before it could run.
    pub is_lost: bool,
}

impl Verdict {
    /// Whether the verdict is about a boot as a whole.
    #[must_use]
    pub fn is_boot(&self) -> bool {
        self.scenario == BOOT
    }
}

/// Reports of one boot so far.
#[derive(Debug, Default)]
pub struct BootReports {
    /// Planned scenarios without a result; `None` before the plan has arrived.
    open: Option<Vec<String>>,
    started: Option<(String, Duration)>,
    failed: bool,
    refusal: Option<String>,
}

impl BootReports {
    /// Handles a report that arrived at this time after power-on, and returns the verdict it
    /// contains.
    pub fn hear(&mut self, report: Report, at: Duration) -> Option<Verdict> {
        match report {
            Report::Plan { scenarios } => self.open = Some(scenarios),
            Report::Started { scenario } => self.started = Some((scenario, at)),
            Report::Scenario { name, passed, covers, detail } => {
                let took = self.close(&name, at);
                self.failed |= !passed;
                let detail = if detail.is_empty() { "without saying why".into() } else { detail };
                let failure = (!passed).then_some(detail);
                let (skipped, is_lost) = (None, false);
                return Some(Verdict { scenario: name, covers, failure, skipped, took, is_lost });
            }
            Report::Skipped { name, reason } => {
                let took = self.close(&name, at);
                let (covers, failure, skipped) = (vec![], None, Some(reason));
                let is_lost = false;
                return Some(Verdict { scenario: name, covers, failure, skipped, took, is_lost });
            }
            Report::Refused { exit, stderr } => {
                self.refusal = Some(format!("socktrace exited with {exit}:\n{stderr}"));
            }
            Report::Up
            | Report::Note { .. }
            | Report::Figure(_)
            | Report::History(_)
            | Report::Exit { .. } => {}
        }
        None
    }

    /// Removes a scenario from the plan, and returns its duration.
    fn close(&mut self, name: &str, at: Duration) -> Option<Duration> {
        if let Some(open) = &mut self.open {
            open.retain(|scenario| *scenario != name);
        }
        let started = self.started.take_if(|(started, _)| *started == name);
        started.map(|(_, start)| at.saturating_sub(start))
    }

    /// Returns the verdicts that are still due when the boot has ended.
    #[must_use]
    pub fn end(self, outcome: &Outcome) -> Vec<Verdict> {
        let reason = self.reason(outcome);
        let fail = |scenario: String, failure: String| Verdict {
            scenario,
            covers: vec![],
            failure: Some(failure),
            skipped: None,
            took: None,
            is_lost: false,
        };
        let running = self.started.map(|(scenario, _)| scenario);
        match self.open {
            None => vec![fail(BOOT.into(), reason)],
            Some(open) if open.is_empty() => {
                // All scenarios have a verdict. A bad end of the boot is one more failure, unless
                // it only repeats the failure of a scenario.
                let explained = self.failed && matches!(outcome, Outcome::Finished { .. });
                let good = explained || matches!(outcome, Outcome::Finished { code: 0 });
                if good { vec![] } else { vec![fail(BOOT.into(), reason)] }
            }
            Some(open) => {
                // The first one gets the whole reason; the others refer to it.
                let culprit = running.or_else(|| open.first().cloned()).unwrap_or_default();
                let lost = format!("no result: the boot ended early (see {culprit})");
                let due = |scenario: String| {
                    if scenario == culprit {
                        return fail(scenario, reason.clone());
                    }
                    Verdict { is_lost: true, ..fail(scenario, lost.clone()) }
                };
                open.into_iter().map(due).collect()
            }
        }
    }

    fn reason(&self, outcome: &Outcome) -> String {
        let end = match outcome {
            Outcome::Finished { code } => format!("the guest's command ended with code {code}"),
            Outcome::Panicked { console } => format!("the kernel panicked:\n{console}"),
            Outcome::Hung { console } => {
                format!("the guest hangs; the end of its console:\n{console}")
            }
            Outcome::Died { console } => {
                format!("the virtual machine ended by itself; the end of its console:\n{console}")
            }
        };
        match &self.refusal {
            Some(refusal) => format!("{refusal}\n{end}"),
            None => end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(reports: impl IntoIterator<Item = Report>) -> (BootReports, Vec<Verdict>) {
        let mut boot = BootReports::default();
        let mut verdicts = Vec::new();
        for (second, report) in (1..).zip(reports) {
            verdicts.extend(boot.hear(report, Duration::from_secs(second)));
        }
        (boot, verdicts)
    }

    fn plan(names: &[&str]) -> Report {
        Report::Plan { scenarios: names.iter().map(|&name| name.to_owned()).collect() }
    }

    fn started(name: &str) -> Report {
        Report::Started { scenario: name.into() }
    }

    fn scenario(name: &str, passed: bool) -> Report {
        let detail = if passed { String::new() } else { "expected more".into() };
        Report::Scenario { name: name.into(), passed, covers: vec!["x/ipv4".into()], detail }
    }

    fn hung() -> Outcome {
        Outcome::Hung { console: "last words".into() }
    }

    #[test]
    fn verdicts_come_with_the_time_they_took() {
        let (boot, verdicts) = boot([plan(&["a"]), started("a"), scenario("a", true)]);
        let took = Some(Duration::from_secs(1));
        let covers = vec!["x/ipv4".into()];
        let (failure, skipped, is_lost) = (None, None, false);
        let passed = Verdict { scenario: "a".into(), covers, failure, skipped, took, is_lost };
        assert_eq!(verdicts, [passed]);
        assert_eq!(boot.end(&Outcome::Finished { code: 0 }), []);
    }

    #[test]
    fn skipped_scenarios_have_a_verdict() {
        let skipped = Report::Skipped { name: "b".into(), reason: "no module veth".into() };
        let (boot, verdicts) = boot([plan(&["a", "b"]), scenario("a", true), skipped]);
        assert_eq!(verdicts[1].skipped.as_deref(), Some("no module veth"));
        assert_eq!((&verdicts[1].failure, verdicts[1].covers.len()), (&None, 0));
        assert_eq!(boot.end(&Outcome::Finished { code: 0 }), []);
    }

    #[test]
    fn failures_are_not_counted_again_for_the_exit_code() {
        let (boot, verdicts) = boot([plan(&["a"]), scenario("a", false)]);
        assert_eq!(verdicts[0].failure.as_deref(), Some("expected more"));
        assert_eq!(boot.end(&Outcome::Finished { code: 1 }), []);
    }

    #[test]
    fn bad_end_after_good_scenarios_is_a_failure() {
        let (boot, _) = boot([plan(&["a"]), scenario("a", true)]);
        let due = boot.end(&Outcome::Finished { code: 1 });
        assert_eq!((due.len(), &*due[0].scenario), (1, BOOT));

        let (boot, _) = self::boot([plan(&["a"]), scenario("a", false)]);
        assert_eq!(boot.end(&hung()).len(), 1);
    }

    #[test]
    fn boot_without_a_plan_is_a_failure() {
        let due = BootReports::default().end(&Outcome::Finished { code: 0 });
        assert_eq!((due.len(), &*due[0].scenario), (1, BOOT));
    }

    #[test]
    fn planned_scenarios_without_verdict_have_failed() {
        let reports = [plan(&["a", "b", "c"]), scenario("a", true), started("c")];
        let (boot, _) = boot(reports);
        let due = boot.end(&hung());
        let names: Vec<_> = due.iter().map(|verdict| &*verdict.scenario).collect();
        assert_eq!(names, ["b", "c"]);
        assert!(due[1].failure.as_ref().unwrap().contains("last words"));
        assert!(due[0].failure.as_ref().unwrap().contains("see c"));
    }

    #[test]
    fn refusal_is_shown_in_full() {
        let stderr = "socktrace: the verifier said no".into();
        let (boot, _) = boot([plan(&["a"]), Report::Refused { exit: 1, stderr }]);
        let due = boot.end(&Outcome::Finished { code: 1 });
        assert!(due[0].failure.as_ref().unwrap().contains("the verifier said no"));
    }
}
