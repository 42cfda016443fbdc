//! The hooks in words, for the pages that tell of them.

use crate::kernel::{health::Health, hooks::Hook};

/// Which hooks work, and which do not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hooks {
    pub(crate) attached: Vec<String>,
    /// What is wrong, and what that hides; a line each.
    pub(crate) problems: Vec<String>,
}

impl From<&Health> for Hooks {
    fn from(health: &Health) -> Self {
        let attached = health.attached().map(Hook::id).map(str::to_owned).collect();
        Self { attached, problems: health.problems().collect() }
    }
}
