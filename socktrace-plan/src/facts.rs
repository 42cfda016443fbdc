//! The kernel facts that the programs need, looked up by name in BTF.

use socktrace_ebpf::{facts::ABSENT, kernel_facts};

use super::btf::{Btf, BtfError, Member};

/// What is asked about a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Offset in bytes.
    Offset,
    /// Size in bytes.
    Size,
    /// Offset in bits.
    Bit,
}

/// One line of the list that both sides share.
struct Wanted {
    global: &'static str,
    ty: &'static str,
    path: &'static str,
    kind: Kind,
}

macro_rules! wanted {
    ($($name:ident = $ty:literal, $path:literal, $kind:ident;)+) => {
        const WANTED: &[Wanted] = &[
            $(Wanted { global: stringify!($name), ty: $ty, path: $path, kind: wanted!(@ $kind) },)+
        ];
    };
    (@ offset) => { Kind::Offset };
    (@ size) => { Kind::Size };
    (@ bit) => { Kind::Bit };
}
kernel_facts!(wanted);

/// Members that not every kernel has, or that one hook alone needs: the programs do without them,
/// or the verifier refuses the one that cannot.
const OPTIONAL: &[&str] = &[
    // Since 6.7; before, `retrans_stamp` is always in milliseconds.
    "TCP_USEC_TS_BIT",
    // Without them a reset by data after shutdown is taken for one by RST.
    "SKB_CB",
    "SKB_CB_TCP_FLAGS",
    // Since 6.10, for the variant of `inet_csk_accept` that takes it.
    "ACCEPT_ARG_ERR",
    // For the SIGPIPE verdict of `sk_stream_error`.
    "TASK_SIGHAND",
    "TASK_SIGNAL",
    "TASK_BLOCKED",
    "SIGHAND_ACTION",
    "SIGHAND_ACTION_SIZE",
    "SIGACTION_HANDLER",
    "SIGNAL_FLAGS",
    // For calls that a signal ends.
    "TASK_PENDING",
    "SIGNAL_SHARED_PENDING",
    "SIGACTION_FLAGS",
    // For kprobes and MPTCP, to tell a socket of streams.
    "SOCK_TYPE",
    // For MPTCP, which not every kernel has.
    "TCP_IS_MPTCP_BIT",
    "ICSK_ULP_DATA",
    "SUBFLOW_CONN",
    // For hooks that find a socket by its descriptor.
    "TASK_FILES",
    "FILES_FDT",
    "FDTABLE_FD",
    "FILE_PRIVATE_DATA",
    // For `tcp_v4_err` and `tcp_v6_err`.
    "SKB_DATA",
    "SKB_HEAD",
    "SKB_TRANSPORT_HEADER",
    "SKB_NETWORK_HEADER",
];

/// A program's global and the value this kernel gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Name of the global in the programs.
    pub global: &'static str,
    /// Its value, or [`ABSENT`].
    pub value: u32,
}

/// Looks every fact up.
///
/// # Errors
/// All facts that no program can do without and this kernel does not have, each as BTF's answer.
pub fn read(btf: &Btf) -> Result<Vec<Fact>, Vec<BtfError>> {
    let mut facts = Vec::with_capacity(WANTED.len());
    let mut missing = Vec::new();
    for wanted in WANTED {
        let value = match btf.member(wanted.ty, wanted.path) {
            Ok(member) => value_of(wanted.kind, member),
            Err(_) if OPTIONAL.contains(&wanted.global) => ABSENT,
            Err(error) => {
                missing.push(error);
                continue;
            }
        };
        facts.push(Fact { global: wanted.global, value });
    }
    if missing.is_empty() { Ok(facts) } else { Err(missing) }
}

fn value_of(kind: Kind, member: Member) -> u32 {
    match kind {
        Kind::Offset => member.bit_offset / 8,
        Kind::Size => member.size,
        Kind::Bit => member.bit_offset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optional_names_are_in_the_list() {
        for name in OPTIONAL {
            assert!(WANTED.iter().any(|wanted| wanted.global == *name), "{name} is not a fact");
        }
    }

    #[test]
    fn a_kind_picks_its_value() {
        let member = Member { bit_offset: 83, size: 4 };
        assert_eq!(value_of(Kind::Offset, member), 10);
        assert_eq!(value_of(Kind::Size, member), 4);
        assert_eq!(value_of(Kind::Bit, member), 83);
    }
}
