//! The running screen: takes lines and keys, and draws a bounded number of times per second.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use jiff::Timestamp;
use ratatui::crossterm::event;
use socktrace_top::{About, Action, App, Explained, Source};
use tokio::sync::Notify;

use super::{
    Feed, Moments, TopSink, events,
    feed::{Taken, Text},
    terminal::{self, Terminal},
};
use crate::{
    cli::Filters,
    explain::{Language, Topic, advice, page},
    filter::Filter,
    record::Line,
    service::log,
    sinks::Sink,
};

/// Minimum interval between frames.
const FRAME: Duration = Duration::from_millis(100);

/// Maximum number of lines taken before keys are checked again.
const BATCH: usize = 2_048;

/// Width that leaves pages unwrapped: the screen wraps them itself.
const UNBROKEN: usize = 100_000;

/// Source of the time shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// This host's clock.
    Wall,
    /// The time of the newest line, advancing from there.
    Line,
    /// A requested moment, or the newest line.
    Stands,
}

/// A screen that is not shown yet.
pub(crate) struct Screen {
    pub(crate) about: About,
    pub(crate) clock: Clock,
    pub(crate) filters: Filters,
    pub(crate) language: Language,
    /// Access to other moments of a history, and the first moment to show.
    pub(crate) moments: Option<(Moments, i64)>,
    /// Queue that lines come from.
    pub(crate) feed: Arc<Feed>,
}

/// A screen shown by a thread.
pub(crate) struct Running {
    thread: Option<JoinHandle<anyhow::Result<()>>>,
    is_over: Arc<AtomicBool>,
    /// Notified when the user quits.
    pub(crate) ended: Arc<Notify>,
}

impl Running {
    /// Stops the screen and restores the terminal.
    ///
    /// # Errors
    /// The error that ended the screen.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        match self.stop() {
            Some(Ok(result)) => result,
            // The panic message has been printed already.
            Some(Err(_)) => Err(anyhow::anyhow!("the screen broke down")),
            None => Ok(()),
        }
    }

    fn stop(&mut self) -> Option<thread::Result<anyhow::Result<()>>> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop());
    }
}

/// Notifies when dropped, even by a panic.
struct AtEnd(Arc<Notify>, Arc<Feed>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.1.close();
        self.0.notify_one();
    }
}

impl Screen {
    /// Sets the number of hooks shown.
    pub(crate) fn on_hooks(mut self, hooks: usize) -> Self {
        self.about.source = Source::Live(hooks);
        self
    }

    /// Sink that feeds records to this screen.
    pub(crate) fn sink(&self) -> Box<dyn Sink> {
        Box::new(TopSink::new(Arc::clone(&self.feed)))
    }

    /// Shows the feed until the user or the caller stops it.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(self) -> anyhow::Result<Running> {
        let ended = Arc::new(Notify::new());
        let is_over = Arc::new(AtomicBool::new(false));
        let (at_end, over) =
            (AtEnd(Arc::clone(&ended), Arc::clone(&self.feed)), Arc::clone(&is_over));
        let feed = Arc::clone(&self.feed);
        let show = move || {
            let _at_end = at_end;
            self.show(&feed, &over)
        };
        let thread = thread::Builder::new().name("screen".to_owned()).spawn(show);
        let thread = Some(thread.context("cannot start a thread for the screen")?);
        Ok(Running { thread, is_over, ended })
    }

    fn show(self, feed: &Feed, is_over: &AtomicBool) -> anyhow::Result<()> {
        let mut terminal =
            Terminal::take(self.about.is_colored).context("cannot use the terminal")?;
        let mut work = Work::new(self, feed);
        work.run(&mut terminal, is_over).context("cannot use the terminal")
    }
}

/// The explanation of a cause or another event.
fn explained(name: &str, language: Language) -> Explained {
    let Ok(topic) = Topic::find(name) else { return Explained::default() };
    let page = page(&topic, language, UNBROKEN);
    let page = anstream::adapter::strip_str(&page).to_string();
    Explained { advice: advice(&topic, language), page }
}

/// The part of the screen that needs no terminal.
pub(super) struct Work<'a> {
    pub(super) app: App,
    feed: &'a Feed,
    clock: Clock,
    filter: Filter,
    moments: Option<Moments>,
    lines: Vec<Text>,
    /// Number of lines that could not be parsed.
    wrong: u64,
    /// Arrival of the newest line, and its time.
    newest: Option<(Instant, i64)>,
    has_ended: bool,
    /// The second shown last.
    second: i64,
}

impl<'a> Work<'a> {
    pub(super) fn new(screen: Screen, feed: &'a Feed) -> Self {
        let Screen { about, clock, filters, language, moments, feed: _ } = screen;
        let mut app = App::new(about, Box::new(move |name| explained(name, language)));
        let options = filters.to_string();
        app.filtered(&options, &options, |_| true);
        let moments = moments.map(|(moments, at)| {
            app.restart(at);
            moments.ask(feed.begin(), at);
            moments
        });
        let filter = Filter::from(&filters);
        let lines = Vec::new();
        let (wrong, newest, has_ended, second) = (0, None, false, 0);
        Self { app, feed, clock, filter, moments, lines, wrong, newest, has_ended, second }
    }

