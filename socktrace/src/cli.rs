//! The command line.

#![expect(clippy::doc_markdown, reason = "what is documented here is shown as the help text")]

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use clap::{Args, CommandFactory as _, Parser, Subcommand, error::ErrorKind};

mod choices;
mod filters;
mod history;
mod max_sockets;
mod otlp;
mod ring_buffer;
mod span;
#[cfg(test)]
mod tests;
mod top;
mod words;

pub(crate) use self::{
    choices::{Attach, Color, OnFull, Output, Time},
    filters::Filters,
    history::{Group, HISTORY_FILE, History, Moment, ReadHistory, Replay, Shown},
    otlp::Otlp,
    top::Top,
};
use socktrace_exporter::Listen;

use crate::{explain::Language, filter::Filter, service::exit, sinks::ColumnList};

/// Port of the metrics by default: Winsock's number for a reset connection, WSAECONNRESET.
pub(crate) const DEFAULT_LISTEN: Listen =
    Listen::Address(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 10_054));

/// Series of failures by service by default.
#[expect(clippy::cast_possible_truncation, reason = "a small number")]
const DEFAULT_SERIES: u32 = socktrace_ebpf::SERIES as u32;

/// More than a Prometheus server should take from one target.
const MOST_SERIES: i64 = 100_000;

/// Events of one kind in a window after which they are counted by default.
#[expect(clippy::cast_possible_truncation, reason = "a small number")]
const DEFAULT_REPEAT_AFTER: u32 = socktrace_ebpf::repeats::REPEAT_AFTER as u32;

/// The same where they are sent to a collector: what is counted cannot be joined with the other end.
const DEFAULT_REPEAT_AFTER_OF_OTLP: u32 = 1_000;

/// More lines than anybody counts.
const MOST_LINES: u32 = 1_000_000_000;

/// More than any ring buffer has room for.
const MOST_REPEAT_AFTER: u32 = 1_000_000;

