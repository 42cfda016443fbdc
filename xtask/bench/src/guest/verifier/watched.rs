//! A process that is traced while it loads programs.

use std::{
    fs::{self, File},
    os::unix::{fs::FileExt as _, process::CommandExt as _},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use aya_obj::generated::bpf_cmd::BPF_PROG_LOAD;
use nix::{
    libc,
    sys::{
        ptrace::{self, Options},
        signal::Signal,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use super::Verified;
use crate::guest::bpf;

/// Log level that requests only the verifier's statistics (`BPF_LOG_STATS`).
const LOG_STATS: u32 = 4;

/// Size of the log buffer: more than the statistics take, with the extra lines of some kernels.
const LOG_BYTES: usize = 64 * 1024;

/// Distance from the stack pointer down to the log buffer: more than the buffer's size and the red
/// zone.
const BELOW_STACK: u64 = 96 * 1024;

/// Offsets of members of the kernel's `union bpf_attr` for `BPF_PROG_LOAD`.
const LOG_LEVEL: usize = 24;
const NAME: usize = 48;
const ATTR_BYTES: usize = 64;

/// Pause between polls when nothing happens.
const PAUSE: Duration = Duration::from_millis(1);

/// Longest time for the process to get ready; tracing slows it down.
const PATIENCE: Duration = Duration::from_mins(5);

/// Starts a process, and returns the verifier's statistics about each program that it loads until
/// `is_ready` returns true. Then kills the process.
///
/// # Errors
///
/// When the process cannot be started or traced, or ends before it is ready.
pub fn watch(
    command: &mut Command,
    is_ready: impl FnMut() -> Result<bool> + Send,
) -> Result<Vec<Verified>> {
    // SAFETY: only one system call is made between fork and exec.
    unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
    // Traced from a separate thread: when that thread ends, the kernel kills the traced threads,
    // and none of them is left for it to wait for.
    let traced = thread::scope(|scope| scope.spawn(|| trace(command, is_ready)).join());
    let (mut child, verified) = traced.map_err(|_| anyhow!("the tracing thread panicked"))??;
    // The process may have ended already.
    drop(child.kill());
    child.wait()?;
    verified
}

/// Starts the process, and traces it until it is ready.
fn trace(
    command: &mut Command,
    mut is_ready: impl FnMut() -> Result<bool>,
) -> Result<(Child, Result<Vec<Verified>>)> {
    let child = command.spawn().context("cannot start what is to be watched")?;
    let process = Pid::from_raw(child.id().cast_signed());
    let verified = Watched::begin(process).and_then(|watched| watched.until(&mut is_ready));
    Ok((child, verified))
}

struct Watched {
    process: Pid,
    memory: File,
    threads: Vec<Thread>,
    verified: Vec<Verified>,
}

struct Thread {
    id: Pid,
    /// The call in progress that loads a program, if any.
    load: Option<Load>,
}

/// A call that loads a program, with a log added to it.
struct Load {
    name: String,
    attr: u64,
    log: u64,
}

impl Watched {
    fn begin(process: Pid) -> Result<Self> {
        // It stops after its exec.
        waitpid(process, None)?;
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_EXITKILL;
        ptrace::setoptions(process, options)?;
        ptrace::syscall(process, None)?;
        let memory = File::options().read(true).write(true).open(format!("/proc/{process}/mem"))?;
        let threads = vec![Thread { id: process, load: None }];
        Ok(Self { process, memory, threads, verified: Vec::new() })
    }

    fn until(mut self, is_ready: &mut impl FnMut() -> Result<bool>) -> Result<Vec<Verified>> {
        let began = Instant::now();
        loop {
            let mut is_quiet = true;
            let mut index = 0;
            while let Some(thread) = self.threads.get(index).map(|thread| thread.id) {
                let flags = WaitPidFlag::__WALL | WaitPidFlag::WNOHANG;
                match waitpid(thread, Some(flags))? {
                    WaitStatus::StillAlive => index += 1,
                    WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {
                        self.threads.remove(index);
                    }
                    stopped => {
                        self.go_on(index, stopped)?;
                        is_quiet = false;
                        index += 1;
                    }
                }
            }
            if self.threads.is_empty() {
                bail!("it ended before it was ready");
            }
            if is_quiet {
                if is_ready()? {
                    return Ok(self.verified);
                }
                if began.elapsed() > PATIENCE {
                    bail!("it does not get ready");
                }
                thread::sleep(PAUSE);
            }
        }
    }

    /// Handles what stopped a thread, and resumes it.
    fn go_on(&mut self, index: usize, stopped: WaitStatus) -> Result<()> {
        let id = self.threads[index].id;
        let signal = match stopped {
            WaitStatus::PtraceSyscall(_) => {
                self.look_at_call(index)?;
                None
            }
            WaitStatus::PtraceEvent(..) => {
                let new = Pid::from_raw(i32::try_from(ptrace::getevent(id)?)?);
                self.threads.push(Thread { id: new, load: None });
                None
            }
            // The initial stop of a new thread.
            WaitStatus::Stopped(_, Signal::SIGSTOP) => None,
            WaitStatus::Stopped(_, signal) => Some(signal),
            _ => None,
        };
        Ok(ptrace::syscall(id, signal)?)
    }

    fn look_at_call(&mut self, index: usize) -> Result<()> {
        let info = ptrace::syscall_info(self.threads[index].id)?;
        match info.op {
            libc::PTRACE_SYSCALL_INFO_ENTRY => {
                // SAFETY: `op` identifies this member as the one that the kernel has written.
                let entry = unsafe { info.u.entry };
                let is_load = entry.nr == libc::SYS_bpf.cast_unsigned()
                    && entry.args[0] == u64::from(BPF_PROG_LOAD as u32)
                    && entry.args[2] >= ATTR_BYTES as u64;
                self.threads[index].load =
                    if is_load { self.add_log(entry.args[1], info.stack_pointer)? } else { None };
            }
            libc::PTRACE_SYSCALL_INFO_EXIT => {
                // SAFETY: `op` identifies this member as the one that the kernel has written.
                let exit = unsafe { info.u.exit };
                if let Some(load) = self.threads[index].load.take() {
                    let descriptor = (exit.is_error == 0).then_some(exit.sval);
                    self.take_log(load, descriptor)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Has the verifier write its statistics, unless the process requests a log itself.
    fn add_log(&self, attr: u64, stack_pointer: u64) -> Result<Option<Load>> {
        let mut bytes = [0; ATTR_BYTES];
        self.memory.read_exact_at(&mut bytes, attr)?;
        if bytes[LOG_LEVEL..LOG_LEVEL + 4] != [0; 4] {
            return Ok(None);
        }
        let name = bytes[NAME..].split(|byte| *byte == 0).next().unwrap_or_default();
        let name = String::from_utf8_lossy(name).into_owned();

        let log = (stack_pointer - BELOW_STACK) & !0xfff;
        self.set_log(attr, LOG_STATS, LOG_BYTES, log)?;
        Ok(Some(Load { name, attr, log }))
    }

    /// Reads the statistics about an accepted program, given its descriptor.
    fn take_log(&mut self, load: Load, descriptor: Option<i64>) -> Result<()> {
        self.set_log(load.attr, 0, 0, 0)?;
        let Some(descriptor) = descriptor else { return Ok(()) };
        let mut log = vec![0; LOG_BYTES];
        self.memory.read_exact_at(&mut log, load.log)?;
        let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
        let log = String::from_utf8_lossy(&log[..end]);
        let about = fs::read_to_string(format!("/proc/{}/fdinfo/{descriptor}", self.process))?;
        let id = about.lines().find_map(|line| line.strip_prefix("prog_id:"));
        let code = bpf::code(id.context("a program without an id")?.trim().parse()?)?;
        let verified = Verified::read(load.name, &log, &code)
            .with_context(|| format!("what does the verifier mean by {log}"))?;
        self.verified.push(verified);
        Ok(())
    }

    /// Sets `log_level`, `log_size` and `log_buf`.
    fn set_log(&self, attr: u64, level: u32, size: usize, buffer: u64) -> Result<()> {
        let mut bytes = level.to_ne_bytes().to_vec();
        bytes.extend(u32::try_from(size)?.to_ne_bytes());
        bytes.extend(buffer.to_ne_bytes());
        Ok(self.memory.write_all_at(&bytes, attr + LOG_LEVEL as u64)?)
    }
}
