//! Tools to measure: socktrace, other tools, the least possible, and none.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    mount::{MsFlags, mount},
    sys::signal::{Signal, kill},
    unistd::{Pid, chdir, chroot},
};
use xtask_common::{figure::NO_TOOL, search_path};

use super::{
    bpf::{self, Floor, HookPoint},
    export, machine, native,
    verifier::{self, Verified},
};

/// Files for the standard output and error of the tool.
pub(super) const OUTPUT: &str = "/tmp/bench.out";
const ERRORS: &str = "/tmp/bench.err";

/// Longest time for a tool to get ready, which may include much verifying and compiling.
const PATIENCE: Duration = Duration::from_mins(5);

/// The least that a tool with socktrace's hooks can cost.
pub(super) const FLOOR: &str = "a counter at each hook";
pub(super) const STREAMING: &str = "socktrace";
pub(super) const COUNTING: &str = "socktrace --no-stream";
pub(super) const EXPORTING: &str = "socktrace --no-stream --otlp";
pub(super) const KEEPING: &str = "socktrace --no-stream --history";
pub(super) const BPFTRACE: &str = "bpftrace";

/// Prints a line for each failed socket, and counts accepts by process name.
const SCRIPT: &str = r#"fentry:tcp_done /args.sk->sk_err/ { printf("%d %s errno %d\n", pid, comm, args.sk->sk_err); }
fexit:inet_csk_accept { @accepted[comm] = count(); }
BEGIN { printf("ready\n"); }"#;

/// A tool to measure.
#[derive(Clone, Copy)]
pub(super) struct Tool {
    pub(super) name: &'static str,
    kind: ToolKind,
}

#[derive(Clone, Copy)]
enum ToolKind {
    Nothing,
    Floor,
    /// Its arguments, and the words that it prints once it is ready, if it prints them at once.
    Program(&'static [&'static str], Option<&'static str>),
}

/// Root directory of the peers, which have libraries of their own.
const PEERS: &str = "/peers";

pub(super) const DAEMON: &str = "/bin/socktrace";
const SENDS: &str = "--otlp";
const KEEPS: &str = "--history";

/// File of the tool that keeps a history. It gets more room than by default, where a million
/// failures and the log may not fit.
pub(super) const HISTORY: &str = "/tmp/bench-history.db";
const ATTACHED: Option<&str> = Some("; hooks: ");

/// All tools.
pub(super) const ALL: [Tool; 17] = [
    Tool { name: NO_TOOL, kind: ToolKind::Nothing },
    Tool { name: FLOOR, kind: ToolKind::Floor },
    Tool { name: STREAMING, kind: ToolKind::Program(&[DAEMON, "--output", "json"], ATTACHED) },
    Tool { name: COUNTING, kind: ToolKind::Program(&[DAEMON, "--no-stream"], ATTACHED) },
    Tool {
        name: "socktrace --errno ECONNRESET --remote 127.0.0.0/8",
        kind: ToolKind::Program(
            &[DAEMON, "--output", "json", "--errno", "ECONNRESET", "--remote", "127.0.0.0/8"],
            ATTACHED,
        ),
    },
    Tool {
        name: "socktrace --udp-sends",
        kind: ToolKind::Program(&[DAEMON, "--output", "json", "--udp-sends"], ATTACHED),
    },
    Tool {
        name: "socktrace --unix-sends",
        kind: ToolKind::Program(&[DAEMON, "--output", "json", "--unix-sends"], ATTACHED),
    },
    Tool {
        name: "socktrace --hops",
        kind: ToolKind::Program(&[DAEMON, "--output", "json", "--hops"], ATTACHED),
    },
    Tool {
        // Follows everything that the guest's init has started, including this program.
        name: "socktrace --follow",
        kind: ToolKind::Program(
            &[DAEMON, "--output", "json", "--follow", "1"],
            Some("socktrace: following "),
        ),
    },
    Tool {
        name: EXPORTING,
        kind: ToolKind::Program(&[DAEMON, "--no-stream", SENDS, "http://127.0.0.1:4318"], ATTACHED),
    },
    Tool {
        name: KEEPING,
        kind: ToolKind::Program(
            &[DAEMON, "--no-stream", KEEPS, "--history-file", HISTORY, "--history-size", "1024"],
            ATTACHED,
        ),
    },
    Tool {
        name: "socktrace --attach kprobe",
        kind: ToolKind::Program(&[DAEMON, "--output", "json", "--attach", "kprobe"], ATTACHED),
    },
    Tool {
        name: BPFTRACE,
        kind: ToolKind::Program(
            &["/peers/bin/bpftrace", "-q", "-B", "line", "-e", SCRIPT],
            Some("ready"),
        ),
    },
    Tool { name: "tcptracer", kind: ToolKind::Program(&["/peers/bin/tcptracer-libbpf"], None) },
    Tool { name: "tcpstates", kind: ToolKind::Program(&["/peers/bin/tcpstates-libbpf"], None) },
    Tool { name: "tcplife", kind: ToolKind::Program(&["/peers/bin/tcplife-libbpf"], None) },
    Tool { name: "tcpconnlat", kind: ToolKind::Program(&["/peers/bin/tcpconnlat-libbpf"], None) },
];

