//! Aligned lines for people: one a failure.

use std::{
    borrow::Cow,
    io::{self, Write},
    net::SocketAddr,
};

use anstyle::{AnsiColor, Style};
use jiff::{Timestamp, tz::TimeZone};
use socktrace_diagnosis::{Finding, Severity};
use socktrace_ebpf::Sigpipe;

use super::{
    columns::{Column, Columns},
    reason::reason,
};
use crate::record::{Record, names::role_name};

const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();
const RED: Style = AnsiColor::Red.on_default().bold();
/// A process is about to die without a word.
const LOUD: Style = Style::new()
    .bold()
    .fg_color(Some(anstyle::Color::Ansi(AnsiColor::White)))
    .bg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));
const YELLOW: Style = AnsiColor::Yellow.on_default();

/// Writes the column headings.
pub(crate) fn heading(out: &mut impl Write, columns: &Columns) -> io::Result<()> {
    for (_, gap, title) in columns.cells(|column| column.title().into()) {
        write!(out, "{gap}{BOLD}{title}{BOLD:#}")?;
    }
    writeln!(out)
}

/// Writes one event as a line, and its reason under it where the line has no room.
pub(crate) fn write(
    out: &mut impl Write,
    record: &Record,
    zone: &TimeZone,
    columns: &Columns,
) -> io::Result<()> {
    write_cells(out, record.finding, columns, |column| text(column, record, zone))
}

/// Writes what each column has as a line, and the reason under it where the line has no room.
pub(super) fn write_cells<'a>(
    out: &mut impl Write,
    finding: Finding,
    columns: &Columns,
    text: impl Fn(Column) -> Cow<'a, str>,
) -> io::Result<()> {
    let mut has_reason = false;
    for (column, gap, cell) in columns.cells(&text) {
        let style = match column {
            Column::Time => DIM,
            Column::Errno | Column::Cause => style(finding),
            _ => Style::new(),
        };
        has_reason |= column == Column::Reason;
        write!(out, "{gap}{style}{cell}{style:#}")?;
    }
    writeln!(out)?;
    if !has_reason {
        for line in columns.below(&text(Column::Reason)) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

/// What stands in a column, `-` where there is nothing to say.
pub(super) fn text<'a>(column: Column, record: &'a Record, zone: &TimeZone) -> Cow<'a, str> {
    let found = match record.finding {
        Finding::Failure(found) | Finding::Delivery(found) => Some(found),
        Finding::Retransmission => None,
    };
    let text = match column {
        Column::Time => Some(time(record.time, zone)),
        Column::Errno => return found.map_or("-".into(), |found| found.errno.text()),
        Column::Cause => return found.map_or("retransmit", |found| found.cause.id()).into(),
        Column::Process => {
            record.process.as_ref().map(|process| format!("{}[{}]", process.comm, process.pid))
        }
        Column::Service => return record.service.telling_label().unwrap_or("-".into()),
        Column::Role => record.role.map(|role| match record.service_port() {
            Some(port) => format!("{}:{port}", role_name(role)),
            None => role_name(role).to_owned(),
        }),
        Column::Local => Some(end(record.local)),
        Column::Remote => Some(match &record.remote_name {
            Some(name) => format!("{name}:{}", record.remote.port()),
            None => end(record.remote),
        }),
        Column::Reason => Some(reason(record)),
    };
    text.map_or("-".into(), Cow::Owned)
}

/// The time of day.
pub(super) fn time(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%H:%M:%S%.3f").to_string()
}

/// One end of a connection, `-` where there is none.
fn end(address: SocketAddr) -> String {
    if address.ip().is_unspecified() && address.port() == 0 {
        "-".to_owned()
    } else {
        address.to_string()
    }
}

/// Tells that events were lost on the way here; the counters have them all the same.
pub(crate) fn lost(out: &mut impl Write, count: u64) -> io::Result<()> {
    writeln!(
        out,
        "{YELLOW}({count} events lost: the stream could not keep up; counters are exact){YELLOW:#}"
    )
}

const fn style(finding: Finding) -> Style {
    let (Finding::Failure(diagnosis) | Finding::Delivery(diagnosis)) = finding else {
        return DIM;
    };
    match (finding, diagnosis.severity) {
        _ if matches!(diagnosis.sigpipe, Sigpipe::Kills) => LOUD,
        (Finding::Delivery(_), _) | (_, Severity::Notable) => YELLOW,
        (_, Severity::Failure) => RED,
        (_, Severity::Expected) => DIM,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use socktrace_ebpf::{EventKind, Flags, Origin, Role};

    use super::*;
    use crate::{
        owner::Service,
        record::tests::{record, reset_event},
    };

    /// The text without styling, as it comes out when piped.
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
            plain(|out| write(out, &record, &TimeZone::UTC, &Columns::all())),
            "08:05:09.123 ECONNRESET   reset_by_peer          nginx[81]          web.service        \
             server:443   10.0.0.7:443          10.0.0.9:50412        the peer sent RST on a live connection\n"
        );
    }

    #[test]
    fn eighty_columns_have_room_for_the_reason() {
        let mut record = record(reset_event());
        record.service = Arc::new(Service::from_cgroup_path("/system.slice/web.service"));
        let columns = Columns::within(80);
        assert_eq!(
            plain(|out| {
                heading(out, &columns)?;
                write(out, &record, &TimeZone::UTC, &columns)
            }),
            "ERRNO        CAUSE                  PROCESS            REMOTE\n\
             ECONNRESET   reset_by_peer          nginx[81]          10.0.0.9:50412\n    \
             the peer sent RST on a live connection\n"
        );
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

        let line = plain(|out| write(out, &record, &TimeZone::UTC, &Columns::all()));
        assert!(
            line.ends_with("wrote on 12 ms after ECONNRESET; SIGPIPE KILLS nginx[81]\n"),
            "{line}"
        );
        let mut styled = Vec::new();
        write(&mut styled, &record, &TimeZone::UTC, &Columns::all()).expect("memory");
        let styled = String::from_utf8(styled).expect("text");
        assert!(styled.contains(&LOUD.render().to_string()), "{styled:?}");
    }

    #[test]
    fn the_heading_stands_over_the_columns() {
        let heading = plain(|out| heading(out, &Columns::all()));
        let record = record(reset_event());
        let line = plain(|out| write(out, &record, &TimeZone::UTC, &Columns::all()));
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
