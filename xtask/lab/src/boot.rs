//! Runs a guest from power-on until it ends, and returns how it ended.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead as _, BufReader, Read, Write as _},
    path::PathBuf,
    process::{Child, ChildStdout, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use xtask_common::{job::Job, report::Report};

use crate::{
    initramfs::{self, GuestPrograms},
    prepare::BootFiles,
    progress,
    qemu::{Accelerator, Console, Machine, Mode},
};

/// Longest time for a machine to power off after its last report.
const POWER_OFF: Duration = Duration::from_secs(20);

/// Memory of a guest that also holds the peers' files, and has 100,000 sockets.
const BENCH_MEMORY_MIB: u32 = 3072;

/// Lines from the end of the console that are shown when a boot fails.
const TAIL_LINES: usize = 40;

/// Destination of the guest's console output.
#[derive(Clone, Debug)]
pub enum Terminal {
    /// The user's terminal, with keys passed to the guest.
    Interactive,
    /// The user's terminal, without input.
    Shown,
    /// Kept, and then written to this file.
    Logged(PathBuf),
}

/// Timeouts after which a guest is given up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time until the first report.
    pub start: Duration,
    /// Time between later reports.
    pub silence: Duration,
    /// Time for the whole boot.
    pub total: Duration,
}

/// A guest to run.
pub struct Boot<'a> {
    /// System to boot.
    pub files: &'a BootFiles,
    /// Programs to run in it.
    pub programs: &'a GuestPrograms,
    /// Archive with other tools that watch TCP, if the guest needs them.
    pub peers: Option<&'a std::path::Path>,
    /// Archive with Prometheus, if the guest needs it.
    pub prometheus: Option<&'a std::path::Path>,
    /// Network cards, as arguments of QEMU.
    pub network: &'a [String],
    /// The accelerator that runs it.
    pub accelerator: Accelerator,
    /// Processors and clock.
    pub mode: Mode,
    /// Text to append to the kernel's command line.
    pub append: &'a str,
    /// The program to run and its arguments.
    pub command: Vec<String>,
    /// Its environment variables in addition to `PATH` and `HOME`.
    pub env: BTreeMap<String, String>,
    /// Destination of the console output.
    pub terminal: Terminal,
    /// Timeouts; none if the guest may run as long as it takes.
    pub limits: Option<Limits>,
}

/// How a boot ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The guest's command ended and its exit code was reported.
    Finished {
        /// Its exit code.
        code: i32,
    },
    /// The guest's kernel panicked.
    Panicked {
        /// End of the console output.
        console: String,
    },
    /// No report came in time.
    Hung {
        /// End of the console output.
        console: String,
    },
    /// QEMU ended before the guest reported an exit.
    Died {
        /// End of the console output, and QEMU's own messages.
        console: String,
    },
}

