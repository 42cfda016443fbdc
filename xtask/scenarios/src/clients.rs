//! Hostile clients of the metrics endpoint, and the ways in which a daemon can listen.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::{PermissionsExt as _, chown},
            net::{UnixListener, UnixStream},
            process::CommandExt as _,
        },
    },
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    libc,
    sys::{
        resource::{Resource, setrlimit},
        signal::Signal,
    },
    unistd::{SysconfVar, sysconf},
};
use serde_json::Value;

use xtask_common::http;

use super::{
    daemon::{has_counted, reports_a_reset, resets},
    network::Family,
    socket,
    tracer::{self, FILES, PROGRAM, Tracer, attach_args, join_ending},
};

/// Number of clients of each kind.
const IDLE: usize = 600;
const SLOW: usize = 100;
const UNREADING: usize = 100;

/// Failures made in the meantime. Their family is one that the clients do not use, since the
/// clients' failures are reported too.
const RESETS: u32 = 50;

/// Most memory that the daemon may use meanwhile, in kB: less than an 8 kB buffer for each client.
const MOST: u64 = 9 * 1024;

/// User and group of a daemon that has dropped root where no package has created a user for it.
const NOBODY: u32 = 65_534;

/// Longest time to wait for something that must happen.
const PATIENCE: Duration = Duration::from_mins(1);

/// Hundreds of clients that are idle, slow or hostile while sockets fail. Each failure is reported
/// and counted, Prometheus gets its page, and the daemon's memory does not grow.
pub(super) fn hostile() -> Result<()> {
    setrlimit(Resource::RLIMIT_NOFILE, 8_192, 8_192)?;
    let tracer = Tracer::must_start(&["--output", "json", "--listen", "127.0.0.1:0"])?;
    let address = tracer.metrics_address()?;

    let clients = attack(address)?;
    resets(Family::Ipv6, RESETS)?;
    has_counted(&tracer.scrape()?, Family::Ipv6, RESETS)?;
    until_reported(&tracer, RESETS)?;
    ensure!(http::get(address, "/healthz")? == "ok\n", "not healthy");

    let memory = tracer.anonymous_memory()?;
    ensure!(memory < MOST, "it takes {memory} kB");
    drop(clients);
    let (status, said) = tracer.stop(Signal::SIGTERM)?;
    ensure!(status.success(), "ended with {status}:\n{said}");
    Ok(())
}

/// Connects clients of all kinds, and returns those that stay.
fn attack(address: SocketAddr) -> Result<Vec<TcpStream>> {
    let mut clients = Vec::new();
    for _ in 0..IDLE {
        clients.push(TcpStream::connect(address)?);
    }
    let harm: [&[u8]; 4] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"\0\xff garbage \r\n\r\n",
        &[b"GET / HTTP/1.1\r\nX: ".as_slice(), &b"x".repeat(32 * 1024)].concat(),
        &[b"GET / HTTP/1.1\r\n".as_slice(), &b"X: x\r\n".repeat(1_000), b"\r\n"].concat(),
    ];
    for bytes in harm {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // The daemon may close the connection before it has read everything.
        let sent =
            stream.write_all(bytes).and_then(|()| stream.shutdown(std::net::Shutdown::Write));
        ensure!(sent.is_err() || is_through(&mut stream)?, "garbage is waited upon");
    }
    for (count, bytes) in
        [(SLOW, "GET /metrics HTTP/1.1\r\nX-Slow: "), (UNREADING, "GET /metrics HTTP/1.1\r\n\r\n")]
    {
        for _ in 0..count {
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(bytes.as_bytes())?;
            clients.push(stream);
        }
    }
    Ok(clients)
}

