//! Which program serves each hook on this kernel, and what is lost where none can.
//!
//! A pure function of the kernel's BTF, tested without a kernel.

use super::btf::{Btf, BtfError, Prototype};

/// How a program is attached to its function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attach {
    /// At entry, through a BPF trampoline.
    Fentry,
    /// At return, likewise.
    Fexit,
}

/// A program of the object and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// Its name in the object.
    pub(crate) name: &'static str,
    /// How it is attached.
    pub(crate) attach: Attach,
}

/// A kernel function that socktrace hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Function {
    TcpDone,
    TcpReset,
    TcpRetransmitTimer,
    InetCskAccept,
}

impl Function {
    /// In the order in which they are attached: `tcp_done` first, since the others only explain
    /// or complete what it reports.
    pub(crate) const ALL: &'static [Self] =
        &[Self::TcpDone, Self::TcpReset, Self::TcpRetransmitTimer, Self::InetCskAccept];

    /// Its name in the kernel.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::TcpDone => "tcp_done",
            Self::TcpReset => "tcp_reset",
            Self::TcpRetransmitTimer => "tcp_retransmit_timer",
            Self::InetCskAccept => "inet_csk_accept",
        }
    }

    /// What stays hidden when it cannot be hooked.
    pub(crate) const fn hides(self) -> &'static str {
        match self {
            Self::TcpDone => "all failures of established and connecting sockets",
            Self::TcpReset => "resets cannot be told from other reasons: they show as `other`",
            Self::TcpRetransmitTimer => {
                "retransmission timeouts are not counted, and give-ups are told by the socket's \
                 fields alone"
            }
            Self::InetCskAccept => "which process accepts a connection that was already reset",
        }
    }
}

/// What the plan says about one function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// These programs serve it.
    By(Vec<Program>),
    /// None can, for this reason.
    Not(String),
}

/// The plan: every function and how it is served, and what the programs must know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) functions: Vec<(Function, Served)>,
    /// Position of `tcp_reset`'s segment argument, if it has one.
    pub(crate) tcp_reset_skb_arg: Option<u32>,
}

const SOCK: &str = "struct sock *";
const SKB: &str = "struct sk_buff *";

/// Makes the plan for a kernel.
pub(crate) fn plan(btf: &Btf) -> Plan {
    plan_from(|function| btf.prototype(function.name()))
}

fn plan_from(prototype: impl Fn(Function) -> Result<Prototype, BtfError>) -> Plan {
    let functions = Function::ALL
        .iter()
        .map(|&function| {
            let served = match prototype(function) {
                Ok(prototype) => serve(function, &prototype),
                Err(error) => Served::Not(format!("this kernel's BTF has {error}")),
            };
            (function, served)
        })
        .collect();
    let tcp_reset_skb_arg = prototype(Function::TcpReset)
        .ok()
        .and_then(|found| found.parameters.iter().position(|parameter| parameter == SKB))
        .and_then(|position| u32::try_from(position).ok());
    Plan { functions, tcp_reset_skb_arg }
}

/// The programs for a function of this prototype.
fn serve(function: Function, prototype: &Prototype) -> Served {
    let parameters: Vec<&str> = prototype.parameters.iter().map(String::as_str).collect();
    if parameters.first() != Some(&SOCK) {
        return unknown(function, prototype);
    }
    let entry = |name| Program { name, attach: Attach::Fentry };
    let exit = |name| Program { name, attach: Attach::Fexit };
    match (function, parameters.len()) {
        (Function::TcpDone, 1) => Served::By(vec![entry("tcp_done")]),
        (Function::TcpReset, 1 | 2) => Served::By(vec![entry("tcp_reset")]),
        // The exit program takes away what the entry program left: it goes first, so that no
        // note is left behind while only one of them is attached.
        (Function::TcpRetransmitTimer, 1) => {
            Served::By(vec![exit("tcp_retransmit_timer_return"), entry("tcp_retransmit_timer")])
        }
        (Function::InetCskAccept, 4) => Served::By(vec![exit("inet_csk_accept_four_args")]),
        (Function::InetCskAccept, 2) => Served::By(vec![exit("inet_csk_accept_two_args")]),
        _ => unknown(function, prototype),
    }
}

fn unknown(function: Function, prototype: &Prototype) -> Served {
    let parameters = prototype.parameters.join(", ");
    Served::Not(format!("unknown prototype {}({parameters})", function.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prototype(parameters: &[&str]) -> Prototype {
        Prototype { parameters: parameters.iter().map(ToString::to_string).collect() }
    }

    /// Prototypes as found in Debian's kernels.
    fn kernel(reset: &[&str], accept: &[&str]) -> Plan {
        plan_from(|function| {
            Ok(match function {
                Function::TcpDone | Function::TcpRetransmitTimer => prototype(&[SOCK]),
                Function::TcpReset => prototype(reset),
                Function::InetCskAccept => prototype(accept),
            })
        })
    }

    fn served(plan: &Plan, function: Function) -> &Served {
        &plan.functions.iter().find(|(found, _)| *found == function).expect("planned").1
    }

    fn names(served: &Served) -> Vec<&str> {
        match served {
            Served::By(programs) => programs.iter().map(|program| program.name).collect(),
            Served::Not(reason) => panic!("not served: {reason}"),
        }
    }

    #[test]
    fn linux_5_10() {
        let plan = kernel(&[SOCK], &[SOCK, "int", "int *", "bool"]);
        assert_eq!(plan.tcp_reset_skb_arg, None);
        assert_eq!(names(served(&plan, Function::InetCskAccept)), ["inet_csk_accept_four_args"]);
    }

    #[test]
    fn linux_6_12() {
        let plan = kernel(&[SOCK, SKB], &[SOCK, "struct proto_accept_arg *"]);
        assert_eq!(plan.tcp_reset_skb_arg, Some(1));
        assert_eq!(names(served(&plan, Function::InetCskAccept)), ["inet_csk_accept_two_args"]);
        assert_eq!(names(served(&plan, Function::TcpDone)), ["tcp_done"]);
    }

    #[test]
    fn an_unknown_prototype_costs_one_hook_and_is_named() {
        let plan = kernel(&[SOCK, SKB], &[SOCK, "int", "bool"]);
        assert_eq!(
            served(&plan, Function::InetCskAccept),
            &Served::Not("unknown prototype inet_csk_accept(struct sock *, int, bool)".to_owned())
        );
        assert_eq!(names(served(&plan, Function::TcpReset)), ["tcp_reset"]);
    }

    #[test]
    fn a_missing_function_costs_one_hook() {
        let plan = plan_from(|function| match function {
            Function::TcpReset => {
                Err(BtfError::Missing { what: "function", name: "tcp_reset".to_owned() })
            }
            _ => Ok(prototype(&[SOCK])),
        });
        assert_eq!(
            served(&plan, Function::TcpReset),
            &Served::Not("this kernel's BTF has no function `tcp_reset`".to_owned())
        );
        assert_eq!(names(served(&plan, Function::TcpDone)), ["tcp_done"]);
        assert_eq!(plan.tcp_reset_skb_arg, None);
    }

    #[test]
    fn the_timer_is_entered_only_when_its_return_is_watched() {
        let plan = kernel(&[SOCK], &[SOCK, "struct proto_accept_arg *"]);
        assert_eq!(
            names(served(&plan, Function::TcpRetransmitTimer)),
            ["tcp_retransmit_timer_return", "tcp_retransmit_timer"]
        );
    }
}