impl Boot<'_> {
    /// Runs the guest, and passes on each report as it arrives.
    ///
    /// # Errors
    ///
    /// When QEMU cannot be started.
    pub fn run(&self, mut on_report: impl FnMut(Report)) -> Result<Outcome> {
        let job = Job { command: self.command.clone(), env: self.env.clone() };
        let BootFiles { kernel, base, modules, memory_mib } = self.files;
        let own = [base].into_iter().chain(modules).map(PathBuf::as_path);
        let bases: Vec<_> = own.chain(self.peers).chain(self.prometheus).collect();
        let initramfs = initramfs::boot(&bases, self.programs, &job)?;
        let image = kernel.image()?;
        let (reader, writer) = io::pipe().context("cannot make a pipe for the guest's reports")?;
        let keyboard = matches!(self.terminal, Terminal::Interactive);
        let logged = matches!(self.terminal, Terminal::Logged(_));
        let machine = Machine {
            arch: kernel.arch,
            image: &image,
            initramfs: &initramfs,
            kernel_arguments: &self.kernel_arguments(),
            network: self.network,
            accelerator: self.accelerator,
            mode: self.mode,
            memory_mib: if self.peers.is_some() { BENCH_MEMORY_MIB } else { *memory_mib },
            console: if keyboard { Console::Keyboard } else { Console::Stream },
            reports: &writer,
        };
        let child = machine
            .command()
            .stdin(if matches!(self.terminal, Terminal::Interactive) {
                Stdio::inherit()
            } else {
                Stdio::null()
            })
            .stdout(if logged { Stdio::piped() } else { Stdio::inherit() })
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", kernel.arch.qemu.0))?;
        // The reports end when QEMU exits, which has its own copy of this end.
        drop(writer);
        let mut machine = RunningQemu::new(child);
        let lines = lines(reader);
        let what = format!("Linux {}", kernel.release());
        let mut step = Some(progress::step(format_args!("Booting {what}")));
        let heard = self.listen(&lines, &mut |report| match (report, step.take()) {
            (Report::Up, Some(step)) if !logged => step.done(format_args!("Booted {what}")),
            (Report::Up, _) => {}
            (report, _) => on_report(report),
        });
        if matches!(heard, End::Exit(_)) {
            machine.wait(POWER_OFF);
        }
        drop(lines);
        let console = machine.stop();
        if let Terminal::Logged(path) = &self.terminal {
            fs::write(path, &console)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        let console = tail(&console);
        Ok(match heard {
            End::Exit(code) => Outcome::Finished { code },
            _ if console.contains("Kernel panic - not syncing") => Outcome::Panicked { console },
            End::Closed => Outcome::Died { console },
            End::TimedOut => Outcome::Hung { console },
        })
    }

    fn kernel_arguments(&self) -> String {
        // A person wants to see the command's output; a log also wants the kernel's complaints. At
        // level 0, the kernel would not even print a panic.
        let verbosity = match self.terminal {
            Terminal::Logged(_) => "quiet loglevel=5",
            Terminal::Interactive | Terminal::Shown => "quiet loglevel=1",
        };
        format!("{verbosity} random.trust_cpu=on {}", self.append)
    }

    fn listen(&self, lines: &mpsc::Receiver<String>, on_report: &mut impl FnMut(Report)) -> End {
        let start = Instant::now();
        let mut is_up = false;
        loop {
            let line = match self.limits {
                None => lines.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
                Some(limits) => {
                    let left = limits.total.saturating_sub(start.elapsed());
                    let silence = if is_up { limits.silence } else { limits.start };
                    lines.recv_timeout(silence.min(left))
                }
            };
            is_up |= line.is_ok();
            match line.map(|line| (serde_json::from_str(&line), line)) {
                Ok((Ok(Report::Exit { code }), _)) => return End::Exit(code),
                Ok((Ok(report), _)) => on_report(report),
                Ok((Err(_), line)) if line.trim().is_empty() => {}
                Ok((Err(error), line)) => {
                    on_report(Report::Note {
                        text: format!("unreadable report ({error}): {line}"),
                    });
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return End::Closed,
                Err(mpsc::RecvTimeoutError::Timeout) => return End::TimedOut,
            }
        }
    }
}

/// Reason to stop waiting for reports.
enum End {
    Exit(i32),
    Closed,
    TimedOut,
}

/// A running QEMU, killed when dropped.
struct RunningQemu {
    child: Child,
    console: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
}

impl RunningQemu {
    fn new(mut child: Child) -> Self {
        let console = Arc::default();
        let stdout =
            child.stdout.take().map(|stdout: ChildStdout| collect(stdout, &console, |_| {}));
        let id = child.id();
        let stderr = child.stderr.take().map(|stderr| {
            collect(stderr, &console, move |text| {
                // QEMU then stops the machine, and waits for someone to inspect it.
                if text.contains("KVM internal error") {
                    kill(id);
                }
            })
        });
        Self { child, console, readers: stdout.into_iter().chain(stderr).collect() }
    }

    /// Waits for the machine to end, at most this long.
    fn wait(&mut self, limit: Duration) {
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < limit {
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the machine, and returns its console output.
    fn stop(mut self) -> String {
        self.kill();
        for reader in self.readers.drain(..) {
            // A reader that panicked has nothing more to offer.
            drop(reader.join());
        }
        let console = self.console.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        String::from_utf8_lossy(&console).replace('\r', "")
    }

    fn kill(&mut self) {
        // Both fail only if the child has already ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for RunningQemu {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Appends everything read from `from` to `to`, and passes each piece to `look`.
fn collect(
    mut from: impl Read + Send + 'static,
    to: &Arc<Mutex<Vec<u8>>>,
    look: impl Fn(&str) + Send + 'static,
) -> JoinHandle<()> {
    let to = Arc::clone(to);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let mut to = to.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            // Writing to a vector does not fail.
            drop(to.write_all(&buffer[..count]));
            look(&String::from_utf8_lossy(&buffer[..count]));
        }
    })
}

/// Kills a child that has not been waited for yet.
fn kill(id: u32) {
    let Ok(id) = i32::try_from(id) else { return };
    // Fails only if the process has already ended.
    let _ = signal::kill(Pid::from_raw(id), Signal::SIGKILL);
}

fn lines(from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn tail(console: &str) -> String {
    let lines: Vec<_> = console.trim_end().lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
