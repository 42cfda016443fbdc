//! Progress output on stderr for steps that take long: a bar for each step on a terminal, and
//! elsewhere one line with its duration once the step is done.
//!
//! ```ignore
//! let step = progress::step("Unpacking Linux 6.12");
//! unpack()?;
//! step.done("Unpacked Linux 6.12"); // "Unpacked Linux 6.12 in 3 s"
//!
//! let step = progress::download("Fetching Linux 6.12", bytes);
//! step.while_growing(&directory, fetch)?;
//! step.done("Fetched Linux 6.12"); // "Fetched Linux 6.12 (58 MiB) in 12 s"
//!
//! let step = progress::count("6.12 smp", scenarios);
//! step.at("storm"); // "6.12 smp [====>    ] 3/80 storm"
//! step.advance();
//! ```
//!
//! Steps may run in several threads at once. A step that is dropped before it is done, as after an
//! error, leaves nothing on the screen. While bars may be shown, print everything else with
//! [`print()`] and [`note`], and run programs that draw on the terminal themselves under [`lend`].

use std::{
    fmt::Display,
    fs,
    io::{self, IsTerminal as _, Write as _},
    path::Path,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Interval at which the size of a download is checked, and a spinner turns.
const TICK: Duration = Duration::from_millis(120);

const SPINNER: &str = "{spinner} {msg} {elapsed:.dim}";
const DOWNLOAD: &str = "{spinner} {msg} [{bar:24}] {bytes}/{total_bytes} {elapsed:.dim}";
const COUNT: &str = "{spinner} {prefix} [{bar:24}] {pos}/{len} {elapsed:.dim} {msg}";

static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Number of programs that have the terminal to themselves.
static LENT: AtomicUsize = AtomicUsize::new(0);

/// A step in progress.
#[must_use = "it ends when it is dropped"]
#[derive(Debug)]
pub struct Step {
    bar: ProgressBar,
    start: Instant,
    bytes: Option<u64>,
}

/// Starts a step whose progress is unknown.
pub fn step(doing: impl Display) -> Step {
    let bar = add(ProgressBar::new_spinner(), SPINNER);
    bar.set_message(doing.to_string());
    Step::new(bar, None)
}

/// Starts a download of this many bytes.
pub fn download(doing: impl Display, bytes: u64) -> Step {
    let bar = add(ProgressBar::new(bytes), DOWNLOAD);
    bar.set_message(doing.to_string());
    Step::new(bar, Some(bytes))
}

/// Starts a step of this many parts.
pub fn count(doing: impl Display, parts: u64) -> Step {
    let bar = add(ProgressBar::new(parts), COUNT);
    bar.set_prefix(doing.to_string());
    Step::new(bar, None)
}

/// Prints a line to stdout.
pub fn print(text: impl Display) {
    BARS.suspend(|| println!("{text}"));
}

/// Prints a line to stderr.
pub fn note(text: impl Display) {
    BARS.suspend(|| {
        // A program that draws there itself, such as cargo, may be in the middle of a line.
        let clear = if LENT.load(Ordering::Relaxed) > 0 && is_terminal() { "\r\x1b[K" } else { "" };
        // There is no way left to report that stderr is gone.
        drop(writeln!(io::stderr(), "{clear}{text}"));
    });
}

/// Whether bars are shown.
#[must_use]
pub fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Runs something that draws on the terminal itself. No bar is shown until it returns.
pub fn lend<T>(run: impl FnOnce() -> T) -> T {
    struct Lent;
    impl Drop for Lent {
        fn drop(&mut self) {
            if LENT.fetch_sub(1, Ordering::Relaxed) == 1 {
                BARS.set_draw_target(ProgressDrawTarget::stderr());
            }
        }
    }
    if LENT.fetch_add(1, Ordering::Relaxed) == 0 {
        // Hiding the bars alone would leave on the screen what is drawn.
        BARS.suspend(|| {});
        BARS.set_draw_target(ProgressDrawTarget::hidden());
    }
    let _lent = Lent;
    run()
}

impl Step {
    fn new(bar: ProgressBar, bytes: Option<u64>) -> Self {
        bar.enable_steady_tick(TICK);
        Self { bar, start: Instant::now(), bytes }
    }

    /// Counts a part as done.
    pub fn advance(&self) {
        self.bar.inc(1);
    }

    /// Shows the part that is in progress.
    pub fn at(&self, part: impl Display) {
        self.bar.set_message(part.to_string());
    }

    /// Runs a download into this directory. Progress is the size of the files in it.
    pub fn while_growing<T>(&self, directory: &Path, run: impl FnOnce() -> T) -> T {
        let before = size(directory);
        let (running, ended) = mpsc::channel::<()>();
        thread::scope(|scope| {
            scope.spawn(|| {
                let ended = ended;
                while ended.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
                    self.bar.set_position(size(directory).saturating_sub(before));
                }
            });
            let result = run();
            drop(running);
            result
        })
    }

    /// Ends the step with a line that reports what was done, and how long it took.
    pub fn done(self, what: impl Display) {
        let took = duration(self.start.elapsed());
        let line = match self.bytes {
            Some(bytes) => format!("{what} ({}) in {took}", HumanBytes(bytes)),
            None => format!("{what} in {took}"),
        };
        drop(self);
        note(line);
    }

    /// Like [`Self::done`], but prints no line if it took less time than this.
    pub fn done_if_longer(self, than: Duration, what: impl Display) {
        if self.start.elapsed() > than {
            self.done(what);
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        BARS.remove(&self.bar);
    }
}

fn add(bar: ProgressBar, style: &str) -> ProgressBar {
    let bar = BARS.add(bar);
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

/// Formats a duration in seconds, or in minutes and seconds.
fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 10 {
        format!("{:.1} s", duration.as_secs_f64())
    } else if seconds < 60 {
        format!("{seconds} s")
    } else {
        format!("{} min {} s", seconds / 60, seconds % 60)
    }
}

/// Total size of the files in a directory and its subdirectories.
fn size(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        // Removed or renamed since the directory was read.
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_for_people() {
        for (millis, text) in
            [(40, "0.0 s"), (9_450, "9.4 s"), (12_900, "12 s"), (127_000, "2 min 7 s")]
        {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn a_download_is_as_large_as_its_files() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("partial")).expect("another");
        fs::write(directory.path().join("old"), [0; 7]).expect("a file");
        let step = download("Fetching", 1_000);
        step.while_growing(directory.path(), || {
            fs::write(directory.path().join("partial/new"), [0; 600]).expect("a file");
            let start = Instant::now();
            while step.bar.position() == 0 && start.elapsed() < Duration::from_secs(10) {
                thread::sleep(TICK);
            }
        });
        assert_eq!(step.bar.position(), 600);
    }

    #[test]
    fn parts_are_counted_from_several_threads() {
        let step = count("scenarios", 40);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for part in 0..10 {
                        step.at(part);
                        step.advance();
                    }
                });
            }
        });
        assert_eq!(step.bar.position(), 40);
    }

    #[test]
    fn a_borrower_gets_the_terminal_and_gives_it_back() {
        let value = lend(|| {
            assert_eq!(LENT.load(Ordering::Relaxed), 1);
            lend(|| LENT.load(Ordering::Relaxed))
        });
        assert_eq!(value, 2);
        assert_eq!(LENT.load(Ordering::Relaxed), 0);
    }
}
