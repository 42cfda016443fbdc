//! Aligned lines for people, one per failure.

use std::{
    borrow::Cow,
    io::{self, Write},
    net::SocketAddr,
};

use anstyle::{AnsiColor, Style};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use socktrace_diagnosis::{Finding, Severity};
use socktrace_ebpf::{Role, Sigpipe};

use super::{
    columns::{Column, Columns},
    json::RESET_SENT,
    reason::{continuation, reason},
};
use crate::record::{Record, names::role_name};

const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();
const RED: Style = AnsiColor::Red.on_default().bold();
/// For a process that is about to die without a message.
const LOUD: Style = Style::new()
    .bold()
    .fg_color(Some(anstyle::Color::Ansi(AnsiColor::White)))
    .bg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));
const YELLOW: Style = AnsiColor::Yellow.on_default();

/// Prefix of a later event of a failure that was reported before.
const FOLLOWS: &str = "└ ";

/// Everything that a line depends on besides the event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout<'a> {
    pub(crate) zone: &'a TimeZone,
    pub(crate) columns: &'a Columns,
    /// Whether the previous line is about the same socket.
    pub(crate) continues: bool,
}

/// Writes the column headings.
pub(crate) fn heading(out: &mut impl Write, columns: &Columns) -> io::Result<()> {
    let titles = columns.titles();
    write_row(out, titles.iter().map(|title| (BOLD, title.text.as_str())))
}

/// Writes one event as a line, and below it whatever does not fit.
pub(crate) fn write(out: &mut impl Write, record: &Record, layout: Layout<'_>) -> io::Result<()> {
    let Layout { zone, columns, continues } = layout;
    let tone = Tone::from(record.finding);
    if !record.is_continuation() {
        return write_line(out, tone, columns, |column| text(column, record, zone));
    }
    write_continuation(out, tone, columns, continues, |column| match column {
        Column::Reason if continues => continuation(record).into(),
        column => text(column, record, zone),
    })
}

/// Writes a line about what follows from a failure; it `continues` if it is directly below that.
pub(super) fn write_continuation<'a>(
    out: &mut impl Write,
    tone: Tone,
    columns: &Columns,
    continues: bool,
    text: impl Fn(Column) -> Cow<'a, str>,
) -> io::Result<()> {
    // The columns that the previous line shows are not repeated.
    let columns = if continues { columns.of_continuation() } else { columns.clone() };
    write_line(out, tone, &columns.marked(FOLLOWS), |column| match column {
        Column::Cause if continues => "".into(),
        column => text(column),
    })
}

/// Writes the text of each column as a line, and below it whatever does not fit.
pub(super) fn write_line<'a>(
    out: &mut impl Write,
    tone: Tone,
    columns: &Columns,
    text: impl Fn(Column) -> Cow<'a, str>,
) -> io::Result<()> {
    let line = columns.line(text);
    let cells = line.cells.iter().map(|cell| {
        let style = match cell.column {
            Column::Time => DIM,
            Column::Errno | Column::Cause => tone.line,
            Column::Reason => tone.reason,
            _ => Style::new(),
        };
        (style, cell.text.as_str())
    });
    // A continuation may have all its text below.
    if !line.cells.is_empty() {
        write_row(out, cells)?;
    }
    let style = tone.reason;
    line.below.iter().try_for_each(|line| {
        let text = line.trim_start();
        let indent = &line[..line.len() - text.len()];
        writeln!(out, "{indent}{style}{text}{style:#}")
    })
}

fn write_row(
    out: &mut impl Write,
    cells: impl Iterator<Item = (Style, impl AsRef<str>)>,
) -> io::Result<()> {
    for (index, (style, text)) in cells.enumerate() {
        let gap = if index == 0 { "" } else { " " };
        write!(out, "{gap}{style}{}{style:#}", text.as_ref())?;
    }
    writeln!(out)
}

/// Text of a column; `-` if there is none.
pub(super) fn text<'a>(column: Column, record: &'a Record, zone: &TimeZone) -> Cow<'a, str> {
    let found = record.finding.diagnosis();
    let text = match column {
        Column::Time => Some(time(record.time, zone)),
        Column::Errno => return found.map_or("-".into(), |found| found.errno.text()),
        Column::Cause => {
            return found.map_or_else(|| event(record.finding), |found| found.cause.id()).into();
        }
        Column::Process => {
            record.process.as_ref().map(|process| format!("{}[{}]", process.comm, process.pid))
        }
        Column::Service => return record.service.informative_label().unwrap_or("-".into()),
        Column::Role => record.role.map(|role| match record.service_port() {
            Some(port) => format!("{}:{port}", role_name(role)),
            None => role_name(role).to_owned(),
        }),
        // A Unix connection has a single name, that of the listening side.
        Column::Local if record.is_unix() => {
            record.path.clone().filter(|_| record.role != Some(Role::Client))
        }
        Column::Remote if record.is_unix() => {
            record.path.clone().filter(|_| record.role == Some(Role::Client))
        }
        Column::Local => Some(end(record.local)),
        Column::Remote => Some(match &record.remote_name {
            Some(name) => format!("{name}:{}", record.remote.port()),
            None => end(record.remote),
        }),
        Column::Flow => record.flow.map(|flow| flow.to_string()),
        Column::Reason => Some(reason(record)),
    };
    text.map_or("-".into(), Cow::Owned)
}

