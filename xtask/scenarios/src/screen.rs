//! A real terminal, run by tmux: keys are sent to it, and its screen is read.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt as _},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

/// Longest time to wait for output: generous, as the guest is an emulated machine.
const PATIENCE: Duration = Duration::from_mins(1);

const LOOK: Duration = Duration::from_millis(50);

/// A shell on a terminal, which ends when dropped.
pub(super) struct Terminal {
    socket: String,
}

impl Terminal {
    /// Opens a terminal of this size, for this user and group.
    pub(super) fn open(
        name: &str,
        columns: u16,
        rows: u16,
        (uid, gid): (u32, u32),
    ) -> Result<Self> {
        let directory = format!("/tmp/terminal-{name}");
        // Left by an earlier run.
        drop(fs::remove_dir_all(&directory));
        fs::create_dir(&directory)?;
        chown(&directory, Some(uid), Some(gid))?;
        let terminal = Self { socket: format!("{directory}/socket") };
        let mut command = terminal.command();
        command.args(["-f", "/dev/null", "new-session", "-d"]);
        command.args(["-x", &columns.to_string(), "-y", &rows.to_string()]);
        command.arg("PS1='ready> ' exec bash --norc --noprofile");
        // Not every user has a shell.
        command.uid(uid).gid(gid).env("SHELL", "/bin/bash");
        output(&mut command)?;
        terminal.wait("a prompt", |screen| screen.contains("ready>"))?;
        Ok(terminal)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-u", "-S", &self.socket]);
        command
    }

    fn run(&self, args: &[&str]) -> Result<String> {
        output(self.command().args(args))
    }

    /// Types a text literally.
    pub(super) fn text(&self, text: &str) -> Result<()> {
        self.run(&["send-keys", "-l", text]).map(drop)
    }

    /// Presses a key by its name.
    pub(super) fn key(&self, name: &str) -> Result<()> {
        self.run(&["send-keys", name]).map(drop)
    }

    /// Types a command.
    pub(super) fn enter(&self, command: &str) -> Result<()> {
        self.text(command)?;
        self.key("Enter")
    }

    pub(super) fn resize(&self, columns: u16, rows: u16) -> Result<()> {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        self.run(&["resize-window", "-x", &columns, "-y", &rows]).map(drop)
    }

    /// Contents of the screen.
    pub(super) fn screen(&self) -> Result<String> {
        self.run(&["capture-pane", "-p"])
    }

    /// Whether anything on the screen has a color.
    pub(super) fn is_colored(&self) -> Result<bool> {
        let styled = self.run(&["capture-pane", "-p", "-e"])?;
        let is_color = |code: &str| matches!(code.parse::<u32>(), Ok(30..=38 | 40..=48 | 90..=107));
        let sequences = styled.split("\x1b[").skip(1).filter_map(|part| part.split('m').next());
        Ok(sequences.flat_map(|codes| codes.split(';')).any(is_color))
    }

    /// Waits until the screen meets a condition.
    pub(super) fn wait(&self, what: &str, is_it: impl Fn(&str) -> bool) -> Result<String> {
        let began = Instant::now();
        loop {
            let screen = self.screen()?;
            if is_it(&screen) {
                return Ok(screen);
            }
            ensure!(began.elapsed() < PATIENCE, "{what} is not shown, but\n{screen}");
            thread::sleep(LOOK);
        }
    }

    /// Waits until the screen shows all of these parts.
    pub(super) fn expect(&self, parts: &[&str]) -> Result<String> {
        self.wait(&format!("{parts:?}"), |screen| parts.iter().all(|part| screen.contains(part)))
    }

    /// Requires that a program has exited with this code and left the terminal in a sane state.
    pub(super) fn expect_sane(&self, code: i32) -> Result<()> {
        let is_prompt = |screen: &str| screen.trim_end().ends_with("ready>");
        // Keys sent earlier would go to the program.
        self.wait("a prompt", is_prompt)?;
        self.enter("echo code $?; stty -a")?;
        let screen =
            self.wait("the end", |screen| screen.contains("\ncode ") && is_prompt(screen))?;
        ensure!(screen.contains(&format!("\ncode {code}\n")), "not {code}:\n{screen}");
        let modes = screen.replace('\n', " ");
        for mode in [" icanon", " echo ", " isig", " icrnl"] {
            ensure!(modes.contains(mode), "the terminal is not{mode}:\n{screen}");
        }
        let flags = self.run(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"])?;
        ensure!(flags.trim() == "0 1", "alternate screen and cursor are {flags}");
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The server may have ended already.
        drop(self.run(&["kill-server"]));
    }
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
