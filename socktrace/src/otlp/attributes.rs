//! Attributes in OpenTelemetry's data model.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};

/// List of attributes; unknown values are omitted.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes(pub(super) Vec<KeyValue>);

impl Attributes {
    pub(super) fn text(&mut self, key: &str, text: impl Into<String>) {
        self.add(key, Value::StringValue(text.into()));
    }

    pub(super) fn known(&mut self, key: &str, text: Option<impl Into<String>>) {
        if let Some(text) = text {
            self.text(key, text);
        }
    }

    pub(super) fn number(&mut self, key: &str, number: impl Into<i64>) {
        self.add(key, Value::IntValue(number.into()));
    }

    pub(super) fn known_number(&mut self, key: &str, number: Option<impl Into<i64>>) {
        if let Some(number) = number {
            self.number(key, number);
        }
    }

    /// Adds a count. Real counts never exceed `i64::MAX`.
    pub(super) fn count(&mut self, key: &str, count: u64) {
        self.number(key, i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn flag(&mut self, key: &str, is: bool) {
        self.add(key, Value::BoolValue(is));
    }

    /// Whether an attribute has this name.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|attribute| attribute.key == key)
    }

    fn add(&mut self, key: &str, value: Value) {
        self.0.push(KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        });
    }
}

/// A text as a value.
pub(super) fn text(text: String) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(text)) }
}
