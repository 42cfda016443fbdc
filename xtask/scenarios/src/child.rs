//! Child processes that write to an inherited socket, or act as peers.
//!
//! A child runs this same program. Its standard input is the socket. It prints the errno of each
//! call that returns, so a missing one identifies the call in which a deadly signal came.

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::process::ExitStatusExt as _,
    },
    process::{Child, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::{
    libc,
    sched::{CloneFlags, unshare},
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
};
use socket2::Socket;

use super::{
    command, daemon, demo, flood, handover, history, inherit, iouring, listener, network::Family,
    owner, socket, system, tables, unix,
};

/// SIGPIPE disposition of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disposition {
    /// The disposition that every program starts with.
    Default,
    Ignored,
    Handled,
    Blocked,
}

/// Call by which a child writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Write,
    Writev,
    /// send with `MSG_NOSIGNAL`.
    SendNoSignal,
    Sendfile,
    UringSend,
    UringWrite,
}

/// Options in the order of their names.
const DISPOSITIONS: [(&str, Disposition); 4] = [
    ("default", Disposition::Default),
    ("ignored", Disposition::Ignored),
    ("handled", Disposition::Handled),
    ("blocked", Disposition::Blocked),
];
const HOWS: [(&str, How); 6] = [
    ("write", How::Write),
    ("writev", How::Writev),
    ("send-no-signal", How::SendNoSignal),
    ("sendfile", How::Sendfile),
    ("uring-send", How::UringSend),
    ("uring-write", How::UringWrite),
];

/// Number of bytes per write.
pub(super) const WRITTEN: usize = b"hello".len();

/// Number of writes of a child.
const WRITES: usize = 2;

/// Outcome of a child.
#[derive(Debug)]
pub(super) struct ChildOutcome {
    pub(super) pid: u32,
    /// Errno of each call that returned; 0 for success.
    pub(super) errnos: Vec<i32>,
    /// Signal that killed the child.
    pub(super) killed_by: Option<i32>,
}

impl ChildOutcome {
    /// Errno of the only call.
    pub(super) fn errno(&self) -> Result<i32> {
        let [errno] = self.errnos[..] else { bail!("the child got {:?}", self.errnos) };
        Ok(errno)
    }
}

/// Runs a child that writes to the socket.
pub(super) fn write(socket: &Socket, how: How, disposition: Disposition) -> Result<ChildOutcome> {
    finish(start(&write_words(how, disposition), socket.as_fd().try_clone_to_owned()?)?)
}

/// Runs the same child as init of its own PID namespace.
pub(super) fn write_as_init(
    socket: &Socket,
    how: How,
    disposition: Disposition,
) -> Result<ChildOutcome> {
    let socket = socket.as_fd().try_clone_to_owned()?;
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // Affects this thread's children, not the thread itself.
            unshare(CloneFlags::CLONE_NEWPID).context("cannot make a process namespace")?;
            finish(start(&write_words(how, disposition), socket)?)
        });
        thread.join().map_err(|_| anyhow!("a thread panicked"))?
    })
}

fn write_words(how: How, disposition: Disposition) -> [&'static str; 3] {
    let (how, _) = HOWS[HOWS.iter().position(|(_, value)| *value == how).unwrap_or_default()];
    let disposition = DISPOSITIONS.iter().position(|(_, value)| *value == disposition);
    ["write", how, DISPOSITIONS[disposition.unwrap_or_default()].0]
}

/// Starts a child with this standard input.
pub(super) fn start(words: &[&str], stdin: OwnedFd) -> Result<Child> {
    start_program("/proc/self/exe", words, stdin)
}

/// Starts a copy of this program as a child.
pub(super) fn start_program(program: &str, words: &[&str], stdin: OwnedFd) -> Result<Child> {
    let mut command = Command::new(program);
    command.arg("child").args(words).stdin(stdin).stdout(Stdio::piped());
    command.spawn().context("cannot start a child")
}

/// Waits for a child to end.
pub(super) fn finish(mut child: Child) -> Result<ChildOutcome> {
    let mut text = String::new();
    let mut stdout: ChildStdout = child.stdout.take().context("no stdout")?;
    stdout.read_to_string(&mut text)?;
    let status = child.wait()?;
    ensure!(status.success() || status.signal().is_some(), "the child ended with {status}");
    let errnos = text.lines().map(str::parse).collect::<Result<_, _>>();
    let errnos = errnos.with_context(|| format!("the child says {text:?}"))?;
    Ok(ChildOutcome { pid: child.id(), errnos, killed_by: status.signal() })
}

