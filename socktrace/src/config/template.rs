//! A configuration file with every setting commented out, for people to fill in.

use clap::Arg;

use super::{
    keys::{Keys, Kind},
    print::literal,
};

/// Width of the comments.
const WIDTH: usize = 100;

const HEAD: &str = "\
Settings of socktrace. Each is also a command-line flag. A flag overrides the environment \
(SOCKTRACE_IDLE_THRESHOLD=60), which overrides this file. The value shown here, commented out, is \
the default, or an example where there is none.

They apply to the service, which is started with --no-stream and keeps a history unless this file says \
history = false, and to socktrace at a terminal. The service rereads them on `systemctl reload socktrace`. \
`socktrace --print-config` checks them and shows the settings in force; socktrace(1) has details.";

/// Every setting, commented out, with its description.
#[must_use]
pub fn template() -> String {
    let command = crate::cli::command();
    let mut text = comment(HEAD);
    let mut heading = None;
    for key in Keys::of(&command).iter() {
        let Some(arg) = command.get_arguments().find(|arg| arg.get_id() == key.id.as_str()) else {
            continue;
        };
        if heading != arg.get_help_heading() {
            heading = arg.get_help_heading();
            text.extend(
                heading.map(|heading| format!("\n{}", comment(&format!("== {heading} ==")))),
            );
        }
        text.push('\n');
        text.push_str(&comment(&help(arg)));
        let default = arg.get_default_values().first();
        let value = match key.kind {
            Kind::Switch => "false".to_owned(),
            Kind::One | Kind::Many => default.map_or_else(
                || example(&key.name).to_owned(),
                |value| literal(key.kind, &value.to_string_lossy()),
            ),
        };
        text.extend(["#", &key.name, " = ", &value, "\n"]);
    }
    text
}

/// Help of an option, with its values.
fn help(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values = arg.get_possible_values();
    // The values of a switch are shown by its default.
    if values.is_empty() || !arg.get_action().takes_values() {
        return help;
    }
    let values = values.iter().map(|value| match value.get_help() {
        Some(help) => format!("\n- {}: {help}", value.get_name()),
        None => format!("\n- {}", value.get_name()),
    });
    format!("{help}{}", values.collect::<String>())
}

/// Example value of a setting that has no default.
fn example(name: &str) -> &'static str {
    match name {
        "health-listen" => r#""0.0.0.0:10055""#,
        "listen" => r#"["127.0.0.1:10054", "unix:/run/socktrace/metrics.sock,mode=0660"]"#,
        "max-sockets" => "131072",
        "summary" => r#""10s""#,
        "duration" => r#""1h""#,
        "columns" => r#""time,errno,process,remote,reason""#,
        "count" | "repeat-after" => "1000",
        "otlp" => r#""http://localhost:4318""#,
        "otlp-headers-file" => r#""/etc/socktrace/otlp-headers""#,
        "otlp-certificate" => r#""/etc/socktrace/collector-ca.pem""#,
        "otlp-client-certificate" => r#""/etc/socktrace/client.pem""#,
        "otlp-client-key" => r#""/etc/socktrace/client.key""#,
        "otlp-compression" => r#""gzip""#,
        "otlp-timeout" => "10",
        "otlp-metrics-interval" => "60",
        "web-config" => r#""/etc/socktrace/web.yml""#,
        "pid" => "[1]",
        "comm" => r#"["nginx"]"#,
        "uid" => r#"[33, "root"]"#,
        "unit" => r#"["nginx", "php*"]"#,
        "container" => r#"["default/web"]"#,
        "cgroup" => r#"["/system.slice"]"#,
        "netns" => "[4026531840]",
        "port" => "[443]",
        "local" => r#"["10.0.0.7"]"#,
        "remote" => r#"["10.0.0.0/8", "2001:db8::/32"]"#,
        "path" => r#"["/run/php/*.sock"]"#,
        "protocol" => r#"["tcp", "unix"]"#,
        "errno" => r#"["ECONNRESET", "EPIPE"]"#,
        "cause" => r#"["premature_eof"]"#,
        "severity" => r#"["failure"]"#,
        // Values to hide look like values to show.
        _ => name.strip_prefix("not-").map_or(r#""""#, example),
    }
}

fn comment(text: &str) -> String {
    let options = textwrap::Options::new(WIDTH).initial_indent("# ").subsequent_indent("# ");
    let lines = text.lines().flat_map(|line| match line {
        "" => vec!["#".into()],
        line => textwrap::wrap(line, options.clone()),
    });
    let lines: Vec<_> = lines.collect();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, fs};

    use super::*;
    use crate::config::Resolved;

    /// Settings in force with a file of this content.
    fn resolved(text: &str) -> Resolved {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socktrace.toml");
        fs::write(&path, text).expect("written");
        let arguments = std::iter::once(OsString::from("socktrace"));
        let resolved = Resolved::new(arguments, std::iter::empty(), &path);
        resolved.unwrap_or_else(|error| panic!("{text}: {error:?}"))
    }

    /// Lines with settings, uncommented.
    fn settings(template: &str) -> impl Iterator<Item = (&str, &str)> {
        let lines = template.lines().filter_map(|line| line.strip_prefix('#'));
        let lines = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
        lines.map(|line| (line, line.split_once(" = ").expect("a value").0))
    }

    #[test]
    fn it_has_every_setting_and_sets_none() {
        let template = template();
        let resolved = resolved(&template);
        assert!(resolved.sources.is_empty());
        let names: Vec<_> = settings(&template).map(|(_, name)| name).collect();
        let keys: Vec<_> = resolved.keys.iter().map(|key| key.name.as_str()).collect();
        assert_eq!(names, keys);
    }

    #[test]
    fn what_it_shows_can_be_set_and_is_the_default_if_there_is_one() {
        let default = resolved("");
        let command = crate::cli::command();
        for (line, name) in settings(&template()) {
            let resolved = resolved(line);
            assert!(resolved.sources.contains_key(name), "{line}");
            let arg = command.get_arguments().find(|arg| arg.get_long() == Some(name));
            let arg = arg.expect("defined");
            // Switches are off by default.
            let has_default =
                !arg.get_action().takes_values() || !arg.get_default_values().is_empty();
            assert_eq!(default.changes(&resolved).is_empty(), has_default, "{line}");
            assert!(!line.ends_with("\"\""), "{line}: without an example");
        }
    }
}
