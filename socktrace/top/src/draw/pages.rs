//! Pages: details of an event, and help for the keys.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};
use textwrap::{Options, WordSplitter};

use super::{
    lines::{cell, put},
    look::{BAR, BOLD, Look, TEXT},
};
use crate::{
    App, Severity,
    app::Mode,
    detail::{Kind, Paragraph, paragraphs},
    help::KEYS,
};

/// Width of the labels.
const LABEL: usize = 9;

/// Minimum width for wrapping between words.
const LEAST_WIDTH: usize = 12;

/// Lines about the selected event.
fn lines(app: &App, look: Look, width: usize) -> Vec<(Style, String)> {
    let Some(event) = app.event() else { return Vec::new() };
    let time = app.time(event.time, "%Y-%m-%d %H:%M:%S%.3f");
    let mut lines = Vec::new();
    for Paragraph { kind, label, text } in paragraphs(event, &time, &app.explain(event)) {
        let style = match kind {
            Kind::Title => look.severity(event.severity.max(Severity::Notable)),
            Kind::Heading => BOLD,
            Kind::Text | Kind::Command => TEXT,
        };
        if kind == Kind::Heading {
            lines.push((style, String::new()));
        }
        let labelled = if label.is_empty() { text } else { format!("{label:<LABEL$}{text}") };
        if kind == Kind::Command || width < LEAST_WIDTH {
            lines.push((style, labelled));
            continue;
        }
        let indent = if label.is_empty() { "" } else { &"         "[..LABEL] };
        let options = Options::new(width)
            .subsequent_indent(indent)
            .word_splitter(WordSplitter::NoHyphenation);
        lines.extend(textwrap::wrap(&labelled, options).into_iter().map(|it| (style, it.into())));
    }
    lines
}

/// Details of the selected row and its newest event, or of the selected event.
pub(super) fn below(app: &App, look: Look, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let row = app.shown.rows.get(app.row()).map(|row| {
        let name = row.path.last().map_or("all", |name| name.as_str());
        let [first, last] =
            [row.total.first, row.total.last].map(|time| app.time(time, "%Y-%m-%d %H:%M:%S"));
        format!("{name}: first {first}, last {last} ")
    });
    let width = usize::from(area.width);
    let title = cell(row.as_deref().unwrap_or("-"), width);
    put(buffer, area, &[(BOLD.add_modifier(ratatui::style::Modifier::UNDERLINED), &title)]);
    for (place, (style, text)) in area.rows().skip(1).zip(lines(app, look, width)) {
        put(buffer, place, &[(style, &text)]);
    }
}

/// Draws all details of the selected event, starting at a line.
pub(super) fn detail(app: &mut App, look: Look, area: Rect, buffer: &mut Buffer) {
    let lines = lines(app, look, usize::from(area.width));
    let page = usize::from(area.height.saturating_sub(1)).max(1);
    (app.shown.detail, app.shown.page) = (lines.len(), page);
    let last = lines.len().saturating_sub(page);
    let Mode::Detail(at) = &mut app.mode else { return };
    *at = (*at).min(last);
    let at = *at;
    let bottom = area.bottom() - 1;
    let rows = area.rows().take(usize::from(area.height.saturating_sub(1)));
    for (place, (style, text)) in rows.zip(lines.iter().skip(at)) {
        put(buffer, place, &[(*style, text)]);
    }
    let end = (at + page).min(lines.len());
    let status =
        format!("lines {} to {end} of {}  j k scroll  Esc back  q quit", at + 1, lines.len());
    put(buffer, Rect { y: bottom, height: 1, ..area }, &[(BAR, &status)]);
}

pub(super) fn help(area: Rect, buffer: &mut Buffer) {
    const KEY: usize = 16;
    let width = usize::from(area.width).saturating_sub(KEY).max(LEAST_WIDTH);
    let mut lines = vec![("", String::from("socktrace top"))];
    for (key, text) in KEYS {
        let wrapped = textwrap::wrap(text, width).into_iter().map(String::from);
        let labels = [key].into_iter().chain(std::iter::repeat(""));
        lines.extend(labels.zip(wrapped.chain(text.is_empty().then(String::new))));
    }
    for (place, (key, text)) in area.rows().zip(lines) {
        put(buffer, place, &[(BOLD, &cell(key, KEY)), (TEXT, &text)]);
    }
}
