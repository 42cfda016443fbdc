//! Sockets that fail in known ways, and the reports expected from socktrace.
//!
//! A scenario makes a real failure with real sockets and returns what the program got from the
//! kernel. The harness compares that with socktrace's stream and its metrics: each failure exactly
//! once, and nothing else.

mod accept;
mod accept_queue;
mod address;
mod attach;
mod bind;
mod blocked;
mod both_ends;
mod bpf;
mod catalogue;
mod child;
mod claim;
mod clients;
mod collector;
mod command;
mod connect;
mod crowd;
mod daemon;
pub mod demo;
mod doctor;
mod eof;
mod event_schema;
mod expected;
mod fastopen;
mod filter;
pub mod fleet;
mod flood;
mod forbid;
mod handover;
mod harness;
mod history;
mod hops;
mod icmp;
mod inherit;
mod inject;
mod iouring;
mod kept;
mod ktls;
mod lane;
mod layered;
mod listener;
mod metrics;
mod modules;
mod mptcp;
mod nat;
mod network;
mod no_socket;
mod not_sent;
mod odd;
mod odd_calls;
mod orderly;
mod other_protocols;
mod otlp;
mod overlap;
mod owner;
mod policy;
mod privileges;
mod process;
mod prometheus;
mod quiet;
mod recverr;
mod refilter;
mod refusal;
mod remote_call;
mod reset;
mod resolve;
mod route;
mod sandbox;

mod scenario;
mod scraper;
mod screen;
mod send_timeout;
mod sent;
mod service;
mod shared;
mod sigpipe;
mod soak;
mod socket;
mod sockmap;
mod sockopt;
mod span;
mod stream;
mod stream_end;
mod summary;
mod survive;
mod system;
mod tables;
mod terminal;
mod timeout;
mod top;
mod tracer;
mod udp;
mod unix;
mod unread;
mod usual;
mod verifier;
mod verify;
mod write;

use std::env;

use anyhow::{Context as _, Result, bail};
use xtask_common::{gaps, report::Reporter, scope::Scope};

use catalogue::CATALOGUE;
use scenario::{BootKind, Scenario};

/// Kernel series of the guest, where a scenario's outcome depends on it.
const KERNEL_VARIABLE: &str = "GUEST_KERNEL";

/// Part of the catalogue that runs.
const SCOPE_VARIABLE: &str = "GUEST_SCOPE";

/// How daemons hook kernel functions, if that was chosen.
const ATTACH_VARIABLE: &str = "GUEST_ATTACH";

/// Number of adjacent scenarios that stay together when the catalogue runs in parts.
const NEIGHBOURS: usize = 4;

/// Prints a line for each scenario: its name, its boot and its scope.
pub fn list() {
    for Scenario { name, boot, scope, .. } in CATALOGUE {
        println!("{name} {} {}", boot.name(), scope.name());
    }
}

/// Runs the scenarios of this boot and returns the exit code: 0 when all passed.
///
/// # Errors
///
/// When the arguments are wrong or the reports cannot be written.
pub fn main(args: &[String]) -> Result<i32> {
    let options = Options::parse(args)?;
    // SAFETY: no other thread runs yet.
    unsafe { env::set_var(KERNEL_VARIABLE, &options.kernel) };
    // SAFETY: no other thread runs yet.
    unsafe { env::set_var(SCOPE_VARIABLE, options.scope.name()) };
    if let Some(attach) = &options.attach {
        // SAFETY: no other thread runs yet.
        unsafe { env::set_var(ATTACH_VARIABLE, attach) };
    }
    let chosen: Vec<_> = CATALOGUE
        .iter()
        .filter(|scenario| scenario.boot == options.boot)
        .filter(|scenario| scenario.scope <= options.scope)
        .filter(|scenario| {
            options.names.is_empty() || options.names.iter().any(|name| name == scenario.name)
        })
        // Parts take turns, since adjacent scenarios take about as long. Each turn has a few
        // scenarios, since they may share a daemon.
        .enumerate()
        .filter(|(index, _)| index / NEIGHBOURS % options.part.1 == options.part.0 - 1)
        .map(|(_, scenario)| scenario)
        .collect();
    let passed = harness::run(&chosen, &mut Reporter::from_env()?)?;
    Ok(i32::from(!passed))
}

/// Makes services fail for an hour, and reports the answers of Prometheus.
///
/// # Errors
///
/// When something cannot be started, or does not fail as it should.
pub fn history() -> Result<i32> {
    history::main()
}

/// Runs a daemon for a number of seconds while sockets fail.
///
/// # Errors
///
/// When the daemon grows, or what it counts or shows is not exact.
pub fn soak(args: &[String]) -> Result<i32> {
    soak::main(args)
}

/// Runs a command with the privileges of the systemd unit. Returns only on failure.
///
/// # Errors
///
/// Always, with the reason why the command does not run.
pub fn run_as_service(command: &[String]) -> Result<i32> {
    privileges::run_as_service(command)
}

/// Runs a child process of a scenario.
///
/// # Errors
///
/// When there is no such child, or its action fails.
pub fn child(args: &[String]) -> Result<i32> {
    child::main(args)
}

