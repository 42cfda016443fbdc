//! The report as a table.

use std::{
    fmt::Display,
    io::{self, Write},
};

use anstyle::{AnsiColor, Style};

use super::{
    Report,
    checks::State,
    hooks::Row,
    self_test::Outcome,
    verdict::{self, Verdict},
};

/// Widths of the first two columns.
const MARK: usize = 4;
const NAME: usize = 26;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const RED: Style = AnsiColor::Red.on_default().bold();

/// Writes the report; notes are wrapped to this many columns.
pub(crate) fn write(out: &mut impl Write, report: &Report, width: usize) -> io::Result<()> {
    heading(out, &format!("socktrace {} on {}", report.version, report.kernel))?;
    let mut said = None;
    for check in &report.checks {
        let (mark, style) = mark(check.state);
        row(out, mark, style, check.name, &check.value)?;
        // Consecutive checks can share a note.
        let again = check.note.is_some() && check.note == said;
        note(out, check.note.as_deref().filter(|_| !again), width)?;
        said.clone_from(&check.note);
    }
    if !report.hooks.is_empty() {
        writeln!(out)?;
        heading(out, "hooks")?;
    }
    for hook in &report.hooks {
        let (mark, style) = hook_mark(hook);
        let how = hook.how.as_deref().unwrap_or("-");
        let fired = match hook.fired {
            Some(true) => ", seen to fire",
            Some(false) => ", NOT seen to fire",
            None => "",
        };
        row(out, mark, style, hook.hook, format!("{}{fired}  {how}", hook.state))?;
        note(out, hook.reason.as_deref(), width)?;
        note(out, hook.hides.map(|hides| format!("hidden: {hides}")).as_deref(), width)?;
    }
    for loss in &report.hidden {
        row(out, "some", YELLOW, "hidden", "")?;
        note(out, Some(loss), width)?;
    }
    if let Some(outcomes) = &report.self_test {
        writeln!(out)?;
        heading(out, "self-test, in a separate network namespace")?;
        for outcome in outcomes {
            tested(out, outcome, width)?;
        }
    }
    writeln!(out)?;
    verdict(out, &report.verdict, width)
}

fn heading(out: &mut impl Write, text: &str) -> io::Result<()> {
    writeln!(out, "{BOLD}{text}{BOLD:#}")
}

fn row(
    out: &mut impl Write,
    mark: &str,
    style: Style,
    name: &str,
    value: impl Display,
) -> io::Result<()> {
    let line = format!("  {style}{mark:MARK$}{style:#}  {name:NAME$}  {value}");
    writeln!(out, "{}", line.trim_end())
}

/// Writes a note under the value of a row.
fn note(out: &mut impl Write, text: Option<&str>, width: usize) -> io::Result<()> {
    let indent = " ".repeat(2 + MARK + 2 + NAME + 2);
    for line in textwrap::wrap(text.unwrap_or_default(), width.saturating_sub(indent.len()).max(20))
    {
        if !line.is_empty() {
            writeln!(out, "{indent}{DIM}{line}{DIM:#}")?;
        }
    }
    Ok(())
}

const fn mark(state: State) -> (&'static str, Style) {
    match state {
        State::Ok => ("ok", GREEN),
        State::Limited => ("some", YELLOW),
        State::Bad => ("NO", RED),
        State::Unknown => ("?", DIM),
        State::Info => ("-", DIM),
    }
}

fn hook_mark(row: &Row) -> (&'static str, Style) {
    match (row.state, row.fired) {
        (_, Some(false)) | ("failed", _) => ("NO", RED),
        ("attached", _) => ("ok", GREEN),
        ("fallback" | "absent", _) => ("some", YELLOW),
        _ => ("-", DIM),
    }
}

fn tested(out: &mut impl Write, outcome: &Outcome, width: usize) -> io::Result<()> {
    match (&outcome.problem, &outcome.skipped) {
        (Some(problem), _) => {
            row(out, "NO", RED, outcome.name, "")?;
            note(out, Some(problem), width)
        }
        (None, Some(reason)) => row(out, "-", DIM, outcome.name, reason),
        (None, None) => row(out, "ok", GREEN, outcome.name, outcome.reported.join(", ")),
    }
}

fn verdict(out: &mut impl Write, verdict: &Verdict, width: usize) -> io::Result<()> {
    let (word, style) = match verdict.state {
        verdict::State::Ready => ("READY", GREEN),
        verdict::State::Limited => ("READY, WITH LIMITS", YELLOW),
        verdict::State::Refused => ("REFUSED", RED),
        verdict::State::Broken => ("BROKEN", RED),
    };
    writeln!(out, "{style}{word}{style:#}  {}", verdict.summary)?;
    for (name, text) in [("why:", verdict.why.as_deref()), ("do: ", verdict.advice.as_deref())] {
        let Some(text) = text else { continue };
        let options =
            textwrap::Options::new(width).initial_indent("  ").subsequent_indent("       ");
        writeln!(out, "{}", textwrap::fill(&format!("{name} {text}"), options))?;
    }
    match verdict.command {
        Some(command) => writeln!(out, "  run: {BOLD}{command}{BOLD:#}"),
        None => Ok(()),
    }
}
