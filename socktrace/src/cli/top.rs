//! Options of `socktrace top`.

use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Args};
use jiff::SignedDuration;

use super::{Attach, Color, Filters, Moment, Time};

/// Options of `socktrace top`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("kept").args(["history", "replay"]).multiple(false))]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Top {
    /// Show the history that a socktrace with --history has written; brackets step through it. Must be able to
    /// read the file: run as root, or as a member of group socktrace
    #[arg(long)]
    pub(crate) history: bool,

    /// File of the history [default: as for `socktrace history`]
    #[arg(long, value_name = "FILE", requires = "history")]
    pub(crate) file: Option<PathBuf>,

    /// Do not go back beyond this: 90min or 2d ago, today, yesterday, 03:00, 2026-11-28, 2026-11-28T03:00 in
    /// local time, 2026-11-28T03:00Z or +01:00
    #[arg(long, value_name = "TIME", requires = "history")]
    pub(crate) since: Option<Moment>,

    /// Start here, in the same forms, and go back from it [default: at the last event]
    #[arg(long, value_name = "TIME", requires = "history")]
    pub(crate) until: Option<Moment>,

    /// Size of a step by bracket, such as 10s or 5min; braces step 60 times as far
    #[arg(long, value_name = "SPAN", default_value = "1min", value_parser = step, requires = "history")]
    pub(crate) step: Duration,

    /// Show lines that --output json has written; - reads standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) replay: Option<PathBuf>,

    /// Also show events of ordinary operation, as when streaming
    #[arg(long, conflicts_with = "kept")]
    pub(crate) all: bool,

    /// Also show each retransmission timeout
    #[arg(long, conflicts_with = "kept")]
    pub(crate) retransmits: bool,

    /// Also show UDP datagrams that this host refuses to send; adds a hook to each send
    #[arg(long, conflicts_with = "kept")]
    pub(crate) udp_sends: bool,

    /// Also show what Unix sockets cannot send; adds a hook to each send
    #[arg(long, conflicts_with = "kept")]
    pub(crate) unix_sends: bool,

    /// Show the TTL of an RST beside that of the handshake; adds a hook to each handshake
    #[arg(long, conflicts_with = "kept")]
    pub(crate) hops: bool,

    /// Show the names of remote addresses, from DNS and /etc/hosts
    #[arg(long, conflicts_with = "kept")]
    pub(crate) resolve: bool,

    /// How to hook kernel functions
    #[arg(long, value_enum, default_value_t, value_name = "HOW", conflicts_with = "kept")]
    pub(crate) attach: Attach,

    /// Keep all privileges and system calls after attaching, for use with debuggers
    #[arg(long, conflicts_with = "kept")]
    pub(crate) no_sandbox: bool,

    /// Color the screen; `auto` does unless NO_COLOR is set. Without color, signs carry the same information
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: Color,

    /// Time zone of times
    #[arg(long, value_enum, default_value_t, value_name = "CLOCK")]
    pub(crate) time: Time,

    #[command(flatten)]
    pub(crate) filters: Filters,
}

/// Parses the size of a step.
///
/// # Errors
/// The accepted range, when the span is outside it.
fn step(text: &str) -> Result<Duration, String> {
    let span = text.parse::<SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
    let range = Duration::from_secs(1)..=Duration::from_hours(24);
    span.filter(|span| range.contains(span))
        .ok_or_else(|| "expected a span from 1s to 24h, such as 10s, 5min or 1h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_spans() {
        assert_eq!(step("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(step("5min"), Ok(Duration::from_mins(5)));
        for text in ["", "5", "-1s", "0s", "2d", "25h"] {
            assert!(step(text).is_err(), "{text}");
        }
    }
}
