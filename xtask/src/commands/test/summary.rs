//! Results of all tests, and where the time was spent.

use std::{cmp::Reverse, time::Duration};

use super::coverage::Coverage;
use socktrace_lab::verdict::Verdict;

/// Number of the slowest scenarios that are listed.
const SLOWEST: usize = 10;

/// Counts of tests, printed as the last line of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Tests that passed.
    pub(crate) passed: usize,
    /// Tests that failed or could not run.
    pub(crate) failed: usize,
    /// Tests that do not apply here.
    pub(crate) skipped: usize,
    /// Passed scenarios that only did so on the second try.
    pub(crate) unsteady: usize,
}

impl Count {
    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.unsteady += other.unsteady;
    }

    pub(super) fn line(self) -> String {
        let some = |count, what| match count {
            0 => String::new(),
            count => format!(", {count} {what}"),
        };
        let skipped = some(self.skipped, "skipped");
        let unsteady = some(self.unsteady, "only on the second try");
        format!("{} passed, {} failed{skipped}{unsteady}", self.passed, self.failed)
    }
}

/// Results of some boots.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) count: Count,
    pub(super) coverage: Coverage,
    boots: Vec<(Duration, String)>,
    scenarios: Vec<(Duration, String)>,
    second_tries: Vec<String>,
}

impl Summary {
    /// Records a boot and its duration.
    pub(super) fn boot(&mut self, kernel: &str, boot: &str, took: Duration) {
        self.boots.push((took, format!("{kernel} {boot}")));
    }

    /// Records the last verdict on a scenario.
    pub(super) fn verdict(&mut self, kernel: &'static str, verdict: &Verdict) {
        self.coverage.add(kernel, verdict);
        match (&verdict.failure, &verdict.skipped) {
            (None, None) => self.count.passed += 1,
            (None, Some(_)) => self.count.skipped += 1,
            (Some(_), _) => self.count.failed += 1,
        }
        if let Some(took) = verdict.took {
            self.scenarios.push((took, format!("{kernel} {}", verdict.scenario)));
        }
    }

    /// Records a scenario that passed on the second try, with its first failure.
    pub(super) fn second_try(&mut self, kernel: &str, boot: &str, scenario: &str, first: &str) {
        self.count.unsteady += 1;
        let lines: Vec<_> = first.lines().map(|line| format!("       {line}\n")).collect();
        self.second_tries.push(format!("{kernel} {boot} {scenario}\n{}", lines.concat()));
    }

    /// Adds the results of other boots.
    pub(super) fn merge(&mut self, other: Self) {
        self.count.add(other.count);
        self.coverage.merge(other.coverage);
        self.boots.extend(other.boots);
        self.scenarios.extend(other.scenarios);
        self.second_tries.extend(other.second_tries);
    }

    /// Durations of the boots, the slowest scenarios, and the ledger of second tries, so that their
    /// first failures are not forgotten.
    pub(super) fn text(&self) -> String {
        let list = |items: &[(Duration, String)], most: usize| {
            let mut items = items.to_vec();
            items.sort_by_key(|(took, _)| Reverse(*took));
            let shown = items.iter().take(most);
            let shown: Vec<_> =
                shown.map(|(took, name)| format!("{name} {:.0} s", took.as_secs_f64())).collect();
            shown.join(", ")
        };
        let mut lines = Vec::new();
        if !self.boots.is_empty() {
            lines.push(format!("Boots: {}\n", list(&self.boots, usize::MAX)));
        }
        if !self.scenarios.is_empty() {
            lines.push(format!("Slowest scenarios: {}\n", list(&self.scenarios, SLOWEST)));
        }
        if !self.second_tries.is_empty() {
            lines.push("Passed on the second try only; the first said:\n".to_owned());
            lines.extend_from_slice(&self.second_tries);
        }
        lines.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_line_counts() {
        let count = Count { passed: 3, ..Count::default() };
        assert_eq!(count.line(), "3 passed, 0 failed");
        assert_eq!(Count { skipped: 2, ..count }.line(), "3 passed, 0 failed, 2 skipped");
        let unsteady = Count { unsteady: 1, ..count };
        assert_eq!(unsteady.line(), "3 passed, 0 failed, 1 only on the second try");
    }

    #[test]
    fn summary_has_the_slowest_and_what_failed_first() {
        let passed = |scenario: &str, seconds| Verdict {
            scenario: scenario.into(),
            covers: vec![],
            failure: None,
            skipped: None,
            took: Some(Duration::from_secs(seconds)),
            is_lost: false,
        };
        let mut summary = Summary::default();
        assert_eq!(summary.text(), "");
        summary.boot("6.1", "smp", Duration::from_secs(20));
        for (scenario, seconds) in [("a", 3), ("b", 12)] {
            summary.verdict("6.1", &passed(scenario, seconds));
        }
        summary.second_try("6.1", "smp", "a", "one\ntwo");
        assert_eq!(summary.count, Count { passed: 2, unsteady: 1, ..Count::default() });
        assert_eq!(
            summary.text(),
            "Boots: 6.1 smp 20 s\n\
             Slowest scenarios: 6.1 b 12 s, 6.1 a 3 s\n\
             Passed on the second try only; the first said:\n\
             6.1 smp a\n       one\n       two\n"
        );
    }
}
