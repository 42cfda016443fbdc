//! `socktrace top` on a real terminal.

use std::{fs, io::Write as _, process::Command};

use anyhow::{Context as _, Result, ensure};
use nix::sys::{prctl, signal::Signal};

use super::{
    daemon,
    network::{Family, NOBODY_LISTENS},
    screen::Terminal,
    tracer::{PROGRAM, Tracer},
};

const ROOT: (u32, u32) = (0, 0);

/// A user whose only access is by the group that may read a history.
const MEMBER: (u32, u32) = (65_534, 0);

/// A name that would clear the screen and reverse the rest.
const HOSTILE: &std::ffi::CStr = c"\x1b[2J\x07\xe2\x80\xaeevil";

/// That name as displayed.
const HARMLESS: &str = "?[2J??evil";

/// Command that runs `socktrace top` in the guest.
fn top(args: &str) -> String {
    let attach = if super::uses_kprobes() { " --attach kprobe" } else { "" };
    format!("{PROGRAM} top{attach} --time utc {args}")
}

/// Makes a refused connect.
fn refused() -> Result<()> {
    let refused = std::net::TcpStream::connect(("127.0.0.1", NOBODY_LISTENS));
    ensure!(refused.is_err(), "somebody listens at {NOBODY_LISTENS}");
    Ok(())
}

/// Failures are shown as they happen, with process, cause and count; keys work.
pub(super) fn live() -> Result<()> {
    let comm = fs::read_to_string("/proc/self/comm")?;
    let process = format!("{}[{}]", comm.trim(), std::process::id());
    let terminal = Terminal::open("live", 100, 30, ROOT)?;
    terminal.enter(&top(""))?;
    terminal.expect(&["socktrace top", " hooks", "nothing has failed", "? help"])?;
    daemon::resets(Family::Ipv4, 3)?;
    terminal.expect(&["ECONNRESET   reset_by_peer", "! all", " 3     3     3"])?;
    let detail =
        ["the peer sent RST", "ends     127.0.0.1:", "advice   Treat the connection as gone"];
    terminal.expect(&detail)?;

    // By cause, then down to the process.
    terminal.text("2")?;
    terminal.expect(&["cause>service>peer", "! + reset_by_peer"])?;
    terminal.text("aaj")?;
    terminal.expect(&["cause>service>process", "Events of reset_by_peer"])?;
    terminal.key("Enter")?;
    terminal.expect(&["! - reset_by_peer"])?;
    terminal.text("j")?;
    terminal.key("Enter")?;
    terminal.expect(&[&process])?;

    // Only failures that pass a filter.
    terminal.text("1")?;
    terminal.enter("/errno ECONNREFUSED")?;
    terminal.expect(&["--errno ECONNREFUSED", "nothing has failed"])?;
    refused()?;
    let screen = terminal.expect(&["ECONNREFUSED connect_refused", "! all"])?;
    ensure!(!screen.contains("reset_by_peer"), "the filter lets pass\n{screen}");
    terminal.text("y")?;
    terminal.expect(&["copied: sudo socktrace --errno ECONNREFUSED"])?;
    terminal.enter("/errno ENOTHING")?;
    terminal.expect(&["/errno ECONNREFUSED errno ENOTHING"])?;
    terminal.key("C-u")?;
    terminal.key("Enter")?;
    terminal.expect(&["reset_by_peer", "connect_refused", " 4     4"])?;

    // Nothing changes on a frozen screen, and nothing is missed.
    terminal.text(" ")?;
    terminal.expect(&["FROZEN"])?;
    daemon::resets(Family::Ipv6, 2)?;
    terminal.text("3")?;
    let screen = terminal.expect(&["peer>service>cause", "FROZEN"])?;
    ensure!(!screen.contains("::1"), "a frozen screen shows what came later\n{screen}");
    terminal.text(" ")?;
    terminal.expect(&["::1"])?;

    // Names of other processes cannot affect the screen.
    let named = std::thread::spawn(|| {
        prctl::set_name(HOSTILE).context("no name")?;
        refused()
    });
    named.join().expect("no panic")?;
    terminal.text("1")?;
    terminal.text("4")?;
    let screen = terminal.expect(&[HARMLESS, "socktrace top"])?;
    ensure!(screen.lines().count() == 30, "{} lines\n{screen}", screen.lines().count());

    // At any size.
    terminal.resize(132, 43)?;
    terminal.expect(&["first     last", "socktrace top"])?;
    terminal.resize(20, 5)?;
    terminal.wait("a small screen", |screen| screen.starts_with("lost "))?;
    terminal.resize(80, 24)?;
    terminal.expect(&["socktrace top", "? help  q quit"])?;
    terminal.text("?")?;
    terminal.expect(&["j k, arrows"])?;
    terminal.key("Escape")?;
    terminal.expect(&["? help  q quit"])?;
    ensure!(terminal.is_colored()?, "nothing has a color");
    terminal.text("q")?;
    terminal.expect(&[" failures (connect_refused 2, ", "reset_by_peer 5)"])?;
    terminal.expect_sane(0)
}