/// Arguments of `guest scenarios`.
struct Options {
    boot: BootKind,
    scope: Scope,
    /// Which part of these scenarios runs, and the number of parts.
    part: (usize, usize),
    kernel: String,
    attach: Option<String>,
    names: Vec<String>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self {
            boot: BootKind::Smp,
            scope: Scope::Full,
            part: (1, 1),
            kernel: String::new(),
            attach: None,
            names: Vec::new(),
        };
        let mut args = args.iter();
        while let Some(name) = args.next() {
            let value = args.next().with_context(|| format!("{name} takes a value"))?;
            match (name.as_str(), value.as_str()) {
                ("--boot", name) => {
                    let boot = BootKind::ALL.into_iter().find(|boot| boot.name() == name);
                    options.boot = boot.with_context(|| format!("there is no boot {name}"))?;
                }
                ("--scope", name) => {
                    let scope = Scope::named(name);
                    options.scope = scope.with_context(|| format!("there is no scope {name}"))?;
                }
                ("--part", part) => {
                    let (number, of) = part.split_once('/').context("no part of a whole")?;
                    options.part = (number.parse()?, of.parse()?);
                }
                ("--kernel", series) => series.clone_into(&mut options.kernel),
                ("--attach", attach) => options.attach = Some(attach.to_owned()),
                ("--scenario", scenario) => options.names.push(scenario.to_owned()),
                _ => bail!("unknown: {name} {value}"),
            }
        }
        Ok(options)
    }
}

/// Whether this kernel passes the segment to `tcp_reset`, so that a reset without an RST is recognized.
fn tcp_reset_has_segment() -> bool {
    !gaps::losses(&series()).contains(&gaps::DATA_AFTER_SHUTDOWN)
}

/// Whether this kernel reports errors that leave a connection open.
fn reports_socket_errors() -> bool {
    !gaps::absent_hooks(&series()).contains(&"inet_sk_error_report")
}

/// Whether this kernel traces datagrams dropped for a full queue. For IPv6 it does since 6.5.
fn traces_dropped_datagrams(family: network::Family) -> bool {
    family != network::Family::Ipv6 || !matches!(series().as_str(), "5.10" | "6.1")
}

/// Whether this kernel has reasons for the RSTs that it sends.
fn names_reset_reasons() -> bool {
    !matches!(series().as_str(), "5.10" | "6.1")
}

/// Whether socktrace sees the errno of an accept that is not a system call.
fn reports_accept_errors() -> bool {
    !gaps::losses(&series()).contains(&gaps::FAILING_ACCEPTS)
}

/// Whether the address of a sending call is seen when its connect fails at once.
fn sees_fast_open() -> bool {
    series() != "5.10" && !uses_kprobes()
}

/// Whether the functions that show failing accepts and socket options take typed pointers, which
/// can be followed under lockdown.
fn has_typed_calls() -> bool {
    !matches!(series().as_str(), "5.10" | "6.1")
}

/// How daemons hook kernel functions, if that was chosen.
fn chosen_attach() -> Option<String> {
    env::var(ATTACH_VARIABLE).ok()
}

/// Whether daemons use kprobes, by choice or for lack of trampolines.
fn uses_kprobes() -> bool {
    chosen_attach().map_or(lacks_trampolines(), |how| how == "kprobe")
}

/// Whether this kernel has no BPF trampolines for functions. On arm64 they came with 6.4.
fn lacks_trampolines() -> bool {
    cfg!(target_arch = "aarch64") && matches!(series().as_str(), "5.10" | "6.1")
}

/// Whether everything runs, at full length.
fn is_full() -> bool {
    env::var(SCOPE_VARIABLE).is_ok_and(|scope| scope == Scope::Full.name())
}

/// Whether `shutdown` returns EBUSY while a connect waits: `sk_wait_pending`, in 6.4 to 6.6 and
/// backported to older series.
fn keeps_waiting_connects() -> bool {
    matches!(series().as_str(), "5.10" | "6.1")
}

/// Whether socktrace sees the flags with which `io_uring` tries a connect: only where the whole
/// call is hooked, by a helper that 5.10 lacks.
fn sees_tried_connects() -> bool {
    series() != "5.10" && !uses_kprobes()
}

/// Whether this kernel supports MPTCP.
fn has_mptcp() -> bool {
    series() != "5.10"
}

/// Whether bind and listen of an MPTCP socket are calls on its first subflow, as on a TCP socket.
fn calls_mptcp_by_subflow() -> bool {
    series() == "6.1"
}

/// Hooks for which this kernel has no function, or which kprobes cannot serve.
fn absent_hooks() -> Vec<&'static str> {
    let mut absent = Vec::new();
    if uses_kprobes() {
        absent.extend(["__sys_accept4", "udp_sendmsg", "unix_sendmsg"]);
    }
    absent.extend(gaps::absent_hooks(&series()));
    absent
}

/// Kernel series; empty if unknown.
fn series() -> String {
    env::var(KERNEL_VARIABLE).unwrap_or_default()
}

/// Whether this kernel charges maps to the locked-memory limit.
fn charges_locked_memory() -> bool {
    series() == "5.10"
}
