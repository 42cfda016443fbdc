//! Tests of how settings are combined.

use std::fs;

use proptest::prelude::*;

use super::*;
use crate::{
    cli::{Color, Output},
    config::print,
};

/// Resolves flags, variables and the content of a file.
fn resolve(flags: &[&str], variables: &[(&str, &str)], file: &str) -> Result<Resolved, Error> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socktrace.toml");
    fs::write(&path, file).expect("written");
    let arguments = std::iter::once(&"socktrace").chain(flags).map(OsString::from);
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
    Resolved::new(arguments, variables, &path)
}

fn good(flags: &[&str], variables: &[(&str, &str)], file: &str) -> Resolved {
    resolve(flags, variables, file).unwrap_or_else(|error| panic!("{error:?}"))
}

fn problems(flags: &[&str], variables: &[(&str, &str)], file: &str) -> Vec<String> {
    match resolve(flags, variables, file) {
        Err(Error::Settings(problems)) => problems,
        Err(Error::Usage(error)) => panic!("{error}"),
        Ok(resolved) => panic!("{resolved:?}"),
    }
}

fn places(cli: &Cli) -> Vec<String> {
    cli.listen.iter().map(ToString::to_string).collect()
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let idle = |flags: &[&str], variables: &[(&str, &str)], file| {
        good(flags, variables, file).cli.idle_threshold
    };
    let file = "idle-threshold = 1";
    let variable = [("SOCKTRACE_IDLE_THRESHOLD", "2")];
    assert_eq!(idle(&[], &[], ""), 30);
    assert_eq!(idle(&[], &[], file), 1);
    assert_eq!(idle(&[], &variable, file), 2);
    assert_eq!(idle(&["--idle-threshold", "3"], &variable, file), 3);
    // An empty variable is ignored.
    assert_eq!(idle(&[], &[("SOCKTRACE_IDLE_THRESHOLD", "")], file), 1);
}

#[test]
fn a_unit_with_the_directory_keeps_a_history_unless_somebody_says_otherwise() {
    let unit = ("STATE_DIRECTORY", "/var/lib/other:/var/lib/socktrace");
    let is_on = |flags: &[&str], variables: &[(&str, &str)], file| {
        good(flags, variables, file).cli.history.is_on
    };
    assert!(!is_on(&[], &[], ""));
    assert!(!is_on(&[], &[("STATE_DIRECTORY", "/var/lib/socktrace-lab")], ""));
    assert!(is_on(&[], &[unit], ""));
    assert!(is_on(&["--no-stream"], &[unit], "history-file = \"/srv/a.db\""));
    assert!(!is_on(&[], &[unit], "history = false"));
    assert!(!is_on(&[], &[unit, ("SOCKTRACE_HISTORY", "0")], "history = true"));
    assert!(!is_on(&["--history=false"], &[unit], ""));
    let mut text = Vec::new();
    print(&mut text, &good(&[], &[unit], "")).expect("memory");
    let text = String::from_utf8(text).expect("text");
    assert!(text.contains("history = true  # STATE_DIRECTORY\n"), "{text}");
    // With a history there is something to do.
    good(&["--no-stream", "--no-metrics", "--unit", "nginx"], &[unit], "");
    assert!(resolve(&["--no-stream", "--no-metrics"], &[unit], "history = false").is_err());
}

#[test]
fn each_kind_of_setting_can_be_made_everywhere() {
    let in_file = good(&[], &[], "all = true\noutput = \"json\"\nlisten = '[::]:1'\n").cli;
    assert!(in_file.all && in_file.output == Output::Json);
    assert_eq!(places(&in_file), ["[::]:1"]);
    let in_file = good(&[], &[], "listen = ['[::1]:1', 'unix:/run/a,mode=0660']").cli;
    assert_eq!(places(&in_file), ["[::1]:1", "unix:/run/a"]);
    let variables = [
        ("SOCKTRACE_ALL", "on"),
        ("SOCKTRACE_COLOR", "never"),
        ("SOCKTRACE_LISTEN", "[::1]:1 unix:/run/a,mode=0660"),
    ];
    let in_environment = good(&[], &variables, "").cli;
    assert_eq!(places(&in_environment), places(&in_file));
    assert!(in_environment.all && in_environment.color == Color::Never);
}

