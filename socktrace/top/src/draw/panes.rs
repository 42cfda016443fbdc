//! The panes: tree and lines.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    lines::{cell, put},
    look::{BOLD, DIM, Look, TEXT, chosen},
};
use crate::{App, Event, app::View, event::Field, tree::Row};

/// Widths of a row's number and of its times.
const NUMBER: usize = 6;
const TIMES: usize = 18;

/// Minimum width for more than one number.
const ALL_NUMBERS: usize = 34;

/// Minimum width of a name next to the times.
const LEAST_NAME: usize = 22;

/// A number in five columns.
pub(super) fn short(number: u64) -> String {
    match number {
        0..100_000 => number.to_string(),
        100_000..10_000_000 => format!("{}k", number / 1_000),
        10_000_000..10_000_000_000 => format!("{}M", number / 1_000_000),
        _ => format!("{}G", number / 1_000_000_000),
    }
}

/// Index of the first visible line, such that the one at `at` is visible.
fn scroll(first: usize, at: usize, count: usize, height: usize) -> usize {
    let first = first.min(count.saturating_sub(height));
    first.max((at + 1).saturating_sub(height)).min(at)
}

pub(super) fn tree(app: &mut App, look: Look, area: Rect, buffer: &mut Buffer) {
    let has_keys = app.view != View::Events;
    let Some((title, area)) = split(area) else { return };
    let height = usize::from(area.height);
    if has_keys {
        app.shown.page = height.max(1);
    }
    let width = usize::from(area.width);
    let numbers: &[&str] = if width >= ALL_NUMBERS { &["now", "1m", "15m"] } else { &["1m"] };
    let columns = numbers.len() * NUMBER;
    let has_times = width >= LEAST_NAME + columns + TIMES;
    let name = width.saturating_sub(columns + if has_times { TIMES } else { 0 });
    let times = if has_times { "    first     last" } else { "" };
    let levels = app.levels().map(Field::name).join(">");
    let titles: Vec<_> = numbers.iter().map(|title| format!("{title:>NUMBER$}")).collect();
    let titles = titles.concat();
    let text = format!("{}{titles}{times}", cell(&levels, name));
    let style = if has_keys { chosen(BOLD) } else { BOLD };
    put(buffer, title, &[(style, &text)]);
    if app.shown.rows.is_empty() {
        put(buffer, area, &[(DIM, "  nothing has failed")]);
        return;
    }
    let at = app.row();
    app.shown.first_row = scroll(app.shown.first_row, at, app.shown.rows.len(), height);
    let depth = app.levels().len();
    let rows = app.shown.rows.iter().enumerate().skip(app.shown.first_row);
    for (place, (index, row)) in area.rows().zip(rows) {
        let Row { path, total, is_open } = row;
        let sign = total.severity.sign();
        let label = path.last().map_or("all", |name| name.as_str());
        let fold = match (path.len(), is_open) {
            (0, _) => "",
            (length, _) if length == depth => "  ",
            (_, true) => "- ",
            (_, false) => "+ ",
        };
        let indent = " ".repeat(path.len().saturating_sub(1) * 2);
        let sums = total.sums;
        let label = cell(&format!("{sign} {indent}{fold}{label}"), name);
        let sums = if columns == NUMBER {
            &[sums.minute]
        } else {
            &[sums.now, sums.minute, sums.quarter][..]
        };
        let numbers: Vec<_> = sums.iter().map(|sum| format!("{:>NUMBER$}", short(*sum))).collect();
        let mut numbers = numbers.concat();
        if has_times {
            for time in [total.first, total.last] {
                numbers.push(' ');
                numbers += &app.time(time, "%H:%M:%S");
            }
        }
        let styles = [look.severity(total.severity), TEXT];
        let styles = if index == at { styles.map(chosen) } else { styles };
        put(buffer, place, &[(styles[0], &label), (styles[1], &numbers)]);
    }
}

pub(super) fn lines(app: &mut App, look: Look, area: Rect, buffer: &mut Buffer) {
    let has_keys = app.view == View::Events;
    let Some((title, area)) = split(area) else { return };
    let height = usize::from(area.height);
    if has_keys {
        app.shown.page = height.max(1);
    }
    let of = app.chosen.last().map(|name| format!(" of {name}")).unwrap_or_default();
    let text = cell(&format!("Events{of}"), usize::from(title.width));
    let style = if has_keys { chosen(BOLD) } else { BOLD };
    put(buffer, title, &[(style, &text)]);
    let at = app.line();
    let count = app.shown.lines.len();
    app.shown.first_line = match app.picked {
        Some(_) => scroll(app.shown.first_line, at, count, height),
        None => count.saturating_sub(height),
    };
    let lines = app.shown.lines.iter().enumerate().skip(app.shown.first_line);
    for (place, (index, event)) in area.rows().zip(lines) {
        let style = look.severity(event.severity);
        let text = line(app, event, usize::from(place.width));
        // Without focus, the newest line is not highlighted.
        let is_chosen = index == at && (has_keys || app.picked.is_some());
        put(buffer, place, &[(if is_chosen { chosen(style) } else { style }, &text)]);
    }
}

/// An event in a number of columns.
fn line(app: &App, event: &Event, width: usize) -> String {
    let sign = if event.follows { '└' } else { event.severity.sign() };
    let mut text = format!("{sign} {} ", app.time(event.time, "%H:%M:%S"));
    let count = if event.is_flood { format!("x{} ", event.count) } else { String::new() };
    text += &count;
    let errno = if event.errno.as_str().is_empty() { "-" } else { event.errno.as_str() };
    let mut rest = width.saturating_sub(text.chars().count());
    let cells = [
        (errno, 13),
        (event.cause.as_str(), 24),
        (event.process.as_str(), 20),
        (event.peer.as_str(), 22),
        (event.reason.as_str(), usize::MAX),
    ];
    for (value, columns) in cells {
        let columns = columns.min(rest);
        // Skips further cells if there is too little room.
        if columns < 6 {
            break;
        }
        text += &cell(value, columns - 1);
        text.push(' ');
        rest -= columns;
    }
    cell(&text, width)
}

/// Splits an area into a title row and the rest.
fn split(area: Rect) -> Option<(Rect, Rect)> {
    let rest = Rect { y: area.y + 1, height: area.height.checked_sub(1)?, ..area };
    (area.width > 0).then_some((Rect { height: 1, ..area }, rest))
}