/// Whether the daemon ends the connection.
fn is_through(stream: &mut TcpStream) -> Result<bool> {
    match io::copy(stream, &mut io::sink()) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Waits until the stream has reported each reset.
fn until_reported(tracer: &Tracer, resets: u32) -> Result<()> {
    let started = Instant::now();
    let mut reported = 0;
    while reported < resets {
        ensure!(started.elapsed() < PATIENCE, "{reported} of {resets} resets are reported");
        for line in tracer.collect(1) {
            let line: Value = serde_json::from_str(&line)?;
            reported += u32::from(
                line["cause"] == "reset_by_peer"
                    && line["event"] == "failure"
                    && line["family"] == "ipv6",
            );
        }
    }
    ensure!(reported == resets, "{reported} resets are reported of {resets}");
    Ok(())
}

/// Without a descriptor for another connection, the daemon waits without spinning, and resumes when it can.
pub(super) fn out_of_files() -> Result<()> {
    let mut tracer = Tracer::must_start(&["--output", "json", "--listen", "127.0.0.1:0"])?;
    let address = tracer.metrics_address()?;
    // By then the daemon has opened, and keeps, everything that it opens at startup.
    reports_a_reset(&tracer)?;
    tracer.limit_files(0)?;
    let mut waiting = TcpStream::connect(address)?;
    waiting.write_all(b"GET /healthz HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n")?;
    tracer.wait_for("cannot accept connections")?.context("has descriptors enough")?;

    let (time, started) = (processor_time(&tracer)?, Instant::now());
    // The daemon reports its own failing accepts too.
    resets(Family::Ipv6, 1)?;
    until_reported(&tracer, 1)?;
    thread::sleep(Duration::from_secs(3));
    let (used, passed) = (processor_time(&tracer)?.saturating_sub(time), started.elapsed());
    ensure!(used < passed / 4, "{used:?} of {passed:?} are spent on nothing");

    tracer.limit_files(FILES)?;
    waiting.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    waiting.read_to_string(&mut answer)?;
    ensure!(answer.ends_with("ok\n"), "{answer}");
    let (_, said) = tracer.stop(Signal::SIGTERM)?;
    let complaints = said.matches("cannot accept connections").count();
    ensure!(complaints == 1, "complains {complaints} times:\n{said}");
    Ok(())
}

/// Several addresses and a UNIX socket. The UNIX socket gets its mode, replaces one left behind by
/// a killed daemon, and is removed on exit if the daemon's user may do that.
pub(super) fn several_listeners() -> Result<()> {
    let own = Path::new("/tmp/socktrace-own");
    let roots = Path::new("/tmp/socktrace-roots");
    fs::create_dir_all(own)?;
    chown(own, Some(NOBODY), Some(NOBODY))?;
    fs::create_dir_all(roots)?;
    listens_everywhere(&own.join("metrics.sock"), false)?;
    listens_everywhere(&roots.join("metrics.sock"), true)
}

fn listens_everywhere(socket: &Path, stays: bool) -> Result<()> {
    let listen = format!("unix:{},mode=0640", socket.display());
    let args =
        ["--no-stream", "--listen", &listen, "--listen", "[::1]:0", "--listen", "127.0.0.1:0"];
    let killed = Tracer::must_start(&args)?;
    drop(killed);
    join_ending();
    ensure!(fs::exists(socket)?, "a killed daemon removes its socket");

    let mut tracer = Tracer::must_start(&args)?;
    for host in ["http://[::1]:", "http://127.0.0.1:"] {
        let line = tracer.wait_for(host)?.with_context(|| format!("no {host}"))?;
        let address = tracer::address(&line).with_context(|| format!("no address in {line}"))?;
        ensure!(http::get(address, "/healthz")? == "ok\n", "{address} is not served");
    }
    let mode = fs::metadata(socket)?.permissions().mode() & 0o777;
    ensure!(mode == 0o640, "the socket's mode is {mode:o}");
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.ends_with("ok\n"), "{answer}");

    let Err(refused) = Tracer::start(&["--no-stream", "--listen", &listen])? else {
        bail!("two daemons serve one socket")
    };
    ensure!(refused.stderr.contains(&*socket.to_string_lossy()), "{}", refused.stderr);
    let (status, said) = tracer.stop(Signal::SIGTERM)?;
    ensure!(status.success(), "ended with {status}:\n{said}");
    ensure!(!said.contains("cannot remove"), "{said}");
    ensure!(fs::exists(socket)? == stays, "at the end {} stays: {}", socket.display(), !stays);
    Ok(())
}

