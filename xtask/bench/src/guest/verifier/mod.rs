//! The verifier's statistics about programs: how much stack they use, and how many steps it took.
//!
//! The kernel reports the steps of loaded programs since 5.16, and never their stack. The
//! verifier's log has both on every kernel, but for an accepted program only the loading process
//! can obtain it.

mod calls;
mod watched;

use anyhow::{Context as _, Result};
pub(super) use calls::Code;
pub use watched::watch;

/// The verifier's statistics about a program that it accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Start of its name: the kernel keeps 15 bytes.
    pub name: String,
    /// Instructions that the verifier followed, of at most 1,000,000.
    pub steps: u64,
    /// Bytes of stack that the deepest chain of calls uses, of at most 512.
    pub stack: u64,
}

impl Verified {
    /// Reads the log of a program (`print_verification_stats`, `kernel/bpf/verifier.c`).
    fn read(name: String, log: &str, code: &Code) -> Result<Self> {
        let after = |words: &str| {
            let (_, rest) = log.rsplit_once(words)?;
            rest.split_whitespace().next()
        };
        let steps = after("processed ").context("no steps")?.parse()?;
        let stack = calls::deepest(code, &frames(log)?)?;
        Ok(Self { name, steps, stack })
    }
}

/// Bytes of stack of each function. They are on one line, joined by plus signs; as of 7.3, on a
/// line each.
fn frames(log: &str) -> Result<Vec<u64>> {
    let (_, rest) = log.rsplit_once("stack depth ").context("no stack")?;
    let mut lines = rest.lines();
    let first = lines.next().unwrap_or_default();
    let words: Vec<_> = if first.starts_with("max ") {
        let functions = lines.filter(|line| line.starts_with("subprog "));
        functions.filter_map(|line| line.split_whitespace().next_back()).collect()
    } else {
        first.split('+').collect()
    };
    Ok(words.into_iter().map(|word| word.trim().parse()).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the format of 6.12.
    const LOG: &str = "verification time 153 usec\nstack depth 96+0+200\nprocessed 2431 insns \
                       (limit 1000000) max_states_per_insn 1 total_states 9 peak_states 9 \
                       mark_read 4\n";

    #[test]
    fn steps_and_stack_are_read_from_the_log() {
        let instructions =
            vec![calls::call(1), calls::EXIT, calls::call(1), calls::EXIT, calls::EXIT];
        let code = Code { instructions, functions: vec![0, 2, 4] };
        let verified = Verified::read("tcp_done".to_owned(), LOG, &code).expect("well-formed");
        // 96 + 32 (a function without stack has a frame too) + 224.
        assert_eq!(verified, Verified { name: "tcp_done".to_owned(), steps: 2431, stack: 352 });
    }

    #[test]
    fn frames_are_read_from_a_line_for_each_too() {
        let log = "verification time 1470 usec\nstack depth max 352\nsubprog 0 (<unknown>) main \
                   insns_self 2 insns_total 9 stack 96\nsubprog 1 (<unknown>) global insns_self 4 \
                   insns_total 4 stack 0\nprocessed 13 insns (limit 1000000) max_states_per_insn 0\n";
        assert_eq!(frames(log).expect("well-formed"), [96, 0]);
    }

    #[test]
    fn a_log_without_either_is_an_error() {
        let code = Code { instructions: vec![calls::EXIT], functions: vec![0] };
        for log in ["", "stack depth 8\n", "processed 3 insns\n", "stack depth x\nprocessed 3 \n"] {
            assert!(Verified::read(String::new(), log, &code).is_err(), "{log:?}");
        }
        // The numbers of frames and functions must match.
        assert!(Verified::read(String::new(), LOG, &code).is_err());
    }
}
