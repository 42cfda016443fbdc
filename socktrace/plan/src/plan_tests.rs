//! Tests of the plan, with the BTF of Debian's kernels and with damaged BTF.

use std::{fs, path::Path};

use super::*;

/// The captured BTF of a kernel series.
fn kernel(series: &str) -> Btf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let paths =
        fs::read_dir(directory).expect("fixtures").map(|entry| entry.expect("entry").path());
    let is_of_series = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.strip_prefix(series).is_some_and(|rest| rest.starts_with('.'))
    };
    let path = paths.into_iter().find(|path| is_of_series(path)).expect(series);
    Btf::parse(fs::read(path).expect("readable")).expect("BTF")
}

/// The plan for trampolines.
fn planned(btf: &Btf) -> Plan {
    planned_by(Method::Fentry, btf)
}

fn planned_by(method: Method, btf: &Btf) -> Plan {
    plan(btf, method).expect("every fact that is needed")
}

/// The first program of each variant that may serve a hook, or the reason if none does.
fn all_served(plan: &Plan, hook: Hook) -> Result<Vec<&'static str>, &str> {
    match &plan.hooks.iter().find(|(found, _)| *found == hook).expect("planned").1 {
        Served::By(variants) => {
            Ok(variants.iter().map(|variant| variant.programs[0].name).collect())
        }
        Served::Not(reason) => Err(reason),
    }
}

/// The first program of the best variant.
fn served(plan: &Plan, hook: Hook) -> Result<&'static str, &str> {
    all_served(plan, hook).map(|programs| programs[0])
}

/// Every variant in the table.
fn variants() -> impl Iterator<Item = &'static Variant> {
    Hook::ALL.iter().flat_map(|hook| hook.all_variants())
}

/// Every hook that is not served.
fn unserved(plan: &Plan) -> Vec<Hook> {
    let hooks = plan.hooks.iter().filter(|(_, served)| matches!(served, Served::Not(_)));
    hooks.map(|(hook, _)| *hook).collect()
}

#[test]
fn linux_5_10() {
    let plan = planned(&kernel("5.10"));
    assert_eq!(unserved(&plan), [Hook::InetSkErrorReport]);
    assert_eq!(
        served(&plan, Hook::InetSkErrorReport),
        Err("this kernel's BTF has no tracepoint `inet_sk_error_report`")
    );
    assert_eq!(plan.tcp_reset_skb_arg, None);
    // This kernel is built without MPTCP, so nothing is lost.
    assert!(!plan.recognizes_mptcp);
    assert!(!plan.sees_fast_open);
    let [segment, errno] = &plan.losses[..] else { panic!("{:?}", plan.losses) };
    assert!(segment.hides.contains("data_after_shutdown"), "{segment}");
    assert!(errno.hides.contains("io_uring"), "{errno}");
    assert_eq!(served(&plan, Hook::TcpSendActiveReset), Ok("tcp_send_active_reset"));
    assert_eq!(served(&plan, Hook::TcpDone), Ok("tcp_done"));
    assert_eq!(served(&plan, Hook::Connect), Ok("inet_stream_connect_return"));
    assert_eq!(
        all_served(&plan, Hook::InetCskAccept),
        Ok(vec!["inet_csk_accept_four_args", "inet_csk_accept_connections"])
    );
    assert_eq!(served(&plan, Hook::Setsockopt), Ok("sys_setsockopt_return"));
}

#[test]
fn spare_programs_are_for_kernels_that_keep_calls_from_others() {
    let guards = |series| Features::read(&kernel(series)).guards_recursion;
    assert!(!guards("5.10"));
    assert!(guards("6.1") && guards("6.18") && guards("7.3"));
}

#[test]
fn connections_are_closed_before_their_error_is_reported_where_one_function_does_both() {
    let closes_first = |series| Features::read(&kernel(series)).closes_first;
    assert!(!closes_first("5.10"));
    assert!(closes_first("6.12") && closes_first("6.18") && closes_first("7.3"));
}

#[test]
fn linux_6_1() {
    let plan = planned(&kernel("6.1"));
    assert_eq!(unserved(&plan), []);
    assert_eq!(plan.losses, []);
    assert!(plan.recognizes_mptcp && plan.sees_fast_open);
    assert_eq!(plan.tcp_reset_skb_arg, Some(1));
    assert_eq!(served(&plan, Hook::TcpSendActiveReset), Ok("tcp_send_active_reset"));
    assert_eq!(served(&plan, Hook::InetCskAccept), Ok("inet_csk_accept_four_args"));
    assert_eq!(served(&plan, Hook::Setsockopt), Ok("sys_setsockopt_return"));
    assert_eq!(served(&plan, Hook::InetSkErrorReport), Ok("inet_sk_error_report"));
}

