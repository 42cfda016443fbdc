//! Pictures of the screen.

use std::fmt::Write as _;

use ratatui::{
    buffer::{Buffer, Cell},
    style::{Color, Modifier},
};

/// Size of a character in pixels.
const WIDTH: usize = 8;
const HEIGHT: usize = 17;
const MARGIN: usize = 8;

const BACKGROUND: &str = "#16181d";
const TEXT: &str = "#d4d7dd";
const RED: &str = "#ff6b6b";
const YELLOW: &str = "#e6c34a";

/// Renders the screen as SVG, with each run of characters at its place on the terminal.
#[must_use]
pub fn svg(buffer: &Buffer) -> String {
    let area = buffer.area;
    let (columns, rows) = (usize::from(area.width), usize::from(area.height));
    let (width, height) = (columns * WIDTH + 2 * MARGIN, rows * HEIGHT + 2 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"13\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"6\" \
         fill=\"{BACKGROUND}\"/>\n"
    );
    for row in 0..rows {
        let line = &buffer.content()[row * columns..(row + 1) * columns];
        let y = MARGIN + row * HEIGHT;
        let mut at = 0;
        for run in line.chunk_by(|one, other| one.style() == other.style()) {
            add(&mut out, run, (MARGIN + at * WIDTH, y));
            at += run.len();
        }
    }
    out.push_str("</svg>\n");
    out
}

/// Adds characters of the same style.
fn add(out: &mut String, run: &[Cell], (x, y): (usize, usize)) {
    let Some(first) = run.first() else { return };
    let is = |modifier| first.modifier.contains(modifier);
    let color = match first.fg {
        Color::Red => RED,
        Color::Yellow => YELLOW,
        _ => TEXT,
    };
    let text: String = run.iter().map(Cell::symbol).collect();
    let is_reversed = is(Modifier::REVERSED);
    if text.trim().is_empty() && !is_reversed {
        return;
    }
    let width = run.len() * WIDTH;
    if is_reversed {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{HEIGHT}\" fill=\"{color}\"/>"
        );
    }
    let fill = if is_reversed { BACKGROUND } else { color };
    let weight = if is(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
    let line = if is(Modifier::UNDERLINED) { " text-decoration=\"underline\"" } else { "" };
    let opacity = if is(Modifier::DIM) { " opacity=\"0.65\"" } else { "" };
    let text = text.trim_end();
    let length = text.chars().count() * WIDTH;
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    // Not every program preserves ordinary spaces.
    let text = text.replace(' ', "\u{a0}");
    let y = y + HEIGHT - 4;
    let _ = writeln!(
        out,
        "<text x=\"{x}\" y=\"{y}\" textLength=\"{length}\" fill=\"{fill}\"{weight}{line}{opacity}>{text}\
         </text>"
    );
}
