//! What became of each hook: attached, absent in this kernel, or refused.

use std::collections::BTreeMap;

use super::hooks::Hook;

/// The state of one hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HookState {
    /// Its programs run.
    Attached,
    /// This kernel has no such function, or an unknown prototype of it.
    Absent(String),
    /// The kernel refused its programs.
    Failed(String),
}

impl HookState {
    /// One word, as used in metrics.
    pub(crate) const fn id(&self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::Absent(_) => "absent",
            Self::Failed(_) => "failed",
        }
    }
}

/// The state of every hook.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    hooks: BTreeMap<Hook, HookState>,
}

impl Health {
    pub(crate) fn record(&mut self, hook: Hook, state: HookState) {
        self.hooks.insert(hook, state);
    }

    /// Every hook and its state, in the order of the plan.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Hook, &HookState)> {
        self.hooks.iter().map(|(hook, state)| (*hook, state))
    }

    /// The hooks that work.
    pub(crate) fn attached(&self) -> impl Iterator<Item = Hook> {
        self.iter().filter(|(_, state)| **state == HookState::Attached).map(|(hook, _)| hook)
    }

    pub(crate) fn is_attached(&self, hook: Hook) -> bool {
        self.hooks.get(&hook) == Some(&HookState::Attached)
    }

    /// What does not work, one line a hook: why, and what that hides.
    pub(crate) fn problems(&self) -> impl Iterator<Item = String> {
        self.iter().filter_map(|(hook, state)| match state {
            HookState::Attached => None,
            HookState::Absent(reason) | HookState::Failed(reason) => {
                Some(format!("{}: {reason}; hidden: {}", hook.id(), hook.hides()))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_hook_reason_and_effect() {
        let mut health = Health::default();
        health.record(Hook::TcpDone, HookState::Attached);
        health.record(Hook::InetCskAccept, HookState::Absent("unknown prototype".to_owned()));
        assert_eq!(health.attached().collect::<Vec<_>>(), [Hook::TcpDone]);
        assert!(!health.is_attached(Hook::InetCskAccept));
        assert_eq!(
            health.problems().collect::<Vec<_>>(),
            [format!(
                "inet_csk_accept: unknown prototype; hidden: {}",
                Hook::InetCskAccept.hides()
            )]
        );
    }
}
