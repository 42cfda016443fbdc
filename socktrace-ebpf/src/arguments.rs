//! Arguments of hooked functions, and how to read the memory they point to.

use aya_ebpf::programs::{BtfTracePointContext, FEntryContext, FExitContext, ProbeContext};

use crate::load::{Direct, Load, Probe};

/// Arguments of a hooked function, independent of how the hook is attached.
pub(crate) trait Arguments {
    /// How memory behind the arguments is read.
    type Load: Load;

    /// Argument `index`, counted from 0, as its register holds it: the upper half of an `int` is garbage.
    fn argument(&self, index: usize) -> u64;

    /// Argument `index` as a pointer.
    #[inline(always)]
    fn pointer(&self, index: usize) -> *const u8 {
        self.argument(index) as *const u8
    }

    /// Argument `index` as an `int`.
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

    /// Argument `index`, or 0 if it is not in a register: x86-64 passes six arguments in registers.
    #[inline(always)]
    fn argument(&self, index: usize) -> u64 {
        self.arg(index).unwrap_or(0)
    }
}
