//! How much room the verifier leaves the kernel programs: a kernel that follows more paths than those
//! of the matrix, or a compiler that needs more stack, must not refuse them.

use std::{fs, fs::File, process::Stdio};

use anyhow::{Result, ensure};
use socktrace_bench::guest::verifier::{Verified, watch};

use super::tracer::{ATTACHED, daemon};

/// Bytes of stack that a program has (`MAX_BPF_STACK`), and those of them that must be left.
const STACK: u64 = 512;
const STACK_LEFT: u64 = 64;

/// Steps that the verifier follows a program (`BPF_COMPLEXITY_LIMIT_INSNS`), and those of them that
/// it may take.
const STEPS: u64 = 1_000_000;
const MOST_STEPS: u64 = STEPS / 4;

/// What has most code loaded: all that can be asked of an event, and counted.
const EVERYTHING: &str = "--output json --retransmits \
                          --udp-sends --unix-sends --hops --pid !1 --comm !x --uid !4000 --unit !x.service --port !1 \
                          --local !192.0.2.0/24 --remote !2001:db8::/32 --errno !EPERM";

/// By trampolines, where the kernel has them, with filters before the count, and by kprobes: as a daemon, and for a
/// process and what it starts.
const WAYS: [&str; 3] = [
    "--listen 127.0.0.1:0 --series-by-port --filter-metrics",
    "--listen 127.0.0.1:0 --series-by-port --attach kprobe",
    "--follow 1 --attach kprobe",
];

/// What it reports instead of its hooks when it follows processes.
const FOLLOWING: &str = "socktrace: following ";

/// Where the daemon's messages go.
const SAID: &str = "/tmp/verifier.err";

/// No program comes near the verifier's limits on this kernel.
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
        // Whatever way: it is known by its name.
        let has_core = programs.iter().any(|program| program.name.starts_with("tcp_done"));
        ensure!(has_core, "{way}: seen only {programs:?}; it said:\n{said}");
        let near: Vec<_> = programs.iter().filter_map(near_a_limit).collect();
        ensure!(near.is_empty(), "{way}: {}", near.join("; "));
    }
    Ok(())
}

/// What is wrong with a program that comes near a limit.
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
