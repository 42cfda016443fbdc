//! Where things are on a screen of a size.

use ratatui::layout::Rect;

/// Columns from which on there are two panes side by side.
const TWO_PANES: u16 = 76;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Places {
    pub(super) header: Rect,
    pub(super) rates: Rect,
    pub(super) tree: Rect,
    pub(super) lines: Rect,
    pub(super) detail: Rect,
    pub(super) status: Rect,
}

impl Places {
    /// What has no room is empty; `lines_first` says which pane stays where there is room for one.
    pub(super) fn of(area: Rect, lines_first: bool) -> Self {
        let height = area.height;
        let header = u16::from(height >= 3);
        let status = u16::from(height >= 2);
        let rates = match height {
            0..12 => 0,
            12..18 => 1,
            18.. => 3,
        };
        let detail = if height >= 20 { (height * 3 / 8).clamp(7, 18) } else { 0 };
        let main = height - header - status - rates - detail;
        let mut y = area.y;
        let mut next = |height: u16| {
            let place = Rect { y, height, ..area };
            y += height;
            place
        };
        let (header, rates, main) = (next(header), next(rates), next(main));
        let (detail, status) = (next(detail), next(status));
        let (mut tree, mut lines) = (Rect::default(), Rect::default());
        if area.width >= TWO_PANES {
            // Room for the times of the first and the last event goes to the left.
            let left = if area.width >= 120 { (area.width / 2).min(76) } else { area.width / 2 };
            tree = Rect { width: left, ..main };
            lines = Rect { x: main.x + left + 1, width: area.width - left - 1, ..main };
        } else if lines_first {
            lines = main;
        } else {
            tree = main;
        }
        Self { header, rates, tree, lines, detail, status }
    }
}
