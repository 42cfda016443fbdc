//! The schema of JSON lines, from which docs/events.md is generated.

#[cfg(test)]
use std::fmt::Write as _;
use std::sync::LazyLock;

use anyhow::{Context as _, Result, anyhow};
use jsonschema::Validator;
use serde_json::Value;

const TEXT: &str = include_str!("../../../docs/events.schema.json");

static SCHEMA: LazyLock<Result<Validator>> = LazyLock::new(|| {
    let options = jsonschema::options().should_validate_formats(true);
    options.build(&serde_json::from_str(TEXT)?).map_err(|error| anyhow!("{error}"))
});

/// Parses a line of the stream and validates it against the schema.
pub(super) fn read(line: &str) -> Result<Value> {
    let value = serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))?;
    let schema = SCHEMA.as_ref().map_err(|error| anyhow!("{error:#}"))?;
    let valid = schema.validate(&value);
    valid.map_err(|error| anyhow!("not as in docs/events.schema.json: {line}\n{error}"))?;
    Ok(value)
}

/// Renders the schema as a page: a table for each part, and the parts of each kind of line.
#[cfg(test)]
fn page() -> Result<String> {
    let schema: Value = serde_json::from_str(TEXT)?;
    let parts = schema["$defs"].as_object().context("no definitions")?;
    let mut page = "# Lines of JSON\n\nMade of [events.schema.json](events.schema.json), against which the tests \
         check each line of `--output json`. Fields are only ever added: ignore those that you do not \
         know. A field has no value (`null`) where nothing is known, or where it has no meaning.\n\n## \
         Kinds of lines\n\n| `event` | what it is | its parts |\n|---|---|---|\n"
        .to_owned();
    let kinds = schema["oneOf"].as_array().context("no kinds")?;
    let definition = |reference: &Value| {
        let name = reference["$ref"].as_str().and_then(|path| path.rsplit('/').next());
        name.and_then(|name| parts.get_key_value(name)).context("no such definition")
    };
    let mut own = Vec::new();
    for kind in kinds {
        let (_, kind) = definition(kind)?;
        let title = kind["title"].as_str().context("no title")?;
        let event = &kind["properties"]["event"];
        let events: Vec<_> = match event["const"].as_str() {
            Some(event) => vec![event],
            None => {
                event["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
            }
        };
        let events: Vec<_> = events.into_iter().map(|event| format!("`{event}`")).collect();
        let mut of = Vec::new();
        for part in kind["allOf"].as_array().into_iter().flatten() {
            let title = definition(part)?.1["title"].as_str().context("no title")?;
            of.push(format!("[{title}](#{})", anchor(title)));
        }
        if kind["properties"].as_object().is_some_and(|fields| fields.len() > 1) {
            of.push(format!("[{title}](#{})", anchor(title)));
            own.push((title, kind));
        }
        let text = kind["description"].as_str().unwrap_or_default();
        writeln!(page, "| {} | {title}. {text} | {} |", events.join(", "), of.join(", "))?;
    }
    let shared = parts.iter().filter(|(name, part)| {
        part["properties"].is_object() && !name.ends_with("Line") && !name.ends_with("Flood")
    });
    for (name, part) in shared {
        let title = part["title"].as_str().map_or_else(|| format!("A {name}"), str::to_owned);
        table(&mut page, &title, part)?;
    }
    for (title, kind) in own {
        table(&mut page, title, kind)?;
    }
    Ok(page)
}

/// Anchor of a heading in links.
#[cfg(test)]
fn anchor(title: &str) -> String {
    title.to_lowercase().replace(' ', "-").replace(',', "")
}

#[cfg(test)]
fn table(page: &mut String, title: &str, part: &Value) -> Result<()> {
    writeln!(page, "\n## {title}\n\n| field | type | |\n|---|---|---|")?;
    let fields = part["properties"].as_object().context("no fields")?;
    for (name, field) in fields
        .iter()
        .filter(|(name, field)| name.as_str() != "event" || field["description"].is_string())
    {
        let text = field["description"].as_str().with_context(|| format!("{name} has no text"))?;
        writeln!(page, "| `{name}` | {} | {text} |", kind_of(field))?;
    }
    Ok(())
}

/// Short description of a field's type and values.
#[cfg(test)]
fn kind_of(field: &Value) -> String {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if let Some(words) = field["enum"].as_array() {
        let words: Vec<_> = words
            .iter()
            .map(|value| match value {
                Value::Null => "null".to_owned(),
                _ => format!("`{}`", word(value)),
            })
            .collect();
        return words.join(", ");
    }
    if field["oneOf"].is_array() {
        return "object or null".to_owned();
    }
    match &field["type"] {
        Value::Array(types) => types.iter().map(word).collect::<Vec<_>>().join(" or "),
        other => word(other),
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use super::*;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/events.md");

    #[test]
    fn lines_of_other_kinds_are_refused() {
        read(r#"{"event":"lost","count":7}"#).expect("as it should be");
        for line in [
            "{}",
            r#"{"event":"lost"}"#,
            r#"{"event":"lost","count":-1}"#,
            r#"{"event":"lost","count":7,"more":1}"#,
            r#"{"event":"failure","time":"2026-11-30T16:34:48.229908237Z"}"#,
        ] {
            read(line).expect_err(line);
        }
    }

    #[test]
    fn page_is_what_the_schema_says() {
        let page = page().expect("a page");
        if env::var_os("SOCKTRACE_WRITE_DOCS").is_some() {
            fs::write(PAGE, &page).expect("written");
        }
        assert!(
            fs::read_to_string(PAGE).is_ok_and(|text| text == page),
            "docs/events.md is another: SOCKTRACE_WRITE_DOCS=1 cargo test -p socktrace-scenarios"
        );
    }
}