/// Shows why sockets fail on this host: the errno each program gets, and who did what.
///
/// Streams one line a failure and serves Prometheus metrics. Needs root, or CAP_BPF with
/// CAP_PERFMON, and a kernel of 5.10 or later with BTF.
#[derive(Debug, Parser)]
#[command(version, after_help = exit::HELP, args_conflicts_with_subcommands = true)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Run this command, and show what it fails at and all that it starts, from its first call on
    ///
    /// Lines go to stderr, or to --output-file. It runs as the user that has called sudo, if any, and its
    /// exit code is socktrace's. The trace ends when all of these processes have ended; Ctrl-C after the
    /// command's end ends it at once. No metrics, history or OpenTelemetry unless a flag or the environment
    /// asks for them.
    #[arg(last = true, value_name = "CMD", conflicts_with_all = ["no_stream", "follow"])]
    pub(crate) words: Vec<OsString>,

    /// Show only what this process fails at, and all that it has started and starts, until they have
    /// ended; may be repeated. Socktrace adds hooks where processes begin and end. Settings of files for
    /// metrics, history and OpenTelemetry are left out
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..=(1 << 22)), conflicts_with = "no_stream")]
    pub(crate) follow: Vec<u32>,

    /// Run the command after -- as this user, by name; root only
    #[arg(long, value_name = "NAME", requires = "words")]
    pub(crate) user: Option<String>,

    /// Write the stream to this file, which begins empty
    #[arg(long, value_name = "FILE", conflicts_with = "no_stream")]
    pub(crate) output_file: Option<PathBuf>,

    /// Format of the stream
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,

    /// When the reader of the stream is slow or stalled
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub(crate) on_full: OnFull,

    /// Only count and serve metrics; no stream
    #[arg(long, conflicts_with = "output")]
    pub(crate) no_stream: bool,

    /// Show counts by cause and service in place of lines: a block each 10s, 5m, 1h, with the most frequent
    /// first
    #[arg(long, value_name = "SPAN", value_parser = |text: &str| span::read(text, span::DAY), conflicts_with_all = ["no_stream", "columns"])]
    pub(crate) summary: Option<Duration>,

    /// End after so many lines, as Ctrl-C does: that of a flood is one. With --summary, after so many blocks
    #[arg(long, value_name = "N", value_parser = |text: &str| number(text, 1..=MOST_LINES), conflicts_with = "no_stream")]
    pub(crate) count: Option<u32>,

    /// End after this time, as Ctrl-C does: 30s, 5m, 1h
    #[arg(long, value_name = "SPAN", value_parser = |text: &str| span::read(text, span::YEAR))]
    pub(crate) duration: Option<Duration>,

    /// Serve metrics here: IP:PORT, unix:PATH[,mode=OCTAL], or systemd for the sockets that it
    /// passes; may be repeated [default: systemd if it passes any, else 127.0.0.1:10054]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Vec<Listen>,

    /// TLS and authentication for the metrics: a web configuration file of Prometheus's exporter
    /// toolkit
    #[arg(long, value_name = "FILE")]
    pub(crate) web_config: Option<PathBuf>,

    /// Ask for credentials for /healthz and /readyz too, where --web-config does for metrics
    #[arg(long, conflicts_with = "no_metrics")]
    pub(crate) protect_health: bool,

    /// Serve /healthz and /readyz here too, without TLS and credentials: IP:PORT or
    /// unix:PATH[,mode=OCTAL]; may be repeated
    #[arg(long, value_name = "ADDR", value_parser = health_listen, conflicts_with = "no_metrics")]
    pub(crate) health_listen: Vec<Listen>,

    /// Serve no metrics
    #[arg(long, conflicts_with_all = ["listen", "web_config"])]
    pub(crate) no_metrics: bool,

    /// Series of failures by service, at most; what is beyond goes to service="other". 0 counts by
    /// service not at all
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SERIES, value_parser = clap::value_parser!(u32).range(0..=MOST_SERIES))]
    pub(crate) max_series: u32,

    /// Tell these series apart by the port of the end that listens, too
    #[arg(long, conflicts_with = "no_metrics")]
    pub(crate) series_by_port: bool,

    /// Show what ordinary operation brings too: resets of sockets that no program holds any more,
    /// connects that programs gave up themselves
    #[arg(long)]
    pub(crate) all: bool,

    /// Show each retransmission timeout too
    #[arg(long)]
    pub(crate) retransmits: bool,

    /// Report datagrams of UDP that this host refuses to send too (send_refused): its firewall, no route,
    /// too long. Takes a hook at each send, some 0.1 us; not by kprobe
    #[arg(long)]
    pub(crate) udp_sends: bool,

    /// Report what Unix sockets cannot send too: datagrams to syslog and others whose queue is full
    /// (peer_queue_full) or that have gone, and writes with MSG_NOSIGNAL. Takes a hook at each send; not by
    /// kprobe
    #[arg(long)]
    pub(crate) unix_sends: bool,

    /// Show the TTL, or hop limit, of the RST that ended a connection beside the handshake's: where they
    /// differ, somebody on the way has probably sent it. Takes a hook at each handshake
    #[arg(long)]
    pub(crate) hops: bool,

    /// Events of one service, kind and port within 100 ms after which they are counted instead of
    /// shown one by one, until fewer come: one line says how many. Those of others are shown meanwhile
    /// [default: 50, and 1000 with --otlp]
    #[arg(long, value_name = "N", value_parser = |text: &str| number(text, 2..=MOST_REPEAT_AFTER))]
    repeat_after: Option<u32>,

    /// Show each event, however many there are: --repeat-after without end
    #[arg(long)]
    pub(crate) no_collapse: bool,

    /// Silence after which a reset of the first data counts as one of an idle connection
    // Shorter than the idle limits of common NATs and load balancers, which begin at a minute,
    // longer than pauses within ordinary conversations.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = |text: &str| number(text, 1..=86_400))]
    pub(crate) idle_threshold: u32,

    /// Retransmissions of one segment after which a reset counts as one after retransmissions
    // One: an RST that answers any retransmission came from a host that had been silent.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = |text: &str| number(text, 1..=255))]
    pub(crate) retransmit_threshold: u32,

    /// Of how many sockets at a time the owner is remembered; of more it is unknown. Each takes about
    /// 123 bytes of the kernel's memory, at once [default: one for each 512 KiB of memory, from 16384 to
    /// 131072]
    #[arg(long, value_name = "N", value_parser = |text: &str| number(text, max_sockets::RANGE))]
    max_sockets: Option<u32>,

    /// Size of the buffer between kernel and stream, a power of two: 1024 has room for some 5,000 events
    #[arg(long, value_name = "KIB", default_value_t = ring_buffer::DEFAULT_KIB, value_parser = ring_buffer::parse)]
    pub(crate) ring_buffer: u32,

    /// Show the names of remote addresses, as DNS and /etc/hosts tell them; a line does not wait for
    /// a name that is slow to come
    #[arg(long, conflicts_with = "no_stream")]
    pub(crate) resolve: bool,

    /// Color the stream; `auto` does on a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: Color,

    /// Columns of lines for people, separated by commas: time, errno, cause, process, service, role,
    /// local, remote, flow, reason [default: on a terminal those that fit, else all but flow]
    #[arg(long, value_name = "NAMES")]
    pub(crate) columns: Option<ColumnList>,

    /// By which clock lines for people say when; JSON always has UTC
    #[arg(long, value_enum, default_value_t, value_name = "CLOCK")]
    pub(crate) time: Time,

    /// How to hook kernel functions
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub(crate) attach: Attach,

    /// Keep all privileges and system calls after attaching, for debuggers
    #[arg(long)]
    pub(crate) no_sandbox: bool,

    /// File with settings, in TOML: `idle-threshold = 60` for --idle-threshold 60
    ///
    /// A flag wins over the environment (SOCKTRACE_IDLE_THRESHOLD=60), that over the file. What is
    /// on can be taken back: --all=false. [default: /etc/socktrace/socktrace.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Show every setting and where it comes from, as a file that says the same, and end
    #[arg(long)]
    pub(crate) print_config: bool,

    /// Show the kernel programs' own debug messages on stderr
    #[arg(long)]
    pub(crate) probe_log: bool,

    /// Say more on stderr, the kernel verifier's words included
    #[arg(short, long)]
    pub(crate) verbose: bool,

    #[command(flatten)]
    pub(crate) otlp: Otlp,

    #[command(flatten)]
    pub(crate) history: History,

    #[command(flatten)]
    pub(crate) filters: Filters,

    /// Count only what passes the filters in metrics and summary, too; not with --path, nor with * ? [..] in
    /// --comm. Exact, but for --unit, --container and --cgroup: of a cgroup that socktrace has not judged yet, events that the
    /// stream's ring buffer loses (socktrace_events_lost_total) are not counted. Metrics about
    /// socktrace itself and about hooks count everything
    #[arg(long, help_heading = filters::HEADING)]
    pub(crate) filter_metrics: bool,
}