#[test]
fn a_switch_can_be_taken_back() {
    let all =
        |flags: &[&str], variables: &[(&str, &str)]| good(flags, variables, "all = true").cli.all;
    assert!(all(&[], &[]));
    assert!(!all(&[], &[("SOCKTRACE_ALL", "false")]));
    assert!(!all(&["--all=false"], &[]));
    assert!(!all(&["--all=no"], &[("SOCKTRACE_ALL", "true")]));
    assert!(all(&["--all=true"], &[("SOCKTRACE_ALL", "false")]));
    let wrong = problems(&["--all=maybe"], &[], "");
    assert!(wrong[0].contains("all is a switch"), "{wrong:?}");
}

#[test]
fn what_conflicts_below_is_taken_away() {
    let file = "listen = \"127.0.0.1:1\"\noutput = \"json\"";
    let cli = good(&["--no-metrics"], &[], file).cli;
    assert!(cli.no_metrics && cli.listen.is_empty() && cli.output == Output::Json);
    let cli = good(&["--no-stream"], &[], file).cli;
    assert!(cli.no_stream && cli.output == Output::Human && !cli.listen.is_empty());
    let cli = good(&["--listen", "127.0.0.1:2"], &[("SOCKTRACE_NO_METRICS", "1")], file).cli;
    assert!(!cli.no_metrics);
    assert_eq!(places(&cli), ["127.0.0.1:2"]);
    // A switch that is off conflicts with nothing.
    let cli = good(&["--no-metrics=false"], &[], file).cli;
    assert!(!cli.listen.is_empty());
}

#[test]
fn what_is_left_out_is_said_in_two_ways_and_set_as_one() {
    let filters = |flags: &[&str], variables: &[(&str, &str)], file: &str| {
        good(flags, variables, file).cli.filters.to_string()
    };
    let file = "unit = ['a', '!b']\nnot-unit = 'c'\nnot-port = [443]";
    assert_eq!(filters(&[], &[], file), "--unit a --not-unit b --not-unit c --not-port 443");
    // A higher level replaces all values of a kind.
    assert_eq!(filters(&["--unit", "!d"], &[], file), "--not-unit d --not-port 443");
    assert_eq!(filters(&["--not-unit", "d"], &[], file), "--not-unit d --not-port 443");
    let variables = [("SOCKTRACE_NOT_UNIT", "d e")];
    assert_eq!(
        filters(&["--not-port", "1"], &variables, file),
        "--not-unit d --not-unit e --not-port 1"
    );
}

#[test]
fn a_conflict_on_one_level_names_its_source() {
    let wrong = problems(&[], &[], "no-stream = true\n\nno-metrics = true");
    let [wrong] = wrong.as_slice() else { panic!("{wrong:?}") };
    assert!(wrong.contains("cannot be used with"), "{wrong}");
    assert!(wrong.contains("socktrace.toml:1") && wrong.contains("socktrace.toml:3"), "{wrong}");
    let wrong = problems(&[], &[], "no-stream = true\nunit = \"nginx\"");
    assert!(wrong[0].contains("no-stream is set by ") && wrong[0].contains(":1"), "{wrong:?}");
    // Conflicting flags are an error of the command line itself.
    assert!(matches!(resolve(&["--filter-metrics"], &[], ""), Err(Error::Usage(_))));
}

#[test]
fn what_is_wrong_is_named_with_line_and_nearest_key() {
    let file =
        "\n# comment\noutptu = \"json\"\noutput = \"xml\"\nall = 1\nidle-threshold = 0\nqqqqq = 1";
    let wrong = problems(&[], &[("SOCKTRACE_COLOR", "pink")], file);
    let says = |parts: &[&str]| {
        let found = wrong.iter().any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "{parts:?} is not in {wrong:#?}");
    };
    says(&["socktrace.toml:3: ", "\"outptu\"", "mean \"output\""]);
    says(&["socktrace.toml:4: ", "xml", "human, json"]);
    says(&["socktrace.toml:5: ", "all is a switch"]);
    says(&["socktrace.toml:6: ", "from 1 to 86400"]);
    says(&["socktrace.toml:7: ", "\"qqqqq\"", "the keys are output, "]);
    says(&["SOCKTRACE_COLOR: ", "pink", "auto, always, never"]);
    assert_eq!(wrong.len(), 6, "{wrong:#?}");
    let wrong = problems(&[], &[], "all = true\nall = true");
    assert!(wrong[0].contains("socktrace.toml:2: ") && wrong[0].contains("duplicate"), "{wrong:?}");
}

