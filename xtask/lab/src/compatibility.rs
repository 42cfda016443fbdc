//! docs/compatibility.md: how each hook is served on each kernel, and what is not seen.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use socktrace_plan::{hooks::Hook, plan::Method, variant::Variant};

use crate::{
    fixtures::{self, Captured},
    kernel_plan::{KernelPlan, Limitation},
    workspace,
};

const PREAMBLE: &str = "\
# Compatibility

What socktrace does on each kernel series that Debian has, by the type information (BTF) of the
builds for virtual machines on amd64. Another build of the same version can differ: socktrace asks
the running kernel, and says at start what it could not attach or cannot report there, and what that
hides.

Made by `cargo xtask btf table`; a unit test compares it.
";

const TRAMPOLINES: &str = "
## Hooks by BPF trampolines

The rule. fentry runs at a function's entry, fexit at its return, tp_btf at a tracepoint. The
function is named where it is not the hook's own.
";

const LOST: &str = "
What these kernels hide:
";

const KPROBES: &str = "
## Hooks by kprobes

Where the kernel has no trampolines for functions, and with `--attach kprobe`.
";

const LOST_BY_KPROBES: &str = "
What kprobes hide on every kernel, beside what the kernel does:
";

/// Markdown table of hooks and kernels. Consecutive kernels that serve all hooks in the same way
/// share a column.
#[must_use]
pub fn hooks(kernels: &[KernelPlan]) -> String {
    let mut columns: Vec<(&str, &str, Vec<String>)> = Vec::new();
    for planned in kernels {
        let cell = |hook| {
            planned.served(hook).map_or("–".to_owned(), |variant| how(hook, planned, variant))
        };
        let cells: Vec<_> = Hook::ALL.iter().map(|&hook| cell(hook)).collect();
        match columns.last_mut() {
            Some((_, last, known)) if *known == cells => *last = planned.series,
            _ => columns.push((planned.series, planned.series, cells)),
        }
    }
    let mut rows = vec![vec!["hook".to_owned()]];
    rows.extend(Hook::ALL.iter().map(|hook| vec![format!("`{}`", hook.id())]));
    for (first, last, cells) in columns {
        let heading = if first == last { first.to_owned() } else { format!("{first} to {last}") };
        for (row, cell) in rows.iter_mut().zip([heading].into_iter().chain(cells)) {
            row.push(cell);
        }
    }
    table(&rows)
}

/// Writes the document.
///
/// # Errors
///
/// When the captured BTF cannot be read or the document cannot be written.
pub fn write() -> Result<PathBuf> {
    let path = path();
    fs::write(&path, current()?).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn path() -> PathBuf {
    workspace::root().join("docs/compatibility.md")
}

fn current() -> Result<String> {
    let kernels = fixtures::all()?;
    if kernels.is_empty() {
        bail!("no kernel's BTF is in the tree. Run: cargo xtask btf capture");
    }
    Ok(document(&kernels))
}

fn document(kernels: &[Captured]) -> String {
    let by = |method| -> Vec<_> {
        kernels.iter().map(|captured| KernelPlan::new(captured, method)).collect()
    };
    let (trampolines, kprobes) = (by(Method::Fentry), by(Method::Kprobe));
    let mut builds = vec![row(["kernel", "Debian's build"])];
    builds.extend(kernels.iter().map(|captured| row([captured.series.name, &captured.release])));
    let mut lost = vec![row(["kernel", "hook", "hidden", "reason"])];
    for planned in &trampolines {
        for Limitation { hook, hides, reason } in planned.losses() {
            let hook = hook.map_or_else(String::new, |hook| format!("`{}`", hook.id()));
            lost.push(row([planned.series, &hook, hides, &reason]));
        }
    }
    let mut lost_by_kprobes = vec![row(["hook", "hidden", "reason"])];
    for hook in Hook::ALL {
        let id = format!("`{}`", hook.id());
        if let Some(reason) = hook.not_by_kprobe() {
            lost_by_kprobes.push(row([&id, hook.hides(), reason]));
        } else if let Some(hides) = hook.hides_by_kprobe() {
            lost_by_kprobes.push(row([&id, hides, ""]));
        }
    }
    let parts = [
        (PREAMBLE, table(&builds)),
        (TRAMPOLINES, hooks(&trampolines)),
        (LOST, table(&lost)),
        (KPROBES, hooks(&kprobes)),
        (LOST_BY_KPROBES, table(&lost_by_kprobes)),
    ];
    parts.map(|(words, table)| format!("{words}\n{table}")).concat()
}

/// How a variant that serves a hook is attached.
fn how(hook: Hook, planned: &KernelPlan, variant: &Variant) -> String {
    let mut ways = Vec::new();
    let mut functions = Vec::new();
    for program in planned.needed_of(variant) {
        let way = program.attach.id();
        if !ways.contains(&way) {
            ways.push(way);
        }
        let function = variant.function_of(program);
        if !functions.contains(&function) {
            functions.push(function);
        }
    }
    ways.sort_unstable();
    let ways = ways.join(", ");
    if functions == [hook.id()] {
        return ways;
    }
    let functions: Vec<_> = functions.iter().map(|function| format!("`{function}`")).collect();
    format!("{ways} {}", functions.join(", "))
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// A Markdown table with a heading in the first row.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let line = |row: &[String]| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!(" {cell:<width$} "));
        format!("|{}|\n", cells.collect::<Vec<_>>().join("|"))
    };
    let rule: Vec<_> = widths.iter().map(|&width| "-".repeat(width)).collect();
    let mut lines: Vec<_> = rows.iter().map(|row| line(row)).collect();
    lines.insert(1.min(lines.len()), line(&rule));
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_is_current() {
        let kept = fs::read_to_string(path()).unwrap_or_default();
        assert!(kept == current().unwrap(), "run: cargo xtask btf table");
    }

    #[test]
    fn tables_are_aligned() {
        let rows = [row(["a", "long"]), row(["wider", "b"])];
        assert_eq!(table(&rows), "| a     | long |\n| ----- | ---- |\n| wider | b    |\n");
    }
}
