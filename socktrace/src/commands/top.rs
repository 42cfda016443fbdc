//! Full-screen view of failures: on this host, in a history, or in lines of a file.

use std::{
    env,
    ffi::OsStr,
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal as _},
    path::Path,
    process::ExitCode,
    sync::Arc,
    thread,
};

use anstream::{AutoStream, ColorChoice};
use anyhow::Context as _;
use jiff::{Timestamp, tz::TimeZone};
use nix::unistd::gethostname;
use socktrace_top::{About, Source};
use tokio::runtime;

use super::trace;
use crate::{
    cli::{Command, Moment, Time, Top},
    config::{self, Resolved},
    explain::Language,
    filter::Filter,
    service::{exit, signals::StopSignals},
    top::{Clock, Feed, History, Screen, history, newest, replay},
};

/// Shows the screen until a person closes it.
///
/// # Errors
/// When there are no events to show, or the terminal cannot be used.
pub(crate) fn run(mut resolved: Resolved) -> anyhow::Result<ExitCode> {
    let Some(Command::Top(args)) = resolved.cli.command.take() else {
        anyhow::bail!("there is nothing to show");
    };
    let reads_stdin = args.replay.as_deref() == Some(Path::new("-"));
    let problem = if !io::stdout().is_terminal() {
        "top needs a terminal; socktrace without top streams to files and pipes"
    } else if reads_stdin && io::stdin().is_terminal() {
        "--replay - reads standard input, which is a terminal: pipe lines of --output json into it"
    } else if !(args.history || args.replay.is_some() || io::stdin().is_terminal()) {
        "top reads keys from standard input, which is not a terminal"
    } else if env::var_os("TERM").is_some_and(|name| name == "dumb") {
        "top needs a terminal that can move the cursor; TERM is dumb"
    } else {
        return show(resolved, args);
    };
    eprintln!("socktrace: {problem}");
    Ok(ExitCode::from(exit::WRONG_USAGE))
}

fn show(mut resolved: Resolved, args: Top) -> anyhow::Result<ExitCode> {
    if args.history {
        return of_history(args).map(|()| ExitCode::SUCCESS);
    }
    if let Some(file) = &args.replay {
        let file = file.clone();
        return of_file(args, &file).map(|()| ExitCode::SUCCESS);
    }
    let cli = &mut resolved.cli;
    // Filters that name failures also admit those that need --all, as without a screen.
    cli.all = args.all || Filter::from(&args.filters).names_failures();
    (cli.retransmits, cli.resolve) = (args.retransmits, args.resolve);
    (cli.udp_sends, cli.unix_sends, cli.hops) = (args.udp_sends, args.unix_sends, args.hops);
    (cli.attach, cli.no_sandbox) = (args.attach, args.no_sandbox);
    // Left to a socktrace that runs as a service on this host.
    (cli.no_metrics, cli.no_stream) = (true, true);
    // The screen filters, so that a filter can be widened.
    trace::run_on_screen(resolved, screen(args, Clock::Wall, Source::Live(0)))
}

fn screen(args: Top, clock: Clock, source: Source) -> Screen {
    let choice = match ColorChoice::from(args.color) {
        ColorChoice::Auto => AutoStream::choice(&io::stdout()),
        choice => choice,
    };
    let zone = match args.time {
        Time::Utc => TimeZone::UTC,
        Time::Local | Time::None => TimeZone::system(),
    };
    let host = gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    Screen {
        about: About { host, source, zone, is_colored: choice != ColorChoice::Never },
        clock,
        filters: args.filters,
        language: Language::of_environment(|name| env::var(name).ok()),
        moments: None,
        feed: Arc::default(),
    }
}

fn of_history(args: Top) -> anyhow::Result<()> {
    let number = |time: Timestamp| i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX);
    let of = |moment: Option<Moment>| moment.map(|moment| number(moment.0));
    let now = number(Timestamp::now());
    let span = of(args.since).unwrap_or(0)..of(args.until).unwrap_or(now);
    let file = args.file.clone().unwrap_or_else(config::history_file);
    let kept = History { file, span };
    let newest = newest(&kept)?;
    let begin = if args.until.is_some() { kept.span.end } else { newest.unwrap_or(now) };
    let source = Source::History(name(kept.file.as_os_str()));
    let step = i64::try_from(args.step.as_nanos()).unwrap_or(i64::MAX);
    let (moments, read) = history(kept, step);
    let mut screen = screen(args, Clock::Stands, source);
    screen.moments = Some((moments, begin));
    watch(screen, read)
}

fn of_file(args: Top, file: &Path) -> anyhow::Result<()> {
    let source = Source::Replay(name(file.as_os_str()));
    let (clock, input): (_, Box<dyn BufRead + Send>) = if file == Path::new("-") {
        (Clock::Line, Box::new(BufReader::new(io::stdin())))
    } else {
        let input = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
        let is_file = input.metadata().is_ok_and(|metadata| metadata.is_file());
        (if is_file { Clock::Stands } else { Clock::Line }, Box::new(BufReader::new(input)))
    };
    watch(screen(args, clock, source), |feed| replay(input, feed))
}

/// Shows what a separate thread reads.
fn watch(screen: Screen, read: impl FnOnce(&Feed) + Send + 'static) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the event loop")?;
    runtime.block_on(async {
        let mut stop = StopSignals::new()?;
        let feed = Arc::clone(&screen.feed);
        let running = screen.start()?;
        stop.end_with(&running.ended);
        let reader = thread::Builder::new().name("reader".to_owned());
        // Not joined: it may be reading from a source that writes nothing.
        let spawned = reader.spawn(move || read(&feed));
        spawned.context("cannot start the reader thread")?;
        stop.wait().await;
        running.finish()
    })
}

fn name(file: &OsStr) -> String {
    file.to_string_lossy().into_owned()
}
