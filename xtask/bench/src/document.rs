//! Output of figures: as lines of text, and as docs/performance.md.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};
use xtask_common::figure::{Figure, NO_TOOL, Unit};

use crate::{
    budget::budget,
    check::{added, without_tool},
    recorded::{KernelFigures, Recorded},
};

/// Markers in the document: the start and the end of the first generated part, and the start of the
/// second one, after which nothing is kept.
const SUMMARY: &str =
    "<!-- Written by `cargo xtask bench --write-docs`, up to the next such line. -->\n";
const SUMMARY_END: &str = "<!-- No more of it. -->\n";
const DETAILS: &str = "<!-- Written by `cargo xtask bench --write-docs`, to the end. -->\n";

/// The kernel whose figures the introductory sentences use.
const USUAL: &str = "6.12";

/// Columns of the table of costs: the tools and their titles, in this order.
const TOOLS: [(&str, &str); 16] = [
    ("a counter at each hook", "floor"),
    ("socktrace", "`socktrace`"),
    ("socktrace --no-stream", "`--no-stream`"),
    ("socktrace --errno ECONNRESET --remote 127.0.0.0/8", "filtered"),
    ("socktrace --udp-sends", "`--udp-sends`"),
    ("socktrace --unix-sends", "`--unix-sends`"),
    ("socktrace --hops", "`--hops`"),
    ("socktrace --follow", "`--follow`"),
    ("socktrace --no-stream --otlp", "`--no-stream --otlp`"),
    ("socktrace --no-stream --history", "`--no-stream --history`"),
    ("socktrace --attach kprobe", "`--attach kprobe`"),
    ("bpftrace", "bpftrace"),
    ("tcptracer", "tcptracer"),
    ("tcpstates", "tcpstates"),
    ("tcplife", "tcplife"),
    ("tcpconnlat", "tcpconnlat"),
];

/// Formats figures as lines of text.
#[must_use]
pub fn plain(figures: &[Figure]) -> String {
    let lines = figures.iter().map(|figure| {
        let value = match without_tool(figure, figures) {
            Some(base) if figure.subject != NO_TOOL && base > 0 => {
                format!("{} ({:+.2} %)", figure.value, added(figure.value, base))
            }
            _ => figure.value.to_string(),
        };
        format!("{:<45} {:<50} {value}\n", figure.measured, figure.subject)
    });
    lines.collect()
}

/// Rewrites the generated parts of the document at `path`, docs/performance.md, and keeps the rest.
///
/// # Errors
///
/// When it cannot be written, or lacks one of the markers.
pub fn write(path: &Path, recorded: &Recorded) -> Result<()> {
    let old =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let new = renewed(&old, recorded).with_context(|| format!("in {}", path.display()))?;
    fs::write(path, new).with_context(|| format!("cannot write {}", path.display()))
}

fn renewed(old: &str, recorded: &Recorded) -> Result<String> {
    let (title, rest) = old.split_once(SUMMARY).context("no beginning of the summary")?;
    let (_, rest) = rest.split_once(SUMMARY_END).context("no end of the summary")?;
    let (method, _) = rest.split_once(DETAILS).context("no beginning of the details")?;
    let mut text = format!("{title}{SUMMARY}\n");
    if let Some((_, kernel)) = recorded.kernels().find(|(series, _)| *series == USUAL) {
        text.push_str(&budget(&kernel.figures)?);
    }
    for (series, kernel) in recorded.kernels() {
        writeln!(text, "\n## Linux {series}\n\nMeasured on {}.", kernel.package)?;
        targets(&mut text, &kernel.figures)?;
        costs(&mut text, &kernel.figures)?;
    }
    write!(text, "\n{SUMMARY_END}{method}{DETAILS}")?;
    for (series, kernel) in recorded.kernels() {
        writeln!(text, "\n## Linux {series} in detail")?;
        programs(&mut text, kernel)?;
        others(&mut text, &kernel.figures)?;
    }
    Ok(text)
}

