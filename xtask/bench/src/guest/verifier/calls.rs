//! Call graph of a program, and the stack that its deepest chain of calls uses.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};

/// Multiple to which the stack of each function is rounded up (`check_max_stack_depth`, before
/// 6.8). Since 6.8 it is 16 for JIT-compiled programs (`round_up_stack_depth`).
const GRAIN: u64 = 32;

/// Longest chain of calls that the verifier accepts (`MAX_CALL_FRAMES`).
const MOST_CALLS: usize = 8;

/// `BPF_JMP | BPF_CALL`, and `BPF_PSEUDO_CALL`, which calls a function of the program.
const CALL: u8 = 0x85;
const PSEUDO_CALL: u8 = 1;
/// `BPF_LD | BPF_IMM | BPF_DW`, which takes two slots.
const LOAD_WIDE: u8 = 0x18;

/// A program's code as the kernel keeps it, without what the verifier has removed.
pub(crate) struct Code {
    pub(crate) instructions: Vec<u64>,
    /// Start of each function, in slots.
    pub(crate) functions: Vec<usize>,
}

/// Stack of the deepest chain of calls in a program. `frames` has the stack of each function, in
/// the order of the functions in the program.
pub(super) fn deepest(code: &Code, frames: &[u64]) -> Result<u64> {
    ensure!(
        code.functions.len() == frames.len(),
        "{} functions, of which the verifier knows {}",
        code.functions.len(),
        frames.len()
    );
    let frames: BTreeMap<_, _> =
        code.functions.iter().copied().zip(frames.iter().copied()).collect();
    let function_at = |at: usize| frames.range(..=at).next_back().map(|(start, _)| *start);
    let mut callees: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (from, to) in calls(&code.instructions) {
        callees.entry(function_at(from).context("a call before all code")?).or_default().insert(to);
    }
    depth(0, &frames, &callees, MOST_CALLS)
}

fn depth(
    function: usize,
    frames: &BTreeMap<usize, u64>,
    callees: &BTreeMap<usize, BTreeSet<usize>>,
    more: usize,
) -> Result<u64> {
    let more = more.checked_sub(1).context("calls go deeper than the verifier lets them")?;
    let own = frames.get(&function).context("no such function")?.max(&1).next_multiple_of(GRAIN);
    let mut below = 0;
    for callee in callees.get(&function).into_iter().flatten() {
        below = below.max(depth(*callee, frames, callees, more)?);
    }
    Ok(own + below)
}

/// Positions of the calls and of their targets. The kernel stores the distance of a call in the
/// offset if the program is JIT-compiled (`jit_subprogs`).
fn calls(instructions: &[u64]) -> Vec<(usize, usize)> {
    let mut calls = Vec::new();
    let mut at = 0;
    while let Some(&instruction) = instructions.get(at) {
        let [code, registers, low, high, ..] = instruction.to_le_bytes();
        if code == CALL && registers >> 4 == PSEUDO_CALL {
            let distance = isize::from(i16::from_le_bytes([low, high]));
            let to = (at + 1).checked_add_signed(distance);
            calls.extend(to.map(|to| (at, to)));
        }
        at += if code == LOAD_WIDE { 2 } else { 1 };
    }
    calls
}

/// `exit`.
#[cfg(test)]
pub(super) const EXIT: u64 = 0x95;

/// A call to the function that starts `distance` slots after the next instruction.
#[cfg(test)]
pub(super) fn call(distance: i16) -> u64 {
    let [low, high] = distance.to_le_bytes();
    u64::from_le_bytes([CALL, PSEUDO_CALL << 4, low, high, 0, 0, 0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deepest_of(instructions: &[u64], functions: &[usize], frames: &[u64]) -> Result<u64> {
        let code = Code { instructions: instructions.to_vec(), functions: functions.to_vec() };
        deepest(&code, frames)
    }

    #[test]
    fn the_deepest_chain_counts_and_not_the_sum() {
        // The first function calls the other two, one after the other.
        let code = [call(2), call(2), EXIT, EXIT, EXIT];
        let deepest = deepest_of(&code, &[0, 3, 4], &[64, 32, 128]).expect("well-formed");
        assert_eq!(deepest, 64 + 128);
        // The second one calls the third.
        let code = [call(1), EXIT, call(1), EXIT, EXIT];
        let deepest = deepest_of(&code, &[0, 2, 4], &[64, 32, 128]).expect("well-formed");
        assert_eq!(deepest, 64 + 32 + 128);
    }

    #[test]
    fn the_second_half_of_a_wide_load_is_no_call() {
        let code = [u64::from(LOAD_WIDE), call(0), EXIT];
        assert_eq!(deepest_of(&code, &[0], &[8]).expect("well-formed"), 32);
    }

    #[test]
    fn what_cannot_be_is_an_error() {
        assert!(deepest_of(&[call(-1), EXIT], &[0], &[8]).is_err(), "a circle");
        assert!(deepest_of(&[call(1), EXIT, EXIT, EXIT], &[0, 3], &[8, 8]).is_err(), "into one");
        assert!(deepest_of(&[EXIT], &[0], &[8, 8]).is_err(), "a frame of none");
    }
}
