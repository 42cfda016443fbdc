//! Table of hooks: how each one is attached, or would be, and what stays hidden without it.

use serde::Serialize;

use super::self_test::Outcome;
use crate::kernel::{
    health::{Health, HookState},
    hooks::Hook,
    host::hides_memory,
    plan::{Plan, Served},
    variant::Variant,
};

/// State of one hook.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) hook: &'static str,
    /// `planned` if nothing was loaded, else the state after attaching, as in the metrics.
    pub(super) state: &'static str,
    /// How the hook is attached, or would be; null if it cannot be.
    pub(super) how: Option<String>,
    /// Why the hook is not attached, or why kprobes are used.
    pub(super) reason: Option<String>,
    /// Failures or details that stay hidden.
    pub(super) hides: Option<&'static str>,
    /// Whether the hook fired in the self-test; null if it was not tested.
    pub(super) fired: Option<bool>,
    #[serde(skip)]
    id: Hook,
}

impl Row {
    /// Whether this hook is missing, so that failures stay hidden.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self.state, "absent" | "failed")
    }
}

/// A row for every hook of the plan; `health` has the result of attaching it.
pub(super) fn rows(plan: &Plan, health: Option<&Health>) -> Vec<Row> {
    plan.hooks
        .iter()
        .map(|(hook, served)| {
            let state = health.and_then(|health| health.state(*hook));
            row(plan, *hook, served, state)
        })
        .collect()
}

fn row(plan: &Plan, hook: Hook, served: &Served, state: Option<&HookState>) -> Row {
    let blank = Row {
        hook: hook.id(),
        state: "planned",
        how: None,
        reason: None,
        hides: None,
        fired: None,
        id: hook,
    };
    let variants = match served {
        Served::By(variants) => variants.as_slice(),
        Served::Not(reason) => {
            return Row {
                state: "absent",
                reason: Some(reason.clone()),
                hides: Some(hook.hides()),
                ..blank
            };
        }
    };
    // Variants that read kernel memory are unusable if the kernel hides its memory.
    let mut usable = variants.iter().filter(|variant| !variant.reads_memory() || !hides_memory());
    let mut by = |kprobe: bool| usable.find(|variant| variant.is_kprobe() == kprobe);
    match state {
        None => {
            let first = usable.next();
            let hides = first.filter(|first| first.is_kprobe()).and(hook.hides_by_kprobe());
            Row { how: first.map(|first| how(plan, first)), hides, ..blank }
        }
        Some(state @ HookState::Attached) => {
            Row { state: state.id(), how: by(false).map(|variant| how(plan, variant)), ..blank }
        }
        Some(state @ HookState::Fallback(reason)) => Row {
            state: state.id(),
            how: by(true).map(|variant| how(plan, variant)),
            reason: Some(reason.clone()),
            hides: hook.hides_by_kprobe(),
            ..blank
        },
        Some(state @ (HookState::Absent(reason) | HookState::Failed(reason))) => Row {
            state: state.id(),
            reason: Some(reason.clone()),
            hides: Some(hook.hides()),
            ..blank
        },
    }
}

/// The attach type and kernel function of each program of a variant.
fn how(plan: &Plan, variant: &Variant) -> String {
    let programs = plan
        .programs_of(variant)
        .map(|program| format!("{}:{}", program.attach.id(), variant.function_of(program)));
    programs.collect::<Vec<_>>().join(" ")
}

/// Marks the hooks that fired in the self-test. A hook counts as silent if any of its tests failed.
pub(super) fn note_fired(rows: &mut [Row], outcomes: &[Outcome]) {
    for row in rows {
        let mut tried =
            outcomes.iter().filter(|outcome| outcome.proves.contains(&row.id)).peekable();
        if tried.peek().is_some() {
            row.fired = Some(tried.all(|outcome| outcome.problem.is_none()));
        }
    }
}