/// Writes the table of targets, and whether each was met.
fn targets(text: &mut String, figures: &[Figure]) -> Result<()> {
    let value = |measured: &str, subject: &str| {
        let found =
            figures.iter().find(|figure| figure.measured == measured && figure.subject == subject);
        found.with_context(|| format!("{measured} with {subject} was not measured"))
    };
    let percent = |measured: &str, subject: &str| {
        let figure = value(measured, subject)?;
        let base = without_tool(figure, figures).context("nothing to compare with")?;
        Ok::<_, anyhow::Error>(added(figure.value, base))
    };
    writeln!(text, "\n| target | measured | |\n|---|---|---|")?;
    let mut row = |target: String, measured: String, met: bool| {
        writeln!(text, "| {target} | {measured} | {} |", if met { "met" } else { "missed" })
    };
    for (work, subject, limit) in [
        ("orderly", "socktrace", 2.5),
        ("reset_before_accept", "socktrace", 45.0),
        ("reset_after_accept", "socktrace", 30.0),
        ("reset_before_accept", "socktrace --no-stream", 11.0),
        ("reset_after_accept", "socktrace --no-stream", 11.0),
        ("write_after_reset", "socktrace", 400.0),
        ("setsockopt_rejected", "socktrace", 400.0),
        ("send", "socktrace", 0.25),
    ] {
        let all = percent(&format!("cost/{work}"), subject)?;
        let own = percent(&format!("cost/{work}/own"), subject)?;
        let floor = percent(&format!("cost/{work}"), "a counter at each hook")
            .map_or_else(|_| String::new(), |floor| format!("; floor {floor:+.2} %"));
        row(
            format!("`{work}` with `{subject}`: at most {limit:+} %"),
            format!("{all:+.2} %, of it in the program's own time {own:+.2} %{floor}"),
            all <= limit,
        )?;
    }
    let ours = value("start/exec to ready", "socktrace")?.value;
    let floor = value("start/all work", "a counter at each hook").map_or_else(
        |_| String::new(),
        |floor| format!("; floor, to attach alone, {}", millions(floor.value)),
    );
    row(
        "from exec to attached: at most 700 million instructions".into(),
        format!("{}{floor}", millions(ours)),
        ours <= 700_000_000,
    )?;
    let resident = value("memory/resident", "socktrace")?.value;
    row("resident when idle: at most 8 MB".into(), megabytes(resident), resident <= 8_000_000)?;
    let resident = value("sockets/100000/resident", "socktrace")?.value;
    row(
        "resident with 100,000 sockets: at most 20 MB".into(),
        megabytes(resident),
        resident <= 20_000_000,
    )?;
    let wakes = value("idle/wake-ups a minute", "socktrace")?.value;
    row("no wake-up while idle".into(), format!("{wakes} a minute"), wakes == 0)?;
    let wrong = value("storm/counted wrongly", "socktrace")?.value;
    row("counters exact in every storm".into(), format!("{wrong} counted wrongly"), wrong == 0)?;
    let lost = value("storm/not streamed of them", "socktrace")?.value;
    row("no failure of a storm neither shown nor summed up".into(), format!("{lost}"), lost == 0)?;
    // Measured in a run of its own.
    let keeping = "socktrace --no-stream --history";
    if let Ok(bytes) = value("history/bytes of a failure, with index and log", keeping) {
        let bytes = bytes.value;
        row(
            "a failure in a history of a million: at most 600 bytes, with index and log".into(),
            format!("{bytes} bytes"),
            bytes <= 600,
        )?;
    }
    for form in ["for people", "in JSON", "by service and cause"] {
        let Ok(read) = value(&format!("history/an hour of 14 days {form}"), "socktrace history")
        else {
            continue;
        };
        row(
            format!(
                "an hour of a history with a million failures in its 14 days, {form}: at most 50 ms, which is \
                 150 million instructions"
            ),
            millions(read.value),
            read.value <= 150_000_000,
        )?;
    }
    Ok(())
}

/// Writes the table of what each tool adds to each workload.
fn costs(text: &mut String, figures: &[Figure]) -> Result<()> {
    let titles = TOOLS.map(|(_, title)| title).join(" | ");
    writeln!(
        text,
        "\nWhat is added to no tool, and below of it in the program's own time:\n\n\
         | work | no tool | {titles} |\n|---|---:|{}",
        "---:|".repeat(TOOLS.len())
    )?;
    let without = figures.iter().filter(|figure| figure.subject == NO_TOOL);
    for base in without.filter(|figure| figure.measured.starts_with("cost/")) {
        let name = base.measured.trim_start_matches("cost/");
        let (name, count) = match name.strip_suffix("/own") {
            Some(_) => ("", String::new()),
            None => (name, base.value.to_string()),
        };
        let cells = TOOLS.map(|(tool, _)| {
            let same =
                |figure: &&Figure| figure.measured == base.measured && figure.subject == tool;
            figures.iter().find(same).map_or_else(
                || "-".to_owned(),
                |figure| format!("{:+.1} %", added(figure.value, base.value)),
            )
        });
        writeln!(text, "| {name} | {count} | {} |", cells.join(" | "))?;
    }
    Ok(())
}