#[test]
fn linux_6_12_to_7_3() {
    // 6.12 has a prototype that mainline introduced later, through a backport.
    let resets = [
        ("6.12", "tcp_send_active_reset_second"),
        ("6.18", "tcp_send_active_reset_third"),
        ("7.3", "tcp_send_active_reset_second"),
    ];
    for (series, reset) in resets {
        let plan = planned(&kernel(series));
        assert_eq!(unserved(&plan), [], "{series}");
        assert_eq!(plan.losses, [], "{series}");
        assert_eq!(plan.tcp_reset_skb_arg, Some(1), "{series}");
        assert_eq!(served(&plan, Hook::TcpDone), Ok("tcp_done_with_error"), "{series}");
        assert_eq!(served(&plan, Hook::Connect), Ok("sys_connect_file_return"), "{series}");
        assert_eq!(served(&plan, Hook::TcpSendActiveReset), Ok(reset), "{series}");
        assert_eq!(served(&plan, Hook::InetCskAccept), Ok("inet_csk_accept_two_args"), "{series}");
        assert_eq!(served(&plan, Hook::Setsockopt), Ok("do_sock_setsockopt_return"), "{series}");
    }
}

#[test]
fn linux_5_10_by_kprobe() {
    let plan = planned_by(Method::Kprobe, &kernel("5.10"));
    assert_eq!(
        unserved(&plan),
        [Hook::SysAccept4, Hook::InetSkErrorReport, Hook::UdpSendmsg, Hook::UnixSendmsg]
    );
    assert_eq!(plan.tcp_reset_skb_arg, None);
    assert_eq!(all_served(&plan, Hook::TcpDone), Ok(vec!["tcp_done_kprobe"]));
    assert_eq!(served(&plan, Hook::TcpSendActiveReset), Ok("tcp_send_active_reset_kprobe"));
    assert_eq!(all_served(&plan, Hook::InetCskAccept), Ok(vec!["security_sock_graft_kprobe"]));
    assert_eq!(served(&plan, Hook::Setsockopt), Ok("sys_setsockopt_kretprobe"));
}

#[test]
fn linux_6_12_by_kprobe() {
    let plan = planned_by(Method::Kprobe, &kernel("6.12"));
    assert_eq!(unserved(&plan), [Hook::SysAccept4, Hook::UdpSendmsg, Hook::UnixSendmsg]);
    assert_eq!(
        served(&plan, Hook::SysAccept4),
        Err("return probes lose what a waiting function returns")
    );
    assert_eq!(plan.tcp_reset_skb_arg, Some(1));
    assert_eq!(served(&plan, Hook::TcpSendActiveReset), Ok("tcp_send_active_reset_second_kprobe"));
    assert_eq!(all_served(&plan, Hook::InetCskAccept), Ok(vec!["security_sock_graft_kprobe"]));
    assert_eq!(
        all_served(&plan, Hook::Setsockopt),
        Ok(vec!["do_sock_setsockopt_kretprobe", "sys_setsockopt_kretprobe"])
    );
    // Tracepoints need no trampolines.
    assert_eq!(served(&plan, Hook::InetSkErrorReport), Ok("inet_sk_error_report"));
}

#[test]
fn kprobes_are_the_second_choice() {
    let plan = planned_by(Method::Auto, &kernel("6.12"));
    assert_eq!(
        all_served(&plan, Hook::TcpDone),
        Ok(vec!["tcp_done_with_error", "tcp_done", "tcp_done_kprobe"])
    );
    assert_eq!(
        all_served(&plan, Hook::InetCskAccept),
        Ok(vec!["inet_csk_accept_two_args", "security_sock_graft_kprobe"])
    );
    assert_eq!(all_served(&plan, Hook::InetSkErrorReport), Ok(vec!["inet_sk_error_report"]));
    // Also if trampoline programs do not have the prototype.
    let broken = kernel("6.12").with_prototype_of("inet_csk_accept", "tcp_abort");
    let plan = planned_by(Method::Auto, &broken);
    assert_eq!(all_served(&plan, Hook::InetCskAccept), Ok(vec!["security_sock_graft_kprobe"]));
}

