//! The daemon as a service: its manager, its configuration, and the privileges that it keeps.

use std::{
    fs::{self, File},
    io,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        net::UnixDatagram,
        process::CommandExt as _,
    },
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use caps::Capability;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    daemon::{reports_a_reset, reset_one},
    privileges, shared,
    tracer::{PROGRAM, Tracer, daemon},
};

/// Longest time to wait for a message to the manager.
const PATIENCE: Duration = Duration::from_secs(30);

/// The manager is notified when the daemon is ready, alive, reloading its configuration, and stopping.
pub(super) fn manager() -> Result<()> {
    let directory = Path::new("/run/manager");
    fs::create_dir_all(directory)?;
    let config = directory.join("socktrace.toml");
    fs::write(&config, "output = \"json\"\n")?;
    let address = directory.join("notify");
    let manager = Manager::listen(&address)?;

    let mut command = daemon(&["--no-metrics"]);
    command.env("NOTIFY_SOCKET", &address).env("WATCHDOG_USEC", "1000000");
    command.env("SOCKTRACE_CONFIG", &config);
    let tracer = Tracer::run(command)?;
    let ready = manager.wait_for("READY=1")?;
    ensure!(ready.contains("STATUS=") && ready.contains(" hooks; 0 failures"), "{ready}");
    reports_a_reset(&tracer)?;
    let status = manager.wait_for("1 failures")?;
    ensure!(status.contains("WATCHDOG=1"), "{status}");

    fs::write(&config, "output = \"human\"\nidle-threshold = 60\n")?;
    tracer.signal(Signal::SIGHUP)?;
    let reloading = manager.wait_for("RELOADING=1")?;
    ensure!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    manager.wait_for("READY=1")?;
    reset_one()?;
    let lines = tracer.collect(2);
    let [heading, line] = lines.as_slice() else { bail!("not a heading and a line: {lines:?}") };
    ensure!(heading.starts_with("TIME "), "{heading}");
    ensure!(line.contains("ECONNRESET   reset_by_peer"), "{line}");

    // An unreadable configuration changes nothing.
    fs::write(&config, "outptu = \"json\"\n")?;
    tracer.signal(Signal::SIGHUP)?;
    manager.wait_for("RELOADING=1")?;
    manager.wait_for("READY=1")?;
    reset_one()?;
    ensure!(tracer.collect(1).len() == 1, "a reload that failed changes something");

    let (status, said) = tracer.stop(Signal::SIGTERM)?;
    ensure!(status.success(), "ended with {status}");
    manager.wait_for("STOPPING=1")?;
    ensure!(said.contains("only after a restart: idle-threshold"), "{said}");
    ensure!(said.contains("socktrace.toml:1: unknown key \"outptu\""), "{said}");
    Ok(())
}

