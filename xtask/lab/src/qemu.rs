//! The command line of QEMU.

use std::{
    fs::File,
    io::PipeWriter,
    os::fd::{AsRawFd as _, BorrowedFd},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{self, Command},
};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::{prctl, signal::Signal},
};
use xtask_common::arch::Arch;

/// Configuration of a guest's processors and clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Two processors in real time.
    Smp,
    /// Four processors, even on a host that has fewer.
    Smp4,
    /// One processor whose clock counts instructions and skips idle time.
    Icount,
    /// Like `Icount`, with the same random numbers and date each time, so that a boot repeats to
    /// the instruction.
    Repeated,
}

/// The accelerator that runs a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// QEMU's translator. Slow, but works everywhere.
    Tcg,
    /// Hardware virtualization.
    Kvm,
}

/// Connection of the guest's first serial port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Console {
    /// QEMU's stdin and stdout, with every key passed to the guest. Ctrl-A X ends the machine.
    Keyboard,
    /// QEMU's stdin and stdout, unchanged. Ctrl-C ends the machine.
    Stream,
}

/// Configuration of a machine.
pub(crate) struct Machine<'a> {
    pub(crate) arch: &'a Arch,
    pub(crate) image: &'a Path,
    pub(crate) initramfs: &'a File,
    pub(crate) kernel_arguments: &'a str,
    pub(crate) network: &'a [String],
    pub(crate) accelerator: Accelerator,
    pub(crate) mode: Mode,
    pub(crate) memory_mib: u32,
    pub(crate) console: Console,
    pub(crate) reports: &'a PipeWriter,
}

impl Machine<'_> {
    /// Command that runs the machine. The files of `self` must stay open until it has ended.
    pub(crate) fn command(&self) -> Command {
        let mut qemu = Command::new(self.arch.qemu.0);
        qemu.args(self.arch.machine);
        qemu.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
        qemu.args(["-m", &format!("{}M", self.memory_mib)]);
        qemu.args(match self.accelerator {
            Accelerator::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // One thread for all processors. With a thread each, one processor can run code that
            // another one has just replaced, such as the breakpoint that the kernel sets while it
            // patches its own text. The kernel then panics with `Oops: int3`.
            Accelerator::Tcg => ["-accel", "tcg,thread=single", "-cpu", self.arch.processor],
        });
        qemu.args(match self.mode {
            Mode::Smp => &["-smp", "2"][..],
            Mode::Smp4 => &["-smp", "4"],
            Mode::Icount | Mode::Repeated => &["-smp", "1", "-icount", "shift=0,sleep=off"],
        });
        qemu.args(match self.mode {
            Mode::Smp | Mode::Smp4 => &[][..],
            Mode::Icount => &["-rtc", "clock=vm"],
            Mode::Repeated => &["-rtc", "base=2026-01-01,clock=vm", "-seed", "1"],
        });
        // The archive has no name, and is opened through this process.
        let initramfs = format!("/proc/{}/fd/{}", process::id(), self.initramfs.as_raw_fd());
        qemu.arg("-kernel").arg(self.image).args(["-initrd", &initramfs]);
        let Arch { console, kernel_arguments, .. } = self.arch;
        qemu.args([
            "-append",
            &format!(
                "console={console} panic=-1 oops=panic {kernel_arguments} {}",
                self.kernel_arguments
            ),
        ]);
        match self.console {
            Console::Keyboard => {
                qemu.args(["-chardev", "stdio,id=console,mux=on,signal=off"]);
                qemu.args(["-mon", "chardev=console,mode=readline"]);
            }
            Console::Stream => {
                qemu.args(["-chardev", "stdio,id=console"]);
            }
        }
        qemu.args(self.network);
        let reports = self.reports.as_raw_fd();
        let report_file = format!("file,id=reports,path=/dev/fd/{reports}");
        qemu.args(["-serial", "chardev:console", "-chardev", &report_file]);
        qemu.args(self.arch.report_port);

        let prepare = move || {
            // Nobody would end the machine after xtask has died.
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            // SAFETY: the caller keeps this descriptor open until the machine has started.
            let reports = unsafe { BorrowedFd::borrow_raw(reports) };
            fcntl(reports, FcntlArg::F_SETFD(FdFlag::empty()))?;
            Ok(())
        };
        // SAFETY: only system calls are made between fork and exec.
        unsafe { qemu.pre_exec(prepare) };
        qemu
    }
}
