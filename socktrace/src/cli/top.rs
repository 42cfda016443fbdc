//! What the screen shows, and how.

use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Args};
use jiff::SignedDuration;

use super::{Attach, Color, Filters, Moment, Time};

/// What to show on a screen.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("kept").args(["history", "replay"]).multiple(false))]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Top {
    /// Show what a socktrace with --history has kept; brackets step through it. Needs to read the file: as
    /// root, or as a member of group socktrace
    #[arg(long)]
    pub(crate) history: bool,

    /// The file of the history [default: as of `socktrace history`]
    #[arg(long, value_name = "FILE", requires = "history")]
    pub(crate) file: Option<PathBuf>,

    /// Nothing before this: 90min or 2d ago, today, yesterday, 03:00, 2026-11-28, 2026-11-28T03:00 in local
    /// time, 2026-11-28T03:00Z or +01:00
    #[arg(long, value_name = "TIME", requires = "history")]
    pub(crate) since: Option<Moment>,

    /// Begin here, in the same forms, and go back from it [default: where the last event is]
    #[arg(long, value_name = "TIME", requires = "history")]
    pub(crate) until: Option<Moment>,

    /// What a bracket steps, such as 10s or 5min; braces go 60 times as far
    #[arg(long, value_name = "SPAN", default_value = "1min", value_parser = step, requires = "history")]
    pub(crate) step: Duration,

    /// Show lines that --output json has written; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) replay: Option<PathBuf>,

    /// Show what ordinary operation brings too, as without a screen
    #[arg(long, conflicts_with = "kept")]
    pub(crate) all: bool,

    /// Show each retransmission timeout too
    #[arg(long, conflicts_with = "kept")]
    pub(crate) retransmits: bool,

    /// Show datagrams of UDP that this host refuses to send too; takes a hook at each send
    #[arg(long, conflicts_with = "kept")]
    pub(crate) udp_sends: bool,

    /// Show what Unix sockets cannot send too; takes a hook at each send
    #[arg(long, conflicts_with = "kept")]
    pub(crate) unix_sends: bool,

    /// Show the TTL of an RST beside the handshake's; takes a hook at each handshake
    #[arg(long, conflicts_with = "kept")]
    pub(crate) hops: bool,

    /// Show the names of remote addresses, as DNS and /etc/hosts have them
    #[arg(long, conflicts_with = "kept")]
    pub(crate) resolve: bool,

    /// How to hook kernel functions
    #[arg(long, value_enum, default_value_t, value_name = "HOW", conflicts_with = "kept")]
    pub(crate) attach: Attach,

    /// Keep all privileges and system calls after attaching, for debuggers
    #[arg(long, conflicts_with = "kept")]
    pub(crate) no_sandbox: bool,

    /// Color the screen; `auto` does unless NO_COLOR is set. Signs say the same without
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: Color,

    /// By which clock times are shown
    #[arg(long, value_enum, default_value_t, value_name = "CLOCK")]
    pub(crate) time: Time,

    #[command(flatten)]
    pub(crate) filters: Filters,
}

/// Reads what to step.
///
/// # Errors
/// Which there are, when it is none of them.
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
