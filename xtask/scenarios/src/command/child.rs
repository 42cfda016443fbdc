//! Traced commands: children of the harness, single-threaded unless noted.

use std::{
    env, fs,
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    os::fd::AsRawFd as _,
    process, thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::{
    libc,
    sys::{
        signal::{SigSet, Signal},
        wait::waitpid,
    },
    unistd::{self, ForkResult, Pid, fork, getppid},
};
use socket2::Socket;

use crate::{
    network::{Family, NOBODY_LISTENS},
    socket::{self, Pair},
};

/// Exit code of the commands.
pub(super) const EXIT_CODE: i32 = 7;

/// Added to the signal number in the exit code of a command that exits on a signal.
pub(super) const ON_SIGNAL: i32 = 32;

/// Path of this program.
pub(super) fn this_program() -> Result<String> {
    Ok(env::current_exe()?.to_str().context("no text")?.to_owned())
}

/// Runs the named command; returns its exit code.
pub(crate) fn main(words: &[&str]) -> Result<i32> {
    match words {
        ["refused"] => refused()?,
        ["orphan"] => orphan()?,
        ["forks", count, every] => forks(count.parse()?, every.parse()?)?,
        ["edges"] => {
            closing()?;
            handed_on()?;
        }
        ["status"] => status()?,
        ["on-signal"] => return on_signal(),
        ["outlive"] => outlive()?,
        ["tree"] => tree()?,
        _ => bail!("no such command: {words:?}"),
    }
    Ok(EXIT_CODE)
}

/// Fails to connect, and prints pid, errno and cause.
fn refused() -> Result<()> {
    let address = Family::Ipv4.loopback();
    let socket = socket::stream(address)?;
    let refused = socket.connect(&SocketAddr::new(address.ip(), NOBODY_LISTENS).into());
    socket::ensure_errno("connect", socket::errno("connect", refused)?, libc::ECONNREFUSED)?;
    // Written in one call, as processes share the pipe.
    io::stdout()
        .write_all(format!("{} ECONNREFUSED connect_refused\n", process::id()).as_bytes())?;
    Ok(())
}

/// Runs `work` in a child of this process.
fn in_child(work: impl FnOnce() -> Result<()>) -> Result<Pid> {
    // SAFETY: this process has one thread, which continues in the child.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let code = match work() {
                Ok(()) => 0,
                Err(error) => {
                    eprintln!("{error:#}");
                    1
                }
            };
            process::exit(code)
        }
    }
}

/// A thread fails, and then a grandchild, after the command has ended.
fn orphan() -> Result<()> {
    thread::spawn(refused).join().map_err(|_| anyhow!("it panicked"))??;
    let command = process::id();
    let middle = in_child(|| {
        let parent = unistd::getpid();
        in_child(move || {
            let is_there = |pid: u32| fs::exists(format!("/proc/{pid}/fd/1"));
            while getppid() == parent || is_there(command)? {
                thread::sleep(Duration::from_millis(1));
            }
            // Longer than the trace takes to notice that the command has ended.
            thread::sleep(Duration::from_secs(1));
            refused()
        })?;
        Ok(())
    })?;
    waitpid(middle, None)?;
    Ok(())
}

/// Starts processes one after the other; one in `every` fails.
fn forks(count: usize, every: usize) -> Result<()> {
    for number in 1..=count {
        let child = in_child(|| if number % every == 0 { refused() } else { Ok(()) })?;
        waitpid(child, None)?;
    }
    Ok(())
}

/// The exit of a process closes a socket that is still connecting, or has an unread error. The
/// reports name the exiting process.
fn closing() -> Result<()> {
    let child = in_child(|| {
        let address = Family::Ipv4.loopback();
        let socket: Socket = socket::stream(address)?;
        socket.set_nonblocking(true)?;
        // Refused by the time the call returns, and the error is never read.
        let begun = socket.connect(&SocketAddr::new(address.ip(), NOBODY_LISTENS).into());
        ensure!(begun.is_err(), "connected");
        println!("{}", process::id());
        std::mem::forget(socket);
        Ok(())
    })?;
    waitpid(child, None)?;
    Ok(())
}

/// A connection that a child has inherited is reset while the child does something else.
fn handed_on() -> Result<()> {
    let Pair { client, server } = Pair::new(Family::Ipv4.loopback())?;
    let (mut reset, resetter) = io::pipe()?;
    // The child inherits both ends of the pipe and of the connection, and keeps those that it needs.
    let sockets = [client, server];
    let (client_fd, resetter_fd) = (sockets[0].as_raw_fd(), resetter.as_raw_fd());
    let child = in_child(|| {
        unistd::close(client_fd)?;
        unistd::close(resetter_fd)?;
        println!("{}", process::id());
        // Blocks in a call that is not on the socket.
        ensure!(reset.read(&mut [0])? == 0, "a byte came");
        Ok(())
    })?;
    let [client, server] = sockets;
    drop(server);
    socket::close_with_reset(client)?;
    drop(resetter);
    waitpid(child, None)?;
    Ok(())
}

/// Prints the status of this process: ids, privileges, environment, descriptors and nice value.
fn status() -> Result<()> {
    print!("{}", fs::read_to_string("/proc/self/status")?);
    for name in ["HOME", "USER", "LOGNAME", "SOME"] {
        println!("{name}: {}", env::var(name).unwrap_or_default());
    }
    println!("cwd: {}", env::current_dir()?.display());
    // Each descriptor is checked, because listing the directory would open one more.
    let is_open = |fd: &i32| {
        // SAFETY: takes numbers.
        unsafe { libc::fcntl(*fd, libc::F_GETFD) != -1 }
    };
    // The only descriptor that this child itself has opened is a copy of its stdin, see `child::main`.
    let own = libc::STDERR_FILENO + 1;
    let fds: Vec<_> =
        (0..1_024).filter(is_open).filter(|fd| *fd != own).map(|fd| fd.to_string()).collect();
    println!("fds: {}", fds.join(" "));
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("no fields")?;
    println!("nice: {}", fields.split_whitespace().nth(16).context("no nice")?);
    Ok(())
}

/// Reports on stdin that it is ready, waits for a signal, and fails.
fn on_signal() -> Result<i32> {
    let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];
    let mask: SigSet = signals.into_iter().collect();
    mask.thread_block()?;
    ready()?;
    let signal = mask.wait()?;
    refused()?;
    Ok(ON_SIGNAL + signal as i32)
}

fn ready() -> Result<()> {
    unistd::write(io::stdin(), b"r")?;
    Ok(())
}

/// Reports that it is ready, and again some time after its parent has ended.
fn outlive() -> Result<()> {
    let parent = getppid();
    ready()?;
    while getppid() == parent {
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(Duration::from_millis(500));
    ready()
}

/// Starts two processes; all three fail once there is a byte for each.
fn tree() -> Result<()> {
    let wait_and_fail = || {
        // Unbuffered: a buffer would read all bytes.
        unistd::read(io::stdin(), &mut [0])?;
        refused()
    };
    let children = [in_child(wait_and_fail)?, in_child(wait_and_fail)?];
    wait_and_fail()?;
    for child in children {
        waitpid(child, None)?;
    }
    Ok(())
}
