//! Fuzz tests: both formats encode any label value and help text so that it can be parsed back.

use prometheus::{IntGaugeVec, Opts, Registry};

use super::format::Format;

/// Input: a label's value, then a NUL and the help text.
#[test]
fn labels() {
    bolero::check!(name = "labels").for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let (value, help) = text.split_once('\0').unwrap_or((&text, ""));
        let help = format!("Help {help}");
        let gauge = IntGaugeVec::new(Opts::new("g", &help), &["l"]).expect("sound");
        gauge.with_label_values(&[value]).set(7);
        let registry = Registry::new();
        registry.register(Box::new(gauge)).expect("a new registry");
        for format in [Format::Text, Format::OpenMetrics] {
            let page = format.encode(&registry.gather()).expect("a gauge");
            let mut samples = page.split('\n').filter(|line| !line.starts_with('#'));
            let sample = samples.next().expect("a sample");
            assert_eq!(samples.collect::<Vec<_>>(), [""], "{page:?}");
            let quoted = sample.strip_prefix("g{l=\"").expect(sample);
            let quoted = quoted.strip_suffix("\"} 7").expect(sample);
            assert_eq!(unescape(quoted, true), value, "{format:?}");
            let shown = page.split('\n').find_map(|line| line.strip_prefix("# HELP g "));
            let escapes_all = format == Format::OpenMetrics;
            assert_eq!(unescape(shown.expect("a help text"), escapes_all), help, "{format:?}");
        }
    });
}

/// Removes escapes. Quotation marks are escaped in values, and in help texts only by `OpenMetrics`.
fn unescape(text: &str, quotes: bool) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('\\') => '\\',
                Some('"') if quotes => '"',
                other => panic!("no escape: {other:?} in {text:?}"),
            },
            '"' if quotes => panic!("an end within {text:?}"),
            c => c,
        });
    }
    plain
}