impl Cli {
    /// Whether only some processes are followed.
    pub(crate) const fn follows(&self) -> bool {
        !(self.words.is_empty() && self.follow.is_empty())
    }

    /// Size of the ring buffer, in bytes.
    pub(crate) const fn ring_bytes(&self) -> u32 {
        // At most 64 MiB.
        self.ring_buffer * ring_buffer::KIB
    }

    /// Of how many sockets at a time the owner is remembered.
    pub(crate) fn max_sockets(&self) -> u32 {
        self.max_sockets.unwrap_or_else(max_sockets::default)
    }

    /// Events of one kind in a window after which they are counted.
    pub(crate) fn repeat_after(&self) -> u32 {
        let default =
            if self.otlp.is_on() { DEFAULT_REPEAT_AFTER_OF_OTLP } else { DEFAULT_REPEAT_AFTER };
        self.repeat_after.unwrap_or(default)
    }

    /// What the definition cannot say.
    ///
    /// # Errors
    /// When options do not go together.
    pub(crate) fn check(&self) -> Result<(), clap::Error> {
        let has_events = !self.no_stream || self.otlp.is_on() || self.history.is_on;
        if !has_events && self.no_metrics {
            return Err(Self::command().error(
                ErrorKind::ArgumentConflict,
                "--no-stream cannot be used with --no-metrics, as there would be nothing to do: add \
                 --otlp to send or --history to keep what is seen, or leave one of the two out",
            ));
        }
        if !has_events && self.filters.are_given() && !self.filter_metrics {
            return Err(Self::command().error(
                ErrorKind::ArgumentConflict,
                "filters narrow the stream, which --no-stream turns off: add --filter-metrics to \
                 narrow the counts, --otlp to send or --history to keep what passes, or leave one of the two \
                 out",
            ));
        }
        if self.filter_metrics && !self.filters.are_given() {
            return Err(Self::command().error(
                ErrorKind::MissingRequiredArgument,
                "--filter-metrics counts only what passes the filters, and there are none: add one, \
                 such as --unit nginx",
            ));
        }
        let filter = Filter::from(&self.filters);
        if self.filter_metrics && filter.asks_for_comm_patterns() {
            return Err(Self::command().error(
                ErrorKind::ArgumentConflict,
                "--comm with * ? or [..] narrows the stream alone, as the kernel side counts by whole names: \
                 leave out --filter-metrics, name each command, or narrow both by --unit or another filter",
            ));
        }
        if self.filter_metrics && filter.asks_for_paths() {
            return Err(Self::command().error(
                ErrorKind::ArgumentConflict,
                "--path narrows the stream alone, as counts know no paths: leave out --filter-metrics, \
                 or narrow both by --protocol unix, --unit or another filter",
            ));
        }
        Ok(())
    }
}

