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
mod features;
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
    features::missing as missing_feature,
    filters::Filters,
    history::{Group, HISTORY_FILE, History, Moment, ReadHistory, Replay, Shown},
    otlp::Otlp,
    top::Top,
};
use socktrace_exporter::Listen;

use crate::{explain::Language, filter::Filter, service::exit, sinks::ColumnList};

/// Default address of the metrics. The port is Winsock's number for a reset connection,
/// WSAECONNRESET.
pub(crate) const DEFAULT_LISTEN: Listen =
    Listen::Address(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 10_054));

/// Default number of series of failures by service.
#[expect(clippy::cast_possible_truncation, reason = "a small number")]
const DEFAULT_SERIES: u32 = socktrace_ebpf::SERIES as u32;

/// More than a Prometheus server should scrape from one target.
const MOST_SERIES: i64 = 100_000;

/// Default number of events of one kind in a window after which they are counted instead of shown.
#[expect(clippy::cast_possible_truncation, reason = "a small number")]
const DEFAULT_REPEAT_AFTER: u32 = socktrace_ebpf::repeats::REPEAT_AFTER as u32;

/// The default with a collector: events that are only counted cannot be joined with the other
/// end's.
const DEFAULT_REPEAT_AFTER_OF_OTLP: u32 = 1_000;

/// Larger than any useful `--count`.
const MOST_LINES: u32 = 1_000_000_000;

/// More than any ring buffer has room for.
const MOST_REPEAT_AFTER: u32 = 1_000_000;