/// The terminal is restored however `top` ends. Without a terminal, it is an error.
pub(super) fn ends_well() -> Result<()> {
    let output = Command::new(PROGRAM).arg("top").output()?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(2) && said.contains("needs a terminal"), "{said}");

    let terminal = Terminal::open("end", 80, 24, ROOT)?;
    terminal.enter(&format!("NO_COLOR=1 {}", top("--unit '!a.service'")))?;
    terminal.expect(&["nothing has failed", "--not-unit a.service"])?;
    daemon::reset_one()?;
    terminal.expect(&["! all", "ECONNRESET"])?;
    ensure!(!terminal.is_colored()?, "there are colors in spite of NO_COLOR");
    signal("top", Signal::SIGTERM)?;
    // The terminal program's own calls may have failed, too.
    terminal.expect(&["socktrace: ", "reset_by_peer 1)"])?;
    terminal.expect_sane(0)?;
    terminal.enter("clear")?;
    terminal.enter(&top(""))?;
    terminal.expect(&["nothing has failed"])?;
    terminal.key("C-c")?;
    terminal.expect(&["socktrace: ", " failure"])?;
    terminal.expect_sane(0)
}

/// Sends a signal to the `socktrace` process with this argument.
fn signal(argument: &str, signal: Signal) -> Result<()> {
    let ends = |path: &std::path::Path| {
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        words.next() == Some(PROGRAM.as_bytes()) && words.next() == Some(argument.as_bytes())
    };
    let mut processes = fs::read_dir("/proc")?.filter_map(|entry| Some(entry.ok()?.path()));
    let found = processes.find(|path| ends(path)).context("it does not run")?;
    let pid = found.file_name().and_then(|name| name.to_str()).context("no name")?;
    Ok(nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.parse()?), signal)?)
}

/// A history is shown to members of the group, and can be stepped through.
pub(super) fn of_history() -> Result<()> {
    let directory = "/run/top-history";
    drop(fs::remove_dir_all(directory));
    fs::create_dir(directory)?;
    let file = format!("{directory}/history.db");
    let args = ["--output", "json", "--no-metrics", "--history", "--history-file", &file];
    let tracer = Tracer::must_start(&args)?;
    daemon::resets(Family::Ipv4, 2)?;
    ensure!(tracer.collect(2).len() == 2, "no lines");
    let (status, _) = tracer.stop(Signal::SIGTERM)?;
    ensure!(status.success(), "ended with {status}");

    let terminal = Terminal::open("history", 80, 24, MEMBER)?;
    terminal.enter(&format!("{PROGRAM} top --history --file {file} --step 1h"))?;
    terminal.expect(&["history /run/top", "! all", "ECONNRESET", "[ ] step"])?;
    terminal.text("[")?;
    terminal.expect(&["nothing has failed"])?;
    terminal.text("]")?;
    terminal.expect(&["! all", "     2", "ECONNRESET"])?;
    terminal.enter("/port 1")?;
    terminal.expect(&["--port 1", "nothing has failed"])?;
    terminal.text("q")?;
    terminal.expect_sane(0)?;
    terminal.enter(&format!("clear; {PROGRAM} top --history --file {file}.none"))?;
    terminal.expect(&["there is not a history at"])?;
    terminal.expect_sane(1)
}

/// A replay through a pipe, of more lines than the screen keeps: all are shown, and
/// keys work in the meantime.
pub(super) fn of_replay() -> Result<()> {
    const LINES: u32 = 100_000;
    let path = "/tmp/top-lines.json";
    let mut file = std::io::BufWriter::new(fs::File::create(path)?);
    for number in 0..LINES {
        let (second, nanosecond) = (number / 50_000, number % 50_000 * 20_000);
        let (peer, port) = (number % 250, 1_024 + number % 50_000);
        writeln!(
            file,
            r#"{{"time":"2026-11-28T03:00:{second:02}.{nanosecond:09}Z","event":"failure","protocol":"tcp","role":"server","local":"10.0.0.1","local_port":443,"remote":"192.0.2.{peer}","remote_port":{port},"comm":"nginx","pid":{peer},"service":"nginx.service","errno":"ECONNRESET","errno_number":104,"cause":"reset_by_peer","severity":"failure","reason":"the peer sent RST"}}"#
        )?;
    }
    file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    let terminal = Terminal::open("replay", 80, 24, ROOT)?;
    terminal.enter(&format!("cat {path} | {PROGRAM} top --time utc --replay -"))?;
    terminal.expect(&["replay -"])?;
    terminal.text("3")?;
    terminal.expect(&["peer>service>cause"])?;
    terminal.expect(&["100k", "03:00:01", "192.0.2."])?;
    terminal.text("q")?;
    terminal.expect_sane(0)?;
    fs::remove_file(path)?;
    Ok(())
}
