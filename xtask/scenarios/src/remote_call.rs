//! System calls made in another process through ptrace: its restrictions are tested by trying.

use std::{
    ffi::{c_long, c_void},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    libc,
    sys::{
        ptrace,
        signal::Signal,
        wait::{WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// An argument of a call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Argument<'a> {
    Number(i64),
    /// The address of these bytes.
    Bytes(&'a [u8]),
}

/// Distance below the stack pointer at which bytes are placed: beyond the 128 bytes of the red zone.
const BELOW: u64 = 4_096;

/// Room for each argument's bytes.
const ROOM: u64 = 512;

const WORD: usize = size_of::<c_long>();

/// The `syscall` instruction.
const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// Number of attempts to stop the process in a system call, and the time between them.
const LOOKS: usize = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// A process stopped in a system call.
pub(super) struct Caller {
    pid: Pid,
    saved: libc::user_regs_struct,
}

impl Caller {
    /// Stops the first thread of a process once it waits in a system call.
    pub(super) fn stop(pid: u32) -> Result<Self> {
        let pid = Pid::from_raw(i32::try_from(pid)?);
        for _ in 0..LOOKS {
            ptrace::attach(pid).context("cannot debug it")?;
            let stopped = waitpid(pid, None)?;
            ensure!(matches!(stopped, WaitStatus::Stopped(..)), "not stopped: {stopped:?}");
            let saved = ptrace::getregs(pid)?;
            let before = ptrace::read(pid, address(saved.rip - 2))?.to_le_bytes();
            if before[..2] == SYSCALL {
                return Ok(Self { pid, saved });
            }
            ptrace::detach(pid, None)?;
            thread::sleep(PAUSE);
        }
        bail!("it does not wait in a system call")
    }

    /// Makes a call and returns its result; a negative number is an errno.
    pub(super) fn call(&self, number: c_long, arguments: &[Argument<'_>]) -> Result<i64> {
        let mut values = [0_u64; 6];
        for ((value, argument), place) in values.iter_mut().zip(arguments).zip(0_u64..) {
            *value = match *argument {
                Argument::Number(number) => number.cast_unsigned(),
                Argument::Bytes(bytes) => {
                    let at = self.saved.rsp - BELOW + place * ROOM;
                    self.write(at, bytes)?;
                    at
                }
            };
        }
        let [rdi, rsi, rdx, r10, r8, r9] = values;
        let rip = self.saved.rip - 2;
        // Marks that the kernel has no interrupted call to restart.
        let orig_rax = u64::MAX;
        let rax = number.cast_unsigned();
        let regs =
            libc::user_regs_struct { rip, orig_rax, rax, rdi, rsi, rdx, r10, r8, r9, ..self.saved };
        ptrace::setregs(self.pid, regs)?;
        ptrace::step(self.pid, None)?;
        let stepped = waitpid(self.pid, None)?;
        ensure!(
            matches!(stepped, WaitStatus::Stopped(_, Signal::SIGTRAP)),
            "the call {number} did not return: {stepped:?}"
        );
        Ok(ptrace::getregs(self.pid)?.rax.cast_signed())
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        for (chunk, place) in bytes.chunks(WORD).zip((at..).step_by(WORD)) {
            let mut word = [0; WORD];
            word[..chunk.len()].copy_from_slice(chunk);
            ptrace::write(self.pid, address(place), c_long::from_le_bytes(word))?;
        }
        Ok(())
    }
}

impl Drop for Caller {
    /// Restores the registers and lets the process continue.
    fn drop(&mut self) {
        let restored = ptrace::setregs(self.pid, self.saved);
        if let Err(error) = restored.and_then(|()| ptrace::detach(self.pid, None)) {
            eprintln!("cannot let {} go on: {error}", self.pid);
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "as wide on the machines that have these registers"
)]
const fn address(number: u64) -> *mut c_void {
    std::ptr::without_provenance_mut(number as usize)
}
