//! The plan of socktrace's hooks on a kernel, and the gaps in it that are not yet known.

use socktrace_plan::{
    hooks::Hook,
    plan::{Method, Plan, Served, plan},
    variant::{Program, Variant},
};
use xtask_common::gaps;

use crate::fixtures::Captured;

/// Plan for one kernel.
pub struct KernelPlan {
    /// The kernel's series.
    pub series: &'static str,
    method: Method,
    /// The plan, or everything that is missing for one.
    plan: Result<Plan, String>,
}

/// Something that a kernel does not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limitation {
    /// The hook that is not served, if a whole hook is missing.
    pub hook: Option<Hook>,
    /// Description of what is not seen.
    pub hides: &'static str,
    /// Reason for the limitation.
    pub reason: String,
}

impl KernelPlan {
    /// Makes the plan in which functions are hooked by this method.
    #[must_use]
    pub fn new(captured: &Captured, method: Method) -> Self {
        let plan = plan(&captured.btf, method).map_err(|missing| {
            let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
            format!("this kernel's BTF has {}", missing.join(", "))
        });
        Self { series: captured.series.name, method, plan }
    }

    /// Best variant that serves a hook, if any does.
    #[must_use]
    pub fn served(&self, hook: Hook) -> Option<&'static Variant> {
        let plan = self.plan.as_ref().ok()?;
        match &plan.hooks.iter().find(|(found, _)| *found == hook)?.1 {
            Served::By(variants) => variants.first().copied(),
            Served::Not(_) => None,
        }
    }

    /// Programs of a variant that its hook needs on this kernel.
    pub fn needed_of(&self, variant: &Variant) -> impl Iterator<Item = &'static Program> {
        let programs = self.plan.iter().flat_map(|plan| plan.programs_of(variant));
        programs.filter(|program| !program.spare)
    }

    /// Everything that this kernel hides in addition to what the method hides on every kernel.
    #[must_use]
    pub fn losses(&self) -> Vec<Limitation> {
        let plan = match &self.plan {
            Ok(plan) => plan,
            Err(reason) => {
                return vec![Limitation {
                    hook: None,
                    hides: "everything",
                    reason: reason.clone(),
                }];
            }
        };
        let mut losses = Vec::new();
        for (hook, served) in &plan.hooks {
            let by_method = self.method == Method::Kprobe && hook.not_by_kprobe().is_some();
            if let (Served::Not(reason), false) = (served, by_method) {
                let reason = reason.clone();
                losses.push(Limitation { hook: Some(*hook), hides: hook.hides(), reason });
            }
        }
        losses.extend(plan.losses.iter().map(|loss| Limitation {
            hook: None,
            hides: loss.hides,
            reason: loss.reason.clone(),
        }));
        losses
    }
}

impl Limitation {
    /// Whether the limitation is known for a series.
    #[must_use]
    pub fn is_known(&self, series: &str) -> bool {
        match self.hook {
            Some(hook) => gaps::absent_hooks(series).contains(&hook.id()),
            None => gaps::losses(series).iter().any(|words| self.hides.contains(words)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn losses_of_the_captured_kernels_are_the_known_ones() {
        for captured in fixtures::all().unwrap() {
            let planned = KernelPlan::new(&captured, Method::Fentry);
            let (series, losses) = (planned.series, planned.losses());
            for lost in &losses {
                assert!(lost.is_known(series), "{series}: {lost:?}");
            }
            let known = gaps::absent_hooks(series).len() + gaps::losses(series).len();
            assert_eq!(losses.len(), known, "{series} hides less than is known");
            for lost in KernelPlan::new(&captured, Method::Kprobe).losses() {
                assert!(losses.contains(&lost), "{series} by kprobe: {lost:?}");
            }
        }
    }
}
