//! Text in a row.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Writes texts one after the other, until the row is full.
pub(super) fn put(buffer: &mut Buffer, row: Rect, texts: &[(Style, &str)]) {
    let mut x = row.x;
    for (style, text) in texts {
        let room = usize::from(row.right().saturating_sub(x));
        if room == 0 || row.height == 0 {
            return;
        }
        (x, _) = buffer.set_stringn(x, row.y, text, room, *style);
    }
}

/// A text truncated or padded to a number of columns.
pub(super) fn cell(text: &str, columns: usize) -> String {
    let mut cell = String::new();
    let mut width = 0;
    let fits = text.width() <= columns;
    let room = if fits { columns } else { columns.saturating_sub(1) };
    for c in text.chars() {
        let next = width + c.width().unwrap_or(0);
        if next > room {
            break;
        }
        cell.push(c);
        width = next;
    }
    if !fits && columns > 0 {
        cell.push('…');
        width += 1;
    }
    cell.extend(std::iter::repeat_n(' ', columns - width.min(columns)));
    cell
}

/// The end of a text that fits into a number of columns.
pub(super) fn end_of(text: &str, columns: usize) -> String {
    let mut width = 0;
    let fits = |c: &char| {
        width += c.width().unwrap_or(0);
        width <= columns
    };
    let mut end: Vec<_> = text.chars().rev().take_while(fits).collect();
    end.reverse();
    end.into_iter().collect()
}
