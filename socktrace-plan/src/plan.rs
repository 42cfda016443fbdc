//! Which program serves each hook on this kernel, and what is lost where none can.
//!
//! A pure function of the kernel's BTF, tested without a kernel.

use super::{
    btf::{Btf, BtfError, Prototype},
    hooks::{ANY, Attach, Hook, SKB, Variant},
};

/// How functions are to be hooked. Tracepoints are hooked in one way only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By BPF trampolines, or by kprobes where the kernel has none
    Auto,
    /// By BPF trampolines only.
    Fentry,
    /// By kprobes only: slower, and some failures stay hidden.
    Kprobe,
}

/// What the plan says about one hook.
#[derive(Clone, Debug)]
pub enum Served {
    /// By one of these: the first that the kernel accepts. At least one.
    By(Vec<&'static Variant>),
    /// Not at all, for this reason.
    Not(String),
}

/// The plan: every hook and how it is served, and what the programs must know of it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Every hook, in the order in which they are attached.
    pub hooks: Vec<(Hook, Served)>,
    /// Position of `tcp_reset`'s segment argument, if it has one.
    pub tcp_reset_skb_arg: Option<u32>,
}

/// Makes the plan for a kernel.
#[must_use]
pub fn plan(btf: &Btf, method: Method) -> Plan {
    plan_from(method, |function, attach| match attach {
        Attach::Tracepoint => btf.tracepoint(function),
        Attach::Fentry | Attach::Fexit | Attach::Kprobe | Attach::Kretprobe => {
            btf.prototype(function)
        }
    })
}

fn plan_from(
    method: Method,
    prototype: impl Fn(&str, Attach) -> Result<Prototype, BtfError>,
) -> Plan {
    let hooks = Hook::ALL.iter().map(|&hook| (hook, serve(hook, method, &prototype))).collect();
    let tcp_reset_skb_arg = prototype("tcp_reset", Attach::Fentry)
        .ok()
        .and_then(|found| found.parameters.iter().position(|parameter| parameter == SKB))
        .and_then(|position| u32::try_from(position).ok());
    Plan { hooks, tcp_reset_skb_arg }
}

