//! Commands traced from start to end (`socktrace -- CMD`), and running processes (`--follow`).

pub(super) mod child;
mod status;
mod traced;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{
        fs::PermissionsExt as _,
        process::{CommandExt as _, ExitStatusExt as _},
    },
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::sys::signal::{Signal, kill, killpg};
use serde_json::Value;

use self::{
    child::{EXIT_CODE, ON_SIGNAL, this_program},
    status::Status,
    traced::{Ready, Running, Traced},
};
use super::{
    daemon::reset_one,
    network::Family,
    socket,
    tracer::{PROGRAM, Tracer, daemon},
};

/// Longest time for something to happen in a guest.
const PATIENCE: Duration = Duration::from_mins(1);

/// Options for lines that the checks can parse.
const JSON: [&str; 2] = ["--output", "json"];

/// Command that traces another command.
fn tracing(options: &[&str], words: &[&str]) -> Command {
    let mut command = daemon(options);
    command.arg("--").args(words).stdin(Stdio::null());
    command
}

/// Traces a child of the harness that does this.
fn trace(options: &[&str], words: &[&str]) -> Result<Traced> {
    let program = this_program()?;
    let words = [&[program.as_str(), "child", "command"], words].concat();
    Traced::of(tracing(&[&JSON[..], options].concat(), &words).output()?)
}

/// A failure right after the command's start is shown, and nothing else, though other processes
/// fail at the same time. The command's output is passed through, and socktrace exits with the
/// command's exit code.
pub(super) fn fails() -> Result<()> {
    let is_over = AtomicBool::new(false);
    let taken = socket::bound(Family::Ipv4.loopback())?;
    let taken = (socket::local(&taken)?, taken);
    let traced = thread::scope(|scope| {
        let others = scope.spawn(|| {
            // Failures by another hook than the command's: the kernel skips a program for a call
            // if another task was preempted inside that program.
            while !is_over.load(Ordering::Relaxed) {
                ensure!(socket::bound(taken.0).is_err(), "bound twice");
            }
            anyhow::Ok(())
        });
        let traced = trace(&[], &["refused"]);
        is_over.store(true, Ordering::Relaxed);
        others.join().map_err(|_| anyhow!("a thread panicked"))??;
        traced
    })?;
    traced.check(1, EXIT_CODE)?;
    ensure!(!traced.said.contains("hooks: "), "more than is to be: {}", traced.said);
    ensure!(!traced.said.contains("metrics: "), "it serves metrics: {}", traced.said);
    // Human-readable output has a heading if there are lines: see `exit_codes`.
    let words = [&this_program()?, "child", "command", "refused"];
    let traced = Traced::of(tracing(&[], &words).output()?)?;
    ensure!(traced.said.lines().any(|line| line.starts_with("TIME ")), "{}", traced.said);
    Ok(())
}

/// Lines go to a file, and filter options apply too.
pub(super) fn into_a_file() -> Result<()> {
    const FILE: &str = "/tmp/command.json";
    fs::write(FILE, "what was there before\n")?;
    let traced = trace(&["--output-file", FILE], &["refused"])?;
    ensure!(traced.lines.is_empty(), "lines on stderr: {:?}", traced.lines);
    let lines = fs::read_to_string(FILE)?;
    let line =
        serde_json::from_str(lines.trim_end()).with_context(|| format!("no line: {lines}"))?;
    Traced { lines: vec![line], ..traced }.check(1, EXIT_CODE)?;
    let traced = trace(&["--errno", "ECONNRESET"], &["refused"])?;
    ensure!(traced.code == Some(EXIT_CODE) && traced.lines.is_empty(), "{}", traced.said);
    ensure!(traced.said.contains("socktrace: no failures; 0 events shown"), "{}", traced.said);
    Ok(())
}

/// Exit codes are those of a shell. If nothing can be traced, the command is not started.
pub(super) fn exit_codes() -> Result<()> {
    const NO_PROGRAM: &str = "/tmp/no-program";
    const MARK: &str = "/tmp/command-ran";
    fs::write(NO_PROGRAM, "")?;
    fs::set_permissions(NO_PROGRAM, fs::Permissions::from_mode(0o644))?;
    for (words, code, said) in [
        // Arguments that look like options of socktrace belong to the command.
        (&["sh", "-c", "[ \"$1\" = --all=false ] && exit 7", "sh", "--all=false"][..], 7, ""),
        (&["sh", "-c", "kill -KILL $$"], 137, ""),
        (&["no-such-program"], 127, "cannot run no-such-program: No such file or directory"),
        (&[NO_PROGRAM], 126, "cannot run /tmp/no-program: Permission denied"),
    ] {
        let traced = Traced::of(tracing(&[], words).output()?)?;
        ensure!(traced.code == Some(code), "{words:?}: {:?}, {}", traced.code, traced.said);
        ensure!(traced.said.contains(said), "{words:?}: {}", traced.said);
        ensure!(!traced.said.contains("TIME "), "{words:?}: {}", traced.said);
    }
    // Not root, an unknown user, an unknown process.
    let touch = ["touch", MARK];
    let mut not_root = tracing(&[], &touch);
    not_root.uid(1_000);
    let mut no_caller = tracing(&[], &touch);
    no_caller.env("SUDO_UID", "me").env("SUDO_GID", "1000");
    let mut no_process = daemon(&["--follow", "4194304"]);
    no_process.stdin(Stdio::null());
    for (mut command, code, said) in [
        (not_root, 10, "not started as root"),
        (no_caller, 1, "SUDO_UID and SUDO_GID are set but not valid"),
        (tracing(&["--user", "nobody-at-all"], &touch), 1, "there is no user nobody-at-all"),
        (no_process, 2, "there is no process 4194304"),
    ] {
        let traced = Traced::of(command.output()?)?;
        ensure!(traced.code == Some(code), "{:?}, {}", traced.code, traced.said);
        ensure!(traced.said.contains(said), "{}", traced.said);
        ensure!(!Path::new(MARK).exists(), "the command was run: {}", traced.said);
    }
    Ok(())
}