    fn run(&mut self, terminal: &mut Terminal, is_over: &AtomicBool) -> io::Result<()> {
        let mut drawn: Option<Instant> = None;
        // Whether the last frame is out of date.
        let mut is_old = true;
        while !is_over.load(Ordering::Relaxed) {
            let has_more = self.take();
            is_old |= has_more || self.has_ticked();
            if let Some(words) = log::last_held() {
                self.app.say(&words);
                is_old = true;
            }
            let wait = drawn.map_or(Duration::ZERO, |drawn| FRAME.saturating_sub(drawn.elapsed()));
            if wait.is_zero() {
                drawn = Some(Instant::now());
                if is_old {
                    self.tick();
                    terminal.draw(&mut self.app)?;
                    is_old = false;
                }
            }
            let wait = if has_more { Duration::ZERO } else { wait.min(FRAME) };
            if !event::poll(wait)? {
                continue;
            }
            // All keys pressed so far share one frame.
            loop {
                let event = event::read()?;
                if let Some(key) = terminal::key(&event)
                    && let Some(action) = self.app.press(key)
                    && !self.act(action, terminal)?
                {
                    return Ok(());
                }
                if !event::poll(Duration::ZERO)? {
                    break;
                }
                self.app.settle();
            }
            is_old = true;
            drawn = None;
        }
        Ok(())
    }

    /// Takes some lines; returns whether anything arrived.
    pub(super) fn take(&mut self) -> bool {
        let mut lines = std::mem::take(&mut self.lines);
        let Taken { dropped, lost, end } = self.feed.take(&mut lines, BATCH);
        let has_any = !lines.is_empty();
        let is_end = end.is_some();
        for text in lines.drain(..) {
            let Ok(line) = Line::read(&text) else {
                self.wrong += 1;
                continue;
            };
            if let Some(count) = line.lost() {
                self.app.add_lost(count);
            } else {
                let is_shown = self.filter.admits_line(&line);
                self.app.add(events::event(&line, text), is_shown);
            }
        }
        self.lines = lines;
        if has_any {
            self.newest = Some((Instant::now(), self.app.now()));
        }
        if self.clock == Clock::Wall {
            self.app.set_lost([lost, dropped]);
        }
        if let Some(words) = end {
            self.has_ended = true;
            let wrong = match self.wrong {
                0 => String::new(),
                count => format!("; {count} lines were not written by socktrace --output json"),
            };
            if !(words.is_empty() && wrong.is_empty()) {
                self.app.say(&(words + &wrong));
            }
        }
        has_any || is_end
    }

    /// Whether a new second has begun.
    fn has_ticked(&mut self) -> bool {
        let runs = self.clock != Clock::Stands && !self.has_ended;
        let second = Timestamp::now().as_second();
        runs && std::mem::replace(&mut self.second, second) != second
    }

    /// Updates the time shown.
    fn tick(&mut self) {
        match (self.clock, self.newest) {
            (Clock::Wall, _) => {
                let now = Timestamp::now().as_nanosecond();
                self.app.set_now(i64::try_from(now).unwrap_or(i64::MAX));
            }
            (Clock::Line, Some((came, time))) if !self.has_ended => {
                let since = i64::try_from(came.elapsed().as_nanos()).unwrap_or(0);
                self.app.set_now(time.saturating_add(since));
            }
            _ => {}
        }
    }

    /// Executes an action; returns whether the screen continues.
    fn act(&mut self, action: Action, terminal: &mut Terminal) -> io::Result<bool> {
        match action {
            Action::Quit => return Ok(false),
            Action::Redraw => terminal.clear()?,
            Action::Copy(text) => {
                terminal.copy(&text)?;
                self.app.say(&format!("copied: {text}"));
            }
            Action::Filter(words) => self.filter(&words),
            Action::Step(steps) => self.step(steps),
        }
        Ok(true)
    }

    pub(super) fn filter(&mut self, words: &str) {
        match Filters::parse(words) {
            Ok(filters) => {
                let filter = Filter::from(&filters);
                self.app.filtered(words, &filters.to_string(), |event| {
                    Line::read(&event.text).is_ok_and(|line| filter.admits_line(&line))
                });
                self.filter = filter;
                // The history still has the lines that the screen no longer keeps.
                if self.moments.is_some() {
                    self.step(0);
                }
            }
            Err(problem) => self.app.refuse(words, &problem),
        }
    }

    pub(super) fn step(&mut self, steps: i32) {
        let Some(moments) = &self.moments else {
            self.app.say("only a history has steps: socktrace top --history");
            return;
        };
        let at = moments.step(self.app.now(), steps);
        self.app.restart(at);
        moments.ask(self.feed.begin(), at);
    }
}
