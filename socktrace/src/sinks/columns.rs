//! Columns of a line for people, and which of them fit a terminal. Text that does not fit its
//! column, and a reason that does not fit the line, are shown in full on lines of their own below.

use std::{borrow::Cow, str::FromStr};

/// Replaces the part that was cut out of a text.
const CUT: &str = "…";

/// Prefix of a line that belongs to the one above.
const INDENT: &str = "    ";

/// Minimum width of a terminal that lines below a line need.
const NARROWEST: usize = 40;

/// Width from which most reasons fit into the line itself.
const WIDE: usize = 160;

/// Width of the reason there.
const REASON: usize = 70;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Time,
    Errno,
    Cause,
    Process,
    Service,
    Role,
    Local,
    Remote,
    /// Only on request.
    Flow,
    Reason,
}

impl Column {
    /// Every column.
    const ALL: [Self; 10] = [
        Self::Time,
        Self::Errno,
        Self::Cause,
        Self::Process,
        Self::Service,
        Self::Role,
        Self::Local,
        Self::Remote,
        Self::Flow,
        Self::Reason,
    ];

    /// The default columns of a line, in their order.
    pub(super) const IN_LINE: [Self; 9] = [
        Self::Time,
        Self::Errno,
        Self::Cause,
        Self::Process,
        Self::Service,
        Self::Role,
        Self::Local,
        Self::Remote,
        Self::Reason,
    ];

    /// Every column except the reason, which is always shown, most important first. The first ones
    /// are shown, as many as fit.
    ///
    /// What failed, for whom, where and when. The reason says more than the cause, which precedes
    /// it if it has no column. Service and role add to the process and the remote end, and the
    /// local end is this host.
    const BY_WEIGHT: [Self; 8] = [
        Self::Errno,
        Self::Process,
        Self::Remote,
        Self::Time,
        Self::Cause,
        Self::Service,
        Self::Role,
        Self::Local,
    ];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Time => "TIME",
            Self::Errno => "ERRNO",
            Self::Cause => "CAUSE",
            Self::Process => "PROCESS",
            Self::Service => "SERVICE",
            Self::Role => "ROLE",
            Self::Local => "LOCAL",
            Self::Remote => "REMOTE",
            Self::Flow => "FLOW",
            Self::Reason => "REASON",
        }
    }

    /// Name of the column on the command line.
    fn name(self) -> String {
        self.title().to_lowercase()
    }

    /// Width; the reason gets the rest.
    const fn width(self) -> usize {
        match self {
            Self::Time | Self::Errno | Self::Role => 12,
            Self::Cause => 22,
            Self::Process | Self::Service => 18,
            Self::Local | Self::Remote => 21,
            Self::Flow => 16,
            Self::Reason => 0,
        }
    }

    /// Part at the end of a cut text that is kept: a process id, or a port.
    fn end(self, text: &str) -> &str {
        let begin = match self {
            Self::Process => text.rfind('['),
            // The file name says most in a path.
            Self::Local | Self::Remote if text.starts_with(['/', '@']) => text.rfind('/'),
            Self::Role | Self::Local | Self::Remote => text.rfind(':'),
            _ => None,
        };
        begin.map_or("", |begin| &text[begin..])
    }
}

/// Columns requested by a user, in this order. The reason is last, because it has no fixed width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ColumnList(Vec<Column>);

impl FromStr for ColumnList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut list = Vec::new();
        for name in text.split(',') {
            let name = name.trim().to_lowercase();
            let Some(column) = Column::ALL.into_iter().find(|column| column.name() == name) else {
                let names = Column::ALL.map(Column::name).join(", ");
                return Err(format!("no column {name:?}; there are {names}"));
            };
            if list.contains(&column) {
                return Err(format!("{name} is given twice"));
            }
            list.push(column);
        }
        list.sort_by_key(|column| *column == Column::Reason);
        Ok(Self(list))
    }
}

/// The columns shown, and their widths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    shown: Vec<Column>,
    /// Width of the terminal, in columns.
    limit: Option<usize>,
    /// Whether the reason goes into the line itself, if it fits in full.
    has_reason: bool,
    /// Prefix of an event's columns.
    mark: &'static str,
}

/// A column of one line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) column: Column,
    /// Cut and padded.
    pub(super) text: String,
}

/// One line, and the lines that belong to it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) cells: Vec<Cell>,
    /// Lines below it, indented.
    pub(super) below: Vec<String>,
}

impl Columns {
    /// All columns except those on request, in lines of any width.
    pub(crate) fn all() -> Self {
        Self { shown: Column::IN_LINE.to_vec(), limit: None, has_reason: true, mark: "" }
    }

    /// The columns that fit a terminal of this width: at least the most important one.
    pub(crate) fn within(width: usize) -> Self {
        let has_reason = width >= WIDE;
        let for_reason = if has_reason { 1 + REASON } else { 0 };
        let mut used = for_reason;
        let fitting = Column::BY_WEIGHT.iter().take_while(|column| {
            let gap = usize::from(used > for_reason);
            used += gap + column.width();
            used <= width || gap == 0
        });
        let fitting: Vec<_> = fitting.collect();
        let shown = Column::IN_LINE
            .into_iter()
            .filter(|column| *column == Column::Reason || fitting.contains(&column));
        Self { shown: shown.collect(), limit: Some(width), has_reason, mark: "" }
    }

    /// The requested columns, whether they fit or not.
    pub(crate) fn of(list: &ColumnList, width: Option<usize>) -> Self {
        Self { shown: list.0.clone(), limit: width, has_reason: true, mark: "" }
    }

