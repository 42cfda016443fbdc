//! Choice of a program for each hook on this kernel, and what is lost if none fits.
//!
//! The plan is a pure function of the kernel's BTF and is tested without a kernel.

use std::fmt;

use socktrace_ebpf::facts::ABSENT;

use crate::{
    btf::{Btf, BtfError, Prototype},
    facts::{self, Fact, Facts},
    features::Features,
    hooks::{Hook, SKB},
    variant::{ANY, Attach, Program, Variant},
};

/// The program that observes sending calls with an implicit connect (TCP Fast Open).
const FAST_OPEN: &str = "tcp_sendmsg_fastopen_return";

/// Method of hooking functions. Tracepoints are attached the same way with all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// BPF trampolines, or kprobes if the kernel has no trampolines.
    Auto,
    /// BPF trampolines only.
    Fentry,
    /// Kprobes only: slower, and some failures stay hidden.
    Kprobe,
}

/// The plan of one hook.
#[derive(Clone, Debug)]
pub enum Served {
    /// By the first of these variants that the kernel accepts. There is at least one.
    By(Vec<&'static Variant>),
    /// Not served, for this reason.
    Not(String),
}

/// The plan: how each hook is served, and the kernel facts for the programs.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Every hook, in attachment order.
    pub hooks: Vec<(Hook, Served)>,
    /// Values of all globals that are facts.
    pub facts: Vec<Fact>,
    /// Position of `tcp_reset`'s segment argument, if it has one.
    pub tcp_reset_skb_arg: Option<u32>,
    /// Whether MPTCP sockets can be distinguished from their subflows, so that the programs, which
    /// find them by reading memory, report their failures.
    pub recognizes_mptcp: bool,
    /// Whether sending calls that implicitly connect are seen on return.
    pub sees_fast_open: bool,
    /// Failures or details that stay hidden although their hook is served.
    pub losses: Vec<Loss>,
    /// Functions that this kernel is built without. Their programs are skipped, and nothing is
    /// lost.
    pub not_built: Vec<&'static str>,
}

impl Plan {
    /// Programs of a variant whose functions exist in this kernel.
    pub fn programs_of(&self, variant: &Variant) -> impl Iterator<Item = &'static Program> {
        let is_built = |program: &&Program| {
            !program.if_built || !self.not_built.contains(&variant.function_of(program))
        };
        variant.programs.iter().filter(is_built)
    }

    /// Whether this kernel has the fact for a global.
    #[must_use]
    pub fn knows(&self, global: &str) -> bool {
        self.facts.iter().any(|fact| fact.global == global && fact.value != ABSENT)
    }
}

/// Something that the programs would report on other kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The feature that this kernel lacks.
    pub reason: String,
    /// Failures or details that stay hidden.
    pub hides: &'static str,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; hidden: {}", self.reason, self.hides)
    }
}

/// Makes the plan for a kernel.
///
/// # Errors
/// The mandatory facts that the kernel lacks, each as a BTF error.
pub fn plan(btf: &Btf, method: Method) -> Result<Plan, Vec<BtfError>> {
    let facts = Facts::read(btf)?;
    let kernel = Kernel { btf, facts: &facts };
    let hooks: Vec<_> =
        Hook::ALL.iter().map(|&hook| (hook, serve(hook, method, &kernel))).collect();
    let served = |hook| match &hooks.iter().find(|(found, _)| *found == hook)?.1 {
        Served::By(variants) => variants.first(),
        Served::Not(_) => None,
    };
    let tcp_reset_skb_arg = segment_argument(btf);
    let mut losses = Losses::of(&facts);
    if served(Hook::TcpReset).is_some() && tcp_reset_skb_arg.is_none() {
        losses.add("SKB_CB", "this kernel does not pass the segment to tcp_reset");
    }
    let reports = served(Hook::InetSkErrorReport).is_some();
    if facts.have("SUBFLOW_CONN") && !reports {
        losses.add("SUBFLOW_CONN", "their failures come by the tracepoint inet_sk_error_report");
    }
    if served(Hook::InetCskAccept).is_some_and(|variant| variant.parameters.len() == 4)
        && !Features::read(btf).int_pointers
    {
        losses.0.push(Loss {
            reason: "this kernel's verifier hides inet_csk_accept's errno from programs".to_owned(),
            hides: "accepts by io_uring that fail",
        });
    }
    Ok(Plan {
        not_built: kernel.not_built(),
        tcp_reset_skb_arg,
        sees_fast_open: served(Hook::Connect).is_some_and(|variant| {
            variant.programs.iter().any(|program| program.name == FAST_OPEN)
        }),
        recognizes_mptcp: facts.have("SUBFLOW_CONN") && reports,
        losses: losses.0,
        hooks,
        facts: facts.values,
    })
}

/// Losses, each listed once.
struct Losses(Vec<Loss>);

impl Losses {
    /// The losses for lack of facts.
    fn of(facts: &Facts) -> Self {
        let hidden = facts.hidden().into_iter();
        Self(hidden.map(|(hides, errors)| Loss { reason: reason(errors), hides }).collect())
    }

