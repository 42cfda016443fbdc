//! Process 1: sets the guest up, runs its one job, reports the exit code and powers off. Where
//! systemd is process 1, a service that does the same without the setup.

use std::{
    ffi::CString,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    errno::Errno,
    kmod::{ModuleInitFlags, finit_module},
    libc,
    mount::{MsFlags, mount},
    sys::{
        reboot::{RebootMode, reboot},
        termios::{self, OutputFlags, SetArg},
        wait::{WaitStatus, waitpid},
    },
    unistd::{self, Pid},
};
use xtask_common::{
    job::{self, Job},
    report::{self, Report, Reporter},
};

use super::ports;

/// Exit code reported when the guest itself fails.
const FAILED: i32 = 125;

/// Type, mount point and options of each file system.
const MOUNTS: [(&str, &str, &str); 11] = [
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", ""),
    ("tmpfs", "/run", "mode=755"),
    ("tmpfs", "/tmp", ""),
    ("devpts", "/dev/pts", ""),
    ("tmpfs", "/dev/shm", ""),
    ("securityfs", "/sys/kernel/security", ""),
    ("tracefs", "/sys/kernel/tracing", ""),
    ("debugfs", "/sys/kernel/debug", ""),
    ("cgroup2", "/sys/fs/cgroup", ""),
];

const BPF_FILE_SYSTEM: (&str, &str, &str) = ("bpf", "/sys/fs/bpf", "mode=700");

/// Sets up the guest and runs its job. Does not return.
pub(crate) fn main() -> ! {
    end(set_up().and_then(|()| report(&Report::Up)).and_then(|()| run_job()))
}

/// Runs the job in a system that another init has set up. Does not return.
pub(crate) fn service() -> ! {
    let set_up = set_up_ports().and_then(|()| load_modules());
    end(set_up.and_then(|()| report(&Report::Up)).and_then(|()| run_job()))
}

fn end(result: Result<i32>) -> ! {
    let code = result.unwrap_or_else(|error| {
        eprintln!("init: {error:#}");
        let text = format!("the guest could not be set up: {error:#}");
        // If the port is broken too, the message above has to suffice.
        drop(report(&Report::Note { text }));
        FAILED
    });
    if let Err(error) = report(&Report::Exit { code }) {
        eprintln!("init: cannot report the exit code {code}: {error:#}");
    }
    // The kernel reports powering off as an emergency on every console.
    if let Err(error) = fs::write("/proc/sys/kernel/printk", "0") {
        eprintln!("init: cannot silence the kernel: {error}");
    }
    let Err(error) = reboot(RebootMode::RB_POWER_OFF);
    eprintln!("init: cannot power off: {error}");
    // Powering off takes time, and the kernel would panic if init returned.
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

fn set_up() -> Result<()> {
    for (kind, place, options) in MOUNTS.into_iter().chain([BPF_FILE_SYSTEM]) {
        mount_at(kind, place, options)?;
    }
    set_up_ports()?;
    set_up_system()?;
    load_modules()
}

fn mount_at(kind: &str, place: &str, options: &str) -> Result<()> {
    // Mount points below /sys exist only if the kernel has the feature.
    if !place.starts_with("/sys/") {
        fs::create_dir_all(place).with_context(|| format!("cannot create {place}"))?;
    }
    match mount(Some(kind), place, Some(kind), MsFlags::empty(), Some(options)) {
        Err(Errno::ENODEV | Errno::ENOENT) if place.starts_with("/sys/") => Ok(()),
        result => result.with_context(|| format!("cannot mount {kind} at {place}")),
    }
}

/// Makes the kernel pass bytes through both serial ports unchanged.
fn set_up_ports() -> Result<()> {
    let reports = ports::reports();
    for path in [&ports::console(), &reports] {
        let port = open_port(path)?;
        let context = || format!("cannot set up {path}");
        let mut settings = termios::tcgetattr(&port).with_context(context)?;
        if *path == reports {
            termios::cfmakeraw(&mut settings);
        } else {
            // The terminal on the host adds carriage returns itself.
            settings.output_flags.remove(OutputFlags::ONLCR);
        }
        termios::tcsetattr(&port, SetArg::TCSANOW, &settings).with_context(context)?;
        // The settings last only while the port is open.
        std::mem::forget(port);
    }
    Ok(())
}

fn open_port(path: &str) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NOCTTY);
    options.open(path).with_context(|| format!("cannot open {path}"))
}

fn set_up_system() -> Result<()> {
    unistd::sethostname("guest").context("cannot set the host name")?;
    for (link, target) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ] {
        if !Path::new(link).exists() {
            std::os::unix::fs::symlink(target, link)
                .with_context(|| format!("cannot create {link}"))?;
        }
    }
    // busybox does not overwrite existing commands, which do more than its own.
    run_program(Command::new("/bin/busybox").args(["--install", "-s", "/bin"]))?;
    run_program(Command::new("/bin/ip").args(["link", "set", "lo", "up"]))
}

fn run_program(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_owned();
    match command.status().with_context(|| format!("cannot run {}", name.display()))? {
        status if status.success() => Ok(()),
        status => bail!("{} failed ({status})", name.display()),
    }
}

fn load_modules() -> Result<()> {
    let list = match fs::read_to_string(job::MODULES) {
        // A complete system may need none.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        list => list.with_context(|| format!("cannot read {}", job::MODULES))?,
    };
    for path in list.lines() {
        let module = File::open(path).with_context(|| format!("cannot open {path}"))?;
        match finit_module(&module, &CString::default(), ModuleInitFlags::empty()) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => {
                // A kernel under lockdown only loads signed modules: report that, and leave it to
                // the job to find what is missing.
                report(&Report::Note { text: format!("cannot load {path}: {error}") })?;
            }
        }
    }
    Ok(())
}

fn run_job() -> Result<i32> {
    let job = fs::read(job::PATH).with_context(|| format!("cannot read {}", job::PATH))?;
    let job: Job =
        serde_json::from_slice(&job).with_context(|| format!("{} is no job", job::PATH))?;
    let mut session = Command::new("/init");
    session.arg("session").args(&job.command).current_dir("/root");
    session.env("PATH", "/usr/local/bin:/bin:/sbin:/usr/bin:/usr/sbin").env("HOME", "/root");
    session.env(report::VARIABLE, ports::reports());
    let session = session.envs(&job.env).spawn().context("cannot start a session")?;
    let session = Pid::from_raw(i32::try_from(session.id())?);
    // Orphaned processes are reaped here too.
    loop {
        match waitpid(None, None).context("cannot wait for the job")? {
            WaitStatus::Exited(pid, code) if pid == session => return Ok(code),
            WaitStatus::Signaled(pid, signal, _) if pid == session => {
                return Ok(128 + signal as i32);
            }
            _ => {}
        }
    }
}

fn report(report: &Report) -> Result<()> {
    Reporter::open(&ports::reports())?.send(report)?;
    Ok(())
}
