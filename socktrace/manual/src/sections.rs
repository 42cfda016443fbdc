//! Sections of manual pages that the definition of the command line lacks.

use clap::Command;

/// A section of a page: paragraphs, then terms with their meanings.
#[derive(Debug, Default)]
pub(crate) struct Section {
    pub(crate) heading: &'static str,
    pub(crate) paragraphs: Vec<String>,
    pub(crate) terms: Vec<(String, String)>,
}

impl Section {
    fn of_terms(heading: &'static str, terms: &[(&str, &str)]) -> Self {
        let terms = terms.iter().map(|(term, text)| ((*term).into(), (*text).into())).collect();
        Self { heading, terms, ..Self::default() }
    }

    fn of_text(heading: &'static str, text: impl Into<String>) -> Self {
        Self { heading, paragraphs: vec![text.into()], ..Self::default() }
    }
}

const FILES: [(&str, &str); 5] = [
    (
        "/etc/socktrace/socktrace.toml",
        "Settings, in TOML: the long name of an option without its dashes, and its value. Options \
         that may be repeated take a list. The file is optional.",
    ),
    (
        "/var/lib/socktrace/history.db",
        "The history that --history writes and socktrace-history(1) shows, to root and members of group socktrace.",
    ),
    ("/run/socktrace/", "Where the service may create a UNIX socket for its metrics."),
    ("/sys/kernel/btf/vmlinux", "The kernel's type information, which tracing needs."),
    ("/usr/share/doc/socktrace/", "More documentation."),
];

const ENVIRONMENT: [(&str, &str); 6] = [
    (
        "SOCKTRACE_NAME",
        "The option --name, in capitals and with _ for each dash: SOCKTRACE_IDLE_THRESHOLD=60 for \
         --idle-threshold 60. Values of an option that may be repeated are separated by spaces. \
         The environment overrides the file; options override both.",
    ),
    ("SOCKTRACE_CONFIG", "The file with settings, as with --config."),
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT, _LOGS_ENDPOINT, _METRICS_ENDPOINT, _HEADERS, _PROTOCOL, \
         _COMPRESSION, _TIMEOUT, _CERTIFICATE, _CLIENT_CERTIFICATE, _CLIENT_KEY, \
         OTEL_METRIC_EXPORT_INTERVAL",
        "Settings for --otlp, as OpenTelemetry defines them; by themselves they send nothing. Options \
         override them, except for the endpoint of a single signal.",
    ),
    (
        "OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME",
        "Attributes of everything that --otlp sends, and the service name of socktrace's own metrics.",
    ),
    ("NO_COLOR", "If set and not empty, output is not colored unless --color says otherwise."),
    ("LC_ALL, LC_MESSAGES, LANG", "The language of socktrace-explain(1)."),
];

/// Example commands and their purpose.
const EXAMPLES: [(&str, &str); 15] = [
    ("socktrace", "Shows one line per failed socket, and serves metrics on 127.0.0.1:10054."),
    (
        "socktrace -- curl https://example.org/",
        "Runs a command, and shows its failures and those of all processes that it starts.",
    ),
    ("socktrace --follow 4711", "Shows the same for a running process."),
    ("socktrace --output json --all", "Shows all details as JSON, including expected failures."),
    (
        "socktrace --unit nginx --remote 10.0.0.0/8",
        "Shows failures between a service and a network.",
    ),
    (
        "socktrace --errno ECONNRESET --errno EPIPE --cause '!premature_eof'",
        "Shows either of two errnos, without one cause.",
    ),
    (
        "socktrace --no-stream --listen [::]:10054 --web-config /etc/socktrace/web.yml",
        "Only counts, and serves the metrics to the network with the TLS and passwords of a web configuration file.",
    ),
    (
        "socktrace --no-stream --otlp http://localhost:4318",
        "Sends failures and counts to an OpenTelemetry Collector.",
    ),
    ("socktrace doctor --self-test", "Checks that failures are seen on this host."),
    ("socktrace history --since yesterday --unit nginx", "Shows past failures of a service."),
    (
        "socktrace history --since 2d --group-by service,cause",
        "Counts past failures by service and cause.",
    ),
    (
        "socktrace replay --cause connect_refused failures.json",
        "Shows lines that --output json has written.",
    ),
    (
        "socktrace top",
        "Shows full-screen what fails on this host, and how often; ? shows the keys.",
    ),
    (
        "socktrace top --history --until 03:00",
        "Shows what failed last night; [ and ] step through it.",
    ),
    ("socktrace explain ECONNRESET", "Explains what an errno means, and what a program should do."),
];

const SEE_ALSO: &str = "ss(8), tcp(7), errno(3), signal(7), capabilities(7), bpf(2), systemctl(1)";

/// Sections of the program's own page.
pub(crate) fn of_program(command: &Command) -> Vec<Section> {
    let pages = command.get_subcommands().map(|it| format!("socktrace-{}(1)", it.get_name()));
    vec![
        Section { heading: "EXIT STATUS", paragraphs: Vec::new(), terms: exit_codes(command) },
        Section::of_terms("FILES", &FILES),
        Section::of_terms("ENVIRONMENT", &ENVIRONMENT),
        Section::of_terms("EXAMPLES", &EXAMPLES),
        Section::of_text(
            "SEE ALSO",
            format!("{}, {SEE_ALSO}", pages.collect::<Vec<_>>().join(", ")),
        ),
    ]
}

/// Sections of a subcommand's page.
pub(crate) fn of_subcommand(command: &Command) -> Vec<Section> {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let examples: Vec<_> =
        EXAMPLES.into_iter().filter(|(line, _)| line.starts_with(name)).collect();
    vec![
        Section::of_text("EXIT STATUS", "As for socktrace(1)."),
        Section::of_terms("EXAMPLES", &examples),
        Section::of_text("SEE ALSO", format!("socktrace(1), {SEE_ALSO}")),
    ]
}

/// Exit codes, as listed at the end of `--help`, one per line.
fn exit_codes(command: &Command) -> Vec<(String, String)> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let lines = help.lines().filter_map(|line| line.trim_start().split_once(' '));
    lines
        .filter(|(code, _)| code.parse::<u8>().is_ok())
        .map(|(code, text)| (code.to_owned(), text.trim_start().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_accepted() {
        for (line, _) in EXAMPLES {
            let words = line.split(' ').map(|word| word.trim_matches('\''));
            let parsed = socktrace::command().try_get_matches_from(words);
            assert!(parsed.is_ok(), "{line}: {parsed:?}");
        }
    }

    #[test]
    fn exit_codes_are_those_of_the_help() {
        let codes = exit_codes(&socktrace::command());
        let help = socktrace::command().render_help().to_string();
        let (_, listed) = help.split_once("Exit codes:\n").expect("a list");
        let listed = listed.lines().take_while(|line| !line.trim().is_empty());
        assert_eq!(codes.len(), listed.count());
        for (code, text) in codes {
            assert!(help.contains(&text) && code.parse::<u8>().is_ok(), "{code} {text}");
        }
    }
}
