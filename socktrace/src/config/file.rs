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
use crate::owner::is_deceptive;

/// Reads the settings of a file; adds what is wrong with them to `problems`.
pub(super) fn read(
    path: &Path,
    bytes: &[u8],
    keys: &Keys,
    problems: &mut Vec<String>,
) -> Vec<Setting> {
    let line = |offset: usize| {
        let before = bytes.get(..offset).unwrap_or(bytes);
        before.split(|&byte| byte == b'\n').count()
    };
    let parsed = match str::from_utf8(bytes) {
        Ok(text) => DeTable::parse(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            (start, error.message().replace(is_deceptive, "?"))
        }),
        Err(error) => Err((error.valid_up_to(), "no UTF-8".to_owned())),
    };
    let table = match parsed {
        Ok(table) => table.into_inner(),
        Err((start, problem)) => {
            problems.push(format!("{}:{}: {problem}", path.display(), line(start)));
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
        return format!("unknown key {name:?}; did you mean {:?}?", near.name);
    }
    let names: Vec<_> = keys.iter().map(|key| key.name.as_str()).collect();
    format!("unknown key {name:?}; the keys are {}", names.join(", "))
}

fn given(key: &Key, value: &Spanned<DeValue<'_>>) -> Result<Given, String> {
    let name = &key.name;
    match (key.kind, value.get_ref()) {
        (Kind::Switch, DeValue::Boolean(on)) => Ok(Given::Switch(*on)),
        (Kind::Switch, _) => Err(format!("{name} is a switch: use true or false")),
        (Kind::Many, DeValue::Array(values)) => values
            .iter()
            .map(|value| scalar(name, value.get_ref()))
            .collect::<Result<_, _>>()
            .map(Given::Values),
        (Kind::One | Kind::Many, value) => Ok(Given::Values(vec![scalar(name, value)?])),
    }
}

/// A value as text, as for a flag.
fn scalar(name: &str, value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Integer(number) => Ok(i64::from_str_radix(number.as_str(), number.radix())
            // Too large for any setting, which reports that itself.
            .map_or_else(|_| number.as_str().to_owned(), |number| number.to_string())),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            Err(format!("{name} takes a string or a number, not {}", value.type_str()))
        }
    }
}
