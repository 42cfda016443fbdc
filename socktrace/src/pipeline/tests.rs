//! Tests of what passes to the sinks.

use std::sync::Arc;

use clap::Parser as _;
use socktrace_ebpf::{Flags, TcpState};

use super::*;
use crate::{
    cli::Cli,
    filter::Filter,
    record::tests::{decoder, named, reset_event},
    sinks::Audience,
};

#[test]
fn noise_is_shown_to_whoever_asks_for_it() {
    let mut orphan = reset_event();
    orphan.signature.state = TcpState::FinWait1 as u8;
    orphan.signature.flags = Flags::ORPHAN.0;
    for (args, is_shown) in [
        (&[][..], false),
        (&["--all"], true),
        (&["--severity", "expected"], true),
        (&["--cause", "reset_while_closing"], true),
        (&["--cause", "!other"], false),
        (&["--port", "443"], false),
    ] {
        let cli = Cli::try_parse_from(std::iter::once(&"socktrace").chain(args)).expect("sound");
        let judge = Judge::new(Arc::new(Filter::from(&cli.filters)), cli.all, false);
        let mut gate = Gate::new(decoder(), judge, VerdictCache::new(None), None);
        assert_eq!(gate.pass(&named(orphan)).is_some(), is_shown, "{args:?}");
        if args.is_empty() {
            assert!(gate.pass(&named(reset_event())).is_some());
        }
    }
}

#[test]
fn noise_passes_for_sinks_that_take_it_in_any_case() {
    let mut orphan = reset_event();
    orphan.signature.state = TcpState::FinWait1 as u8;
    orphan.signature.flags = Flags::ORPHAN.0;
    for (args, audience) in [
        (&[][..], Some(Audience::WhoeverWantsAll)),
        (&["--all"], Some(Audience::Everybody)),
        (&["--cause", "reset_while_closing"], Some(Audience::Everybody)),
        // Filters narrow what any sink gets.
        (&["--port", "1"], None),
    ] {
        let cli = Cli::try_parse_from(std::iter::once(&"socktrace").chain(args)).expect("sound");
        let mut judge = Judge::new(Arc::new(Filter::from(&cli.filters)), cli.all, false);
        judge.serve_all(true);
        let mut gate = Gate::new(decoder(), judge, VerdictCache::new(None), None);
        let of = |gate: &Gate, record: &Record| gate.judge.audience(record.finding);
        let passed = gate.pass(&named(orphan)).map(|record| of(&gate, &record));
        assert_eq!(passed, audience, "{args:?}");
        let failure = gate.pass(&named(reset_event())).map(|record| of(&gate, &record));
        assert!(failure.is_none_or(|audience| audience == Audience::Everybody), "{args:?}");
    }
}
