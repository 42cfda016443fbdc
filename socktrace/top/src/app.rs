//! What is shown, and what keys do to it.

use std::{collections::HashSet, fmt, mem, rc::Rc};

use jiff::{Timestamp, tz::TimeZone};

use crate::{
    Action, Event, Key, Plain,
    event::Field,
    keys::Motion,
    model::Model,
    prompt::{Prompt, Typed},
    tree::{self, Levels, Path, Row, Sort},
};

/// Rows that a person has unfolded, at most.
const MOST_OPEN: usize = 1_000;

/// Steps of the interval that `{` and `}` go.
const LONG_STEP: i32 = 60;

/// Where events come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// From so many hooks of this host's kernel.
    Live(usize),
    /// From a history, this one.
    History(String),
    /// From lines in this file.
    Replay(String),
}

/// What stays the same.
#[derive(Clone, Debug)]
pub struct About {
    /// The name of the host.
    pub host: String,
    /// Where events come from.
    pub source: Source,
    /// By which clock times are shown.
    pub zone: TimeZone,
    /// Whether there are colors.
    pub is_colored: bool,
}

/// Text about a cause: paragraphs, one per line; commands are indented by four spaces.
#[derive(Clone, Debug, Default)]
pub struct Explained {
    /// What to do.
    pub advice: String,
    /// Everything.
    pub page: String,
}

/// Finds the text about a cause.
pub type Texts = Box<dyn Fn(&str) -> Explained>;

/// The focused pane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum View {
    #[default]
    Services,
    Causes,
    Peers,
    Events,
}

impl View {
    const ALL: [Self; 4] = [Self::Services, Self::Causes, Self::Peers, Self::Events];

    /// How its rows can be grouped.
    const fn groupings(self) -> [Levels; 3] {
        use Field::{Cause, Peer, Process, Service};
        match self {
            Self::Services | Self::Events => {
                [[Service, Process, Peer], [Service, Cause, Peer], [Service, Peer, Cause]]
            }
            Self::Causes => {
                [[Cause, Service, Peer], [Cause, Peer, Service], [Cause, Service, Process]]
            }
            Self::Peers => {
                [[Peer, Service, Cause], [Peer, Cause, Service], [Peer, Service, Process]]
            }
        }
    }
}

/// An overlay.
#[derive(Clone, Debug, Default)]
pub(crate) enum Mode {
    #[default]
    Browse,
    Prompt(Prompt),
    /// All of an event, from this line on.
    Detail(usize),
    Help,
}

/// The screen. See the crate.
pub struct App {
    pub(crate) about: About,
    texts: Texts,
    model: Model,
    /// The state when the display was frozen.
    frozen: Option<Box<Model>>,
    pub(crate) view: View,
    /// The view whose tree is shown.
    pub(crate) tree_view: View,
    grouping: usize,
    pub(crate) sort: Sort,
    open: HashSet<Path>,
    /// The row that is chosen.
    pub(crate) chosen: Path,
    /// The event that is chosen; `None` for the newest.
    pub(crate) picked: Option<Rc<Event>>,
    pub(crate) mode: Mode,
    /// The filter as a person writes it, and as options.
    pub(crate) filter: (String, String),
    pub(crate) message: Option<Plain>,
    /// Events that were lost: those that the kernel had no room for, and those that this screen had not.
    pub(crate) lost: [u64; 2],
    pub(crate) shown: Shown,
}

/// The last drawing, which keys apply to.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub(crate) rows: Vec<Row>,
    pub(crate) lines: Vec<Rc<Event>>,
    /// The first of them that are in sight.
    pub(crate) first_row: usize,
    pub(crate) first_line: usize,
    /// Lines of all of an event.
    pub(crate) detail: usize,
    /// Lines that were in sight.
    pub(crate) page: usize,
}

impl fmt::Debug for App {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("App").field("about", &self.about).finish_non_exhaustive()
    }
}

impl App {
    /// A screen without events.
    #[must_use]
    pub fn new(about: About, texts: Texts) -> Self {
        Self {
            about,
            texts,
            model: Model::new(),
            frozen: None,
            view: View::default(),
            tree_view: View::default(),
            grouping: 0,
            sort: Sort::default(),
            open: HashSet::new(),
            chosen: Path::new(),
            picked: None,
            mode: Mode::default(),
            filter: (String::new(), String::new()),
            message: None,
            lost: [0; 2],
            shown: Shown::default(),
        }
    }

    /// Adds an event; `is_shown` says whether it passes the filter.
    pub fn add(&mut self, event: Event, is_shown: bool) {
        self.model.add(event, is_shown);
    }

