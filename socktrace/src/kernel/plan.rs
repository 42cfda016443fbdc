//! Which program serves each hook on this kernel, and what is lost where none can.
//!
//! A pure function of the kernel's BTF, tested without a kernel.

use super::{
    btf::{Btf, BtfError, Prototype},
    hooks::{ANY, Attach, Hook, SKB, Variant},
};

/// What the plan says about one hook.
#[derive(Clone, Debug)]
pub(crate) enum Served {
    /// By one of these: the first that the kernel accepts. At least one.
    By(Vec<&'static Variant>),
    /// Not at all, for this reason.
    Not(String),
}

/// The plan: every hook and how it is served, and what the programs must know of it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) hooks: Vec<(Hook, Served)>,
    /// Position of `tcp_reset`'s segment argument, if it has one.
    pub(crate) tcp_reset_skb_arg: Option<u32>,
}

/// Makes the plan for a kernel.
pub(crate) fn plan(btf: &Btf) -> Plan {
    plan_from(|function, attach| match attach {
        Attach::Fentry | Attach::Fexit => btf.prototype(function),
        Attach::Tracepoint => btf.tracepoint(function),
    })
}

fn plan_from(prototype: impl Fn(&str, Attach) -> Result<Prototype, BtfError>) -> Plan {
    let hooks = Hook::ALL.iter().map(|&hook| (hook, serve(hook, &prototype))).collect();
    let tcp_reset_skb_arg = prototype("tcp_reset", Attach::Fentry)
        .ok()
        .and_then(|found| found.parameters.iter().position(|parameter| parameter == SKB))
        .and_then(|position| u32::try_from(position).ok());
    Plan { hooks, tcp_reset_skb_arg }
}

/// The variants of the hook that fit this kernel.
fn serve(hook: Hook, prototype: impl Fn(&str, Attach) -> Result<Prototype, BtfError>) -> Served {
    let mut fitting = Vec::new();
    let mut reasons: Vec<String> = Vec::new();
    for variant in hook.variants() {
        let attach = variant.programs.first().map_or(Attach::Fentry, |program| program.attach);
        let reason = match prototype(variant.function, attach) {
            Ok(found) if fits(variant, &found) => {
                fitting.push(variant);
                continue;
            }
            Ok(found) => {
                format!("unknown prototype {}({})", variant.function, found.parameters.join(", "))
            }
            Err(error) => format!("this kernel's BTF has {error}"),
        };
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    if fitting.is_empty() { Served::Not(reasons.join("; ")) } else { Served::By(fitting) }
}

fn fits(variant: &Variant, found: &Prototype) -> bool {
    // A tracepoint's arguments are not in the table: that it exists says enough.
    if variant.programs.iter().any(|program| program.attach == Attach::Tracepoint) {
        return true;
    }
    variant.parameters.len() == found.parameters.len()
        && variant
            .parameters
            .iter()
            .zip(&found.parameters)
            .all(|(wanted, found)| *wanted == ANY || wanted == found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prototypes as found in Debian's kernels, of the functions that differ.
    type Kernel = &'static [(&'static str, &'static [&'static str])];

    const LINUX_5_10: Kernel = &[
        ("tcp_done", &["struct sock *"]),
        ("tcp_reset", &["struct sock *"]),
        ("inet_csk_accept", &["struct sock *", "int", "int *", "bool"]),
        ("tcp_send_active_reset", &["struct sock *", "gfp_t"]),
        ("__sys_setsockopt", &["int", "int", "int", "char *", "int"]),
    ];
    const LINUX_6_12: Kernel = &[
        ("tcp_done", &["struct sock *"]),
        ("tcp_reset", &["struct sock *", "struct sk_buff *"]),
        ("inet_csk_accept", &["struct sock *", "struct proto_accept_arg *"]),
        ("tcp_send_active_reset", &["struct sock *", "enum sk_rst_reason"]),
        ("__sys_setsockopt", &["int", "int", "int", "char *", "int"]),
        ("do_sock_setsockopt", &["struct socket *", "bool", "int", "int", "sockptr_t", "int"]),
        ("inet_sk_error_report", &["struct sock *"]),
    ];

    fn plan_of(kernel: Kernel) -> Plan {
        plan_from(|function, _| {
            kernel
                .iter()
                .find(|(name, _)| *name == function)
                .map(|(_, parameters)| Prototype {
                    parameters: parameters.iter().map(ToString::to_string).collect(),
                })
                .ok_or_else(|| BtfError::Missing { what: "function", name: function.to_owned() })
        })
    }

    fn served(plan: &Plan, hook: Hook) -> Result<&'static str, String> {
        match &plan.hooks.iter().find(|(found, _)| *found == hook).expect("planned").1 {
            Served::By(variants) => Ok(variants[0].programs[0].name),
            Served::Not(reason) => Err(reason.clone()),
        }
    }

    #[test]
    fn linux_5_10() {
        let plan = plan_of(LINUX_5_10);
        assert_eq!(plan.tcp_reset_skb_arg, None);
        assert_eq!(served(&plan, Hook::TcpSendActiveReset), Ok("tcp_send_active_reset"));
        assert_eq!(served(&plan, Hook::InetCskAccept), Ok("inet_csk_accept_four_args"));
        assert_eq!(served(&plan, Hook::Setsockopt), Ok("sys_setsockopt_return"));
        assert_eq!(
            served(&plan, Hook::InetSkErrorReport),
            Err("this kernel's BTF has no function `inet_sk_error_report`".to_owned())
        );
    }

    #[test]
    fn linux_6_12() {
        let plan = plan_of(LINUX_6_12);
        assert_eq!(plan.tcp_reset_skb_arg, Some(1));
        assert_eq!(served(&plan, Hook::TcpSendActiveReset), Ok("tcp_send_active_reset_second"));
        assert_eq!(served(&plan, Hook::InetCskAccept), Ok("inet_csk_accept_two_args"));
        assert_eq!(served(&plan, Hook::Setsockopt), Ok("do_sock_setsockopt_return"));
        assert_eq!(served(&plan, Hook::InetSkErrorReport), Ok("inet_sk_error_report"));
    }

    #[test]
    fn an_unknown_prototype_costs_one_hook_and_is_named() {
        let plan = plan_of(&[
            ("tcp_done", &["struct sock *"]),
            ("inet_csk_accept", &["struct sock *", "int", "bool"]),
        ]);
        assert_eq!(
            served(&plan, Hook::InetCskAccept),
            Err("unknown prototype inet_csk_accept(struct sock *, int, bool)".to_owned())
        );
        assert_eq!(served(&plan, Hook::TcpDone), Ok("tcp_done"));
    }

    #[test]
    fn what_takes_away_is_attached_before_what_leaves() {
        for hook in Hook::ALL {
            for variant in hook.variants() {
                let attach: Vec<_> =
                    variant.programs.iter().map(|program| program.attach).collect();
                assert!(
                    attach != [Attach::Fentry, Attach::Fexit],
                    "{}: entry before exit",
                    variant.function
                );
            }
        }
    }
}