/// Writes the table of what each BPF program costs.
fn programs(text: &mut String, kernel: &KernelFigures) -> Result<()> {
    let measured = |prefix: &'static str| {
        let all = kernel.figures.iter().filter(|figure| figure.subject == "socktrace");
        all.filter_map(move |figure| Some((figure.measured.strip_prefix(prefix)?, figure.value)))
    };
    if measured("program/").next().is_none() {
        return Ok(());
    }
    writeln!(
        text,
        "\nInstructions per run of a program, the kernel's own measuring included{}, \
         instructions that the verifier followed, of 1,000,000, and bytes of stack, of 512:\n\n\
         | program | a run | verified | stack |\n|---|---:|---:|---:|",
        kernel
            .figures
            .iter()
            .find(|figure| figure.measured == "program/floor")
            .map_or_else(String::new, |floor| format!(" (a counter alone: {})", floor.value))
    )?;
    let mut names: Vec<_> =
        measured("verified/").chain(measured("program/")).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let of = |mut figures: Box<dyn Iterator<Item = (&str, u64)> + '_>| {
            let found = figures.find(|(found, _)| *found == name);
            found.map_or_else(|| "-".to_owned(), |(_, value)| value.to_string())
        };
        let [run, verified, stack] =
            ["program/", "verified/", "stack/"].map(|prefix| of(Box::new(measured(prefix))));
        writeln!(text, "| `{name}` | {run} | {verified} | {stack} |")?;
    }
    Ok(())
}

/// Writes the table of all other figures.
fn others(text: &mut String, figures: &[Figure]) -> Result<()> {
    writeln!(text, "\n| measured | with | |\n|---|---|---:|")?;
    let shown_above = ["cost/", "program/", "verified/", "stack/"];
    let rest = figures
        .iter()
        .filter(|figure| !shown_above.iter().any(|start| figure.measured.starts_with(start)));
    for figure in rest {
        let value = match (without_tool(figure, figures), figure.unit) {
            (Some(base), _) if figure.subject != NO_TOOL => {
                format!("{:+.1} %", added(figure.value, base))
            }
            (_, Unit::Instructions) if figure.value >= 1_000_000 => millions(figure.value),
            (_, Unit::Instructions) => format!("{} instructions", figure.value),
            (_, Unit::Bytes) => megabytes(figure.value),
            (_, Unit::Rate) => format!("{} in 10⁹ instructions", figure.value),
            (_, Unit::Verified | Unit::Stack | Unit::Count | Unit::Size) => {
                figure.value.to_string()
            }
        };
        writeln!(text, "| {} | {} | {value} |", figure.measured, figure.subject)?;
    }
    Ok(())
}

fn millions(instructions: u64) -> String {
    format!("{} million instructions", instructions / 1_000_000)
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_by_hand_stays() {
        let old = format!("# Title\n\n{SUMMARY}old\n{SUMMARY_END}by hand\n{DETAILS}old\n");
        let recorded = Recorded::default();
        let new = renewed(&old, &recorded).expect("has all lines");
        assert_eq!(new, format!("# Title\n\n{SUMMARY}\n\n{SUMMARY_END}by hand\n{DETAILS}"));
        assert_eq!(renewed(&new, &recorded).expect("renewed"), new);
    }

    #[test]
    fn a_document_without_its_lines_is_not_overwritten() {
        for lost in [SUMMARY, SUMMARY_END, DETAILS] {
            let old = format!("{SUMMARY}{SUMMARY_END}{DETAILS}").replace(lost, "");
            assert!(renewed(&old, &Recorded::default()).is_err(), "{lost}");
        }
    }

    #[test]
    fn the_document_shows_what_is_recorded() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/performance.md");
        let recorded = Recorded::read().expect("the figures");
        if std::env::var_os("SOCKTRACE_WRITE_DOCS").is_some() {
            write(&path, &recorded).expect("it can be written");
        }
        let old = fs::read_to_string(path).expect("the document");
        assert_eq!(renewed(&old, &recorded).expect("has all lines"), old);
    }
}