/// All descendants of a command are followed, however many.
pub(super) fn crowd() -> Result<()> {
    const FORKS: usize = 10_000;
    const FAILING: usize = 100;
    let forks = trace(&[], &["forks", &FORKS.to_string(), &(FORKS / FAILING).to_string()])?;
    forks.check(FAILING, EXIT_CODE)?;
    ensure!(!forks.said.contains("cannot follow"), "{}", forks.said);
    Ok(())
}

/// Descendants of a command are followed, including those that outlive it.
pub(super) fn descendants() -> Result<()> {
    let orphan = trace(&[], &["orphan"])?;
    orphan.check(2, EXIT_CODE)?;
    ensure!(orphan.said.contains("the command has ended, but processes"), "{}", orphan.said);
    let edges = trace(&[], &["edges"])?;
    let pids = edges.stdout.lines().map(str::parse).collect::<Result<Vec<u32>, _>>()?;
    let [closing, given] = pids[..] else { bail!("{pids:?}") };
    // A process closes its sockets after the hook of its exit has run. The last socket was passed on.
    let mut due = vec![
        ("failure", "connect_refused", Value::from(closing)),
        ("undelivered", "connect_refused", Value::from(closing)),
        ("failure", "reset_by_peer", Value::Null),
        ("undelivered", "reset_by_peer", Value::from(given)),
    ];
    for line in &edges.lines {
        let is_it = |(event, cause, pid): &(&str, &str, Value)| {
            line["event"] == *event && line["cause"] == *cause && line["pid"] == *pid
        };
        let at = due.iter().position(is_it).with_context(|| format!("not due: {line}"))?;
        due.remove(at);
    }
    ensure!(due.is_empty(), "missing: {due:?}");
    Ok(())
}

/// User in the guest's passwd file.
const USER: &str = "traced";
const UID: u32 = 4_711;
const GID: u32 = 4_712;
const EXTRA_GID: u32 = 4_713;

/// Adds the user to the guest's passwd file, and to an extra group.
fn add_user() -> Result<()> {
    for (path, line) in [
        ("/etc/passwd", format!("{USER}:x:{UID}:{GID}::/home/{USER}:/bin/sh\n")),
        ("/etc/group", format!("{USER}-extra:x:{EXTRA_GID}:{USER}\n")),
    ] {
        let text = fs::read_to_string(path)?;
        if !text.contains(&line) {
            fs::write(path, text + &line)?;
        }
    }
    Ok(())
}

/// Under sudo, the command runs as the caller, as if sudo had started it. Privileges and settings
/// that socktrace gives up for itself are still available to the command.
pub(super) fn as_the_caller() -> Result<()> {
    add_user()?;
    let own = Status::of(&fs::read_to_string("/proc/self/status")?)?;
    let numbers = [UID.to_string(), GID.to_string()];
    let run = |options: &[&str], variables: &[(&str, &str)]| {
        let program = this_program()?;
        // The first line comes from a program that does not change its signals, as this one ignores SIGPIPE.
        let script =
            format!("grep SigIgn: /proc/self/status && exec {program} child command status");
        let mut command = tracing(options, &["sh", "-c", &script]);
        command.env("SOME", "thing").env("HOME", "/root").env("USER", "root");
        command.envs(variables.iter().copied()).current_dir("/tmp");
        let traced = Traced::of(command.output()?)?;
        ensure!(traced.code == Some(EXIT_CODE), "{:?}: {}", traced.code, traced.said);
        anyhow::Ok(traced.stdout)
    };
    let sudo = [("SUDO_UID", numbers[0].as_str()), ("SUDO_GID", numbers[1].as_str())];
    for (said, is_root) in [
        (run(&[], &sudo)?, false),
        (run(&["--user", USER], &[])?, false),
        (run(&["--user", "root"], &sudo)?, true),
    ] {
        let status = Status::of(&said)?;
        let (uid, gid) = if is_root { (0, 0) } else { (UID, GID) };
        ensure!(status.has_ids(uid, gid), "{said}");
        let groups: Vec<u32> = if is_root { Vec::new() } else { vec![GID, EXTRA_GID] };
        let own_groups = status.groups()?;
        let is_right = if is_root { !own_groups.contains(&GID) } else { own_groups == groups };
        ensure!(is_right, "{said}");
        for name in ["NoNewPrivs", "Seccomp", "CapBnd", "SigBlk", "SigIgn"] {
            let wanted = if name == "SigIgn" { "0000000000000000" } else { own.get(name)? };
            ensure!(status.get(name)? == wanted, "{name}: {wanted} became {said}");
        }
        let effective = if is_root { own.get("CapEff")? } else { "0000000000000000" };
        ensure!(status.get("CapEff")? == effective, "{said}");
        let (home, user) = if is_root { ("/root", "root") } else { ("/home/traced", USER) };
        for (name, value) in [("HOME", home), ("USER", user), ("SOME", "thing"), ("cwd", "/tmp")] {
            ensure!(status.get(name)? == value, "{name} is not {value}: {said}");
        }
        ensure!(status.get("fds")? == "0 1 2", "{said}");
        ensure!(status.get("nice")? == "0", "{said}");
    }
    Ok(())
}