#[test]
fn unknown_variables_are_no_reason_to_do_nothing() {
    let variables = [("SOCKTRACE_OUTPTU", "json"), ("SOCKTRACE_COMMIT", "1234567")];
    let doubts = resolve(&[], &variables, "").expect("sound").doubts;
    let [slip, commit] = doubts.as_slice() else { panic!("{doubts:?}") };
    assert!(slip.contains("SOCKTRACE_OUTPTU") && slip.contains("mean SOCKTRACE_OUTPUT"));
    assert!(commit.contains("SOCKTRACE_COMMIT: unknown"), "{commit}");
}

#[test]
fn an_error_names_the_accepted_numbers() {
    let file = "\nidle-threshold = 5.5\nretransmit-threshold = 99999999999999999999";
    let wrong = problems(&[], &[("SOCKTRACE_MAX_SOCKETS", "many")], file);
    for (place, value, range) in [
        ("socktrace.toml:2: ", "'5.5'", "from 1 to 86400"),
        ("socktrace.toml:3: ", "'99999999999999999999'", "from 1 to 255"),
        ("SOCKTRACE_MAX_SOCKETS: ", "'many'", "from 1 to 10000000"),
    ] {
        let found = wrong.iter().find(|problem| problem.contains(place)).expect(place);
        assert!(found.contains(value) && found.contains(range), "{found}");
    }
    assert_eq!(wrong.len(), 3, "{wrong:#?}");
}

#[test]
fn a_file_that_is_no_text_is_named_with_the_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socktrace.toml");
    fs::write(&path, b"all = true\n# caf\xe9\n").expect("written");
    let arguments = ["socktrace".into()].into_iter();
    let Err(Error::Settings(problems)) = Resolved::new(arguments, std::iter::empty(), &path) else {
        panic!("read");
    };
    assert_eq!(problems, [format!("{}:2: no UTF-8", path.display())]);
}

#[test]
fn a_file_without_an_end_is_refused() {
    let arguments = ["socktrace".into()].into_iter();
    let endless = Resolved::new(arguments, std::iter::empty(), Path::new("/dev/zero"));
    let Err(Error::Settings(problems)) = endless else { panic!("read") };
    assert_eq!(problems, ["/dev/zero: larger than 256 KiB"]);
}

#[test]
fn variables_of_kubernetes_are_none_of_ours() {
    let variables = [
        ("SOCKTRACE_SERVICE_HOST", "10.0.0.1"),
        ("SOCKTRACE_SERVICE_PORT", "10054"),
        ("SOCKTRACE_PORT", "tcp://10.0.0.1:10054"),
        ("SOCKTRACE_PORT_10054_TCP", "tcp://10.0.0.1:10054"),
    ];
    assert!(good(&[], &variables, "").cli.listen.is_empty());
}

#[test]
fn a_file_that_is_asked_for_must_be_there() {
    let missing = Path::new("/nonexistent/socktrace.toml");
    let resolve = |flags: &[&str]| {
        let arguments = std::iter::once(&"socktrace").chain(flags).map(OsString::from);
        Resolved::new(arguments, std::iter::empty(), missing)
    };
    assert!(resolve(&[]).is_ok());
    assert!(matches!(resolve(&["--config", "/nonexistent/x"]), Err(Error::Settings(_))));
}

