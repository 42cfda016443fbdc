//! BPF features of a kernel, according to its BTF: programs, maps and helpers.

use crate::{btf::Btf, subject::Subject};

const TRAMPOLINES: (&str, &str) = ("bpf_attach_type", "BPF_TRACE_FENTRY");
const RING_BUFFER: (&str, &str) = ("bpf_map_type", "BPF_MAP_TYPE_RINGBUF");
const TYPED_TASK: (&str, &str) = ("bpf_func_id", "BPF_FUNC_get_current_task_btf");
const TASK_REGISTERS: (&str, &str) = ("bpf_func_id", "BPF_FUNC_task_pt_regs");
const FUNCTION_ARGUMENTS: (&str, &str) = ("bpf_func_id", "BPF_FUNC_get_func_arg");
const RECURSION_GUARD: (&str, &str) = ("bpf_prog", "active");
const DONE_WITH_ERROR: &str = "tcp_done_with_error";
const MEMLOCK_RECORD: &str = "bpf_map_memory";
const RST_REASONS: &str = "sk_rst_reason";
const RST_REASON_PREFIX: &str = "SK_RST_REASON_";

/// Names looked up in this module.
pub(crate) const SUBJECTS: &[Subject] = &[
    Subject::Enumerator(TRAMPOLINES.0, TRAMPOLINES.1),
    Subject::Enumerator(RING_BUFFER.0, RING_BUFFER.1),
    Subject::Enumerator(TYPED_TASK.0, TYPED_TASK.1),
    Subject::Enumerator(TASK_REGISTERS.0, TASK_REGISTERS.1),
    Subject::Enumerator(FUNCTION_ARGUMENTS.0, FUNCTION_ARGUMENTS.1),
    Subject::Member(RECURSION_GUARD.0, RECURSION_GUARD.1),
    Subject::Function(DONE_WITH_ERROR),
    Subject::Struct(MEMLOCK_RECORD),
    Subject::Enum(RST_REASONS),
];

/// Features of a kernel that matter to socktrace.
#[expect(clippy::struct_excessive_bools, reason = "each answers a question of its own")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// BPF trampolines, for fentry and fexit programs: 5.5.
    pub trampolines: bool,
    /// The ring buffer: 5.8.
    pub ring_buffer: bool,
    /// The helper that returns the current task as a typed pointer: 5.11.
    pub typed_task: bool,
    /// The helper that returns the registers of a task: 5.15.
    pub task_registers: bool,
    /// Trampoline programs may read an `int *` argument: 5.17. BTF does not show this; inferred
    /// from a helper for such programs that arrived in the same version.
    pub int_pointers: bool,
    /// A trampoline does not run a program recursively: 5.12.
    pub guards_recursion: bool,
    /// A connection is closed before its error is reported: 6.11, and some long-term series.
    pub closes_first: bool,
    /// Maps and programs count against the limit of locked memory: up to 5.10. Those kernels keep a
    /// charge record with each of them.
    pub charges_memlock: bool,
}

impl Features {
    /// Reads the features of the kernel that this BTF belongs to.
    #[must_use]
    pub fn read(btf: &Btf) -> Self {
        let has = |(name, value): (&str, &str)| btf.has_enumerator(name, value);
        Self {
            trampolines: has(TRAMPOLINES),
            ring_buffer: has(RING_BUFFER),
            typed_task: has(TYPED_TASK),
            task_registers: has(TASK_REGISTERS),
            int_pointers: has(FUNCTION_ARGUMENTS),
            guards_recursion: btf.member(RECURSION_GUARD.0, RECURSION_GUARD.1).is_ok(),
            closes_first: btf.prototype(DONE_WITH_ERROR).is_ok(),
            charges_memlock: btf.has_struct(MEMLOCK_RECORD),
        }
    }

    /// Whether trampoline programs can generate socket cookies: 5.12. BTF does not show this;
    /// inferred from the recursion guard, which arrived in the same version.
    #[must_use]
    pub const fn cookies(self) -> bool {
        self.guards_recursion
    }

    /// Whether programs can look up an ancestor of the current cgroup: 5.15. BTF does not show
    /// this; inferred from a feature of 5.17.
    #[must_use]
    pub const fn ancestors(self) -> bool {
        self.int_pointers
    }
}

/// The kernel's reasons for sending an RST, in lower case and without their common prefix; empty
/// before 6.10, which has none.
#[must_use]
pub fn rst_reasons(btf: &Btf) -> Vec<(u32, String)> {
    let short =
        |name: String| name.strip_prefix(RST_REASON_PREFIX).unwrap_or(&name).to_ascii_lowercase();
    btf.enumerators(RST_REASONS).into_iter().map(|(value, name)| (value, short(name))).collect()
}
