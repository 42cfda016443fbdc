//! Styles, with and without colors.

use ratatui::style::{Color, Modifier, Style};

use crate::Severity;

pub(super) const TEXT: Style = Style::new();
pub(super) const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
pub(super) const DIM: Style = Style::new().add_modifier(Modifier::DIM);
pub(super) const BAR: Style = Style::new().add_modifier(Modifier::REVERSED);

/// Style of the selection.
pub(super) const fn chosen(style: Style) -> Style {
    style.add_modifier(Modifier::REVERSED).remove_modifier(Modifier::DIM)
}

/// Styles, with or without colors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) is_colored: bool,
}

impl Look {
    /// Style of important information.
    pub(super) const fn alarm(self) -> Style {
        self.colored(BOLD, Color::Red).add_modifier(Modifier::REVERSED)
    }

    pub(super) const fn warning(self) -> Style {
        self.colored(BOLD, Color::Yellow)
    }

    pub(super) const fn severity(self, severity: Severity) -> Style {
        match severity {
            Severity::Failure => self.colored(BOLD, Color::Red),
            Severity::Notable => self.colored(TEXT, Color::Yellow),
            Severity::Expected | Severity::None => DIM,
        }
    }

    const fn colored(self, style: Style, color: Color) -> Style {
        if self.is_colored { style.fg(color) } else { style }
    }
}