/// The daemon uses sockets passed by systemd without further options, and ignores sockets meant for
/// another process.
pub(super) fn socket_activation() -> Result<()> {
    const SOCKET: &str = "/tmp/socktrace-passed.sock";
    let tcp = socket::listener(Family::Ipv4.loopback(), 8)?;
    let unix = UnixListener::bind(SOCKET)?;
    let address = socket::local(&tcp)?;
    // Connects before anyone serves the socket, as at boot.
    let mut early = TcpStream::connect(address)?;
    early.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;

    let activated = |pid: &str| {
        let mut command = Command::new("sh");
        let script = format!("LISTEN_FDS=2 LISTEN_PID={pid} exec \"$@\"");
        command.args(["-c", &script, "sh", PROGRAM, "--no-stream"]).args(attach_args());
        let passed = [tcp.as_raw_fd(), unix.as_raw_fd()];
        let pass = move || {
            // Move both out of the way first: one may have the number meant for the other.
            let [first, second] = passed.map(|from| duplicate(from, 16));
            pass_as(first?, 3)?;
            pass_as(second?, 4)
        };
        // SAFETY: fcntl and dup2 are async-signal-safe.
        unsafe { command.pre_exec(pass) };
        command
    };
    let tracer = Tracer::run(activated("$$"))?;
    let mut answer = String::new();
    early.read_to_string(&mut answer)?;
    ensure!(answer.ends_with("ok\n"), "{answer}");
    ensure!(http::get(address, "/healthz")? == "ok\n", "{address} is not served");
    let mut stream = UnixStream::connect(SOCKET)?;
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;
    answer.clear();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.ends_with("ok\n"), "{answer}");
    drop(tracer);
    // The socket belongs to systemd, so the daemon leaves it.
    fs::remove_file(SOCKET)?;

    join_ending();
    let serving = Tracer::must_start(&["--no-stream"])?;
    let output = activated("1").output()?;
    drop(serving);
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(said.contains("cannot serve metrics on 127.0.0.1:10054"), "{said}");
    let Err(refused) = Tracer::start(&["--no-stream", "--listen", "systemd"])? else {
        bail!("serves sockets that nobody has passed")
    };
    ensure!(refused.stderr.contains("passed no socket"), "{}", refused.stderr);
    Ok(())
}

/// Duplicates a descriptor, numbered `least` or higher, until exec.
fn duplicate(descriptor: i32, least: i32) -> io::Result<i32> {
    // SAFETY: takes integers, and only makes a new descriptor.
    let new = unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, least) };
    if new < 0 { Err(io::Error::last_os_error()) } else { Ok(new) }
}

/// Passes the descriptor to the executed program as `number`.
fn pass_as(descriptor: i32, number: i32) -> io::Result<()> {
    // SAFETY: takes integers; whatever had the number in a child is not used before exec.
    let new = unsafe { libc::dup2(descriptor, number) };
    if new < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// An unusable web configuration file ends the daemon before it attaches anything.
pub(super) fn wrong_web_config() -> Result<()> {
    const FILE: &str = "/tmp/socktrace-web.yml";
    fs::write(FILE, "# TLS\ntls_server_config:\n  cert_fil: x\n")?;
    let Err(refused) = Tracer::start(&["--web-config", FILE])? else { bail!("takes anything") };
    ensure!(refused.exit == 2, "exit code {}", refused.exit);
    let words = [FILE, "line 3", "did you mean cert_file?"];
    ensure!(words.iter().all(|word| refused.stderr.contains(word)), "{}", refused.stderr);
    Ok(())
}

/// Processor time that the daemon has used.
fn processor_time(tracer: &Tracer) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", tracer.pid()))?;
    let (_, fields) = stat.rsplit_once(") ").context("no fields")?;
    // utime and stime, as in proc_pid_stat(5).
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u32>);
    let ticks = ticks.sum::<Result<u32, _>>()?;
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("no clock")?;
    Ok(Duration::from_secs(1) * ticks / u32::try_from(per_second)?)
}