/// Shows why sockets fail on this host: the errno each program gets, and who did what.
///
/// Streams one line per failure and serves Prometheus metrics. Needs root, or CAP_BPF with
/// CAP_PERFMON, and Linux 5.10 or later with BTF.
#[derive(Debug, Parser)]
#[command(version, after_help = exit::HELP, args_conflicts_with_subcommands = true)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Run this command and show its failures, and those of all processes that it starts, from the first call
    ///
    /// Lines go to stderr, or to --output-file. The command runs as the user that called sudo, if any, and
    /// socktrace exits with its exit code. The trace ends when all of these processes have ended; Ctrl-C after
    /// the command has ended stops it at once. Metrics, history and OpenTelemetry are off unless a flag or the
    /// environment turns them on.
    #[arg(last = true, value_name = "CMD", conflicts_with_all = ["no_stream", "follow"])]
    pub(crate) words: Vec<OsString>,

    /// Show only the failures of this process and of all its descendants, until they have ended; may be
    /// repeated. Adds hooks where processes start and end. Settings from the configuration file for metrics,
    /// history and OpenTelemetry are ignored
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..=(1 << 22)), conflicts_with = "no_stream")]
    pub(crate) follow: Vec<u32>,

    /// Run the command after -- as this user, given by name; root only
    #[arg(long, value_name = "NAME", requires = "words")]
    pub(crate) user: Option<String>,

    /// Write the stream to this file, which is truncated first
    #[arg(long, value_name = "FILE", conflicts_with = "no_stream")]
    pub(crate) output_file: Option<PathBuf>,

    /// Format of the stream
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,

    /// What to do when the reader of the stream is slow or stalled
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub(crate) on_full: OnFull,

    /// Do not stream; only count and serve metrics
    #[arg(long, conflicts_with = "output")]
    pub(crate) no_stream: bool,

    /// Show counts by cause and service instead of lines, the most frequent first: one block every SPAN, such
    /// as 10s, 5m or 1h
    #[arg(long, value_name = "SPAN", value_parser = |text: &str| span::read(text, span::DAY), conflicts_with_all = ["no_stream", "columns"])]
    pub(crate) summary: Option<Duration>,

    /// Stop after N lines, as on Ctrl-C; a flood's line counts as one. With --summary, after N blocks
    #[arg(long, value_name = "N", value_parser = |text: &str| number(text, 1..=MOST_LINES), conflicts_with = "no_stream")]
    pub(crate) count: Option<u32>,

    /// Stop after this time, as on Ctrl-C: 30s, 5m, 1h
    #[arg(long, value_name = "SPAN", value_parser = |text: &str| span::read(text, span::YEAR))]
    pub(crate) duration: Option<Duration>,

    /// Serve metrics here: IP:PORT, unix:PATH[,mode=OCTAL], or systemd for sockets passed by systemd; may be
    /// repeated [default: systemd if it passes any, else 127.0.0.1:10054]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Vec<Listen>,

    /// TLS and authentication for the metrics: a web configuration file of Prometheus's exporter
    /// toolkit
    #[arg(long, value_name = "FILE")]
    pub(crate) web_config: Option<PathBuf>,

    /// Require credentials for /healthz and /readyz too, where --web-config requires them for metrics
    #[arg(long, conflicts_with = "no_metrics")]
    pub(crate) protect_health: bool,

    /// Serve /healthz and /readyz here too, without TLS or credentials: IP:PORT or
    /// unix:PATH[,mode=OCTAL]; may be repeated
    #[arg(long, value_name = "ADDR", value_parser = health_listen, conflicts_with = "no_metrics")]
    pub(crate) health_listen: Vec<Listen>,

    /// Do not serve metrics
    #[arg(long, conflicts_with_all = ["listen", "web_config"])]
    pub(crate) no_metrics: bool,

    /// Maximum number of series of failures by service; beyond it failures count as service="other". 0 turns
    /// these series off
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SERIES, value_parser = clap::value_parser!(u32).range(0..=MOST_SERIES))]
    pub(crate) max_series: u32,

    /// Split these series by the port of the listening end too
    #[arg(long, conflicts_with = "no_metrics")]
    pub(crate) series_by_port: bool,

    /// Also show events of ordinary operation: resets of sockets that no program holds any more, connects
    /// that programs gave up themselves
    #[arg(long)]
    pub(crate) all: bool,

    /// Also show each retransmission timeout
    #[arg(long)]
    pub(crate) retransmits: bool,

    /// Also report UDP datagrams that this host refuses to send (send_refused): firewall, no route, too long.
    /// Adds a hook to each send, some 0.1 us; not available with kprobes
    #[arg(long)]
    pub(crate) udp_sends: bool,

    /// Also report what Unix sockets cannot send: datagrams to syslog and others whose queue is full
    /// (peer_queue_full) or that have gone, and writes with MSG_NOSIGNAL. Adds a hook to each send; not
    /// available with kprobes
    #[arg(long)]
    pub(crate) unix_sends: bool,

    /// Show the TTL, or hop limit, of the RST that ended a connection beside that of the handshake: where they
    /// differ, a middlebox has probably sent the RST. Adds a hook to each handshake
    #[arg(long)]
    pub(crate) hops: bool,

    /// Number of events of one service, kind and port within 100 ms after which further ones are counted
    /// instead of shown one by one, until the rate falls; one line shows how many. Other events are shown
    /// meanwhile [default: 50, and 1000 with --otlp]
    #[arg(long, value_name = "N", value_parser = |text: &str| number(text, 2..=MOST_REPEAT_AFTER))]
    repeat_after: Option<u32>,

    /// Show every event, however many there are; turns --repeat-after off
    #[arg(long)]
    pub(crate) no_collapse: bool,

    /// Idle time after which a reset of the first data counts as a reset of an idle connection
    // Shorter than the idle limits of common NATs and load balancers, which begin at a minute,
    // longer than pauses within ordinary conversations.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = |text: &str| number(text, 1..=86_400))]
    pub(crate) idle_threshold: u32,

    /// Retransmissions of one segment after which a reset counts as a reset after retransmissions
    // One: an RST that answers any retransmission came from a host that had been silent.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = |text: &str| number(text, 1..=255))]
    pub(crate) retransmit_threshold: u32,

    /// Maximum number of sockets whose owner is tracked; beyond it the owner is shown as unknown. Each takes
    /// about 123 bytes of kernel memory, allocated at start [default: one for each 512 KiB of memory, from
    /// 16384 to 131072]
    #[arg(long, value_name = "N", value_parser = |text: &str| number(text, max_sockets::RANGE))]
    max_sockets: Option<u32>,

    /// Size of the buffer between kernel and stream, a power of two; 1024 holds some 5,000 events
    #[arg(long, value_name = "KIB", default_value_t = ring_buffer::DEFAULT_KIB, value_parser = ring_buffer::parse)]
    pub(crate) ring_buffer: u32,

    /// Show the names of remote addresses, from DNS and /etc/hosts; a line does not wait for a slow lookup
    #[arg(long, conflicts_with = "no_stream")]
    pub(crate) resolve: bool,

    /// Color the stream; `auto` does on a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: Color,

    /// Columns of lines for people, separated by commas: time, errno, cause, process, service, role,
    /// local, remote, flow, reason [default: on a terminal those that fit, else all but flow]
    #[arg(long, value_name = "NAMES")]
    pub(crate) columns: Option<ColumnList>,

    /// Time zone of timestamps in lines for people; JSON is always in UTC
    #[arg(long, value_enum, default_value_t, value_name = "CLOCK")]
    pub(crate) time: Time,

    /// How to hook kernel functions
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub(crate) attach: Attach,

    /// Keep all privileges and system calls after attaching, for use with debuggers
    #[arg(long)]
    pub(crate) no_sandbox: bool,

    /// File with settings, in TOML: `idle-threshold = 60` for --idle-threshold 60
    ///
    /// A flag overrides the environment (SOCKTRACE_IDLE_THRESHOLD=60), which overrides the file. A switch
    /// that is on can be turned off: --all=false. [default: /etc/socktrace/socktrace.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Print every setting and where it comes from, in the format of the configuration file, and exit
    #[arg(long)]
    pub(crate) print_config: bool,

    /// Show the kernel programs' own debug messages on stderr
    #[arg(long)]
    pub(crate) probe_log: bool,

    /// Log more on stderr, including the kernel verifier's log
    #[arg(short, long)]
    pub(crate) verbose: bool,

    #[command(flatten)]
    pub(crate) otlp: Otlp,

    #[command(flatten)]
    pub(crate) history: History,

    #[command(flatten)]
    pub(crate) filters: Filters,

    /// Apply the filters to metrics and summary too; not with --path, nor with * ? [..] in --comm. Exact, except
    /// for --unit, --container and --cgroup: in a cgroup that socktrace has not matched yet, events that the
    /// stream's ring buffer loses (socktrace_events_lost_total) are not counted. Metrics about socktrace itself
    /// and about hooks count everything
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

    /// Maximum number of sockets whose owner is tracked.
    pub(crate) fn max_sockets(&self) -> u32 {
        self.max_sockets.unwrap_or_else(max_sockets::default)
    }

    /// Number of events of one kind in a window after which they are counted instead of shown.
    pub(crate) fn repeat_after(&self) -> u32 {
        let default =
            if self.otlp.is_on() { DEFAULT_REPEAT_AFTER_OF_OTLP } else { DEFAULT_REPEAT_AFTER };
        self.repeat_after.unwrap_or(default)
    }

    /// Checks what clap's definition cannot express.
    ///
    /// # Errors
    /// When options conflict.
    pub(crate) fn check(&self) -> Result<(), clap::Error> {
        let has_events = !self.no_stream || self.otlp.is_on() || self.history.is_on;
        if !has_events && self.no_metrics {
            return Err(Self::command().error(
                ErrorKind::ArgumentConflict,
                "--no-stream cannot be used with --no-metrics, as there would be nothing to do: add \
                --otlp to send events or --history to keep them, or drop one of the two flags",
            ));
        }
        if !has_events && self.filters.are_given() && !self.filter_metrics {
            return Err(Self::command().error(
                ErrorKind::ArgumentConflict,
                "filters apply to the stream, which --no-stream turns off: add --filter-metrics to \
                filter the counts, --otlp to send matching events or --history to keep them, or drop either \
                --no-stream or the filters",
            ));
        }
        if self.filter_metrics && !self.filters.are_given() {
            return Err(Self::command().error(
                ErrorKind::MissingRequiredArgument,
                "--filter-metrics applies filters to the metrics, and there are none: add one, such as \
                --unit nginx",
            ));
        }
        let filter = Filter::from(&self.filters);
        if self.filter_metrics && filter.asks_for_comm_patterns() {
            return Err(Self::command().error(
                ErrorKind::ArgumentConflict,
                "--comm with * ? or [..] filters only the stream, as the kernel programs compare whole names: \
                drop --filter-metrics, name each command, or filter by --unit or another option",
            ));
        }
        if self.filter_metrics && filter.asks_for_paths() {
            return Err(Self::command().error(
                ErrorKind::ArgumentConflict,
                "--path filters only the stream, as counts have no paths: drop --filter-metrics, or \
                filter by --protocol unix, --unit or another option",
            ));
        }
        Ok(())
    }
}

