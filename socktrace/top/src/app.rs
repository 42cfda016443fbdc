//! State of the screen, and the effects of keys.

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

/// Maximum number of unfolded rows.
const MOST_OPEN: usize = 1_000;

/// Number of steps for the keys `{` and `}`.
const LONG_STEP: i32 = 60;

/// Source of the events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// This host's kernel, with this number of hooks.
    Live(usize),
    /// This history.
    History(String),
    /// Lines in this file.
    Replay(String),
}

/// Fixed properties of the screen.
#[derive(Clone, Debug)]
pub struct About {
    /// Name of the host.
    pub host: String,
    /// Source of the events.
    pub source: Source,
    /// Time zone of the times shown.
    pub zone: TimeZone,
    /// Whether to use colors.
    pub is_colored: bool,
}

/// Text about a cause: paragraphs, one per line. Commands are indented by four spaces.
#[derive(Clone, Debug, Default)]
pub struct Explained {
    /// The recommended action.
    pub advice: String,
    /// The whole text.
    pub page: String,
}

/// Looks up the text about a cause.
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

    /// The ways to group its rows.
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
    /// All details of an event, starting at this line.
    Detail(usize),
    Help,
}

/// The screen; see the crate's documentation.
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
    /// Path of the selected row.
    pub(crate) chosen: Path,
    /// The selected event; `None` follows the newest.
    pub(crate) picked: Option<Rc<Event>>,
    pub(crate) mode: Mode,
    /// The filter as typed, and as options.
    pub(crate) filter: (String, String),
    pub(crate) message: Option<Plain>,
    /// Number of events lost: in the kernel, and on the way to the screen.
    pub(crate) lost: [u64; 2],
    pub(crate) shown: Shown,
}

/// The last frame, to which keys apply.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub(crate) rows: Vec<Row>,
    pub(crate) lines: Vec<Rc<Event>>,
    /// The first visible row and line.
    pub(crate) first_row: usize,
    pub(crate) first_line: usize,
    /// Number of lines in the details of an event.
    pub(crate) detail: usize,
    /// Number of visible lines.
    pub(crate) page: usize,
}

impl fmt::Debug for App {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("App").field("about", &self.about).finish_non_exhaustive()
    }
}

impl App {
    /// Creates a screen without events.
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

    /// Adds an event; `is_shown` is whether it passes the filter.
    pub fn add(&mut self, event: Event, is_shown: bool) {
        self.model.add(event, is_shown);
    }

    /// Adds to the number of events lost in the kernel.
    pub const fn add_lost(&mut self, count: u64) {
        self.lost[0] += count;
    }

    /// Sets the number of events lost since the start: in the kernel, and on the way to the screen.
    pub const fn set_lost(&mut self, lost: [u64; 2]) {
        self.lost = lost;
    }

    /// Advances the current time, in nanoseconds since 1970.
    pub fn set_now(&mut self, now: i64) {
        self.model.now = self.model.now.max(now);
    }

    /// The current time.
    #[must_use]
    pub const fn now(&self) -> i64 {
        self.model.now
    }

    /// Discards all events, to show those of another moment.
    pub fn restart(&mut self, now: i64) {
        self.model = Model::new();
        self.model.now = now;
        self.frozen = None;
        self.picked = None;
    }

    /// Applies a filter, given as typed and as options. Events are counted again from the lines
    /// that are still stored.
    pub fn filtered(&mut self, words: &str, options: &str, admits: impl Fn(&Event) -> bool) {
        self.filter = (words.to_owned(), options.to_owned());
        self.model.filter(&admits);
        if let Some(frozen) = &mut self.frozen {
            frozen.filter(&admits);
        }
        self.mode = Mode::Browse;
        self.picked = None;
    }

    /// Shows why a filter cannot be applied.
    pub fn refuse(&mut self, words: &str, problem: &str) {
        let problem = Some(Plain::new(problem).to_string());
        self.mode = Mode::Prompt(Prompt { text: words.to_owned(), problem });
    }

    /// Shows a message until the next key.
    pub fn say(&mut self, message: &str) {
        self.message = Some(Plain::new(message));
    }

    /// The state shown: the current one, or the frozen one.
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

    /// Formats a time in the screen's time zone.
    pub(crate) fn time(&self, nanoseconds: i64, format: &str) -> String {
        let time = Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or_default();
        time.to_zoned(self.about.zone.clone()).strftime(format).to_string()
    }

    /// Computes the rows and lines to draw.
    pub(crate) fn refresh(&mut self) {
        let levels = self.levels();
        self.shown.rows = tree::rows(self.model(), levels, self.sort, &self.open);
        // A row that has disappeared cannot stay selected.
        while !self.chosen.is_empty() && !self.shown.rows.iter().any(|row| row.path == self.chosen)
        {
            self.chosen.pop();
        }
        let lines = self.model().lines();
        let chosen = &self.chosen;
        self.shown.lines =
            lines.filter(|event| tree::is_below(event, levels, chosen)).map(Rc::clone).collect();
    }

    /// Applies the effects of a key before the next one, as drawing would.
    pub fn settle(&mut self) {
        if matches!(self.mode, Mode::Browse) {
            self.refresh();
        }
    }

    /// Index of the selected row.
    pub(crate) fn row(&self) -> usize {
        self.shown.rows.iter().position(|row| row.path == self.chosen).unwrap_or(0)
    }

    /// Index of the selected line; the first one if it has been removed.
    pub(crate) fn line(&self) -> usize {
        let last = self.shown.lines.len().saturating_sub(1);
        let Some(picked) = &self.picked else { return last };
        self.shown.lines.iter().position(|line| Rc::ptr_eq(line, picked)).unwrap_or(0)
    }

    /// The event with its details shown.
    pub(crate) fn event(&self) -> Option<&Rc<Event>> {
        self.shown.lines.get(self.line())
    }

    /// Handles a key.
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
                // Any other key closes the help page.
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
            // With the last line selected, the newest event is followed.
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

    /// A command that shows the same lines without this screen.
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

/// A word quoted for a shell.
fn quoted(word: &str) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if !word.is_empty() && word.chars().all(is_safe) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
