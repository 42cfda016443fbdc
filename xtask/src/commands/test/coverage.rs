//! Causes that were triggered and reported, by protocol, kernel and family.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context as _, Result};
use socktrace_lab::{verdict::Verdict, workspace};

use super::Count;

/// Path of the table, relative to the workspace.
const DOCUMENT: &str = "docs/coverage.md";

const PREAMBLE: &str = "\
# Coverage

Which causes are made with real sockets and reported rightly, by protocol, kernel and address family. An
empty cell is a cause that the kernel cannot show, or that no scenario has made there: `data_after_shutdown`
looks like `reset_while_closing` where `tcp_reset` does not get the segment, and what `other` is made by needs
the tracepoint `sock:inet_sk_error_report`; both are missing in 5.10. Of `receive_queue_full` the tracepoint
`udp:udp_fail_queue_rcv_skb` shows IPv6 since 6.5. MPTCP, and with it `subflow_failed`, is not built into
Debian's 5.10.

`cargo xtask test --full --write-docs` makes it, with every scenario on every kernel. Every other run that
names no kernel and no scenario fails when it makes a cell that is not here, or finds one to be wrong.

";

/// Compares the recorded tables with these, or records these. A run without every scenario makes
/// only a part of the recorded tables.
///
/// # Errors
///
/// When they cannot be written.
pub(super) fn check_document(tables: &str, is_full: bool, write: bool) -> Result<Count> {
    let path = workspace::root().join(DOCUMENT);
    let text = format!("{PREAMBLE}{tables}");
    if write {
        fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    // A missing file has no cells.
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let agrees = if is_full { kept == text } else { cells(tables).is_subset(&cells(&kept)) };
    if agrees && kept.starts_with(PREAMBLE) {
        println!("ok   host  {DOCUMENT} says what was covered");
        Ok(Count { passed: 1, ..Count::default() })
    } else {
        println!(
            "FAIL host  {DOCUMENT} differs from the tables above; cargo xtask test --full --write-docs renews it"
        );
        Ok(Count { failed: 1, ..Count::default() })
    }
}

/// Cells of tables that are not empty, as heading, row, column and word.
fn cells(tables: &str) -> BTreeSet<[String; 4]> {
    let mut cells = BTreeSet::new();
    let (mut protocol, mut columns) = ("", Vec::new());
    for line in tables.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            (protocol, columns) = (heading, Vec::new());
        }
        let Some(inner) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")) else {
            continue;
        };
        let words: Vec<_> = inner.split(" | ").map(str::trim).collect();
        if columns.is_empty() {
            columns = words;
            continue;
        }
        for (column, word) in columns.iter().zip(&words).skip(1) {
            if !word.is_empty() {
                cells.insert([protocol, words[0], column, word].map(str::to_owned));
            }
        }
    }
    cells
}

/// Results for each cause, by protocol: whether all scenarios with it passed.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    protocols: BTreeMap<String, Cells>,
}

/// Whether all scenarios passed, by cause, kernel and family.
type Cells = BTreeMap<(String, &'static str, String), bool>;

impl Coverage {
    /// Records a verdict.
    pub(super) fn add(&mut self, kernel: &'static str, verdict: &Verdict) {
        for covered in &verdict.covers {
            let mut words = covered.splitn(3, '/').map(str::to_owned);
            let mut word = || words.next().unwrap_or_default();
            let (protocol, cause, family) = (word(), word(), word());
            let cells = self.protocols.entry(protocol).or_default();
            *cells.entry((cause, kernel, family)).or_insert(true) &= verdict.failure.is_none();
        }
    }

    /// Adds the coverage of another boot.
    pub(super) fn merge(&mut self, other: Self) {
        for (protocol, others) in other.protocols {
            let cells = self.protocols.entry(protocol).or_default();
            for (cell, passed) in others {
                *cells.entry(cell).or_insert(true) &= passed;
            }
        }
    }

    /// Makes a Markdown table for each protocol. It has a row for each cause, and a column for each
    /// of these kernels and each family of the protocol. Empty if no cause was triggered.
    pub(super) fn tables(&self, kernels: &[&'static str]) -> String {
        let table = |(protocol, cells)| format!("## {protocol}\n\n{}", table(cells, kernels));
        self.protocols.iter().map(table).collect::<Vec<_>>().join("\n")
    }
}

fn table(cells: &Cells, kernels: &[&'static str]) -> String {
    let causes: BTreeSet<_> = cells.keys().map(|(cause, ..)| cause).collect();
    let families: BTreeSet<_> = cells.keys().map(|(.., family)| family).collect();
    let columns: Vec<_> = kernels
        .iter()
        .flat_map(|&kernel| families.iter().map(move |&family| (kernel, family)))
        .collect();
    let width = causes.iter().map(|cause| cause.len()).max().unwrap_or_default();
    let heading = |(kernel, family): &(_, _)| format!("{kernel} {family}");
    let mut lines = vec![
        row(width, "cause", columns.iter().map(heading)),
        row(width, &"-".repeat(width), columns.iter().map(|cell| "-".repeat(heading(cell).len()))),
    ];
    for cause in causes {
        let words = columns.iter().map(|&(kernel, family)| {
            let word = match cells.get(&(cause.clone(), kernel, family.clone())) {
                Some(true) => "ok",
                Some(false) => "FAIL",
                None => "",
            };
            format!("{word:<width$}", width = heading(&(kernel, family)).len())
        });
        lines.push(row(width, cause, words));
    }
    lines.join("\n") + "\n"
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
    fn tables_have_what_passed_failed_and_is_missing() {
        let mut coverage = Coverage::default();
        coverage.add("6.1", &verdict(&["tcp/reset_by_peer/ipv4", "tcp/other/ipv6"], None));
        let mut later = Coverage::default();
        later.add("6.1", &verdict(&["tcp/other/ipv6", "unix/other/unix"], Some("no")));
        coverage.merge(later);
        assert_eq!(
            coverage.tables(&["6.1"]),
            "## tcp\n\n\
             | cause         | 6.1 ipv4 | 6.1 ipv6 |\n\
             | ------------- | -------- | -------- |\n\
             | other         |          | FAIL     |\n\
             | reset_by_peer | ok       |          |\n\
             \n## unix\n\n\
             | cause | 6.1 unix |\n\
             | ----- | -------- |\n\
             | other | FAIL     |\n"
        );
    }

    #[test]
    fn a_part_of_the_tables_has_cells_of_the_whole_and_a_failure_is_none() {
        let tables = |covers: &[&str], failure| {
            let mut coverage = Coverage::default();
            coverage.add("6.1", &verdict(covers, failure));
            coverage.tables(&["6.1"])
        };
        let whole = tables(&["tcp/other/ipv4", "tcp/other/ipv6", "udp/other/ipv4"], None);
        let part = tables(&["tcp/other/ipv6"], None);
        assert!(cells(&part).is_subset(&cells(&whole)));
        assert!(!cells(&whole).is_subset(&cells(&part)));
        assert!(!cells(&tables(&["tcp/other/ipv6"], Some("no"))).is_subset(&cells(&whole)));
        assert!(!cells(&tables(&["unix/other/unix"], None)).is_subset(&cells(&whole)));
    }

    #[test]
    fn tables_of_nothing_is_nothing() {
        assert_eq!(Coverage::default().tables(&["6.1"]), "");
    }
}
