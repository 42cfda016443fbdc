//! The configuration in force, as a file that says the same.

use std::io::{self, Write};

use super::{Resolved, keys::Kind};

/// Writes every setting, with where it comes from.
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
            // As comments: what is set by default may not go with what is set.
            None if values.is_empty() => writeln!(out, "# {name} is not set")?,
            None => writeln!(out, "# {name} = {value}  # default")?,
        }
    }
    Ok(())
}

/// A value as TOML has it: as a number only where that is written in the same way.
pub(super) fn literal(kind: Kind, text: &str) -> String {
    let is_number = || text.parse::<i64>().is_ok_and(|number| number.to_string() == text);
    if kind == Kind::Switch || is_number() {
        text.to_owned()
    } else {
        toml::Value::String(text.to_owned()).to_string()
    }
}
