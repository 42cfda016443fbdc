//! The page for a person with a browser.

use super::Hooks;
use crate::kernel::host::running_kernel;

const STYLE: &str = "body{font-family:sans-serif;max-width:50em;margin:2em auto;padding:0 1em;\
    line-height:1.4}code{background:#eee;padding:0 .2em}";

/// Renders the page.
pub(super) fn page(hooks: &Hooks) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let attached = list(hooks.attached.iter().map(|hook| format!("<code>{}</code>", escape(hook))));
    let missing = if hooks.problems.is_empty() {
        "<p>Every hook is attached.</p>".to_owned()
    } else {
        let problems = list(hooks.problems.iter().map(|problem| escape(problem)));
        format!("<h2>Not attached, and what that hides</h2>{problems}")
    };
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>socktrace</title>\
         <style>{STYLE}</style></head><body><h1>socktrace</h1>\
         <p>Why sockets fail on this host: version {version}, on {}.</p>\
         <ul><li><a href=\"/metrics\">/metrics</a>: for Prometheus, as text or OpenMetrics</li>\
         <li><a href=\"/healthz\">/healthz</a>: whether the daemon makes progress</li>\
         <li><a href=\"/readyz\">/readyz</a>: which kernel functions are hooked</li></ul>\
         <h2>Hooked kernel functions</h2>{attached}{missing}</body></html>\n",
        escape(&running_kernel())
    )
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.map(|item| format!("<li>{item}</li>")).collect();
    format!("<ul>{}</ul>", items.concat())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_tells_what_is_hooked_and_what_is_not() {
        let mut hooks = Hooks { attached: vec!["tcp_done".to_owned()], problems: Vec::new() };
        let whole = page(&hooks);
        assert!(whole.contains("<li><code>tcp_done</code></li>"), "{whole}");
        assert!(whole.contains("Every hook is attached"), "{whole}");
        hooks.problems.push("tcp_abort: refused <&\">".to_owned());
        let partial = page(&hooks);
        assert!(partial.contains("<li>tcp_abort: refused &lt;&amp;&quot;&gt;</li>"), "{partial}");
        assert!(!partial.contains("Every hook"), "{partial}");
    }
}
