//! Settings from a file, in TOML.

use std::path::Path;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    keys::{Key, Keys, Kind},
    setting::{Given, Setting, Source},
};

/// Reads the settings of a file's text; what is wrong with them is added to `problems`.
pub(super) fn read(
    path: &Path,
    text: &str,
    keys: &Keys,
    problems: &mut Vec<String>,
) -> Vec<Setting> {
    let line = |offset: usize| 1 + text.get(..offset).unwrap_or_default().matches('\n').count();
    let table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            let line = error.span().map_or(1, |span| line(span.start));
            problems.push(format!("{}:{line}: {}", path.display(), error.message()));
            return Vec::new();
        }
    };
    let mut settings = Vec::new();
    for (name, value) in &table {
        let source = Source::File(path.to_owned(), line(name.span().start));
        let setting = match keys.find(name.get_ref()) {
            None => Err(unknown(name.get_ref(), keys)),
            Some(key) => given(key, value).map(|given| Setting {
                key: key.clone(),
                given,
                source: source.clone(),
            }),
        };
        match setting {
            Ok(setting) => settings.push(setting),
            Err(problem) => problems.push(format!("{source}: {problem}")),
        }
    }
    settings
}

fn unknown(name: &str, keys: &Keys) -> String {
    if let Some(near) = keys.nearest(name) {
        return format!("unknown key {name:?}; {:?} is meant?", near.name);
    }
    let names: Vec<_> = keys.iter().map(|key| key.name.as_str()).collect();
    format!("unknown key {name:?}; the keys are {}", names.join(", "))
}

fn given(key: &Key, value: &Spanned<DeValue<'_>>) -> Result<Given, String> {
    let name = &key.name;
    match (key.kind, value.get_ref()) {
        (Kind::Switch, DeValue::Boolean(on)) => Ok(Given::Switch(*on)),
        (Kind::Switch, _) => Err(format!("{name} is a switch: true or false")),
        (Kind::Many, DeValue::Array(values)) => values
            .iter()
            .map(|value| scalar(name, value.get_ref()))
            .collect::<Result<_, _>>()
            .map(Given::Values),
        (Kind::One | Kind::Many, value) => Ok(Given::Values(vec![scalar(name, value)?])),
    }
}

/// A value as a flag would have it.
fn scalar(name: &str, value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(|number| number.to_string())
            .map_err(|error| format!("{name}: {error}")),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            Err(format!("{name} takes a text or a number, not {}", value.type_str()))
        }
    }
}
