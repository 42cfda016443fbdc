//! What became of each hook: attached, absent in this kernel, or refused.

use std::collections::BTreeMap;

use super::plan::Function;

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
    hooks: BTreeMap<Function, HookState>,
}

impl Health {
    pub(crate) fn record(&mut self, function: Function, state: HookState) {
        self.hooks.insert(function, state);
    }

    /// Every hook and its state, in the order of the plan.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Function, &HookState)> {
        self.hooks.iter().map(|(function, state)| (*function, state))
    }

    /// The hooks that work.
    pub(crate) fn attached(&self) -> impl Iterator<Item = Function> {
        self.iter().filter(|(_, state)| **state == HookState::Attached).map(|(hook, _)| hook)
    }

    pub(crate) fn is_attached(&self, function: Function) -> bool {
        self.hooks.get(&function) == Some(&HookState::Attached)
    }

    /// What does not work, one line a hook: why, and what that hides.
    pub(crate) fn problems(&self) -> impl Iterator<Item = String> {
        self.iter().filter_map(|(function, state)| match state {
            HookState::Attached => None,
            HookState::Absent(reason) | HookState::Failed(reason) => {
                Some(format!("{}: {reason}; hidden: {}", function.name(), function.hides()))
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
        health.record(Function::TcpDone, HookState::Attached);
        health.record(Function::InetCskAccept, HookState::Absent("unknown prototype".to_owned()));
        assert_eq!(health.attached().collect::<Vec<_>>(), [Function::TcpDone]);
        assert!(!health.is_attached(Function::InetCskAccept));
        assert_eq!(
            health.problems().collect::<Vec<_>>(),
            [
                "inet_csk_accept: unknown prototype; hidden: which process accepts a connection that \
              was already reset"
            ]
        );
    }
}
