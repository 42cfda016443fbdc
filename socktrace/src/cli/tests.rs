//! Tests of what the command line accepts.

use clap::{CommandFactory as _, error::ErrorKind};

use super::*;

fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once(&"socktrace").chain(args))
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn wrong_values_name_the_right_ones() {
    let error = parse(&["--output", "xml"]).expect_err("no such format").to_string();
    assert!(error.contains("human") && error.contains("json"), "{error}");
    let error = parse(&["--attach", "uprobe"]).expect_err("no such way").to_string();
    assert!(["auto", "fentry", "kprobe"].iter().all(|way| error.contains(way)), "{error}");
    let error = parse(&["--ring-buffer", "100"]).expect_err("no such size").to_string();
    assert!(error.contains("1024 or 4096"), "{error}");
    assert_eq!(parse(&["--ring-buffer", "4"]).expect("sound").ring_bytes(), 4_096);
    let error = parse(&["--listen", "10054"]).expect_err("no address").to_string();
    assert!(error.contains("127.0.0.1:10054"), "{error}");
}

#[test]
fn metrics_can_be_served_at_several_places() {
    let cli = parse(&["--listen", "[::1]:1", "--listen", "unix:/run/a"]).expect("sound");
    let places: Vec<_> = cli.listen.iter().map(ToString::to_string).collect();
    assert_eq!(places, ["[::1]:1", "unix:/run/a"]);
    assert!(parse(&[]).expect("sound").listen.is_empty());
}

#[test]
fn wrong_usage_exits_with_2() {
    for args in [&["--no-such"][..], &["--attach", "x"], &["--color", "pink"]] {
        assert_eq!(parse(args).expect_err("wrong").exit_code(), 2, "{args:?}");
    }
}

#[test]
fn an_option_without_its_feature_is_refused_by_name() {
    for (args, feature, is_built) in [
        (&["--resolve"][..], "resolve", cfg!(feature = "resolve")),
        (&["top", "--resolve"], "resolve", cfg!(feature = "resolve")),
        (&["--otlp", "env"], "otlp", cfg!(feature = "otlp")),
        (&["top"], "top", cfg!(feature = "top")),
    ] {
        let missing = missing_feature(&parse(args).expect("defined"));
        let names = missing.map(|text| text.contains(&format!("the feature `{feature}`")));
        assert_eq!(names, (!is_built).then_some(true), "{args:?}");
    }
    assert_eq!(missing_feature(&parse(&[]).expect("sound")), None);
}

#[test]
fn explaining_stands_apart_from_tracing() {
    let explain = |args: &[&str]| match parse(args).expect("sound").command {
        Some(Command::Explain(explain)) => explain,
        _ => panic!("{args:?}"),
    };
    assert_eq!(explain(&["explain"]).topic, None);
    assert_eq!(explain(&["explain", "-104"]).topic.as_deref(), Some("-104"));
    assert_eq!(explain(&["explain", "EPIPE", "--lang", "zh"]).lang, Some(Language::Zh));
    assert!(parse(&["--no-stream"]).expect("sound").command.is_none());
    for args in [&["--verbose", "explain"][..], &["explain", "--no-stream"], &["explain", "a", "b"]]
    {
        assert_eq!(parse(args).expect_err("wrong").exit_code(), 2, "{args:?}");
    }
}