    /// Adds events that were lost before they came here.
    pub const fn add_lost(&mut self, count: u64) {
        self.lost[0] += count;
    }

    /// Says how many events were lost since the start: by the kernel, and on the way to the screen.
    pub const fn set_lost(&mut self, lost: [u64; 2]) {
        self.lost = lost;
    }

    /// Goes on to a moment, in nanoseconds since 1970.
    pub fn set_now(&mut self, now: i64) {
        self.model.now = self.model.now.max(now);
    }

    /// The moment that was reached.
    #[must_use]
    pub const fn now(&self) -> i64 {
        self.model.now
    }

    /// Forgets all events: those of another moment follow.
    pub fn restart(&mut self, now: i64) {
        self.model = Model::new();
        self.model.now = now;
        self.frozen = None;
        self.picked = None;
    }

    /// Applies a filter, which is as it was written, and as options. What was counted before counts as far
    /// as its lines are kept.
    pub fn filtered(&mut self, words: &str, options: &str, admits: impl Fn(&Event) -> bool) {
        self.filter = (words.to_owned(), options.to_owned());
        self.model.filter(&admits);
        if let Some(frozen) = &mut self.frozen {
            frozen.filter(&admits);
        }
        self.mode = Mode::Browse;
        self.picked = None;
    }

    /// Says why a filter cannot be applied.
    pub fn refuse(&mut self, words: &str, problem: &str) {
        let problem = Some(Plain::new(problem).to_string());
        self.mode = Mode::Prompt(Prompt { text: words.to_owned(), problem });
    }

    /// Shows a message until the next key.
    pub fn say(&mut self, message: &str) {
        self.message = Some(Plain::new(message));
    }

    /// The state shown: the current one, or the one when it was frozen.
    pub(crate) fn model(&self) -> &Model {
        self.frozen.as_deref().unwrap_or(&self.model)
    }

    pub(crate) const fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    pub(crate) fn levels(&self) -> Levels {
        self.tree_view.groupings()[self.grouping]
    }

    pub(crate) fn explain(&self, event: &Event) -> Explained {
        (self.texts)(event.cause.as_str())
    }

    /// The time of day, or with the day before it.
    pub(crate) fn time(&self, nanoseconds: i64, format: &str) -> String {
        let time = Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or_default();
        time.to_zoned(self.about.zone.clone()).strftime(format).to_string()
    }

    /// Finds out what is to be drawn.
    pub(crate) fn refresh(&mut self) {
        let levels = self.levels();
        self.shown.rows = tree::rows(self.model(), levels, self.sort, &self.open);
        // What nothing is left of cannot stay chosen.
        while !self.chosen.is_empty() && !self.shown.rows.iter().any(|row| row.path == self.chosen)
        {
            self.chosen.pop();
        }
        let lines = self.model().lines();
        let chosen = &self.chosen;
        self.shown.lines =
            lines.filter(|event| tree::is_below(event, levels, chosen)).map(Rc::clone).collect();
    }

    /// Applies what a key has changed before the next one, as drawing would.
    pub fn settle(&mut self) {
        if matches!(self.mode, Mode::Browse) {
            self.refresh();
        }
    }

    /// Where the chosen row is.
    pub(crate) fn row(&self) -> usize {
        self.shown.rows.iter().position(|row| row.path == self.chosen).unwrap_or(0)
    }

    /// Where the chosen line is; one that has gone was the first of all.
    pub(crate) fn line(&self) -> usize {
        let last = self.shown.lines.len().saturating_sub(1);
        let Some(picked) = &self.picked else { return last };
        self.shown.lines.iter().position(|line| Rc::ptr_eq(line, picked)).unwrap_or(0)
    }

    /// The event that is shown in full.
    pub(crate) fn event(&self) -> Option<&Rc<Event>> {
        self.shown.lines.get(self.line())
    }

    /// Applies a key.
    pub fn press(&mut self, key: Key) -> Option<Action> {
        self.message = None;
        match mem::take(&mut self.mode) {
            Mode::Prompt(mut prompt) => match prompt.press(key) {
                Typed::More => self.mode = Mode::Prompt(prompt),
                Typed::Done(words) => return Some(Action::Filter(words)),
                Typed::Cancelled => {}
            },
            Mode::Browse => return self.browse(key),
            mode => match (key, mode) {
                (Key::Char('q') | Key::Control('c'), _) => return Some(Action::Quit),
                (Key::Control('l'), mode) => {
                    self.mode = mode;
                    return Some(Action::Redraw);
                }
                (_, Mode::Detail(_)) if matches!(key, Key::Esc | Key::Enter | Key::Left) => {}
                (_, Mode::Detail(at)) => {
                    let last = self.shown.detail.saturating_sub(self.shown.page);
                    let to = Motion::of(key).map(|it| it.apply(at, last + 1, self.shown.page));
                    self.mode = Mode::Detail(to.unwrap_or(at));
                }
                // Any other key closes the page of keys.
                _ => {}
            },
        }
        None
    }