/// Looks up a tool by its name.
pub(super) fn named(name: &str) -> Result<Tool> {
    ALL.into_iter().find(|subject| subject.name == name).context("no such tool")
}

/// Cost of getting a program ready.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StartCost {
    /// Instructions and idle nanoseconds until it reported that it was ready, if it reports so.
    pub(super) elapsed: Option<u64>,
    /// Instructions of the whole machine, until no work was left.
    pub(super) busy: u64,
}

/// A running tool, stopped when dropped.
pub(super) struct RunningTool {
    child: Option<Child>,
    floor: Option<Floor>,
    pub(super) start: StartCost,
}

impl Tool {
    /// Whether the tool is installed and can be measured with these hooks.
    pub(super) fn is_here(self, places: &[HookPoint]) -> bool {
        match self.kind {
            ToolKind::Nothing => true,
            ToolKind::Floor => !places.is_empty(),
            ToolKind::Program(words, _) => match inside_peers(words[0]) {
                Some(path) if native::is_host() => search_path::find(file_name(path)).is_some(),
                _ => Path::new(words[0]).exists() || native::is_host(),
            },
        }
    }

    /// Whether the tool is a program.
    pub(super) fn is_program(self) -> bool {
        matches!(self.kind, ToolKind::Program(..))
    }

    /// Whether the tool handles single events, and only counts them in a flood.
    pub(super) fn counts_floods(self) -> bool {
        match self.kind {
            ToolKind::Program(words, _) => {
                let has = |word| words.contains(&word);
                words[0] == DAEMON && (!has("--no-stream") || has(SENDS) || has(KEEPS))
            }
            ToolKind::Nothing | ToolKind::Floor => false,
        }
    }

    /// Starts the tool, and waits until it is ready and has no work left.
    pub(super) fn start(self, places: &[HookPoint]) -> Result<RunningTool> {
        self.start_with(places, &[])
    }

    /// Starts the tool like [`Self::start`], with every event shown even in a flood.
    pub(super) fn start_showing_all(self, places: &[HookPoint]) -> Result<RunningTool> {
        self.start_with(places, if self.counts_floods() { &["--no-collapse"] } else { &[] })
    }

    fn start_with(self, places: &[HookPoint], more: &[&'static str]) -> Result<RunningTool> {
        let running = match self.kind {
            ToolKind::Nothing => {
                RunningTool { child: None, floor: None, start: StartCost::default() }
            }
            ToolKind::Floor => return floor(places),
            ToolKind::Program(words, ready) => {
                return run(&[words, more].concat(), ready).with_context(|| {
                    let said = fs::read_to_string(ERRORS).unwrap_or_default();
                    format!("cannot measure {}: {said}", self.name)
                });
            }
        };
        machine::settle()?;
        Ok(running)
    }
}

impl Tool {
    /// Starts the tool again, and reads the verifier's statistics about its programs. Empty for
    /// tools without any.
    pub(super) fn verified(self) -> Result<Vec<Verified>> {
        let ToolKind::Program(words, Some(ready)) = self.kind else { return Ok(Vec::new()) };
        let mut command = command(words)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(ERRORS)?);
        let is_ready = || Ok(fs::read_to_string(ERRORS)?.contains(ready));
        let verified = verifier::watch(&mut command, is_ready)?;
        machine::settle()?;
        Ok(verified)
    }
}

