//! State of each hook: attached, absent in this kernel, or refused.

use std::collections::BTreeMap;

use super::hooks::Hook;

/// State of one hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HookState {
    /// The programs run.
    Attached,
    /// Kprobes run instead, for this reason.
    Fallback(String),
    /// This kernel lacks the function, or has it with an unknown prototype.
    Absent(String),
    /// The kernel refused its programs.
    Failed(String),
}

impl HookState {
    /// The state in one word, as used in metrics.
    pub(crate) const fn id(&self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::Fallback(_) => "fallback",
            Self::Absent(_) => "absent",
            Self::Failed(_) => "failed",
        }
    }

    const fn is_attached(&self) -> bool {
        matches!(self, Self::Attached | Self::Fallback(_))
    }
}

/// State of every hook.
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

    /// Hooks that work.
    pub(crate) fn attached(&self) -> impl Iterator<Item = Hook> {
        self.iter().filter(|(_, state)| state.is_attached()).map(|(hook, _)| hook)
    }

    /// Working hooks that are kernel functions, not tracepoints.
    pub(crate) fn hooked_functions(&self) -> impl Iterator<Item = Hook> {
        self.attached().filter(|hook| !hook.is_tracepoint())
    }

    /// State of a hook.
    pub(crate) fn state(&self, hook: Hook) -> Option<&HookState> {
        self.hooks.get(&hook)
    }

    pub(crate) fn is_attached(&self, hook: Hook) -> bool {
        self.state(hook).is_some_and(HookState::is_attached)
    }

    /// Whether a hook is attached without a fallback, and so hides nothing.
    pub(crate) fn is_attached_in_full(&self, hook: Hook) -> bool {
        matches!(self.state(hook), Some(HookState::Attached))
    }

    /// Hooks that do not work, one per line: why, and what that hides.
    pub(crate) fn problems(&self) -> impl Iterator<Item = String> {
        self.iter().filter_map(|(hook, state)| match state {
            HookState::Attached | HookState::Fallback(_) => None,
            HookState::Absent(reason) | HookState::Failed(reason) => {
                Some(format!("{}: {reason}; hidden: {}", hook.id(), hook.hides()))
            }
        })
    }

    /// Reasons why hooks do not work, one per line.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let reasons = self.by_reason(|state| match state {
            HookState::Absent(reason) | HookState::Failed(reason) => Some(reason),
            HookState::Attached | HookState::Fallback(_) => None,
        });
        reasons.map(|(reason, hooks)| format!("{hooks}: {reason}")).collect()
    }

    /// Hooks served by kprobes, one line per reason; then what that hides, one line per hook.
    pub(crate) fn fallbacks(&self) -> impl Iterator<Item = String> {
        let served = self.by_reason(|state| match state {
            HookState::Fallback(reason) => Some(reason),
            _ => None,
        });
        let by_kprobe = self.iter().filter(|(_, state)| matches!(state, HookState::Fallback(_)));
        let hidden = by_kprobe.filter_map(|(hook, _)| {
            Some(format!("hidden from kprobes: {}: {}", hook.id(), hook.hides_by_kprobe()?))
        });
        served.map(|(reason, hooks)| format!("by kprobe: {hooks}; {reason}")).chain(hidden)
    }

    /// Each reason for a state, with the names of its hooks.
    fn by_reason<'a>(
        &'a self,
        reason: impl Fn(&'a HookState) -> Option<&'a String>,
    ) -> impl Iterator<Item = (&'a str, String)> {
        let mut hooks: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (hook, state) in self.iter() {
            if let Some(reason) = reason(state) {
                hooks.entry(reason).or_default().push(hook.id());
            }
        }
        hooks.into_iter().map(|(reason, hooks)| (reason, hooks.join(", ")))
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

    #[test]
    fn a_reason_is_reported_once_for_all_its_hooks() {
        let mut health = Health::default();
        health.record(Hook::TcpReset, HookState::Failed("no memory".to_owned()));
        health.record(Hook::InetCskAccept, HookState::Absent("unknown prototype".to_owned()));
        health.record(Hook::TcpDone, HookState::Failed("no memory".to_owned()));
        assert_eq!(
            health.reasons(),
            ["tcp_done, tcp_reset: no memory", "inet_csk_accept: unknown prototype"]
        );
    }

    #[test]
    fn a_fallback_works_and_says_what_it_hides() {
        let mut health = Health::default();
        health.record(Hook::TcpReset, HookState::Fallback("no trampolines".to_owned()));
        health.record(Hook::InetCskAccept, HookState::Fallback("no trampolines".to_owned()));
        assert!(health.is_attached(Hook::TcpReset));
        assert_eq!(health.problems().count(), 0);
        let hidden = Hook::InetCskAccept.hides_by_kprobe().expect("something");
        assert_eq!(
            health.fallbacks().collect::<Vec<_>>(),
            [
                "by kprobe: tcp_reset, inet_csk_accept; no trampolines".to_owned(),
                format!("hidden from kprobes: inet_csk_accept: {hidden}"),
            ]
        );
    }
}
