//! Encoded records, and requests assembled from them.
//!
//! Records are encoded on arrival, because only their encoding has a known size. Requests are
//! concatenated from these pieces: in protobuf, the encodings of a message's fields in sequence are
//! the encoding of the message, and a field may be split into several pieces.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use opentelemetry_proto::tonic::{
    common::v1::InstrumentationScope,
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
};
use prost::{Message as _, encode_length_delimiter};

/// Tags of fields that contain messages: `resource_logs` of a request, and `scope_logs` of
/// `ResourceLogs`.
const RESOURCE_LOGS: u8 = 1 << 3 | LENGTH_DELIMITED;
const SCOPE_LOGS: u8 = 2 << 3 | LENGTH_DELIMITED;
const LENGTH_DELIMITED: u8 = 2;

/// Overhead of a record in addition to its bytes.
const OVERHEAD: usize = 2 * size_of::<Encoded>();

/// An encoded record that is ready to send.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The start of `ResourceLogs`.
    resource: Arc<[u8]>,
    /// `ScopeLogs` with only this record.
    record: Box<[u8]>,
}

impl Encoded {
    /// Encodes a resource.
    #[must_use]
    pub fn resource(resource: Resource) -> Arc<[u8]> {
        ResourceLogs { resource: Some(resource), ..ResourceLogs::default() }.encode_to_vec().into()
    }

    /// Encodes a record of a resource.
    #[must_use]
    pub fn new(resource: &Arc<[u8]>, record: LogRecord) -> Self {
        let logs = ScopeLogs { log_records: vec![record], ..ScopeLogs::default() };
        Self { resource: Arc::clone(resource), record: logs.encode_to_vec().into() }
    }

    /// Memory of the record, if it does not share its resource.
    pub(crate) fn bytes(&self) -> usize {
        self.resource.len() + self.record.len() + OVERHEAD
    }
}

/// Instrumentation scope of the records.
#[derive(Clone, Debug)]
pub struct Scope {
    scope: InstrumentationScope,
    /// `ScopeLogs` without records.
    encoded: Vec<u8>,
}

impl Scope {
    /// The scope of a program with a name and version.
    #[must_use]
    pub fn new(name: &str, version: &str) -> Self {
        let scope = InstrumentationScope {
            name: name.to_owned(),
            version: version.to_owned(),
            ..InstrumentationScope::default()
        };
        let logs = ScopeLogs { scope: Some(scope.clone()), ..ScopeLogs::default() };
        Self { scope, encoded: logs.encode_to_vec() }
    }

    /// The scope as a message.
    #[must_use]
    pub fn message(&self) -> InstrumentationScope {
        self.scope.clone()
    }

    /// Name and version in the form of a `User-Agent` header.
    pub(crate) fn user_agent(&self) -> String {
        format!("{}/{}", self.scope.name, self.scope.version)
    }

    /// Encodes an `ExportLogsServiceRequest` with these records, grouped by resource.
    pub(crate) fn request(&self, records: &[Encoded]) -> Vec<u8> {
        let mut groups: Vec<(&[u8], Vec<&[u8]>)> = Vec::new();
        let mut places = HashMap::new();
        for record in records {
            let place = match places.entry(&*record.resource) {
                Entry::Occupied(place) => *place.get(),
                Entry::Vacant(place) => {
                    groups.push((&record.resource, Vec::new()));
                    *place.insert(groups.len() - 1)
                }
            };
            groups[place].1.push(&record.record);
        }
        let mut request = Vec::new();
        for (resource, records) in groups {
            let mut logs = self.encoded.clone();
            logs.extend(records.into_iter().flatten());
            let mut group = resource.to_vec();
            add_message(&mut group, SCOPE_LOGS, &logs);
            add_message(&mut request, RESOURCE_LOGS, &group);
        }
        request
    }
}

fn add_message(out: &mut Vec<u8>, tag: u8, message: &[u8]) {
    out.push(tag);
    // Encoding can fail only for lack of space.
    _ = encode_length_delimiter(message.len(), out);
    out.extend_from_slice(message);
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        collector::logs::v1::ExportLogsServiceRequest,
        common::v1::{AnyValue, KeyValue, any_value::Value},
    };

    use super::*;

    fn text(text: &str) -> AnyValue {
        AnyValue { value: Some(Value::StringValue(text.to_owned())) }
    }

    fn resource(name: &str) -> Resource {
        let name =
            KeyValue { key: "service.name".into(), value: Some(text(name)), ..KeyValue::default() };
        Resource { attributes: vec![name], ..Resource::default() }
    }

    fn record(body: &str) -> LogRecord {
        LogRecord { body: Some(text(body)), time_unix_nano: 7, ..LogRecord::default() }
    }

    #[test]
    fn a_request_decodes_to_its_records_by_resource() {
        let scope = Scope::new("socktrace", "1.2.3");
        let records: Vec<_> = [("web", "1"), ("db", "2"), ("web", "3")]
            .into_iter()
            .map(|(name, body)| Encoded::new(&Encoded::resource(resource(name)), record(body)))
            .collect();
        let decoded = ExportLogsServiceRequest::decode(scope.request(&records).as_slice());
        let logs = |name, bodies: &[&str]| ResourceLogs {
            resource: Some(resource(name)),
            scope_logs: vec![ScopeLogs {
                scope: Some(scope.message()),
                log_records: bodies.iter().map(|body| record(body)).collect(),
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        };
        let wanted = vec![logs("web", &["1", "3"]), logs("db", &["2"])];
        assert_eq!(decoded.expect("protobuf").resource_logs, wanted);
    }

    #[test]
    fn no_records_make_an_empty_request() {
        assert!(Scope::new("socktrace", "1").request(&[]).is_empty());
    }
}
