//! The configuration in force, as an equivalent file.

use std::io::{self, Write};

use super::{Resolved, keys::Kind};

/// Writes every setting with its source.
pub(crate) fn print(out: &mut impl Write, resolved: &Resolved) -> io::Result<()> {
    for key in resolved.keys.iter() {
        let name = &key.name;
        let raw = resolved.matches.get_raw(&key.id).into_iter().flatten();
        let values: Vec<_> = raw.map(|value| literal(key.kind, &value.to_string_lossy())).collect();
        let value = match key.kind {
            Kind::Many => format!("[{}]", values.join(", ")),
            Kind::One | Kind::Switch => values.join(", "),
        };
        match resolved.sources.get(name) {
            Some(source) => writeln!(out, "{name} = {value}  # {source}")?,
            // As comments, because defaults may conflict with what is set.
            None if values.is_empty() => writeln!(out, "# {name} is not set")?,
            None => writeln!(out, "# {name} = {value}  # default")?,
        }
    }
    Ok(())
}

/// A value in TOML; a number only if it is written in the same way.
pub(super) fn literal(kind: Kind, text: &str) -> String {
    let is_number = || text.parse::<i64>().is_ok_and(|number| number.to_string() == text);
    if kind == Kind::Switch || is_number() {
        text.to_owned()
    } else {
        toml::Value::String(text.to_owned()).to_string()
    }
}
