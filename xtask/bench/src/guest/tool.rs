//! Tools to be measured: socktrace, others, the least that is possible, and none.

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

/// Where the standard output and error of the tool go.
pub(super) const OUTPUT: &str = "/tmp/bench.out";
const ERRORS: &str = "/tmp/bench.err";

/// Longest time for a tool to get ready, in which it may have to verify and compile much.
const PATIENCE: Duration = Duration::from_mins(5);

/// The least that a tool of socktrace's hooks can cost.
pub(super) const FLOOR: &str = "a counter at each hook";
pub(super) const STREAMING: &str = "socktrace";
pub(super) const COUNTING: &str = "socktrace --no-stream";
pub(super) const EXPORTING: &str = "socktrace --no-stream --otlp";
pub(super) const KEEPING: &str = "socktrace --no-stream --history";
pub(super) const BPFTRACE: &str = "bpftrace";

/// One line for a failed socket, one for who accepts.
const SCRIPT: &str = r#"fentry:tcp_done /args.sk->sk_err/ { printf("%d %s errno %d\n", pid, comm, args.sk->sk_err); }
fexit:inet_csk_accept { @accepted[comm] = count(); }
BEGIN { printf("ready\n"); }"#;

/// A tool.
#[derive(Clone, Copy)]
pub(super) struct Tool {
    pub(super) name: &'static str,
    kind: ToolKind,
}

#[derive(Clone, Copy)]
enum ToolKind {
    Nothing,
    Floor,
    /// Its arguments, and words that it prints when it is ready, if it does at once.
    Program(&'static [&'static str], Option<&'static str>),
}

/// The root of peers, which have libraries of their own.
const PEERS: &str = "/peers";

pub(super) const DAEMON: &str = "/bin/socktrace";
const SENDS: &str = "--otlp";
const KEEPS: &str = "--history";

/// The file of a tool that keeps a history. It has more room than by default, as a million failures may not
/// fit there with the log.
pub(super) const HISTORY: &str = "/tmp/bench-history.db";
const ATTACHED: Option<&str> = Some("; hooks: ");

/// All of them.
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
        // All that the guest's init has started, this program too.
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

/// The one of this name.
pub(super) fn named(name: &str) -> Result<Tool> {
    ALL.into_iter().find(|subject| subject.name == name).context("no such tool")
}

/// What it took a program to get ready.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StartCost {
    /// Until it said that it was ready, if it says so: instructions and idle nanoseconds.
    pub(super) elapsed: Option<u64>,
    /// Instructions of the whole machine, until nothing was left to do.
    pub(super) busy: u64,
}

/// A tool at work. Ended when dropped.
pub(super) struct RunningTool {
    child: Option<Child>,
    floor: Option<Floor>,
    pub(super) start: StartCost,
}

impl Tool {
    /// Whether it is here and can be measured with these places to hook.
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

    /// Whether it is a program.
    pub(super) fn is_program(self) -> bool {
        matches!(self.kind, ToolKind::Program(..))
    }

    /// Whether it shows events, and counts them in a flood.
    pub(super) fn counts_floods(self) -> bool {
        match self.kind {
            ToolKind::Program(words, _) => {
                let has = |word| words.contains(&word);
                words[0] == DAEMON && (!has("--no-stream") || has(SENDS) || has(KEEPS))
            }
            ToolKind::Nothing | ToolKind::Floor => false,
        }
    }

    /// Starts it and waits until it is ready and has nothing left to do.
    pub(super) fn start(self, places: &[HookPoint]) -> Result<RunningTool> {
        self.start_with(places, &[])
    }

    /// The same, to show each event in a flood, too.
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
    /// Starts it once more, for what the verifier says of its programs; empty where it has none.
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

/// Hooks the places, without a process of its own.
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
    // Before, as it frees what another tool has written there.
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

/// The command of a program of the guest, or of a peer.
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

/// The command of a peer, which has a root of its own.
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

/// The path of a peer in its root.
fn inside_peers(program: &'static str) -> Option<&'static str> {
    program.strip_prefix(PEERS)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl RunningTool {
    /// The id of its process, if it has one.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Makes sure that it is still at work.
    fn check(&self) -> Result<()> {
        let Some(id) = self.id() else { return Ok(()) };
        let state = fs::read_to_string(format!("/proc/{id}/stat"))?;
        ensure!(!state.contains(") Z "), "it has ended");
        Ok(())
    }

    /// Ends it and waits until nothing of it is left.
    pub(super) fn stop(mut self) -> Result<()> {
        self.check()?;
        machine::watch(None);
        if let Some(mut child) = self.child.take() {
            kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT)?;
            child.wait()?;
        }
        drop(self.floor.take());
        // The kernel frees programs and maps a while later.
        machine::settle()
    }
}

impl Drop for RunningTool {
    fn drop(&mut self) {
        machine::watch(None);
        if let Some(child) = &mut self.child {
            // Both fail when it has ended already.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