/// Attaches a counter to each hook, without a process of its own.
fn floor(places: &[HookPoint]) -> Result<RunningTool> {
    machine::settle()?;
    let before = machine::busy()?;
    let floor = Some(Floor::new(places)?);
    machine::settle()?;
    let start = StartCost { elapsed: None, busy: machine::busy()? - before };
    Ok(RunningTool { child: None, floor, start })
}

fn run(words: &[&'static str], ready: Option<&str>) -> Result<RunningTool> {
    if words.contains(&SENDS) {
        export::collect()?;
    }
    // Created before the measurement starts, as this frees the output of the previous tool.
    let (output, errors) = (File::create(OUTPUT)?, File::create(ERRORS)?);
    machine::settle()?;
    let before = machine::busy()?;
    let began = machine::now()?;
    let mut child = command(words)?
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("cannot start {}", words[0]))?;
    machine::watch(Some(child.id()));
    let mut elapsed = None;
    while let (Some(ready), None) = (ready, elapsed) {
        if let Some(status) = child.try_wait()? {
            bail!("it ended with {status}");
        }
        let now = machine::now()?;
        ensure!(now - began < machine::nanoseconds(PATIENCE), "it does not get ready");
        let said = [OUTPUT, ERRORS].map(fs::read_to_string);
        if said.iter().flatten().any(|text| text.contains(ready)) {
            elapsed = Some(now - began);
        } else {
            thread::sleep(Duration::from_millis(1));
        }
    }
    machine::settle()?;
    let busy = machine::busy()? - before;
    let running =
        RunningTool { child: Some(child), floor: None, start: StartCost { elapsed, busy } };
    running.check()?;
    ensure!(!bpf::programs()?.is_empty(), "it has loaded no program");
    Ok(running)
}

/// Command that runs a program of the guest, or a peer.
fn command(words: &[&'static str]) -> Result<Command> {
    let (program, arguments) = words.split_first().context("no program")?;
    let path = match inside_peers(program) {
        None => native::daemon().unwrap_or(Path::new(program)).to_owned(),
        Some(inside) if native::is_host() => {
            let name = file_name(inside);
            search_path::find(name).with_context(|| format!("there is no {name} here"))?
        }
        Some(inside) => return peer(inside, arguments),
    };
    let mut command = Command::new(path);
    command.args(arguments);
    Ok(command)
}

/// Command that runs a peer in its own root.
fn peer(inside: &str, arguments: &[&str]) -> Result<Command> {
    for shared in ["/dev", "/proc", "/sys"] {
        let place = format!("{PEERS}{shared}");
        if fs::read_dir(&place)?.next().is_none() {
            mount(
                Some(shared),
                place.as_str(),
                None::<&str>,
                MsFlags::MS_BIND | MsFlags::MS_REC,
                None::<&str>,
            )
            .with_context(|| format!("cannot show {shared} to peers"))?;
        }
    }
    let mut command = Command::new(inside);
    command.args(arguments).env("PATH", "/bin");
    // SAFETY: only system calls are made between fork and exec.
    unsafe {
        command.pre_exec(|| {
            chroot(PEERS)?;
            chdir("/")?;
            Ok(())
        })
    };
    Ok(command)
}

/// Path of a peer within its root.
fn inside_peers(program: &'static str) -> Option<&'static str> {
    program.strip_prefix(PEERS)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl RunningTool {
    /// Id of the tool's process, if it has one.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Makes sure that the tool is still running.
    fn check(&self) -> Result<()> {
        let Some(id) = self.id() else { return Ok(()) };
        let state = fs::read_to_string(format!("/proc/{id}/stat"))?;
        ensure!(!state.contains(") Z "), "it has ended");
        Ok(())
    }

    /// Stops the tool, and waits until the kernel has freed everything.
    pub(super) fn stop(mut self) -> Result<()> {
        self.check()?;
        machine::watch(None);
        if let Some(mut child) = self.child.take() {
            kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT)?;
            child.wait()?;
        }
        drop(self.floor.take());
        // The kernel frees programs and maps with a delay.
        machine::settle()
    }
}

impl Drop for RunningTool {
    fn drop(&mut self) {
        machine::watch(None);
        if let Some(child) = &mut self.child {
            // Both fail if it has ended already.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
