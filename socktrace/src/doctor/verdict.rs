//! Conclusion of the report, and the command that fixes the problem.

use serde::Serialize;

use super::{hooks::Row, self_test::Outcome};
use crate::{
    kernel::{
        refusal::Refusal,
        trial::{Answer, Answers},
    },
    service::exit,
};

/// Conclusion of a report.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    pub(super) state: State,
    /// Exit code of `socktrace doctor`: that of `socktrace` itself, or [`exit::SELF_TEST`].
    pub(super) exit_code: u8,
    pub(super) summary: String,
    /// The reason, if there is more to say.
    pub(super) why: Option<String>,
    /// Recommended action.
    pub(super) advice: Option<String>,
    /// The command to run next, if there is one.
    pub(super) command: Option<&'static str>,
}

/// Whether this host can be traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// Nothing stays hidden.
    Ready,
    /// Something stays hidden.
    Limited,
    /// This host cannot be traced.
    Refused,
    /// Tracing should work, but the self-test failed.
    Broken,
}

impl Verdict {
    pub(super) fn new(
        refusal: Option<Refusal>,
        answers: Option<&Answers>,
        hooks: &[Row],
        self_test: Option<&[Outcome]>,
    ) -> Self {
        if let Some(refusal) = refusal {
            return Self::refused(&refusal, answers);
        }
        let broken: Vec<_> = self_test
            .unwrap_or_default()
            .iter()
            .filter(|outcome| outcome.problem.is_some())
            .map(|outcome| outcome.name)
            .collect();
        if !broken.is_empty() {
            return Self {
                state: State::Broken,
                exit_code: exit::SELF_TEST,
                summary: format!("the self-test failed: {}", broken.join(", ")),
                why: None,
                advice: Some(
                    "report this output together with that of `socktrace -v` and `uname -a`"
                        .to_owned(),
                ),
                command: None,
            };
        }
        let missing: Vec<_> =
            hooks.iter().filter(|row| row.is_missing()).map(|row| row.hook).collect();
        let fallback = hooks.iter().any(|row| row.state == "fallback");
        let (state, summary) = match (missing.as_slice(), fallback) {
            ([], false) => (State::Ready, "socktrace can trace here, with every hook".to_owned()),
            ([], true) => (State::Limited, "socktrace can trace here, by kprobes".to_owned()),
            (missing, _) => (
                State::Limited,
                format!(
                    "socktrace can trace here, without {}; the table says what that hides",
                    missing.join(", ")
                ),
            ),
        };
        Self {
            state,
            exit_code: 0,
            summary,
            why: None,
            advice: None,
            command: Some("sudo socktrace"),
        }
    }

    fn refused(refusal: &Refusal, answers: Option<&Answers>) -> Self {
        let mut why = refusal.why();
        if refusal.is_by_policy()
            && let Some(evidence) = answers.and_then(evidence)
        {
            why = format!("{evidence} {why}");
        }
        Self {
            state: State::Refused,
            exit_code: refusal.exit_code(),
            summary: refusal.what(),
            why: Some(why),
            advice: Some(refusal.advice().to_owned()),
            command: refusal.command(),
        }
    }
}

/// Evidence of a policy in the kernel's answers.
fn evidence(answers: &Answers) -> Option<&'static str> {
    let Answers { filter, kprobe, trampoline, .. } = answers;
    let refused = |answer: &Answer| matches!(answer, Answer::Refused(_));
    match (filter, refused(trampoline), refused(kprobe)) {
        (Answer::Taken, true, true) => Some(
            "the kernel accepts BPF programs that filter packets and refuses those that trace, whoever \
            loads them: the provider of this machine has decided so, and root inside it cannot change \
            it.",
        ),
        (Answer::Taken, true, false) => {
            Some("the kernel accepts BPF programs for kprobes and refuses those for trampolines.")
        }
        (Answer::Taken, false, _) => Some(
            "the kernel accepts a harmless tracing program and refuses socktrace's, which \
             read sockets.",
        ),
        (Answer::Refused(_), true, _) => Some(
            "the kernel refuses every kind of BPF program from this process: a seccomp filter \
             or a security module denies bpf().",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::kernel::ways::{NoKprobes, NoTrampolines};

    fn answers(filter: Answer, tracing: Answer) -> Answers {
        let ring_buffer = Answer::Taken;
        Answers { filter, kprobe: tracing.clone(), trampoline: tracing, ring_buffer }
    }

    #[test]
    fn a_policy_is_recognized_by_what_it_lets_through() {
        let refused = || Answer::Refused("Operation not permitted".to_owned());
        let why = |answers: &Answers| {
            let policy = Refusal::Policy(io::Error::from_raw_os_error(1));
            let verdict = Verdict::new(Some(policy), Some(answers), &[], None);
            assert_eq!((verdict.state, verdict.exit_code), (State::Refused, 14));
            verdict.why.expect("a reason")
        };
        assert!(why(&answers(Answer::Taken, refused())).contains("refuses those that trace"));
        assert!(why(&answers(refused(), refused())).contains("denies bpf()"));
        assert!(why(&answers(Answer::Taken, Answer::Taken)).contains("harmless"));
    }

    #[test]
    fn evidence_comes_before_both_refusals() {
        let allowed = || Answer::Taken;
        let refused = Answer::Refused("Operation not permitted".to_owned());
        let answers = Answers { trampoline: refused, ..answers(allowed(), allowed()) };
        let refusal = Refusal::NoWay(NoTrampolines::Denied(1), NoKprobes::Missing);
        let verdict = Verdict::new(Some(refusal), Some(&answers), &[], None);
        assert_eq!((verdict.state, verdict.exit_code), (State::Refused, 14));
        let why = verdict.why.expect("a reason");
        assert!(
            why.starts_with("the kernel accepts BPF programs for kprobes and refuses those for"),
            "{why}"
        );
        assert!(why.contains("a security policy denies it"), "{why}");
        assert!(why.contains("CONFIG_KPROBE_EVENTS"), "{why}");
    }

    #[test]
    fn an_ordinary_user_gets_the_command() {
        let verdict = Verdict::new(Some(Refusal::NotRoot), None, &[], None);
        assert_eq!((verdict.exit_code, verdict.command), (10, Some("sudo socktrace")));
    }

    #[test]
    fn without_a_refusal_it_is_ready() {
        let verdict = Verdict::new(None, None, &[], Some(&[]));
        assert_eq!((verdict.state, verdict.exit_code), (State::Ready, 0));
    }
}