    /// Whether reports that need this fact are hidden.
    fn have(&self, global: &str) -> bool {
        self.0.iter().any(|loss| Some(loss.hides) == facts::hides_without(global))
    }

    /// Hides reports that need this fact, for another reason.
    fn add(&mut self, global: &str, reason: &str) {
        if let Some(hides) = facts::hides_without(global)
            && !self.have(global)
        {
            self.0.push(Loss { reason: reason.to_owned(), hides });
        }
    }
}

fn segment_argument(btf: &Btf) -> Option<u32> {
    let parameters = btf.prototype("tcp_reset").ok()?.parameters;
    let position = parameters.iter().position(|parameter| parameter == SKB)?;
    u32::try_from(position).ok()
}

/// The kernel that variants are checked against.
struct Kernel<'a> {
    btf: &'a Btf,
    facts: &'a Facts,
}

impl Kernel<'_> {
    /// Whether the kernel has a function, even with an ambiguous name.
    fn is_built(&self, function: &str) -> bool {
        !matches!(self.btf.prototype(function), Err(BtfError::Missing { .. }))
    }

    /// Functions that programs would be attached to, but that the kernel is built without.
    fn not_built(&self) -> Vec<&'static str> {
        let variants = Hook::ALL.iter().flat_map(|hook| hook.all_variants());
        let functions = variants.flat_map(|variant| {
            let programs = variant.programs.iter().filter(|program| program.if_built);
            programs.map(|program| variant.function_of(program))
        });
        let mut missing: Vec<_> = functions.filter(|function| !self.is_built(function)).collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }
}

/// The variants of a hook that fit this kernel.
fn serve(hook: Hook, method: Method, kernel: &Kernel<'_>) -> Served {
    let (first, second) = match method {
        _ if hook.is_tracepoint() => (hook.variants(), &[][..]),
        Method::Auto => (hook.variants(), hook.kprobe_variants()),
        Method::Fentry => (hook.variants(), &[][..]),
        Method::Kprobe => (hook.kprobe_variants(), &[][..]),
    };
    let mut fitting = Vec::new();
    let mut reasons: Vec<String> = Vec::new();
    if first.is_empty() {
        reasons.extend(hook.not_by_kprobe().map(str::to_owned));
    }
    for variant in first.iter().chain(second) {
        match obstacle(variant, kernel) {
            None => fitting.push(variant),
            Some(reason) if !reasons.contains(&reason) => reasons.push(reason),
            Some(_) => {}
        }
    }
    if fitting.is_empty() { Served::Not(reasons.join("; ")) } else { Served::By(fitting) }
}

/// Why a variant cannot serve on this kernel, if it cannot.
fn obstacle(variant: &Variant, kernel: &Kernel<'_>) -> Option<String> {
    let &Kernel { btf, facts } = kernel;
    let needed = || variant.needed_of(|function| kernel.is_built(function));
    for program in needed() {
        let function = variant.function_of(program);
        let found = match program.attach {
            Attach::Tracepoint => btf.tracepoint(function),
            Attach::Fentry | Attach::Fexit | Attach::Kprobe | Attach::Kretprobe => {
                btf.prototype(function)
            }
        };
        let found = match found {
            Ok(found) => found,
            Err(error) => return Some(reason([error])),
        };
        let known = match program.attach {
            // The table has no prototypes of tracepoints: their existence is enough.
            Attach::Tracepoint => true,
            _ if function == variant.function => fits(variant.parameters, &found),
            // The return value is found behind the arguments, so their number must be known from
            // the function's own entry.
            Attach::Fentry | Attach::Fexit => Hook::ALL
                .iter()
                .flat_map(|hook| hook.variants())
                .filter(|other| other.function == function)
                .map(|other| other.parameters)
                .chain(program.parameters)
                .any(|parameters| fits(parameters, &found)),
            // The return value is in a register, whatever the arguments.
            Attach::Kprobe | Attach::Kretprobe => true,
        };
        if !known {
            let parameters = found.parameters.join(", ");
            return Some(format!("unknown prototype {function}({parameters})"));
        }
    }
    let lacking: Vec<_> = needed()
        .flat_map(|program| facts.lacking(variant.function_of(program), program.name))
        .collect();
    (!lacking.is_empty()).then(|| reason(lacking))
}

/// BTF errors as a reason, each listed once.
fn reason(errors: impl IntoIterator<Item = impl ToString>) -> String {
    let mut answers: Vec<String> = Vec::new();
    for answer in errors.into_iter().map(|error| error.to_string()) {
        if !answers.contains(&answer) {
            answers.push(answer);
        }
    }
    format!("this kernel's BTF has {}", answers.join(", "))
}

fn fits(parameters: &[&str], found: &Prototype) -> bool {
    parameters.len() == found.parameters.len()
        && parameters
            .iter()
            .zip(&found.parameters)
            .all(|(wanted, found)| *wanted == ANY || wanted == found)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