/// The definition of the command line.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// What to do instead of tracing.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Explain an errno, a cause, a Winsock error or SIGPIPE
    ///
    /// Explains what happened, what Linux really does, what the program should do, and how to
    /// confirm it. Needs no privileges.
    Explain(Explain),
    /// Tell what this host offers for tracing, and what is missing
    ///
    /// Tells what this host offers for tracing, what is missing and what that hides, and what to do.
    /// Useful without privileges; with them, loads and attaches the kernel programs for a moment, as
    /// tracing would. Exits with 0 when socktrace can trace here, even if something stays hidden;
    /// else with the code that tracing would exit with.
    Doctor(Doctor),
    /// Show what failed before, as --history has kept it
    ///
    /// Shows what failed before, as a socktrace with --history has kept it, while that runs or after it
    /// has ended. Needs to read the file: as root, or as a member of group socktrace.
    History(ReadHistory),
    /// Show again what --output json has written
    ///
    /// Reads lines as --output json writes them, and shows those that pass the filters. Needs no
    /// privileges; nothing goes to a collector or a history.
    Replay(Replay),
    /// Show on a full screen what fails: who, why, how often
    ///
    /// Shows services, processes and peers with how often they fail, the events as they come, and all that
    /// is known of the chosen one. Of this host, which needs what tracing needs, with hooks of its own beside
    /// a service that runs; of a history that --history has kept; or of lines of --output json. ? shows the
    /// keys.
    Top(Top),
}

/// How to examine this host.
#[derive(Args, Debug)]
pub(crate) struct Doctor {
    /// Format of the report
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,

    /// How to hook kernel functions
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub(crate) attach: Attach,

    /// Make sockets fail in a network namespace of their own, and check that each hook fires and
    /// each count is right
    #[arg(long)]
    pub(crate) self_test: bool,
}

/// What to explain.
#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// ECONNRESET or 104, reset_by_peer, WSAECONNRESET or 10054, SIGPIPE; all are listed without
    #[arg(allow_negative_numbers = true)]
    pub(crate) topic: Option<String>,

    /// Language of the text [default: that of the locale]
    #[arg(long, value_enum, value_name = "LANG")]
    pub(crate) lang: Option<Language>,
}

/// Reads where to serve the pages about health.
///
/// # Errors
/// What there is, when it is none of that.
fn health_listen(text: &str) -> Result<Listen, String> {
    match text.parse()? {
        Listen::Systemd => Err("systemd's sockets are for --listen".to_owned()),
        listen => Ok(listen),
    }
}

/// Reads a whole number.
///
/// # Errors
/// Which numbers there are, when it is none of them.
fn number(text: &str, range: RangeInclusive<u32>) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    let (first, last) = range.into_inner();
    number.ok_or_else(|| format!("expected a whole number from {first} to {last}"))
}
