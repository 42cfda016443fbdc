//! What a hooked function was called with, and how what it points to may be read.

use aya_ebpf::programs::{BtfTracePointContext, FEntryContext, FExitContext, ProbeContext};

use crate::load::{Direct, Load, Probe};

/// The arguments of a hooked function: the same to a hook's body, whatever attached it.
pub(crate) trait Arguments {
    /// How memory behind them is read.
    type Load: Load;

    /// Argument `index`, counted from 0, as its register has it: an `int` has garbage in its upper
    /// half.
    fn argument(&self, index: usize) -> u64;

    /// The same as a pointer.
    #[inline(always)]
    fn pointer(&self, index: usize) -> *const u8 {
        self.argument(index) as *const u8
    }

    /// The same as an `int`.
    #[inline(always)]
    fn int(&self, index: usize) -> i32 {
        self.argument(index) as i32
    }
}

macro_rules! typed {
    ($($context:ty),+) => {
        $(impl Arguments for $context {
            type Load = Direct;

            #[inline(always)]
            fn argument(&self, index: usize) -> u64 {
                self.arg(index)
            }
        })+
    };
}
typed!(FEntryContext, FExitContext, BtfTracePointContext);

impl Arguments for ProbeContext {
    type Load = Probe;

    /// Argument `index`, 0 for one that is not in a register: x86-64 passes six that way.
    #[inline(always)]
    fn argument(&self, index: usize) -> u64 {
        self.arg(index).unwrap_or(0)
    }
}