#[test]
fn what_kprobes_cannot_serve_says_why() {
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
fn a_known_prototype_is_served_whatever_the_version() {
    let plan = planned(&kernel("6.1").with_prototype_of("tcp_reset", "tcp_done"));
    assert_eq!(unserved(&plan), []);
    assert_eq!(served(&plan, Hook::TcpReset), Ok("tcp_reset"));
    assert_eq!(plan.tcp_reset_skb_arg, None);
    assert_eq!(plan.losses.len(), 1);
}

#[test]
fn an_unknown_prototype_costs_one_hook_and_is_named() {
    let plan = planned(&kernel("6.12").with_prototype_of("inet_csk_accept", "tcp_abort"));
    assert_eq!(unserved(&plan), [Hook::InetCskAccept]);
    assert_eq!(
        served(&plan, Hook::InetCskAccept),
        Err("unknown prototype inet_csk_accept(struct sock *, int)")
    );
}

#[test]
fn so_does_one_of_another_function_that_the_hook_needs() {
    let plan = planned(&kernel("6.12").with_prototype_of("__sys_setsockopt", "tcp_abort"));
    assert_eq!(unserved(&plan), [Hook::Setsockopt]);
    let reason = served(&plan, Hook::Setsockopt).expect_err("an unknown prototype");
    assert_eq!(reason, "unknown prototype __sys_setsockopt(struct sock *, int)");
}

#[test]
fn the_parameters_of_every_function_of_an_exit_program_are_known() {
    let functions: Vec<_> = variants().map(|variant| variant.function).collect();
    for program in variants().flat_map(|variant| variant.programs) {
        if let (Attach::Fexit, Some(function)) = (program.attach, program.function) {
            assert!(functions.contains(&function) || program.parameters.is_some(), "{function}");
        }
    }
}

#[test]
fn whole_calls_are_seen_by_system_call_and_by_io_uring() {
    let not_built = |series| planned(&kernel(series)).not_built;
    for series in ["5.10", "6.1", "6.12", "6.18", "7.3"] {
        let plan = planned(&kernel(series));
        assert_eq!(served(&plan, Hook::Bind), Ok("sys_bind_return"), "{series}");
        assert_eq!(served(&plan, Hook::Listen), Ok("sys_listen_return"), "{series}");
    }
    assert_eq!(not_built("6.1"), ["__sys_bind_socket", "io_listen"]);
    assert_eq!(not_built("6.12"), [""; 0]);
}

#[test]
fn where_memory_is_hidden_calls_are_seen_by_socket() {
    for series in ["5.10", "6.1", "6.12", "6.18", "7.3"] {
        let plan = planned_by(Method::Fentry, &kernel(series));
        for (hook, by_socket) in [
            (Hook::Connect, "inet_stream_connect_return"),
            (Hook::Bind, "inet_bind_return"),
            (Hook::Listen, "inet_listen_return"),
        ] {
            let served = plan.hooks.iter().find(|(found, _)| *found == hook);
            let Some((_, Served::By(variants))) = served else {
                panic!("{series}: {hook:?}");
            };
            let first = variants.iter().find(|variant| !variant.reads_memory());
            assert_eq!(first.map(|variant| variant.programs[0].name), Some(by_socket), "{series}");
        }
    }
}

#[test]
fn what_a_kernel_is_built_without_costs_nothing() {
    let fentry = |btf: &Btf| planned_by(Method::Fentry, btf);
    let plan = fentry(&kernel("6.12").renamed("inet6_bind", "inet6_binx"));
    assert_eq!(plan.not_built, ["inet6_bind"]);
    assert_eq!(all_served(&plan, Hook::Bind), Ok(vec!["sys_bind_return", "inet_bind_return"]));
    // A function with an unknown prototype is not missing.
    let plan = fentry(&kernel("6.12").with_prototype_of("inet6_bind", "tcp_abort"));
    assert!(plan.not_built.is_empty(), "{:?}", plan.not_built);
    assert_eq!(all_served(&plan, Hook::Bind), Ok(vec!["sys_bind_return"]));
    let plan = fentry(&kernel("6.12").with_prototype_of("__sys_bind_socket", "tcp_abort"));
    assert_eq!(all_served(&plan, Hook::Bind), Ok(vec!["inet_bind_return"]));
}

#[test]
fn a_missing_function_costs_one_hook() {
    let plan = planned(&kernel("6.12").renamed("tcp_fin", "tcp_fix"));
    assert_eq!(unserved(&plan), [Hook::TcpFin]);
    assert_eq!(served(&plan, Hook::TcpFin), Err("this kernel's BTF has no function `tcp_fin`"));
}

#[test]
fn a_function_that_is_there_twice_is_never_guessed() {
    let plan = planned(&kernel("6.12").renamed("tcp_v6_err", "tcp_v4_err"));
    assert_eq!(unserved(&plan), [Hook::TcpV4Err, Hook::TcpV6Err]);
    assert_eq!(
        served(&plan, Hook::TcpV4Err),
        Err("this kernel's BTF has several different functions `tcp_v4_err`")
    );
}

#[test]
fn a_missing_member_costs_the_hook_that_needs_it() {
    let plan = planned(&kernel("6.12").renamed("data_segs_out", "data_segs_ouu"));
    assert_eq!(unserved(&plan), [Hook::TcpFin]);
    assert_eq!(
        served(&plan, Hook::TcpFin),
        Err("this kernel's BTF has no member `tcp_sock.data_segs_out`")
    );
    let plan = planned(&kernel("6.12").renamed("private_data", "private_date"));
    assert_eq!(
        unserved(&plan),
        [Hook::SysAccept4, Hook::SendSig, Hook::Setsockopt, Hook::Getsockopt]
    );
    // These hooks have alternatives.
    let broken = kernel("6.12").renamed("private_data", "private_date");
    assert_eq!(served(&planned(&broken), Hook::Bind), Ok("inet_bind_return"));
}

#[test]
fn a_missing_detail_hides_only_itself() {
    let broken = kernel("6.12").renamed("icsk_user_timeout", "icsk_user_timeouu");
    let plan = planned(&broken.renamed("icsk_probes_out", "icsk_probes_ouu"));
    assert_eq!(unserved(&plan), []);
    let [loss] = &plan.losses[..] else { panic!("{:?}", plan.losses) };
    assert_eq!(
        loss.reason,
        "this kernel's BTF has no member `inet_connection_sock.icsk_probes_out`, \
         no member `inet_connection_sock.icsk_user_timeout`"
    );
    // The rest of the group is withheld as well. Other facts are absent only if they were before,
    // on kernels that lack them.
    let whole = planned(&kernel("6.12"));
    for (fact, before) in plan.facts.iter().zip(&whole.facts) {
        let is_lost = facts::hides_without(fact.global) == Some(loss.hides);
        let absent = fact.value == ABSENT;
        assert_eq!(absent, is_lost || before.value == ABSENT, "{}", fact.global);
    }
}

#[test]
fn without_the_tracepoint_mptcp_is_reported_by_subflow() {
    let report = "btf_trace_inet_sk_error_report";
    let plan = planned(&kernel("6.12").renamed(report, "btf_trace_inet_sk_error_reporu"));
    assert_eq!(unserved(&plan), [Hook::InetSkErrorReport]);
    assert!(!plan.recognizes_mptcp);
    let [loss] = &plan.losses[..] else { panic!("{:?}", plan.losses) };
    assert!(loss.hides.contains("MPTCP"), "{loss}");
}

#[test]
fn without_a_sockets_basics_nothing_is_planned_and_all_that_is_missing_is_named() {
    let broken = kernel("6.12").renamed("sk_err", "sk_erx").renamed("skc_dport", "skc_dporx");
    let missing = plan(&broken, Method::Auto).expect_err("nothing to report");
    let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
    assert_eq!(missing, ["no member `sock.__sk_common.skc_dport`", "no member `sock.sk_err`"]);
}

#[test]
fn broken_btf_gives_a_plan_or_a_refusal_and_never_a_panic() {
    let btf = kernel("6.12");
    // Testing every byte would take long. A step of 13 reaches each position in the format's 4-byte
    // words and in its records of 8, 12 and more bytes.
    for at in (0..btf.bytes()).step_by(13) {
        let value = [0, 1, 0x7f, 0xff][at % 4];
        if let Some(broken) = btf.with_byte(at, value) {
            let _any = plan(&broken, Method::Auto);
        }
    }
}

#[test]
fn what_takes_away_is_attached_before_what_leaves() {
    for variant in variants() {
        assert!(
            variant.programs.is_sorted_by_key(|program| match program.attach {
                Attach::Fexit | Attach::Kretprobe => 0,
                Attach::Fentry | Attach::Kprobe | Attach::Tracepoint => 1,
            }),
            "{}: entry before exit",
            variant.function
        );
    }
}

#[test]
fn variants_are_of_one_kind() {
    for hook in Hook::ALL {
        for (variants, kprobes) in [(hook.variants(), false), (hook.kprobe_variants(), true)] {
            for program in variants.iter().flat_map(|variant| variant.programs) {
                let is_kprobe = matches!(program.attach, Attach::Kprobe | Attach::Kretprobe);
                assert_eq!(is_kprobe, kprobes, "{}", program.name);
            }
        }
    }
}
