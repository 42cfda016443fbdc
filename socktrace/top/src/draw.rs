//! Drawing of the screen into a buffer of any size.

mod lines;
mod look;
mod pages;
mod panes;
mod places;

use ratatui::{buffer::Buffer, layout::Rect};

use self::{
    lines::put,
    look::{BAR, BOLD, DIM, Look, TEXT},
    places::Places,
};
use crate::{
    App, Severity, Source,
    app::{Mode, View},
};

/// Bars from lowest to highest.
const BARS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

impl App {
    /// Draws everything. If the area is too small, only the most important parts are drawn.
    pub fn draw(&mut self, area: Rect, buffer: &mut Buffer) {
        if area.is_empty() {
            return;
        }
        self.refresh();
        let look = Look { is_colored: self.about.is_colored };
        match self.mode {
            Mode::Help => pages::help(area, buffer),
            Mode::Detail(_) => pages::detail(self, look, area, buffer),
            Mode::Browse | Mode::Prompt(_) => self.draw_panes(look, area, buffer),
        }
    }

    fn draw_panes(&mut self, look: Look, area: Rect, buffer: &mut Buffer) {
        let places = Places::of(area, self.view == View::Events);
        self.header(look, places.header, buffer);
        self.rates(look, places.rates, buffer);
        panes::tree(self, look, places.tree, buffer);
        panes::lines(self, look, places.lines, buffer);
        if !places.tree.is_empty() && !places.lines.is_empty() {
            let line = places.lines.x - 1;
            for y in places.lines.y..places.lines.bottom() {
                buffer.set_string(line, y, "│", DIM);
            }
        }
        pages::below(self, look, places.detail, buffer);
        self.status(look, places.status, buffer);
    }

    fn header(&self, look: Look, area: Rect, buffer: &mut Buffer) {
        if area.is_empty() {
            return;
        }
        let source = match &self.about.source {
            Source::Live(1) => "1 hook".to_owned(),
            Source::Live(hooks) => format!("{hooks} hooks"),
            Source::History(file) => format!("history {file}"),
            Source::Replay(file) => format!("replay {file}"),
        };
        let day = if matches!(self.about.source, Source::Live(_)) { "" } else { "%Y-%m-%d " };
        let now = self.model().now;
        let time = if now == 0 { String::new() } else { self.time(now, &format!("{day}%H:%M:%S")) };
        let [by_kernel, here] = self.lost;
        let here = if here > 0 { format!(" dropped {here}") } else { String::new() };
        let frozen = if self.is_frozen() { " FROZEN " } else { "" };
        let numbers = format!("lost {by_kernel} repeated {}{here}  {time}", self.model().repeated);
        let name = format!("socktrace top  {}  {source} ", self.about.host);
        let bar = Rect { height: 1, ..area };
        buffer.set_style(bar, BAR);
        // The numbers are more important than the name.
        let width = u16::try_from(numbers.chars().count()).unwrap_or(u16::MAX).min(area.width);
        let (left, right) = (area.width - width, area.right() - width);
        put(buffer, Rect { width: left, ..bar }, &[(BAR, &name), (look.alarm(), frozen)]);
        put(buffer, Rect { x: right, width, ..bar }, &[(BAR, &numbers)]);
    }

    /// Draws failures per second, with a line for each severity, or a single line for all.
    fn rates(&self, look: Look, area: Rect, buffer: &mut Buffer) {
        const NAME: u16 = 11;
        const RATE: u16 = 8;
        let columns = usize::from(area.width.saturating_sub(NAME + RATE));
        let rates = self.model().rates(columns.max(1));
        let sum = || {
            let (most, rest) = rates.split_first().unwrap_or((&rates[0], &[]));
            let add = |at: usize, rate: u32| {
                rest.iter().fold(rate, |sum, other| sum.saturating_add(other[at]))
            };
            most.iter().enumerate().map(|(at, rate)| add(at, *rate)).collect::<Vec<_>>()
        };
        let lines: Vec<(Severity, String, Vec<u32>)> = match area.height {
            0 => return,
            1 => vec![(Severity::Failure, "  failures".to_owned(), sum())],
            _ => Severity::OF_FAILURES
                .into_iter()
                .zip(rates)
                .map(|(severity, rate)| {
                    (severity, format!("{} {}", severity.sign(), severity.name()), rate)
                })
                .collect(),
        };
        let highest = lines.iter().flat_map(|(.., rate)| rate).max().copied().unwrap_or(0).max(1);
        for (row, (severity, name, rate)) in area.rows().zip(lines) {
            let style = look.severity(severity);
            let last = rate.last().copied().unwrap_or(0);
            let bars: String = rate.iter().map(|rate| bar(*rate, highest)).collect();
            let last = format!("{:>6}/s ", panes::short(last.into()));
            put(buffer, row, &[(style, &format!("{name:<10} ")), (style, &bars), (style, &last)]);
        }
    }

    fn status(&self, look: Look, area: Rect, buffer: &mut Buffer) {
        if area.is_empty() {
            return;
        }
        if let Mode::Prompt(prompt) = &self.mode {
            let problem = prompt.problem.as_deref().map(|it| format!("  {it}")).unwrap_or_default();
            let text = lines::end_of(&prompt.text, usize::from(area.width).saturating_sub(3));
            let parts = [(BOLD, "/"), (TEXT, &*text), (BAR, " "), (look.warning(), &*problem)];
            put(buffer, area, &parts);
            return;
        }
        if let Some(message) = &self.message {
            put(buffer, area, &[(BOLD, message.as_str())]);
            return;
        }
        let (_, options) = &self.filter;
        let filter = if options.is_empty() { String::new() } else { format!("{options}  ") };
        let step = match self.about.source {
            Source::History(_) => "[ ] step  ",
            Source::Live(_) | Source::Replay(_) => "",
        };
        let keys = format!(
            "/ filter  s sort: {}  a group  space {}  {step}? help  q quit",
            self.sort.name(),
            if self.is_frozen() { "go on" } else { "freeze" },
        );
        put(buffer, area, &[(BOLD, &filter), (DIM, &keys)]);
    }
}

/// The bar for a number relative to the highest. Only zero has an empty bar.
fn bar(number: u32, highest: u32) -> &'static str {
    let steps = (BARS.len() - 1) as u64;
    let step = (u64::from(number) * steps).div_ceil(u64::from(highest));
    BARS[usize::try_from(step).unwrap_or(0).min(BARS.len() - 1)]
}