#[test]
fn what_is_printed_says_the_same_as_a_file() {
    let flags = ["--idle-threshold", "7"];
    let resolved = good(&flags, &[("SOCKTRACE_OUTPUT", "json")], "\nall = true");
    let text = |resolved: &Resolved| {
        let mut text = Vec::new();
        print(&mut text, resolved).expect("memory");
        String::from_utf8(text).expect("text")
    };
    let printed = text(&resolved);
    assert!(printed.contains("idle-threshold = 7  # command line\n"), "{printed}");
    assert!(printed.contains("output = \"json\"  # SOCKTRACE_OUTPUT\n"), "{printed}");
    assert!(printed.contains("socktrace.toml:2\n"), "{printed}");
    assert!(printed.contains("# color = \"auto\"  # default\n"), "{printed}");
    let again = good(&[], &[], &printed);
    assert_eq!(resolved.changes(&again), [""; 0]);
}

#[test]
fn changes_are_named() {
    let before = good(&[], &[], "all = true");
    let after = good(&[], &[], "color = 'never'");
    assert_eq!(before.changes(&after), ["all", "color"]);
}

#[test]
fn a_subcommand_has_flags_of_its_own() {
    assert!(good(&["explain", "EPIPE"], &[], "no such key").cli.command.is_some());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        let _result = resolve(&[], &[], &text);
    }

    #[test]
    fn no_value_makes_it_panic(key in "[a-z-]{1,20}", value in "[-0-9a-z\"'\\[\\]{},. ]{0,30}") {
        let _result = resolve(&[], &[], &format!("{key} = {value}"));
    }
}

#[test]
fn variables_of_opentelemetry_refine_and_alone_send_nothing() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://b:2/logs"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=secret"),
    ];
    let alone = good(&[], &variables, "");
    assert!(alone.otlp.is_none());
    // Errors in them do not matter then.
    assert!(good(&[], &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], "").otlp.is_none());
    for (flags, file) in [(&["--otlp", "env"][..], ""), (&[], "otlp = 'http://c:3'")] {
        let resolved = good(flags, &variables, file);
        let settings = resolved.otlp.as_ref().expect("asked for");
        assert_eq!(settings.logs().to_string(), "http://b:2/logs");
        let mut printed = Vec::new();
        print(&mut printed, &resolved).expect("memory");
        let text = format!("{}{resolved:?}", String::from_utf8_lossy(&printed));
        assert!(!text.contains("secret"), "{text}");
    }
}

#[test]
fn wrong_settings_of_otlp_say_what_to_do_and_where() {
    let grpc = [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    let wrong = problems(&["--otlp", "http://a:4318"], &grpc, "");
    assert!(wrong[0].starts_with(grpc[0].0) && wrong[0].contains("4318"), "{wrong:?}");
    let file = "otlp = 'http://a:4318'\notlp-client-key = '/k'";
    let wrong = problems(&[], &[], file);
    assert!(wrong[0].contains("needs --otlp-client-certificate"), "{wrong:?}");
    assert!(wrong[0].contains("otlp-client-key is set by") && wrong[0].contains(":2"), "{wrong:?}");
    let wrong = problems(&[], &[], "\notlp = 'collector'");
    assert!(wrong[0].contains(":2: ") && wrong[0].contains("http://HOST:4318"), "{wrong:?}");
}

#[test]
fn a_command_has_its_own_words_and_no_settings_of_a_service() {
    let file =
        "no-stream = true\nlisten = '[::]:1'\nhistory = true\notlp = 'http://a:4318'\nall = true";
    let cli = good(&["--", "sh", "--all=false", "--no-metrics=true"], &[], file).cli;
    assert_eq!(cli.words, ["sh", "--all=false", "--no-metrics=true"]);
    assert!(cli.all && cli.no_metrics && !cli.no_stream && !cli.history.is_on);
    assert!(!cli.otlp.is_on() && cli.listen.is_empty());
    let cli = good(&["--follow", "7"], &[], file).cli;
    assert!(cli.no_metrics && !cli.no_stream && !cli.history.is_on);
    // Explicit requests still count.
    let variables = [("SOCKTRACE_OTLP", "http://a:4318")];
    let cli = good(&["--listen", "[::]:1", "--history", "--", "sh"], &variables, "").cli;
    assert!(!cli.no_metrics && cli.history.is_on && cli.otlp.is_on());
    assert_eq!(places(&cli), ["[::]:1"]);
    // Unless processes are followed, the file's settings apply.
    assert!(good(&[], &[], file).cli.no_stream);
}
