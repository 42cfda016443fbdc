//! Layout of the screen for a size.

use ratatui::layout::Rect;

/// Minimum width for two panes side by side.
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
    /// Parts without room are empty; `lines_first` decides which pane is shown if only one fits.
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
            // Extra columns for the times of the first and last event go to the left pane.
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