    fn browse(&mut self, key: Key) -> Option<Action> {
        if let Some(motion) = Motion::of(key) {
            self.go(motion);
            return None;
        }
        match key {
            Key::Char('q') | Key::Control('c') => return Some(Action::Quit),
            Key::Control('l') => return Some(Action::Redraw),
            Key::Char(']') => return Some(Action::Step(1)),
            Key::Char('[') => return Some(Action::Step(-1)),
            Key::Char('}') => return Some(Action::Step(LONG_STEP)),
            Key::Char('{') => return Some(Action::Step(-LONG_STEP)),
            Key::Char('y') => return Some(Action::Copy(self.command_line())),
            Key::Char('/') => self.mode = Mode::Prompt(Prompt::new(&self.filter.0)),
            Key::Char('?') => self.mode = Mode::Help,
            Key::Char('s') => {
                self.sort = self.sort.next();
                self.say(&format!("sorted by {}", self.sort.name()));
            }
            Key::Char('a') => {
                self.grouping = (self.grouping + 1) % self.tree_view.groupings().len();
                self.chosen.truncate(1);
                self.open.retain(|path| path.len() == 1);
                let names = self.levels().map(Field::name);
                self.say(&format!("grouped by {}", names.join(", ")));
            }
            Key::Char(' ') => {
                self.frozen = match self.frozen {
                    Some(_) => None,
                    None => Some(Box::new(self.model.clone())),
                };
            }
            Key::Char(digit @ '1'..='4') => self.look_at(View::ALL[digit as usize - '1' as usize]),
            Key::Tab => self.look_at_next(1),
            Key::BackTab => self.look_at_next(View::ALL.len() - 1),
            Key::Enter | Key::Right | Key::Char('l') => self.unfold(),
            Key::Esc | Key::Left | Key::Char('h') => self.fold(),
            _ => {}
        }
        None
    }

    fn go(&mut self, motion: Motion) {
        let page = self.shown.page;
        if self.view == View::Events {
            let to = motion.apply(self.line(), self.shown.lines.len(), page);
            // The last one is whichever comes.
            let is_last = to + 1 >= self.shown.lines.len();
            self.picked = self.shown.lines.get(to).filter(|_| !is_last).map(Rc::clone);
        } else {
            let to = motion.apply(self.row(), self.shown.rows.len(), page);
            self.chosen = self.shown.rows.get(to).map(|row| row.path.clone()).unwrap_or_default();
            self.picked = None;
        }
    }

    fn look_at(&mut self, view: View) {
        self.view = view;
        if view != View::Events && view != self.tree_view {
            self.tree_view = view;
            self.grouping = 0;
            self.chosen.clear();
            self.open.clear();
            self.picked = None;
        }
    }

    fn look_at_next(&mut self, by: usize) {
        let at = View::ALL.iter().position(|view| *view == self.view).unwrap_or(0);
        self.look_at(View::ALL[(at + by) % View::ALL.len()]);
    }

    fn unfold(&mut self) {
        let is_leaf = self.chosen.len() == self.levels().len();
        if self.view == View::Events || is_leaf || self.chosen.is_empty() {
            self.mode = Mode::Detail(0);
        } else if self.open.len() < MOST_OPEN {
            self.open.insert(self.chosen.clone());
        }
    }

    fn fold(&mut self) {
        if self.view == View::Events {
            self.picked = None;
            self.look_at(self.tree_view);
        } else if !self.open.remove(&self.chosen) {
            self.chosen.pop();
            self.open.remove(&self.chosen);
        }
    }

    /// How to see the same lines without this screen.
    fn command_line(&self) -> String {
        let command = match &self.about.source {
            Source::Live(_) => "sudo socktrace".to_owned(),
            Source::History(file) => format!("socktrace history --file {}", quoted(file)),
            Source::Replay(file) => format!("socktrace replay {}", quoted(file)),
        };
        let (_, options) = &self.filter;
        if options.is_empty() { command } else { format!("{command} {options}") }
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if !word.is_empty() && word.chars().all(is_safe) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