    /// Columns of a line that continues the previous one.
    pub(super) fn of_continuation(&self) -> Self {
        let shown = self.shown.iter().copied();
        let shown = shown.filter(|column| matches!(column, Column::Time | Column::Reason));
        Self { shown: shown.collect(), has_reason: true, ..*self }
    }

    /// The same with a mark before the event's columns.
    pub(super) fn marked(mut self, mark: &'static str) -> Self {
        self.mark = mark;
        self
    }

    /// The same without this column.
    pub(crate) fn without(mut self, column: Column) -> Self {
        self.shown.retain(|shown| *shown != column);
        self
    }

    /// Whether both show the same columns, although they may cut at different places.
    pub(crate) fn show_same(&self, other: &Self) -> bool {
        self.shown == other.shown
    }

    /// Whether lines have a limited width.
    #[cfg(test)]
    pub(super) const fn are_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// Titles of the columns that have a place in the line.
    pub(super) fn titles(&self) -> Vec<Cell> {
        let mut titles = self.clone();
        titles.shown.retain(|column| *column != Column::Reason || self.has_reason);
        titles.line(|column| column.title().into()).cells
    }

    /// Builds a line from these texts.
    pub(super) fn line<'a>(&self, mut text: impl FnMut(Column) -> Cow<'a, str>) -> Line {
        let mut line = Line::default();
        let mut used = 0;
        let mut cut = Vec::new();
        for (index, column) in self.shown.iter().copied().enumerate() {
            let gap = usize::from(index > 0);
            let is_last = index + 1 == self.shown.len();
            let whole = text(column);
            let room = self.limit.map_or(usize::MAX, |limit| limit.saturating_sub(used + gap));
            if column == Column::Reason && is_last {
                // If anything was cut, the reason goes below, too.
                let marked = format!("{}{whole}", self.mark);
                let fits = self.has_reason && cut.is_empty() && display_width(&marked) <= room;
                if self.limit.is_none() || fits {
                    line.cells.push(Cell { column, text: marked });
                    return line;
                }
                line.below = self.below(&self.with_cause(&whole, &mut text), &cut);
                if line.cells.is_empty() && line.below.is_empty() {
                    // Too narrow for lines below: show at least the beginning.
                    let mut cell = marked;
                    shorten(&mut cell, column, room);
                    line.cells.push(Cell { column, text: cell });
                }
                break;
            }
            // The last column of the line takes the remaining width.
            let is_open =
                is_last || (!self.has_reason && self.shown[index + 1..] == [Column::Reason]);
            let width = if is_open { room } else { column.width().min(room) };
            if width == 0 {
                continue;
            }
            let mut cell = whole.to_string();
            if self.limit.is_some() && shorten(&mut cell, column, width) {
                cut.push((column, whole.into_owned()));
            }
            let taken = display_width(&cell);
            let padding = if is_open { 0 } else { width.saturating_sub(taken) };
            cell.extend(std::iter::repeat_n(' ', padding));
            used += gap + taken + padding;
            line.cells.push(Cell { column, text: cell });
        }
        if line.below.is_empty() && !cut.is_empty() {
            line.below = self.below("", &cut);
        }
        if let Some(last) = line.cells.last_mut() {
            last.text.truncate(last.text.trim_end().len());
        }
        line
    }

    /// Adds the cause in front of the reason, if there is one without a column.
    fn with_cause<'a>(
        &self,
        reason: &str,
        text: &mut impl FnMut(Column) -> Cow<'a, str>,
    ) -> String {
        let has_column = self.shown.contains(&Column::Cause);
        let cause = if has_column { "".into() } else { text(Column::Cause) };
        let colon = if cause.is_empty() { "" } else { ": " };
        format!("{}{cause}{colon}{reason}", self.mark)
    }

    /// Lines below a line: the reason, and the texts that were cut.
    fn below(&self, reason: &str, cut: &[(Column, String)]) -> Vec<String> {
        let Some(limit) = self.limit.filter(|limit| *limit >= NARROWEST) else {
            return Vec::new();
        };
        let cut: Vec<_> =
            cut.iter().map(|(column, whole)| format!("{} {whole}", column.name())).collect();
        let text = match (reason, cut.join(", ")) {
            (reason, cut) if cut.is_empty() => reason.to_owned(),
            ("", cut) => format!("({cut})"),
            (reason, cut) => format!("{reason} ({cut})"),
        };
        // Addresses and names are not split.
        let options = textwrap::Options::new(limit)
            .word_splitter(textwrap::WordSplitter::NoHyphenation)
            .word_separator(textwrap::WordSeparator::AsciiSpace)
            .initial_indent(INDENT)
            .subsequent_indent(INDENT);
        textwrap::wrap(&text, options).into_iter().map(Cow::into_owned).collect()
    }
}

/// Width of a text on a terminal, in columns.
pub(super) fn display_width(text: &str) -> usize {
    // Most texts are plain.
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if is_plain { text.len() } else { textwrap::core::display_width(text) }
}

/// Shortens a text to this many columns of a terminal, at least one, and returns whether it did.
/// Keeps the end where that says most.
fn shorten(text: &mut String, column: Column, room: usize) -> bool {
    if display_width(text) <= room {
        return false;
    }
    let end = column.end(text);
    // Part of the beginning must remain.
    let end = if display_width(end) + 2 <= room { end.to_owned() } else { String::new() };
    let room = room.saturating_sub(display_width(&end));
    let mut used = 0;
    let begin = text.char_indices().find_map(|(index, char)| {
        used += display_width(char.encode_utf8(&mut [0; 4]));
        // The ellipsis takes one.
        (used >= room).then_some(index)
    });
    text.truncate(begin.unwrap_or(text.len()));
    text.push_str(CUT);
    text.push_str(&end);
    true
}

#[cfg(test)]
#[path = "columns_tests.rs"]
mod tests;
