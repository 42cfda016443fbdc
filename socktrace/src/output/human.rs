//! Aligned lines for people: one a failure.

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;
use socktrace_ebpf::Sigpipe;

use super::{Record, reason::reason};
use crate::diagnosis::{Diagnosis, Finding, Severity};

/// Widths of the columns; a longer value pushes its line out instead of being cut.
const TIME: usize = 12;
const ERRNO: usize = 12;
const CAUSE: usize = 22;
const PROCESS: usize = 18;
const SERVICE: usize = 18;
const ADDRESS: usize = 21;

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
pub(crate) fn heading(out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{BOLD}{:TIME$} {:ERRNO$} {:CAUSE$} {:PROCESS$} {:SERVICE$} {:ADDRESS$} {:ADDRESS$} REASON{BOLD:#}",
        "TIME", "ERRNO", "CAUSE", "PROCESS", "SERVICE", "LOCAL", "REMOTE"
    )
}

/// Writes one event as a line.
pub(crate) fn write(out: &mut impl Write, record: &Record, zone: &TimeZone) -> io::Result<()> {
    let (errno, cause, style) = match record.finding {
        Finding::Failure(found) | Finding::Delivery(found) => {
            (found.errno.name(), found.cause.id(), style(record.finding, found))
        }
        Finding::Retransmission => ("-".to_owned(), "retransmit", DIM),
    };
    let time = record.time.to_zoned(zone.clone()).strftime("%H:%M:%S%.3f").to_string();
    let process = record
        .process
        .as_ref()
        .map_or_else(|| "-".to_owned(), |process| format!("{}[{}]", process.comm, process.pid));
    writeln!(
        out,
        "{DIM}{time:TIME$}{DIM:#} {style}{:ERRNO$} {:CAUSE$}{style:#} {process:PROCESS$} {:SERVICE$} {:ADDRESS$} {:ADDRESS$} {}",
        errno,
        cause,
        record.service.telling_label().as_deref().unwrap_or("-"),
        end(record.local),
        end(record.remote),
        reason(record)
    )
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

const fn style(finding: Finding, diagnosis: Diagnosis) -> Style {
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

    use socktrace_ebpf::{Flags, Hook, Origin};

    use super::*;
    use crate::{
        output::record::tests::{record, reset_event},
        owner::Service,
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
        assert_eq!(
            plain(|out| write(out, &record, &TimeZone::UTC)),
            "08:05:09.123 ECONNRESET   reset_by_peer          nginx[81]          web.service        \
             10.0.0.7:443          10.0.0.9:50412        the peer sent RST on a live connection\n"
        );
    }

    #[test]
    fn a_killing_sigpipe_is_the_loudest_line() {
        let mut event = reset_event();
        event.signature.hook = Hook::SkStreamError as u8;
        event.signature.origin = Origin::Reset as u8;
        event.signature.flags = Flags::REPORTED.0;
        event.signature.errno = u16::try_from(nix::libc::EPIPE).expect("small");
        event.signature.sigpipe = Sigpipe::Kills as u8;
        event.first_errno = u16::try_from(nix::libc::ECONNRESET).expect("small");
        event.since_first_ns = 12_000_000;
        let record = record(event);

        let line = plain(|out| write(out, &record, &TimeZone::UTC));
        assert!(
            line.ends_with("wrote on 12 ms after ECONNRESET; SIGPIPE KILLS nginx[81]\n"),
            "{line}"
        );
        let mut styled = Vec::new();
        write(&mut styled, &record, &TimeZone::UTC).expect("memory");
        let styled = String::from_utf8(styled).expect("text");
        assert!(styled.contains(&LOUD.render().to_string()), "{styled:?}");
    }

    #[test]
    fn the_heading_stands_over_the_columns() {
        let heading = plain(heading);
        let record = record(reset_event());
        let line = plain(|out| write(out, &record, &TimeZone::UTC));
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