#[test]
fn filters_have_something_to_filter() {
    for (args, is_sound) in [
        (&["--unit", "nginx", "--unit", "!db"][..], true),
        (&["--no-stream", "--unit", "nginx"], false),
        (&["--no-stream", "--unit", "nginx", "--filter-metrics"], true),
        (&["--no-stream", "--unit", "nginx", "--otlp", "env"], true),
        (&["--filter-metrics"], false),
        (&["--not-unit", "nginx", "--filter-metrics"], true),
        (&["--unit", "nginx*", "--filter-metrics"], true),
        (&["--comm", "nginx", "--filter-metrics"], true),
        (&["--comm", r"ngin\*", "--filter-metrics"], true),
        (&["--comm", "ngin*", "--filter-metrics"], false),
        (&["--not-comm", "ngin*", "--filter-metrics"], false),
        (&["--not-path", "/run", "--filter-metrics"], false),
        (&["--no-stream", "--not-unit", "nginx"], false),
    ] {
        let checked = parse(args).expect("defined").check();
        assert_eq!(checked.is_ok(), is_sound, "{args:?}");
    }
    let error = parse(&["--filter-metrics"]).expect("defined").check().expect_err("no filter");
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn floods_are_larger_where_both_ends_are_joined() {
    let limit = |args: &[&str]| parse(args).expect("sound").repeat_after();
    assert_eq!(limit(&[]), 50);
    assert_eq!(limit(&["--otlp", "http://a:4318"]), 1_000);
    assert_eq!(limit(&["--otlp", "http://a:4318", "--repeat-after", "7"]), 7);
}

#[test]
fn a_stream_ends_after_something() {
    for (args, words) in [
        (&["--count", "0"][..], "from 1 to 1000000000"),
        (&["--count=-1"], "from 1 to"),
        (&["--count", "99999999999999999999"], "from 1 to"),
        (&["--count", "5", "--no-stream"], "cannot be used with"),
        (&["--summary", "5s", "--no-stream"], "cannot be used with"),
        (&["--summary", "5s", "--columns", "errno"], "cannot be used with"),
        (&["--summary", "0s"], "from 1s to 24h"),
        (&["--duration", "10"], "30s, 5m, 1h"),
        (&["--duration=-10s"], "from 1s to"),
    ] {
        let error = parse(args).expect_err("wrong");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
    let cli = parse(&["--count", "5", "--summary", "10s", "--duration", "1h 30m"]).expect("sound");
    assert_eq!((cli.count, cli.summary), (Some(5), Some(Duration::from_secs(10))));
    assert_eq!(cli.duration, Some(Duration::from_mins(90)));
    assert!(parse(&["--duration", "30s", "--no-stream"]).is_ok());
}

#[test]
fn a_collector_has_an_url() {
    for (args, words) in [
        (["--otlp", "collector:4318"], "http://HOST:4318"),
        (["--otlp", "http://collector:4317"], "4318"),
        (["--otlp-compression", "zstd"], "gzip"),
        (["--otlp-timeout", "0"], "1 to 600"),
    ] {
        let error = parse(&args).expect_err("wrong");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}

#[test]
fn a_service_has_something_to_do() {
    let check = |words: &[&str]| parse(words).expect("known flags").check();
    let error = check(&["--no-stream", "--no-metrics"]).expect_err("nothing to do");
    assert_eq!((error.kind(), error.exit_code()), (ErrorKind::ArgumentConflict, 2));
    check(&["--no-stream", "--no-metrics", "--otlp", "http://[::1]:4318"]).expect("it sends");
}

#[test]
fn what_follows_two_dashes_is_a_command() {
    let cli = parse(&["--all", "--", "explain", "--all", "-o", "x"]).expect("sound");
    assert!(cli.command.is_none() && cli.all && cli.follows());
    assert_eq!(cli.words, ["explain", "--all", "-o", "x"]);
    let cli = parse(&["--user", "me", "--output-file", "/tmp/a", "--", "true"]).expect("sound");
    assert_eq!(cli.user.as_deref(), Some("me"));
    assert_eq!(parse(&["--follow", "1", "--follow", "2"]).expect("sound").follow, [1, 2]);
    assert!(!parse(&[]).expect("sound").follows());
    for args in [
        &["--follow", "1", "--", "true"][..],
        &["--no-stream", "--", "true"],
        &["--no-stream", "--follow", "1"],
        &["--no-stream", "--output-file", "a"],
        &["--user", "me"],
        &["--follow", "0"],
        &["true"],
    ] {
        assert_eq!(parse(args).expect_err("wrong").exit_code(), 2, "{args:?}");
    }
}
