//! Which causes were made and told, on which kernel and in which family.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context as _, Result};
use socktrace_lab::{verdict::Verdict, workspace};

use super::Count;

/// Where the table is kept, below the workspace.
const DOCUMENT: &str = "docs/coverage.md";

const PREAMBLE: &str = "\
# Coverage

Which causes are made with real sockets and told rightly, by kernel and address family. An empty
cell is a cause that the kernel cannot show: `data_after_shutdown` looks like `reset_while_closing`
where `tcp_reset` does not get the segment, and `unreachable_reported` needs the tracepoint
`sock:inet_sk_error_report`, as does what `other` is made by; both are missing in 5.10. `subflow_failed`
needs MPTCP, which Debian's 5.10 is built without.

Made by `cargo xtask test --full --write-docs`, with every scenario on every kernel. A run without
`--full` makes every cell too, most of them by the quick scenarios alone, and compares them.

";

/// Compares the kept table with this one, or writes it.
///
/// # Errors
///
/// When it cannot be written.
pub(super) fn check_document(table: &str, write: bool) -> Result<Count> {
    let path = workspace::root().join(DOCUMENT);
    let text = format!("{PREAMBLE}{table}");
    if write {
        fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    // A missing file differs too.
    if fs::read_to_string(&path).is_ok_and(|kept| kept == text) {
        println!("ok   host  {DOCUMENT} says what was covered");
        Ok(Count { passed: 1, ..Count::default() })
    } else {
        println!(
            "FAIL host  {DOCUMENT} differs from the table above; cargo xtask test --full --write-docs renews it"
        );
        Ok(Count { failed: 1, ..Count::default() })
    }
}

/// What became of one cause on one kernel in one family: whether all scenarios with it passed.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    passed: BTreeMap<Cell, bool>,
}

/// Cause, kernel and family.
type Cell = (String, &'static str, String);

impl Coverage {
    /// Notes a verdict.
    pub(super) fn add(&mut self, kernel: &'static str, verdict: &Verdict) {
        for covered in &verdict.covers {
            let (cause, family) = covered.split_once('/').unwrap_or((covered, ""));
            let cell = (cause.to_owned(), kernel, family.to_owned());
            *self.passed.entry(cell).or_insert(true) &= verdict.failure.is_none();
        }
    }

    /// Adds what another boot covered.
    pub(super) fn merge(&mut self, other: Self) {
        for (cell, passed) in other.passed {
            *self.passed.entry(cell).or_insert(true) &= passed;
        }
    }

    /// A Markdown table: a row for each cause, a column for each of these kernels and families.
    /// Empty when no cause was made.
    pub(super) fn table(&self, kernels: &[&'static str]) -> String {
        let causes: BTreeSet<_> = self.passed.keys().map(|(cause, ..)| cause).collect();
        let families: BTreeSet<_> = self.passed.keys().map(|(.., family)| family).collect();
        let columns: Vec<_> = kernels
            .iter()
            .flat_map(|&kernel| families.iter().map(move |&family| (kernel, family)))
            .collect();
        if causes.is_empty() {
            return String::new();
        }
        let width = causes.iter().map(|cause| cause.len()).max().unwrap_or_default();
        let heading = |(kernel, family): &(_, _)| format!("{kernel} {family}");
        let mut lines = vec![
            row(width, "cause", columns.iter().map(heading)),
            row(
                width,
                &"-".repeat(width),
                columns.iter().map(|cell| "-".repeat(heading(cell).len())),
            ),
        ];
        for cause in causes {
            let cells = columns.iter().map(|&(kernel, family)| {
                let cell = (cause.clone(), kernel, family.clone());
                let word = match self.passed.get(&cell) {
                    Some(true) => "ok",
                    Some(false) => "FAIL",
                    None => "",
                };
                format!("{word:<width$}", width = heading(&(kernel, family)).len())
            });
            lines.push(row(width, cause, cells));
        }
        lines.join("\n") + "\n"
    }
}

fn row(width: usize, first: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<_> = cells.collect();
    format!("| {first:<width$} | {} |", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(covers: &[&str], failure: Option<&str>) -> Verdict {
        Verdict {
            scenario: "a".into(),
            covers: covers.iter().map(|&cell| cell.to_owned()).collect(),
            failure: failure.map(str::to_owned),
            skipped: None,
            took: None,
            is_lost: false,
        }
    }

    #[test]
    fn table_has_what_passed_failed_and_is_missing() {
        let mut coverage = Coverage::default();
        coverage.add("6.1", &verdict(&["reset_by_peer/ipv4", "other/ipv6"], None));
        let mut later = Coverage::default();
        later.add("6.1", &verdict(&["other/ipv6"], Some("no")));
        coverage.merge(later);
        assert_eq!(
            coverage.table(&["6.1"]),
            "| cause         | 6.1 ipv4 | 6.1 ipv6 |\n\
             | ------------- | -------- | -------- |\n\
             | other         |          | FAIL     |\n\
             | reset_by_peer | ok       |          |\n"
        );
    }

    #[test]
    fn table_of_nothing_is_nothing() {
        assert_eq!(Coverage::default().table(&["6.1"]), "");
    }
}
