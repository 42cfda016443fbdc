//! Runs a guest from power-on to its end, and returns how it ended.

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

/// How long a machine may take to power off after its last report.
const POWER_OFF: Duration = Duration::from_secs(20);

/// The least memory of a guest that has the peers' files too, and 100,000 sockets.
const BENCH_MEMORY_MIB: u32 = 3072;

/// How much of the console's end is shown when a boot fails.
const TAIL_LINES: usize = 40;

/// Where the guest's console goes.
#[derive(Clone, Debug)]
pub enum Terminal {
    /// To the user, whose keys go to the guest.
    Interactive,
    /// To the user, who can only watch.
    Shown,
    /// Kept, and written to this file.
    Logged(PathBuf),
}

/// How long to wait before a guest is given up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Until the first report.
    pub start: Duration,
    /// Without any report after that.
    pub silence: Duration,
    /// For the whole boot.
    pub total: Duration,
}

/// A guest to run.
pub struct Boot<'a> {
    /// The system that is booted.
    pub files: &'a BootFiles,
    /// The job that runs in it.
    pub programs: &'a GuestPrograms,
    /// An archive of other tools that watch TCP, where a guest has them.
    pub peers: Option<&'a std::path::Path>,
    /// An archive of Prometheus, where a guest has it.
    pub prometheus: Option<&'a std::path::Path>,
    /// Its network cards: arguments of QEMU.
    pub network: &'a [String],
    /// Whose processors run it.
    pub accelerator: Accelerator,
    /// How its clock goes.
    pub mode: Mode,
    /// Append to the kernel's command line.
    pub append: &'a str,
    /// The program to run and its arguments.
    pub command: Vec<String>,
    /// Its environment variables in addition to `PATH` and `HOME`.
    pub env: BTreeMap<String, String>,
    /// Where the console goes.
    pub terminal: Terminal,
    /// None: as long as it takes.
    pub limits: Option<Limits>,
}

/// How a boot ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The guest's command ended and said so.
    Finished {
        /// Its exit code.
        code: i32,
    },
    /// The guest's kernel gave up.
    Panicked {
        /// The end of what the console showed.
        console: String,
    },
    /// No report came in time.
    Hung {
        /// The end of what the console showed.
        console: String,
    },
    /// QEMU ended without a word from the guest.
    Died {
        /// The end of what the console showed, and QEMU's own messages.
        console: String,
    },
}

impl Boot<'_> {
    /// Runs the guest and hands on each report as it comes.
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
        // The reports end when QEMU, which has its own copy of this end, does.
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
        // A person wants to see the command's output; a log wants the kernel's complaints too. At
        // level 0 the kernel would keep even a panic to itself.
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

/// Why no more reports are awaited.
enum End {
    Exit(i32),
    Closed,
    TimedOut,
}

/// A running QEMU, killed when it goes out of scope.
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
                // QEMU stops the machine then, and waits for somebody to look at it.
                if text.contains("KVM internal error") {
                    kill(id);
                }
            })
        });
        Self { child, console, readers: stdout.into_iter().chain(stderr).collect() }
    }

    /// Waits for the machine's end, for a while.
    fn wait(&mut self, limit: Duration) {
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < limit {
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the machine and returns what its console showed.
    fn stop(mut self) -> String {
        self.kill();
        for reader in self.readers.drain(..) {
            // A reader that panicked has nothing more to give.
            drop(reader.join());
        }
        let console = self.console.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        String::from_utf8_lossy(&console).replace('\r', "")
    }

    fn kill(&mut self) {
        // Both fail only for a child that has already ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for RunningQemu {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Appends everything that comes from `from` to `to`, and shows it to `look` as it comes.
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

/// Kills a child that nobody has waited for yet.
fn kill(id: u32) {
    let Ok(id) = i32::try_from(id) else { return };
    // Fails only for a process that has already ended.
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
