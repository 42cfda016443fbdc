//! Details of an event.

use serde_json::{Map, Value};

use crate::{Event, Plain, app::Explained};

/// Kind of a paragraph, which decides its look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Has the style of the event's severity.
    Title,
    Heading,
    Text,
    /// Is not wrapped.
    Command,
}

/// A paragraph with a label.
#[derive(Clone, Debug)]
pub(crate) struct Paragraph {
    pub(crate) kind: Kind,
    pub(crate) label: &'static str,
    pub(crate) text: String,
}

/// Fields of a line.
struct Fields(Map<String, Value>);

impl Fields {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).and_then(text)
    }

    /// A value with a prefix and suffix; `None` if it is zero.
    fn with(&self, before: &str, name: &str, after: &str) -> Option<String> {
        let value = self.get(name).filter(|value| value != "0")?;
        Some(format!("{before}{value}{after}"))
    }

    fn end(&self, side: &str) -> Option<String> {
        let address = self.get(side)?;
        let port = self.get(&format!("{side}_port")).filter(|port| port != "0");
        let address = if address.contains(':') { format!("[{address}]") } else { address };
        Some(port.map_or_else(|| address.clone(), |port| format!("{address}:{port}")))
    }
}

/// A value's text, without deceptive characters; `None` if nothing is left.
fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => Plain::new(text).to_string(),
        Value::Array(values) if values.is_empty() => return None,
        other => Plain::new(&other.to_string()).to_string(),
    };
    Some(text).filter(|text| !text.is_empty())
}

fn join(parts: impl IntoIterator<Item = Option<String>>, between: &str) -> String {
    let said = parts.into_iter().flatten().filter(|part| !part.is_empty());
    said.collect::<Vec<_>>().join(between)
}

/// Paragraphs about an event, the most informative first. `time` is its formatted time.
pub(crate) fn paragraphs(event: &Event, time: &str, explained: &Explained) -> Vec<Paragraph> {
    let fields = serde_json::from_slice(&event.text).unwrap_or_default();
    let fields = Fields(fields);
    let mut all = Vec::new();
    let mut add = |kind, label, text: String| {
        if !text.is_empty() {
            all.push(Paragraph { kind, label, text });
        }
    };
    let get = |name| fields.get(name);
    let with = |before, name, after| fields.with(before, name, after);

    let count = event.is_flood.then(|| format!("{} events", event.count));
    let errno = Some(event.errno.to_string()).filter(|errno| !errno.is_empty());
    let title = [errno, Some(event.cause.to_string()), count, Some(time.to_owned())];
    add(Kind::Title, "", format!("{} {}", event.severity.sign(), join(title, "  ")));
    add(Kind::Text, "", event.reason.to_string());
    add(Kind::Text, "ends", ends(&fields));
    let timers = [
        with("", "retransmits", " retransmissions"),
        with("RTO ", "rto_ms", " ms"),
        with("", "elapsed_ms", " ms since the first"),
        with("", "probes", " probes"),
        with("silent for ", "silent_ms", " ms"),
        with("TCP_USER_TIMEOUT ", "user_timeout_ms", " ms"),
        with("SO_SNDTIMEO ", "send_timeout_ms", " ms"),
        with("", "unacked_bytes", " bytes unacknowledged"),
        with("", "unsent_bytes", " bytes unsent"),
        with("", "unread_bytes", " bytes unread"),
        with("", "since_first_ms", " ms since the failure"),
    ];
    add(Kind::Text, "timers", join(timers, ", "));
    add(Kind::Text, "advice", explained.advice.clone());
    let process = get("comm").zip(get("pid")).map(|(comm, pid)| format!("{comm}[{pid}]"));
    let process = [process, with("user ", "uid", ""), get("exe"), get("owner_source")];
    add(Kind::Text, "process", join(process, ", "));
    let service = [
        get("service"),
        with("unit ", "unit", ""),
        with("netns ", "netns", ""),
        with("flow ", "flow", ""),
    ];
    add(Kind::Text, "service", join(service, ", "));
    let call = [
        with("by ", "call", ""),
        with("number ", "errno_number", ""),
        with("delivered ", "delivered", ""),
        with("SIGPIPE ", "sigpipe", ""),
    ];
    add(Kind::Text, "call", join(call, ", "));

    if !explained.page.is_empty() {
        add(Kind::Heading, "", "Explanation".to_owned());
    }
    for line in explained.page.lines() {
        let kind = if line.starts_with("    ") { Kind::Command } else { Kind::Text };
        add(kind, "", line.to_owned());
    }
    let mut rest =
        fields.0.iter().filter_map(|(name, value)| Some((name, text(value)?))).peekable();
    if rest.peek().is_some() {
        add(Kind::Heading, "", "All fields".to_owned());
    }
    for (name, value) in rest {
        add(Kind::Text, "", format!("{} {value}", Plain::new(name)));
    }
    all
}

/// Both ends, and details of the connection.
fn ends(fields: &Fields) -> String {
    let get = |name| fields.get(name);
    let arrow = match get("role").as_deref() {
        Some("server") => "<-",
        Some(_) => "->",
        None => "--",
    };
    let remote = fields.end("remote").map(|remote| match get("remote_name") {
        Some(name) => format!("{remote} ({name})"),
        None => remote,
    });
    let addresses = match (fields.end("local"), remote) {
        (None, None) => None,
        (local, remote) => {
            let end = |end: Option<String>| end.unwrap_or_else(|| "?".to_owned());
            Some(format!("{} {arrow} {}", end(local), end(remote)))
        }
    };
    let kind = [get("protocol"), get("family"), get("state"), get("role")];
    join([addresses, get("path"), Some(join(kind, " "))], ", ")
}
