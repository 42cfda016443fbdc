//! Sockets that change hands: the process that waits for one gets its error, and no other may be named.

use std::{
    fs,
    io::{self, Read as _},
    net::SocketAddr,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{self, Child, Command},
    sync::mpsc::channel,
    thread,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::{
    libc,
    sys::{
        resource::{Resource, setrlimit},
        signal::{Signal, kill, raise},
    },
    unistd::{Pid, gettid},
};
use serde_json::Value;
use socket2::Socket;
use socktrace_diagnosis::Cause;

use super::{
    child,
    expected::Expected,
    inherit,
    network::{Family, on_lonely_host},
    process::Process,
    socket::{self, Ends, Pair},
    tracer::Tracer,
};

/// Sent by a process when it has the socket.
const GREETING: &[u8] = b"x";

/// Ways to wait for a socket.
const WAYS: [&str; 3] = ["read", "poll", "epoll"];

/// A connection is accepted, and a child that inherits it waits for it.
pub(super) fn inherited(family: Family) -> Result<Vec<Expected>> {
    waited_for(family, |way, server| child::start(&["wait-for-end", way], server.into()))
}

/// A connection is accepted and passed over a Unix socket, and the receiver waits for it.
pub(super) fn passed(family: Family) -> Result<Vec<Expected>> {
    waited_for(family, |way, server| inherit::pass(&["wait-passed", way], &server))
}

/// Runs a reset for each way to wait. `hand_over` starts a child that waits for the socket that
/// way, and does not keep the socket.
fn waited_for(
    family: Family,
    hand_over: impl Fn(&str, Socket) -> Result<Child>,
) -> Result<Vec<Expected>> {
    WAYS.iter()
        .map(|way| {
            let Pair { client, server } = Pair::new(family.loopback())?;
            let ends = Ends::of_server(&server)?;
            let child = hand_over(way, server)?;
            socket::receive(&client, GREETING)?;
            until_state(child.id(), child.id(), 'S')?;
            socket::close_with_reset(client)?;
            let outcome = child::finish(child)?;
            Ok(reset(outcome.errno()?, ends).by(Process::child(outcome.pid)).known_as(&["waiter"]))
        })
        .collect()
}

/// The child is busy elsewhere when the connection is reset: no process is named.
pub(super) fn inherited_and_busy(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_server(&server)?;
    let child = child::start(&["stop"], server.into())?;
    socket::receive(&client, GREETING)?;
    until_state(child.id(), child.id(), 'T')?;
    socket::close_with_reset(client)?;
    kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGCONT)?;
    let outcome = child::finish(child)?;
    let failure = reset(outcome.errno()?, ends).unaccepted();
    Ok(vec![failure.with("owner_unknown", "handed_on")])
}

/// A process connects and executes another program, whose name is reported.
pub(super) fn other_program(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let address = socket::local(&listener)?;
    let client = OwnedFd::from(socket::stream(address)?);
    let child = child::start(&["connect-and-exec", &address.to_string()], client)?;
    let (server, _) = listener.accept()?;
    let ends = Ends::of_server(&server)?.reversed();
    socket::receive(&server, GREETING)?;
    until_state(child.id(), child.id(), 'T')?;
    socket::close_with_reset(server)?;
    kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGCONT)?;
    let outcome = child::finish(child)?;
    let failure = reset(outcome.errno()?, ends).by(Process::child(outcome.pid));
    Ok(vec![failure.known_as(&["holder"])])
}

/// The first thread of a process connects and exits. Another thread still has the
/// socket, without waiting for it.
pub(super) fn first_thread_ended(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let address = socket::local(&listener)?;
    let client = OwnedFd::from(socket::stream(address)?);
    let child = child::start(&["connect-and-end-thread", &address.to_string()], client)?;
    let (server, _) = listener.accept()?;
    let ends = Ends::of_server(&server)?.reversed();
    socket::receive(&server, GREETING)?;
    let mut tid = [0; 4];
    (&server).read_exact(&mut tid)?;
    until_state(child.id(), u32::from_ne_bytes(tid), 'T')?;
    socket::close_with_reset(server)?;
    kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGCONT)?;
    let outcome = child::finish(child)?;
    // The executable is gone with the memory of the first thread.
    let process = Process { executable: None, ..Process::child(outcome.pid) };
    Ok(vec![reset(outcome.errno()?, ends).by(process).known_as(&["holder"])])
}

/// One thread opens connections, and others wait for them.
pub(super) fn threads(family: Family) -> Result<Vec<Expected>> {
    const NAMES: [&str; 2] = ["pool-1", "pool-2"];
    let mut expected = Vec::new();
    for name in NAMES {
        let Pair { client, server } = Pair::new(family.loopback())?;
        let ends = Ends::of_server(&server)?;
        let (said, tid) = channel();
        let waiting = thread::Builder::new().name(name.to_owned()).spawn(move || {
            // The main thread waits for it.
            let _gone = said.send(gettid());
            socket::read_errno(&server)
        })?;
        let tid = u32::try_from(tid.recv()?.as_raw())?;
        until_state(process::id(), tid, 'S')?;
        socket::close_with_reset(client)?;
        let errno = waiting.join().map_err(|_| anyhow!("a thread panicked"))??;
        let thread = Process { tid, comm: name.to_owned(), ..Process::this() };
        expected.push(reset(errno, ends).by(thread).known_as(&["waiter"]));
    }
    Ok(expected)
}