/// Definition of the command line.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Explain an errno, a cause, a Winsock error or SIGPIPE
    ///
    /// Explains what happened, what Linux actually does, what the program should do, and how to confirm it.
    /// Needs no privileges.
    Explain(Explain),
    /// Check what this host offers for tracing, and what is missing
    ///
    /// Reports what this host offers for tracing, what is missing, what that hides, and what to do about it.
    /// Useful without privileges; with them, it also loads and attaches the kernel programs for a moment, as
    /// tracing would. Exits with 0 if socktrace can trace here, even if some failures stay hidden; otherwise
    /// with the code that tracing would exit with.
    Doctor(Doctor),
    /// Show past failures, from the file that --history writes
    ///
    /// Shows past failures, from the file that a socktrace with --history writes, while it runs or after it
    /// has ended. Must be able to read the file: run as root, or as a member of group socktrace.
    History(ReadHistory),
    /// Show lines that --output json has written
    ///
    /// Reads lines as written by --output json, and shows those that pass the filters. Needs no privileges;
    /// nothing is sent to a collector or kept in a history.
    Replay(Replay),
    /// Show failures full-screen: who, why, how often
    ///
    /// Shows services, processes and peers with how often they fail, the events as they arrive, and all
    /// details of the selected one. The source is this host, with the same requirements as tracing and its own
    /// hooks beside those of a running service; a history written by --history; or lines of --output json.
    /// ? shows the keys.
    Top(Top),
}