/// Runs the action of a child.
pub(super) fn main(args: &[String]) -> Result<i32> {
    demo::take_name()?;
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let stdin = io::stdin().as_fd().try_clone_to_owned()?;
    match words.as_slice() {
        ["write", how, disposition] => {
            let how = value(&HOWS, how)?;
            let disposition = value(&DISPOSITIONS, disposition)?;
            disposition.establish()?;
            write_repeatedly(&Socket::from(stdin), how)?;
            disposition.check()?;
        }
        ["connect", address] => {
            Socket::from(stdin).connect(&address.parse::<SocketAddr>()?.into())?;
        }
        ["try", call, address] => {
            let (socket, address) = (Socket::from(stdin), address.parse::<SocketAddr>()?.into());
            let result = match *call {
                "connect" => socket.connect(&address),
                "bind" => socket.bind(&address),
                "listen" => socket.listen(1),
                _ => bail!("no such call: {call}"),
            };
            println!("{}", socket::errno(call, result)?);
        }
        ["write-passed"] => write_repeatedly(&inherit::receive(&stdin)?, How::SendNoSignal)?,
        ["connect-in", cgroup, address] => {
            println!("{}", owner::connect_in(cgroup, &Socket::from(stdin), address.parse()?)?);
        }
        ["fill-in", cgroup, address] => {
            owner::fill_in(cgroup, &Socket::from(stdin), address.parse()?)?;
        }
        ["serve-in", cgroup] => println!("{}", owner::serve_in(cgroup, &Socket::from(stdin))?),
        ["wait-for-end", way] => println!("{}", handover::wait_for_end(way, &stdin.into())?),
        ["wait-passed", way] => {
            println!("{}", handover::wait_for_end(way, &inherit::receive(&stdin)?)?);
        }
        ["fail-in", cgroup, scenario, count] => history::fail_in(cgroup, scenario, count.parse()?)?,
        ["crowd-in", cgroup] => tables::crowd_in(cgroup)?,
        ["reject-in", cgroup, count] => flood::reject_in(cgroup, count.parse()?)?,
        ["reset", count] => daemon::resets(Family::Ipv4, count.parse()?)?,
        ["hold", count] => handover::hold(count.parse()?)?,
        ["answer-by-cookies"] => listener::answer_by_cookies_elsewhere(stdin.into())?,
        ["command", words @ ..] => return command::child::main(words),
        ["end"] => {}
        ["end-with-pair"] => unix::end_with_pair()?,
        // Runs until it is killed.
        ["keep"] => thread::sleep(Duration::from_hours(1)),
        // Listens until it is killed.
        ["listen-at", path, limit] => system::listen_at(path, limit.parse()?)?,
        ["stop"] => println!("{}", handover::stop(&stdin.into())?),
        ["connect-and-exec", address] => {
            handover::connect_and_exec(address.parse()?, &stdin.into())?;
        }
        ["connect-and-end-thread", address] => {
            handover::connect_and_end_thread(address.parse()?, stdin.into())?;
        }
        ["peer", end, address] => inherit::be_peer(address.parse()?, end)?,
        _ => bail!("no such child: {args:?}"),
    }
    Ok(0)
}

fn value<T: Copy>(options: &[(&str, T)], name: &str) -> Result<T> {
    let found = options.iter().find(|(option, _)| *option == name);
    Ok(found.with_context(|| format!("no such option: {name}"))?.1)
}

fn write_repeatedly(socket: &Socket, how: How) -> Result<()> {
    for _ in 0..WRITES {
        let errno = match how.write(socket) {
            Ok(_) => {
                // The peer's kernel answers with an RST.
                socket::until_reset(socket)?;
                0
            }
            Err(error) => error.raw_os_error().context("no errno")?,
        };
        let mut stdout = io::stdout();
        writeln!(stdout, "{errno}")?;
        stdout.flush()?;
    }
    Ok(())
}

impl How {
    fn write(self, mut socket: &Socket) -> io::Result<usize> {
        match self {
            Self::Write => socket.write(b"hello"),
            Self::Writev => socket.write_vectored(&[io::IoSlice::new(b"hello")]),
            Self::SendNoSignal => socket::write(socket),
            Self::Sendfile => sendfile(socket),
            Self::UringSend => iouring::send(socket),
            Self::UringWrite => iouring::write(socket),
        }
    }
}

fn sendfile(socket: &Socket) -> io::Result<usize> {
    let file = std::fs::File::open("/proc/self/exe")?;
    let offset = std::ptr::null_mut();
    // SAFETY: both descriptors are open, and a null offset stands for the file's own.
    let count = unsafe { libc::sendfile(socket.as_raw_fd(), file.as_raw_fd(), offset, 16) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Whether the SIGPIPE handler ran.
static HANDLED: AtomicBool = AtomicBool::new(false);

extern "C" fn handle(_: libc::c_int) {
    HANDLED.store(true, Ordering::Relaxed);
}

impl Disposition {
    fn establish(self) -> Result<()> {
        // Rust programs start with SIGPIPE ignored.
        let handler = match self {
            Self::Default | Self::Blocked => SigHandler::SigDfl,
            Self::Ignored => SigHandler::SigIgn,
            Self::Handled => SigHandler::Handler(handle),
        };
        let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler only stores a flag.
        unsafe { sigaction(Signal::SIGPIPE, &action) }?;
        if self == Self::Blocked {
            sigpipe().thread_block()?;
        }
        Ok(())
    }

    /// Checks that the signal had the expected effect.
    fn check(self) -> Result<()> {
        if self == Self::Handled {
            ensure!(HANDLED.load(Ordering::Relaxed), "the handler of SIGPIPE did not run");
        }
        if self == Self::Blocked {
            // Returns at once if the signal is pending.
            ensure!(sigpipe().wait()? == Signal::SIGPIPE, "SIGPIPE is not pending");
        }
        Ok(())
    }
}

fn sigpipe() -> SigSet {
    SigSet::from(Signal::SIGPIPE)
}
