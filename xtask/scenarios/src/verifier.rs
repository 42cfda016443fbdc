//! Margin of the kernel programs below the verifier's limits: a kernel that follows more paths than
//! those of the matrix, or a compiler that needs more stack, must not cause a refusal.

use std::{fs, fs::File, process::Stdio};

use anyhow::{Result, ensure};
use socktrace_bench::guest::verifier::{Verified, watch};

use super::tracer::{ATTACHED, daemon};

/// Stack of a program in bytes (`MAX_BPF_STACK`), and the part that must remain free.
const STACK: u64 = 512;
const STACK_LEFT: u64 = 64;

/// Limit of instructions that the verifier processes (`BPF_COMPLEXITY_LIMIT_INSNS`), and the most
/// that a program may take.
const STEPS: u64 = 1_000_000;
const MOST_STEPS: u64 = STEPS / 4;

/// Arguments that load the most code: all filters and counts.
const EVERYTHING: &str = "--output json --retransmits \
                          --udp-sends --unix-sends --hops --pid !1 --comm !x --uid !4000 --unit !x.service --port !1 \
                          --local !192.0.2.0/24 --remote !2001:db8::/32 --errno !EPERM";

/// Ways to attach: by trampolines, if the kernel has them, with filters before the count; by
/// kprobes as a daemon; and by kprobes for a process and its descendants.
const WAYS: [&str; 3] = [
    "--listen 127.0.0.1:0 --series-by-port --filter-metrics",
    "--listen 127.0.0.1:0 --series-by-port --attach kprobe",
    "--follow 1 --attach kprobe",
];

/// Message instead of the list of hooks when socktrace follows processes.
const FOLLOWING: &str = "socktrace: following ";

/// File for the daemon's messages.
const SAID: &str = "/tmp/verifier.err";

/// No program is near the verifier's limits on this kernel.
pub(super) fn leaves_room() -> Result<()> {
    for way in WAYS {
        let arguments: Vec<_> = EVERYTHING.split_whitespace().chain(way.split(' ')).collect();
        let mut command = daemon(&arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(SAID)?);
        let programs = watch(&mut command, || {
            let said = fs::read_to_string(SAID)?;
            Ok(said.contains(ATTACHED) || said.contains(FOLLOWING))
        })?;
        let said = fs::read_to_string(SAID)?;
        // In every way, this program's name has the same beginning.
        let has_core = programs.iter().any(|program| program.name.starts_with("tcp_done"));
        ensure!(has_core, "{way}: seen only {programs:?}; it said:\n{said}");
        let near: Vec<_> = programs.iter().filter_map(near_a_limit).collect();
        ensure!(near.is_empty(), "{way}: {}", near.join("; "));
    }
    Ok(())
}

/// Describes how a program comes too near a limit, if it does.
fn near_a_limit(program: &Verified) -> Option<String> {
    let Verified { name, steps, stack } = program;
    let left = STACK.saturating_sub(*stack);
    if left < STACK_LEFT {
        return Some(format!(
            "{name} leaves {left} bytes of stack of {STACK}, at least {STACK_LEFT} are to be left"
        ));
    }
    (*steps > MOST_STEPS).then(|| {
        format!(
            "{name} takes the verifier {steps} steps of {STEPS}, at most {MOST_STEPS} are to be"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(steps: u64, stack: u64) -> Option<String> {
        near_a_limit(&Verified { name: "tcp_done".to_owned(), steps, stack })
    }

    #[test]
    fn room_ends_where_the_margin_begins() {
        assert_eq!(judged(250_000, 448), None);
        let words = judged(250_000, 449).expect("too much stack");
        assert!(words.starts_with("tcp_done leaves 63 bytes of stack of 512"), "{words}");
        let words = judged(250_001, 32).expect("too many steps");
        assert!(words.contains("250001 steps of 1000000"), "{words}");
    }

    #[test]
    fn a_program_that_no_kernel_loads_leaves_nothing() {
        assert!(judged(1, 544).expect("too much stack").contains("leaves 0 bytes"));
    }
}
