//! The doctor's complete report.

use serde::Serialize;

use super::{
    checks::{self, Check},
    hooks::{self, Row},
    self_test::{self, Outcome},
    verdict::Verdict,
};
use crate::kernel::{
    clock::Clock,
    filter::{KernelFilter, Scope},
    host::running_kernel,
    load::{self, OnRequest, Options, Prepared, RING_BYTES},
    plan::{Loss, Method},
    refusal::{Refusal, check_privileges},
    trial::Answers,
    undisturbed,
};

/// Report of the doctor. The field names of its JSON are a public interface: fields are added, but
/// never renamed or removed.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(super) version: &'static str,
    pub(super) kernel: String,
    pub(super) checks: Vec<Check>,
    /// Empty if no plan could be made for this kernel.
    pub(super) hooks: Vec<Row>,
    /// Failures that this kernel hides although its hooks exist.
    #[serde(rename = "not_told")]
    pub(super) hidden: Vec<String>,
    /// Null unless the self-test was run.
    pub(super) self_test: Option<Vec<Outcome>>,
    pub(super) verdict: Verdict,
}

impl Report {
    /// Examines this host. If privileges allow, loads and attaches the programs as for tracing, and
    /// removes them again.
    ///
    /// # Errors
    /// When the self-test cannot be run, or something unrelated to the host fails.
    pub(crate) fn examine(method: Method, with_self_test: bool) -> anyhow::Result<Self> {
        let privileges = check_privileges();
        let answers = privileges.is_ok().then(Answers::ask);
        let (prepared, mut loaded, refusal) = match Prepared::read(method) {
            // Privileges cannot make up for what the kernel lacks.
            Err(error) => (None, None, Some(error.downcast::<Refusal>()?)),
            Ok(prepared) => {
                let options = options(method)?;
                let load = || {
                    privileges?;
                    load::load_prepared(&prepared, options, &unfiltered())
                };
                match undisturbed(load)? {
                    Ok(loaded) => (Some(prepared), Some(loaded), None),
                    Err(error) => (Some(prepared), None, Some(error.downcast::<Refusal>()?)),
                }
            }
        };
        let checks = checks::all(prepared.as_ref(), refusal.as_ref(), answers.as_ref());
        let plan = prepared.as_ref().map(|prepared| &prepared.plan);
        let health = loaded.as_ref().map(|loaded| &loaded.health);
        let mut hooks = plan.map_or_else(Vec::new, |plan| hooks::rows(plan, health));
        let losses = plan.map_or(&[][..], |plan| &plan.losses);
        let hidden = losses.iter().map(Loss::to_string).collect();
        let self_test = match &mut loaded {
            Some(loaded) if with_self_test => Some(self_test::run(loaded)?),
            _ => None,
        };
        if let Some(outcomes) = &self_test {
            hooks::note_fired(&mut hooks, outcomes);
        }
        let verdict = Verdict::new(refusal, answers.as_ref(), &hooks, self_test.as_deref());
        Ok(Self {
            version: env!("CARGO_PKG_VERSION"),
            kernel: running_kernel(),
            checks,
            hooks,
            hidden,
            self_test,
            verdict,
        })
    }

    /// The code to exit with.
    pub(crate) fn exit_code(&self) -> u8 {
        self.verdict.exit_code
    }
}

/// A filter that passes all events.
fn unfiltered() -> KernelFilter {
    KernelFilter::new(Scope { events: true, counts: false })
}

/// Options to trace everything.
fn options(method: Method) -> anyhow::Result<Options> {
    /// Longer than the self-test takes.
    const IDLE_SECONDS: u32 = 3_600;
    let clock = Clock::new()?;
    Ok(Options {
        method,
        retransmits: true,
        on_request: OnRequest { udp_sends: true, unix_sends: true, hops: true, follows: true },
        owned: None,
        limit: None,
        ring_bytes: RING_BYTES,
        jiffy_us: clock.jiffy_us(),
        probe_log: false,
        idle_jiffies: clock.seconds_to_jiffies(IDLE_SECONDS),
        retransmit_threshold: 1,
        max_sockets: 1_024,
    })
}
