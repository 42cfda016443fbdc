//! The columns of a line for people, and which of them a terminal has room for. The reason moves to
//! lines of its own where it does not fit.

use std::borrow::Cow;

use textwrap::core::display_width;

/// What stands for the rest of a text that was cut.
const CUT: char = '…';

/// What stands before a reason on a line of its own.
const INDENT: &str = "    ";

/// The least width of a terminal on which a reason gets lines of its own.
const NARROWEST: usize = 40;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Time,
    Errno,
    Cause,
    Process,
    Service,
    Role,
    Local,
    Remote,
    Reason,
}

impl Column {
    /// Every column, in the order of a line.
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

    /// Every column, the most telling first. As many are shown, from the first, as fit.
    ///
    /// What failed, for whom and where, then when; the reason says more of the cause; service and
    /// role say more of the process and the remote end, and the local end is this host.
    const BY_WEIGHT: [Self; 9] = [
        Self::Cause,
        Self::Errno,
        Self::Process,
        Self::Remote,
        Self::Time,
        Self::Reason,
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
            Self::Reason => "REASON",
        }
    }

    /// Its width; a longer value pushes the rest of the line out. Of the last one the least that is
    /// worth showing.
    const fn width(self) -> usize {
        match self {
            Self::Time | Self::Errno | Self::Role => 12,
            Self::Cause => 22,
            Self::Process | Self::Service => 18,
            Self::Local | Self::Remote => 21,
            Self::Reason => 30,
        }
    }
}

/// What fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    shown: Vec<Column>,
    /// Columns of the terminal.
    limit: Option<usize>,
}

impl Columns {
    /// All there are.
    pub(crate) fn all() -> Self {
        Self { shown: Column::IN_LINE.to_vec(), limit: None }
    }

    /// Those that fit a terminal this wide: at least the most telling one.
    pub(crate) fn within(width: usize) -> Self {
        let mut used = 0;
        let fitting = Column::BY_WEIGHT.iter().take_while(|column| {
            let gap = usize::from(used > 0);
            used += gap + column.width();
            used <= width || gap == 0
        });
        let fitting: Vec<_> = fitting.collect();
        let shown = Column::IN_LINE.into_iter().filter(|column| fitting.contains(&column));
        Self { shown: shown.collect(), limit: Some(width) }
    }

    /// Whether both show the same, though they may cut elsewhere.
    pub(crate) fn show_same(&self, other: &Self) -> bool {
        self.shown == other.shown
    }

    /// The cells of a line with what stands before each, padded and cut to fit. A reason that does
    /// not fit is left out: see [`Self::below`].
    pub(super) fn cells<'a>(
        &self,
        mut text: impl FnMut(Column) -> Cow<'a, str>,
    ) -> Vec<(Column, &'static str, String)> {
        let mut cells = Vec::new();
        let mut used = 0;
        for (index, column) in self.shown.iter().copied().enumerate() {
            let gap = if index == 0 { "" } else { " " };
            let is_last = index + 1 == self.shown.len();
            let mut cell = text(column).into_owned();
            let room =
                self.limit.map_or(usize::MAX, |limit| limit.saturating_sub(used + gap.len()));
            let is_below = column == Column::Reason && self.wraps() && display_width(&cell) > room;
            if room == 0 || is_below {
                break;
            }
            cut(&mut cell, room);
            if !is_last {
                let padding = column.width().min(room).saturating_sub(display_width(&cell));
                cell.extend(std::iter::repeat_n(' ', padding));
            }
            used += gap.len() + display_width(&cell);
            cells.push((column, gap, cell));
        }
        cells
    }

    /// The lines under a line that has no room for this reason.
    pub(super) fn below(&self, reason: &str) -> Vec<String> {
        let Some(limit) = self.limit.filter(|_| self.wraps()) else { return Vec::new() };
        let options =
            textwrap::Options::new(limit).initial_indent(INDENT).subsequent_indent(INDENT);
        textwrap::wrap(reason, options).into_iter().map(Cow::into_owned).collect()
    }

    /// Whether reasons may have lines of their own.
    fn wraps(&self) -> bool {
        self.limit.is_some_and(|limit| limit >= NARROWEST)
    }
}

/// Shortens a text to this many columns of a terminal, at least one.
fn cut(text: &mut String, room: usize) {
    if display_width(text) <= room {
        return;
    }
    let mut used = 0;
    let end = text.char_indices().find_map(|(index, char)| {
        used += display_width(char.encode_utf8(&mut [0; 4]));
        // The mark takes one.
        (used >= room).then_some(index)
    });
    text.truncate(end.unwrap_or(text.len()));
    text.push(CUT);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn titles(columns: &Columns) -> Vec<&str> {
        columns.shown.iter().map(|column| column.title()).collect()
    }

    #[test]
    fn columns_drop_from_the_least_telling() {
        assert_eq!(titles(&Columns::within(1)), ["CAUSE"]);
        assert_eq!(titles(&Columns::within(80)), ["ERRNO", "CAUSE", "PROCESS", "REMOTE"]);
        let with_time = ["TIME", "ERRNO", "CAUSE", "PROCESS", "REMOTE"];
        assert_eq!(titles(&Columns::within(100)), with_time);
        assert_eq!(titles(&Columns::within(120)), [&with_time[..], &["REASON"]].concat());
        assert_eq!(titles(&Columns::within(174)), titles(&Columns::all()));
        assert_eq!(titles(&Columns::within(173)).len(), 8);
    }

    #[test]
    fn each_column_has_its_place_and_weight() {
        for column in Column::IN_LINE {
            assert!(Column::BY_WEIGHT.contains(&column), "{column:?}");
        }
    }

    #[test]
    fn a_reason_moves_down_where_it_does_not_fit() {
        let reason = "sent at a TTL of 1 by 10.0.0.1, which no router on the way to it passes on";
        let shown = |width| {
            let columns = Columns::within(width);
            let text = |column| if column == Column::Reason { reason } else { "x" };
            let cells = columns.cells(|column| text(column).into());
            cells.iter().any(|(column, ..)| *column == Column::Reason)
        };
        assert!(!shown(80) && !shown(120) && shown(240));
        assert_eq!(
            Columns::within(80).below(reason),
            ["    sent at a TTL of 1 by 10.0.0.1, which no router on the way to it passes on",]
        );
        assert_eq!(Columns::within(50).below(reason).len(), 2);
        assert_eq!(Columns::within(39).below(reason), [""; 0]);
        assert_eq!(Columns::all().below(reason), [""; 0]);
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_terminal(width in 1..250_usize, text in "[a-z世界]{0,60}") {
            let cells = Columns::within(width).cells(|_| Cow::Borrowed(text.as_str()));
            let used: usize = cells.iter().map(|(_, gap, cell)| gap.len() + display_width(cell)).sum();
            prop_assert!(used <= width, "{used}: {cells:?}");
            for line in Columns::within(width).below(&text) {
                prop_assert!(display_width(&line) <= width, "{line}");
            }
        }
    }
}