/// Ctrl-C reaches both, and the trace lasts as long as the command. SIGTERM and SIGHUP are passed
/// on. If socktrace is killed, the command continues.
pub(super) fn signals() -> Result<()> {
    add_user()?;
    let as_caller = [("SUDO_UID", UID.to_string()), ("SUDO_GID", GID.to_string())];
    let running = Running::start(&["on-signal"], &[])?;
    killpg(running.pid(), Signal::SIGINT)?;
    running.end()?.check(1, ON_SIGNAL + Signal::SIGINT as i32)?;
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let running = Running::start(&["on-signal"], &as_caller)?;
        // Not passed on to the command: it gets signals of the terminal directly.
        kill(running.pid(), Signal::SIGINT)?;
        kill(running.pid(), Signal::SIGQUIT)?;
        kill(running.pid(), signal)?;
        running.end()?.check(1, ON_SIGNAL + signal as i32)?;
    }
    let mut running = Running::start(&["outlive"], &[])?;
    running.child.kill()?;
    let status = running.child.wait()?;
    ensure!(status.signal() == Some(Signal::SIGKILL as i32), "{status}");
    running.ready.read_exact(&mut [0]).context("the command has ended with socktrace")?;
    Ok(())
}

/// A running process and the processes it has already started are followed until all have ended.
pub(super) fn follow() -> Result<()> {
    let program = this_program()?;
    let mut tree = Command::new(&program);
    tree.args(["child", "command", "tree"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut tree = tree.spawn()?;
    until("children of the tree", || {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", tree.id()))?;
        Ok(children.split_whitespace().count() == 2)
    })?;
    let pid = tree.id().to_string();
    let mut tracing = daemon(&[&JSON[..], &["--follow", &pid]].concat());
    let tracing = tracing.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let tracing = tracing.spawn()?;
    let mut tracing = Ready::wait(tracing, "socktrace: following 3 processes")?;
    reset_one()?;
    // One after the other, as each takes a byte: the kernel skips a program for a call if another
    // task was preempted inside that program.
    let (mut stdin, stdout) = tree.stdin.take().zip(tree.stdout.take()).context("no pipes")?;
    let mut lines = BufReader::new(stdout).lines();
    let mut made = String::new();
    for _ in 0..3 {
        stdin.write_all(b"x")?;
        made += &(lines.next().context("it has ended")?? + "\n");
    }
    tree.wait()?;
    let (code, shown, said) = tracing.end()?;
    let lines = shown.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    Traced { code, stdout: made, lines, said }.check(3, 0)
}

fn until(what: &str, is_so: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so()? {
        ensure!(Instant::now() < deadline, "not in time: {what}");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// With kprobes, too, processes are followed by tracepoints.
pub(super) fn by_kprobe() -> Result<()> {
    let program = this_program()?;
    let mut command = Command::new(PROGRAM);
    command.args(JSON).args(["--attach", "kprobe", "--", &program, "child", "command", "orphan"]);
    Traced::of(command.stdin(Stdio::null()).output()?)?.check(2, EXIT_CODE)
}

/// Next to the service, which is not disturbed; its settings do not apply to a command.
pub(super) fn beside_a_service() -> Result<()> {
    const FILE: &str = "/tmp/service.toml";
    let service = Tracer::must_start(&["--output", "json", "--no-metrics"])?;
    fs::write(FILE, "no-stream = true\nlisten = [\"127.0.0.1:10054\"]\nhistory = true\n")?;
    let traced = trace(&["--config", FILE], &["refused"])?;
    traced.check(1, EXIT_CODE)?;
    ensure!(!traced.said.contains("127.0.0.1:10054"), "it serves metrics: {}", traced.said);
    ensure!(!traced.said.contains("history"), "it keeps a history: {}", traced.said);
    let lines = service.collect(1);
    ensure!(lines.len() == 1 && lines[0].contains("connect_refused"), "{lines:?}");
    Ok(())
}