/// Two hosts use the same addresses and ports.
pub(super) fn same_addresses(family: Family) -> Result<Vec<Expected>> {
    // Any ports are free on two hosts without other programs.
    const SERVER: u16 = 7_777;
    const CLIENT: u16 = 7_778;
    let fail = || {
        on_lonely_host(|| {
            let at = |port| SocketAddr::new(family.loopback().ip(), port);
            let listener = socket::listener(at(SERVER), 1)?;
            let client = socket::bound(at(CLIENT))?;
            client.connect(&at(SERVER).into())?;
            let (server, _) = listener.accept()?;
            let ends = Ends::of_server(&server)?;
            socket::close_with_reset(client)?;
            let errno = socket::read_errno(&server)?;
            Ok(reset(errno, ends))
        })
    };
    Ok(vec![fail()?, fail()?])
}

/// The owner table is full: the owner of a new socket is unknown, and counted as such.
pub(super) fn too_many() -> Result<()> {
    // The test's own connections exceed this limit.
    let args = ["--max-sockets", "1", "--output", "json", "--listen", "127.0.0.1:0"];
    // More than the smallest table has room for.
    let first = (0..4).map(|_| Pair::new(Family::Ipv4.loopback())).collect::<Result<Vec<_>>>()?;
    let tracer = Tracer::must_start(&args)?;
    let Pair { client, server } = Pair::new(Family::Ipv4.loopback())?;
    socket::close_with_reset(client)?;
    ensure!(socket::read_errno(&server)? == libc::ECONNRESET, "no ECONNRESET");
    let lines = tracer.collect(1);
    let [line] = lines.as_slice() else { bail!("one line for one failure, not {lines:?}") };
    let line: Value = serde_json::from_str(line)?;
    ensure!(line["pid"].is_null() && line["owner_unknown"] == "owner_map_full", "{line}");
    let refused = tracer.scrape()?.get("socktrace_owners_full_total").copied();
    ensure!(refused.is_some_and(|count| count >= 2.0), "{refused:?} owners found no room");
    drop(first);
    Ok(())
}

fn reset(errno: i32, ends: Ends) -> Expected {
    Expected::failure(Cause::ResetByPeer, "read_or_write", errno, ends).reset_here("tcp_state")
}

/// Waits until a task is in a state of `/proc/PID/stat`: `S` for sleeping, `T` for stopped.
pub(super) fn until_state(pid: u32, tid: u32, state: char) -> Result<()> {
    let path = format!("/proc/{pid}/task/{tid}/stat");
    socket::until("a task does not get to wait", || {
        let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        Ok(stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(state)))
    })
}

/// Holds `count` connected sockets until standard input ends, for measurements.
pub(super) fn hold(count: u64) -> Result<()> {
    // Room for the standard streams and the listener.
    let limit = count + 100;
    setrlimit(Resource::RLIMIT_NOFILE, limit, limit)?;
    let listener = socket::listener(Family::Ipv4.loopback(), 1)?;
    let pairs = (0..count / 2).map(|_| Pair::through(&listener)).collect::<Result<Vec<_>>>()?;
    println!("{} sockets", pairs.len() * 2);
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Waits for the end of a connection and reads its errno, in the child.
pub(super) fn wait_for_end(way: &str, socket: &Socket) -> Result<i32> {
    socket::send(socket, GREETING)?;
    match way {
        "read" => {}
        "poll" => socket::until_reset(socket)?,
        "epoll" => wait_by_epoll(socket)?,
        _ => bail!("no such way to wait: {way}"),
    }
    socket::read_errno(socket)
}

/// Stops instead of waiting for the end, then reads the errno, in the child.
pub(super) fn stop(socket: &Socket) -> Result<i32> {
    socket::send(socket, GREETING)?;
    raise(Signal::SIGSTOP)?;
    socket::read_errno(socket)
}

/// Connects under another name, then executes a program that stops, in the child.
pub(super) fn connect_and_exec(address: SocketAddr, socket: &Socket) -> Result<()> {
    fs::write("/proc/self/comm", "before")?;
    socket.connect(&address.into())?;
    Err(Command::new("/proc/self/exe").args(["child", "stop"]).exec().into())
}

/// Connects, exits the first thread, and continues in a second, in the child.
pub(super) fn connect_and_end_thread(address: SocketAddr, socket: Socket) -> Result<()> {
    socket.connect(&address.into())?;
    thread::spawn(move || {
        let go_on = || {
            until_state(process::id(), process::id(), 'Z')?;
            socket::send(&socket, GREETING)?;
            socket::send(&socket, &gettid().as_raw().to_ne_bytes())?;
            raise(Signal::SIGSTOP)?;
            socket::read_errno(&socket)
        };
        match go_on() {
            Ok(errno) => println!("{errno}"),
            Err(error) => eprintln!("{error:#}"),
        }
        process::exit(0);
    });
    // SAFETY: ends only this thread; the other thread refers to nothing on its stack.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    bail!("the thread has not ended")
}

fn wait_by_epoll(socket: &Socket) -> Result<()> {
    // SAFETY: takes a number.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    ensure!(epoll >= 0, "no epoll: {}", io::Error::last_os_error());
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: both descriptors are open, and the event is only read. EPOLLERR is always reported.
    let result =
        unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event) };
    ensure!(result == 0, "epoll_ctl: {}", io::Error::last_os_error());
    // SAFETY: there is room for one event.
    let count = unsafe { libc::epoll_wait(epoll, &raw mut event, 1, -1) };
    ensure!(count == 1, "epoll_wait: {}", io::Error::last_os_error());
    Ok(())
}