/// If stderr is the journal, messages have priorities and fields: from a running daemon, from one
/// that is refused, and from one with an invalid configuration.
pub(super) fn journal() -> Result<()> {
    const SOCKET: &str = "/run/systemd/journal/socket";
    let socket = Path::new(SOCKET);
    fs::create_dir_all(socket.parent().context("no directory")?)?;
    let journal = Manager::listen(socket)?;
    // Writable for all, like the journal's own socket.
    fs::set_permissions(socket, fs::Permissions::from_mode(0o666))?;
    let stderr = File::create("/run/journal-stream")?;
    let connected = |args: &[&str]| -> Result<Command> {
        let mut command = daemon(args);
        let stream = stderr.metadata()?;
        command.env("JOURNAL_STREAM", format!("{}:{}", stream.dev(), stream.ino()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr.try_clone()?);
        Ok(command)
    };
    let says = |text: &str, fields: &[&str]| -> Result<()> {
        let message = journal.wait_for(text)?;
        for field in fields.iter().chain(&["SYSLOG_IDENTIFIER=socktrace\n", "CODE_FILE="]) {
            ensure!(message.contains(field), "no {field:?} in {message:?}");
        }
        Ok(())
    };

    let mut running = connected(&["--listen", "127.0.0.1:0"])?.spawn()?;
    says("; hooks: ", &["PRIORITY=5\n", "SOCKTRACE_HOOKS\n"])?;
    says("metrics: ", &["PRIORITY=5\n", "SOCKTRACE_URL\n"])?;
    // Sent from within the daemon's sandbox.
    kill(Pid::from_raw(running.id().try_into()?), Signal::SIGTERM)?;
    says("no failures", &["PRIORITY=5\n"])?;
    ensure!(running.wait()?.success(), "it ended badly");

    ensure!(connected(&[])?.uid(1000).status()?.code() == Some(10), "an ordinary user may trace");
    says("not started as root", &["PRIORITY=3\n", "SOCKTRACE_EXIT_CODE\n"])?;
    ensure!(connected(&["--all=maybe"])?.status()?.code() == Some(2), "maybe is on or off");
    says("all is a switch", &["PRIORITY=3\n", "SOCKTRACE_EXIT_CODE\n"])?;
    let besides = fs::read_to_string("/run/journal-stream")?;
    ensure!(besides.is_empty(), "past the journal: {besides}");
    Ok(fs::remove_file(socket)?)
}

/// Socket of a service manager, or of the journal.
struct Manager(UnixDatagram);

impl Manager {
    fn listen(address: &Path) -> Result<Self> {
        match fs::remove_file(address) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let socket = UnixDatagram::bind(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(socket))
    }

    /// Waits for the next message that contains `word`.
    fn wait_for(&self, word: &str) -> Result<String> {
        let mut bytes = [0; 8192];
        loop {
            let count = self.0.recv(&mut bytes).with_context(|| format!("no {word} comes"))?;
            let message = String::from_utf8_lossy(&bytes[..count]).into_owned();
            if message.contains(word) {
                return Ok(message);
            }
        }
    }
}

/// An invalid setting is reported with its line, and exits with 2. Valid settings are
/// printed with their sources.
pub(super) fn configuration() -> Result<()> {
    let path = "/run/socktrace.toml";
    let run = |text: &str, args: &[&str]| -> Result<(Option<i32>, String)> {
        fs::write(path, text)?;
        let mut command = Command::new(PROGRAM);
        command.args(["--config", path]).args(args).env("SOCKTRACE_OUTPUT", "json");
        let output = command.output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
    };
    let (code, said) = run("all = true\nidle-treshold = 9\n", &[])?;
    ensure!(code == Some(2), "ended with {code:?}: {said}");
    ensure!(
        said.contains(
            "/run/socktrace.toml:2: unknown key \"idle-treshold\"; did you mean \"idle-threshold\"?"
        ),
        "{said}"
    );
    let (code, said) =
        run("idle-threshold = 9\noutput = \"human\"\n", &["--print-config", "--all"])?;
    ensure!(code == Some(0), "ended with {code:?}: {said}");
    for line in [
        "idle-threshold = 9  # /run/socktrace.toml:1\n",
        "output = \"json\"  # SOCKTRACE_OUTPUT\n",
        "all = true  # command line\n",
    ] {
        ensure!(said.contains(line), "no {line:?} in:\n{said}");
    }
    Ok(())
}

/// Once ready, the daemon has no capability except to find cgroups and, before 5.19, to use its
/// maps. A seccomp filter is active, and the daemon works.
pub(super) fn sandbox() -> Result<()> {
    let args = ["--output", "json", "--listen", "127.0.0.1:0"];
    let kept = Capability::CAP_DAC_READ_SEARCH.bitmask();
    shared::with(daemon(&args), |tracer| confined(tracer, kept))?;
    if super::uses_kprobes() {
        return Ok(());
    }
    // With the unit's privileges.
    shared::with(privileges::service(&args), |tracer| confined(tracer, 0))
}

fn confined(tracer: &Tracer, kept: u64) -> Result<()> {
    let status = fs::read_to_string(format!("/proc/{}/status", tracer.pid()))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim).with_context(|| format!("no {name}"))
    };
    let maps = if super::charges_locked_memory() { Capability::CAP_BPF.bitmask() } else { 0 };
    for name in ["CapPrm", "CapEff"] {
        let set = u64::from_str_radix(field(name)?, 16)?;
        ensure!(set == kept | maps, "{name} is {set:#x}, not {:#x}", kept | maps);
    }
    for name in ["CapInh", "CapAmb"] {
        ensure!(u64::from_str_radix(field(name)?, 16)? == 0, "{name} is {}", field(name)?);
    }
    ensure!(field("NoNewPrivs")? == "1" && field("Seccomp")? == "2", "not confined:\n{status}");
    reports_a_reset(tracer)?;
    let metrics = tracer.scrape()?;
    ensure!(metrics.values().sum::<f64>() > 0.0, "nothing is counted");
    Ok(())
}