/// Shown in place of a cause if nothing failed.
pub(super) const fn event(finding: Finding) -> &'static str {
    match finding {
        Finding::ResetSent(_) => RESET_SENT,
        _ => "retransmit",
    }
}

/// Time of day.
pub(super) fn time(time: Timestamp, zone: &TimeZone) -> String {
    let time = zone.to_datetime(time);
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    format!("{hour:02}:{minute:02}:{second:02}.{:03}", time.millisecond())
}

/// Writes the day of the lines that follow.
pub(super) fn day(out: &mut impl Write, day: Date) -> io::Result<()> {
    writeln!(out, "{DIM}{day}{DIM:#}")
}

/// One end of a connection; `-` if there is none.
pub(super) fn end(address: SocketAddr) -> String {
    if address.ip().is_unspecified() && address.port() == 0 {
        "-".to_owned()
    } else {
        address.to_string()
    }
}

/// Reports events that were lost on the way here; the counters include them.
pub(crate) fn lost(out: &mut impl Write, count: u64) -> io::Result<()> {
    writeln!(
        out,
        "{YELLOW}({count} events lost: the stream could not keep up; counters are exact){YELLOW:#}"
    )
}

/// Emphasis of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tone {
    line: Style,
    /// Plain, unless a process dies of it.
    reason: Style,
}

impl Tone {
    /// Emphasis of a failure of this severity, or of a later event; quiet if nothing failed.
    pub(super) const fn of(severity: Option<Severity>, follows: bool, sigpipe: Sigpipe) -> Self {
        let line = match (severity, sigpipe) {
            (Some(_), Sigpipe::Kills) => return Self { line: LOUD, reason: LOUD },
            (Some(severity), _) if follows || matches!(severity, Severity::Notable) => YELLOW,
            (Some(Severity::Failure), _) => RED,
            _ => DIM,
        };
        Self { line, reason: Style::new() }
    }
}

impl From<Finding> for Tone {
    fn from(finding: Finding) -> Self {
        let Some(found) = finding.diagnosis() else { return Self::of(None, false, Sigpipe::None) };
        let follows = matches!(finding, Finding::Delivery(_) | Finding::Undelivered(_));
        Self::of(Some(found.severity), follows, found.sigpipe)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use socktrace_ebpf::{EventKind, Flags, Origin};

    use super::*;
    use crate::{
        owner::Service,
        record::tests::{record, reset_event},
    };

    /// The text without styles, as when piped.
    fn plain(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).expect("memory");
        anstream::adapter::strip_str(&String::from_utf8(out).expect("text")).to_string()
    }

    #[test]
    fn a_line_has_every_column() {
        let mut record = record(reset_event());
        record.time = "2026-03-01T08:05:09.123Z".parse().expect("a time");
        record.service = Arc::new(Service::from_cgroup_path("/system.slice/web.service"));
        record.role = Some(Role::Server);
        assert_eq!(
            plain(|out| write(out, &record, layout(&Columns::all()))),
            "08:05:09.123 ECONNRESET   reset_by_peer          nginx[81]          web.service        \
             server:443   10.0.0.7:443          10.0.0.9:50412        the peer sent RST on a live connection\n"
        );
    }

    fn layout(columns: &Columns) -> Layout<'_> {
        static ZONE: TimeZone = TimeZone::UTC;
        Layout { zone: &ZONE, columns, continues: false }
    }

    #[test]
    fn a_killing_sigpipe_is_the_loudest_line() {
        let mut event = reset_event();
        event.signature.kind = EventKind::Write as u8;
        event.signature.origin = Origin::Reset as u8;
        event.signature.flags = Flags::REPORTED.0;
        event.signature.errno = u16::try_from(nix::libc::EPIPE).expect("small");
        event.signature.sigpipe = Sigpipe::Kills as u8;
        event.first_errno = u16::try_from(nix::libc::ECONNRESET).expect("small");
        event.since_first_ns = 12_000_000;
        let record = record(event);

        let line = plain(|out| write(out, &record, layout(&Columns::all())));
        assert!(
            line.ends_with("└ wrote on 12 ms after ECONNRESET; SIGPIPE KILLS nginx[81]\n"),
            "{line}"
        );
        let mut styled = Vec::new();
        write(&mut styled, &record, layout(&Columns::all())).expect("memory");
        let styled = String::from_utf8(styled).expect("text");
        assert!(styled.contains(&LOUD.render().to_string()), "{styled:?}");
    }

    #[test]
    fn the_heading_stands_over_the_columns() {
        let heading = plain(|out| heading(out, &Columns::all()));
        let record = record(reset_event());
        let line = plain(|out| write(out, &record, layout(&Columns::all())));
        for (title, value) in [
            ("ERRNO", "ECONNRESET"),
            ("PROCESS", "nginx"),
            ("LOCAL", "10.0.0.7"),
            ("REASON", "the peer"),
        ] {
            assert_eq!(heading.find(title), line.find(value), "{title}\n{heading}{line}");
        }
    }
}
