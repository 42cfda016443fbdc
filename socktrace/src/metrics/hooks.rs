//! The hooks in words, for the pages that show them.

use socktrace_exporter::Readiness;

use super::index;
use crate::kernel::{health::Health, hooks::Hook};

/// Hooks that work, and hooks that do not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hooks {
    pub(crate) attached: Vec<String>,
    /// Problems, and what they hide; one per line.
    pub(crate) problems: Vec<String>,
}

impl From<&Health> for Hooks {
    fn from(health: &Health) -> Self {
        let attached = health.attached().map(Hook::id).map(str::to_owned).collect();
        Self { attached, problems: health.problems().collect() }
    }
}

impl Hooks {
    /// Page for a person with a browser.
    pub(crate) fn index(&self) -> String {
        index::page(self)
    }

    /// Whether failures are seen, and which kinds stay hidden.
    pub(crate) fn readiness(&self) -> Readiness {
        let mut text = format!("hooks: {}\n", self.attached.join(", "));
        text.extend(self.problems.iter().map(|problem| format!("not attached: {problem}\n")));
        Readiness { is_ready: !self.attached.is_empty(), text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_hook_is_enough_to_be_ready_and_what_is_missing_is_named() {
        let hooks =
            Hooks { attached: vec!["tcp_done".to_owned()], problems: vec!["x: y".to_owned()] };
        let readiness = hooks.readiness();
        assert!(readiness.is_ready);
        assert_eq!(readiness.text, "hooks: tcp_done\nnot attached: x: y\n");
        assert!(!Hooks::default().readiness().is_ready);
    }
}
