//! Fuzz tests: any bytes either parse as a web configuration file or yield a problem with its line.

use std::path::Path;

use governor::DefaultDirectRateLimiter;

use super::WebConfig;

#[test]
fn web_configs() {
    bolero::check!(name = "web_configs").for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        match WebConfig::parse(&text, Path::new("/etc/socktrace")) {
            Ok(config) => {
                // Requests as fast as possible.
                if let Some(limiter) = config.rate.map(DefaultDirectRateLimiter::direct) {
                    let _answered = [limiter.check(), limiter.check()];
                }
            }
            Err(problem) => {
                let problem = problem.to_string();
                let rest = problem.strip_prefix("line ").expect("a line");
                let line: usize =
                    rest.split(':').next().expect("a word").parse().expect("a number");
                // Each of these ends a line of YAML. The end of the text counts as another line.
                let lines = 1 + text.split(['\n', '\r']).count();
                assert!((1..=lines).contains(&line), "{problem}");
            }
        }
    });
}