/// Options of `socktrace doctor`.
#[derive(Args, Debug)]
pub(crate) struct Doctor {
    /// Format of the report
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,

    /// How to hook kernel functions
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub(crate) attach: Attach,

    /// Make sockets fail in a separate network namespace, and check that each hook fires and each count is
    /// right
    #[arg(long)]
    pub(crate) self_test: bool,
}

/// Options of `socktrace explain`.
#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// ECONNRESET or 104, reset_by_peer, WSAECONNRESET or 10054, SIGPIPE; without a topic, all are listed
    #[arg(allow_negative_numbers = true)]
    pub(crate) topic: Option<String>,

    /// Language of the text [default: from the locale]
    #[arg(long, value_enum, value_name = "LANG")]
    pub(crate) lang: Option<Language>,
}

/// Parses an address for the health pages.
///
/// # Errors
/// The accepted forms, when the text is none of them.
fn health_listen(text: &str) -> Result<Listen, String> {
    match text.parse()? {
        Listen::Systemd => {
            Err("sockets passed by systemd can only be used with --listen".to_owned())
        }
        listen => Ok(listen),
    }
}

/// Parses a whole number.
///
/// # Errors
/// The accepted range, when the number is outside it.
fn number(text: &str, range: RangeInclusive<u32>) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    let (first, last) = range.into_inner();
    number.ok_or_else(|| format!("expected a whole number from {first} to {last}"))
}