/// The variants of the hook that fit this kernel.
fn serve(
    hook: Hook,
    method: Method,
    prototype: impl Fn(&str, Attach) -> Result<Prototype, BtfError>,
) -> Served {
    let (first, second) = match method {
        _ if hook.is_tracepoint() => (hook.variants(), &[][..]),
        Method::Auto => (hook.variants(), hook.kprobe_variants()),
        Method::Fentry => (hook.variants(), &[][..]),
        Method::Kprobe => (hook.kprobe_variants(), &[][..]),
    };
    let mut fitting = Vec::new();
    let mut reasons: Vec<String> = Vec::new();
    if first.is_empty() {
        reasons.extend(hook.not_by_kprobe().map(str::to_owned));
    }
    for variant in first.iter().chain(second) {
        let reason = match prototype(variant.function, variant.attach()) {
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
    if variant.attach() == Attach::Tracepoint {
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
        ("security_sock_graft", &["struct sock *", "struct socket *"]),
        ("__sys_setsockopt", &["int", "int", "int", "char *", "int"]),
    ];
    const LINUX_6_12: Kernel = &[
        ("tcp_done", &["struct sock *"]),
        ("tcp_reset", &["struct sock *", "struct sk_buff *"]),
        ("inet_csk_accept", &["struct sock *", "struct proto_accept_arg *"]),
        ("tcp_send_active_reset", &["struct sock *", "enum sk_rst_reason"]),
        ("security_sock_graft", &["struct sock *", "struct socket *"]),
        ("__sys_setsockopt", &["int", "int", "int", "char *", "int"]),
        ("do_sock_setsockopt", &["struct socket *", "bool", "int", "int", "sockptr_t", "int"]),
        ("inet_sk_error_report", &["struct sock *"]),
    ];

    fn plan_of(kernel: Kernel, method: Method) -> Plan {
        plan_from(method, |function, _| {
            kernel
                .iter()
                .find(|(name, _)| *name == function)
                .map(|(_, parameters)| Prototype {
                    parameters: parameters.iter().map(ToString::to_string).collect(),
                })
                .ok_or_else(|| BtfError::Missing { what: "function", name: function.to_owned() })
        })
    }

    /// The first programs of all that may serve the hook.
    fn all_served(plan: &Plan, hook: Hook) -> Result<Vec<&'static str>, String> {
        match &plan.hooks.iter().find(|(found, _)| *found == hook).expect("planned").1 {
            Served::By(variants) => {
                Ok(variants.iter().map(|variant| variant.programs[0].name).collect())
            }
            Served::Not(reason) => Err(reason.clone()),
        }
    }

    fn served(plan: &Plan, hook: Hook) -> Result<&'static str, String> {
        all_served(plan, hook).map(|names| names[0])
    }

    #[test]
    fn linux_5_10() {
        let plan = plan_of(LINUX_5_10, Method::Fentry);
        assert_eq!(plan.tcp_reset_skb_arg, None);
        assert_eq!(served(&plan, Hook::TcpSendActiveReset), Ok("tcp_send_active_reset"));
        assert_eq!(
            all_served(&plan, Hook::InetCskAccept),
            Ok(vec!["inet_csk_accept_four_args", "inet_csk_accept_connections"])
        );
        assert_eq!(served(&plan, Hook::Setsockopt), Ok("sys_setsockopt_return"));
        assert_eq!(
            served(&plan, Hook::InetSkErrorReport),
            Err("this kernel's BTF has no function `inet_sk_error_report`".to_owned())
        );
    }

    #[test]
    fn linux_6_12() {
        let plan = plan_of(LINUX_6_12, Method::Fentry);
        assert_eq!(plan.tcp_reset_skb_arg, Some(1));
        assert_eq!(served(&plan, Hook::TcpSendActiveReset), Ok("tcp_send_active_reset_second"));
        assert_eq!(served(&plan, Hook::InetCskAccept), Ok("inet_csk_accept_two_args"));
        assert_eq!(served(&plan, Hook::Setsockopt), Ok("do_sock_setsockopt_return"));
        assert_eq!(served(&plan, Hook::InetSkErrorReport), Ok("inet_sk_error_report"));
    }

    #[test]
    fn linux_5_10_by_kprobe() {
        let plan = plan_of(LINUX_5_10, Method::Kprobe);
        assert_eq!(plan.tcp_reset_skb_arg, None);
        assert_eq!(all_served(&plan, Hook::TcpDone), Ok(vec!["tcp_done_kprobe"]));
        assert_eq!(served(&plan, Hook::TcpSendActiveReset), Ok("tcp_send_active_reset_kprobe"));
        assert_eq!(all_served(&plan, Hook::InetCskAccept), Ok(vec!["security_sock_graft"]));
        assert_eq!(served(&plan, Hook::Setsockopt), Ok("sys_setsockopt_kretprobe"));
    }

    #[test]
    fn linux_6_12_by_kprobe() {
        let plan = plan_of(LINUX_6_12, Method::Kprobe);
        assert_eq!(plan.tcp_reset_skb_arg, Some(1));
        assert_eq!(
            served(&plan, Hook::TcpSendActiveReset),
            Ok("tcp_send_active_reset_second_kprobe")
        );
        assert_eq!(all_served(&plan, Hook::InetCskAccept), Ok(vec!["security_sock_graft"]));
        assert_eq!(
            all_served(&plan, Hook::Setsockopt),
            Ok(vec!["do_sock_setsockopt_kretprobe", "sys_setsockopt_kretprobe"])
        );
        // A tracepoint needs no trampoline.
        assert_eq!(served(&plan, Hook::InetSkErrorReport), Ok("inet_sk_error_report"));
    }

    #[test]
    fn kprobes_are_the_second_choice() {
        let plan = plan_of(LINUX_6_12, Method::Auto);
        assert_eq!(all_served(&plan, Hook::TcpDone), Ok(vec!["tcp_done", "tcp_done_kprobe"]));
        assert_eq!(
            all_served(&plan, Hook::InetCskAccept),
            Ok(vec!["inet_csk_accept_two_args", "security_sock_graft"])
        );
        assert_eq!(all_served(&plan, Hook::InetSkErrorReport), Ok(vec!["inet_sk_error_report"]));
    }

    #[test]
    fn what_kprobes_cannot_serve_says_why() {
        let kernel: Kernel = &[("__sys_accept4", &["int", "void *", "int *", "int"])];
        assert_eq!(
            served(&plan_of(kernel, Method::Auto), Hook::SysAccept4),
            Ok("sys_accept4_return")
        );
        assert_eq!(
            served(&plan_of(kernel, Method::Kprobe), Hook::SysAccept4),
            Err("return probes lose what a waiting function returns".to_owned())
        );
        for &hook in Hook::ALL {
            assert!(
                hook.is_tracepoint()
                    || hook.kprobe_variants().is_empty() == hook.not_by_kprobe().is_some(),
                "{}: served by kprobes, or a reason why not",
                hook.id()
            );
        }
    }

    #[test]
    fn an_unknown_prototype_costs_one_hook_and_is_named() {
        let kernel: Kernel = &[
            ("tcp_done", &["struct sock *"]),
            ("tcp_close", &["struct sock *"]),
            ("inet_csk_accept", &["struct sock *", "int", "bool"]),
        ];
        for method in [Method::Auto, Method::Fentry, Method::Kprobe] {
            let plan = plan_of(kernel, method);
            assert_eq!(
                served(&plan, Hook::TcpClose),
                Err("unknown prototype tcp_close(struct sock *)".to_owned())
            );
            assert!(served(&plan, Hook::TcpDone).is_ok());
        }
        let plan = plan_of(kernel, Method::Fentry);
        assert_eq!(
            served(&plan, Hook::InetCskAccept),
            Err("unknown prototype inet_csk_accept(struct sock *, int, bool)".to_owned())
        );
    }

    #[test]
    fn what_takes_away_is_attached_before_what_leaves() {
        for hook in Hook::ALL {
            for variant in hook.variants().iter().chain(hook.kprobe_variants()) {
                let attach: Vec<_> =
                    variant.programs.iter().map(|program| program.attach).collect();
                assert!(
                    attach.is_sorted_by_key(|attach| match attach {
                        Attach::Fexit | Attach::Kretprobe => 0,
                        Attach::Fentry | Attach::Kprobe | Attach::Tracepoint => 1,
                    }),
                    "{}: entry before exit",
                    variant.function
                );
            }
        }
    }

    #[test]
    fn variants_are_of_one_kind() {
        for hook in Hook::ALL {
            for variant in hook.variants() {
                assert!(!variant.is_kprobe(), "{}", variant.function);
            }
            for variant in hook.kprobe_variants() {
                assert!(
                    variant.programs.iter().all(|program| {
                        matches!(program.attach, Attach::Kprobe | Attach::Kretprobe)
                    }),
                    "{}",
                    variant.function
                );
            }
        }
    }
}
