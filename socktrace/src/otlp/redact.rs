//! Redaction of addresses in sentences.

use std::net::IpAddr;

use crate::record::Record;

/// Placeholder for an address.
const ADDRESS: &str = "(address)";

/// Removes the record's addresses and path from a sentence about it.
pub(super) fn redact(mut sentence: String, record: &Record) -> String {
    let router = record.icmp.as_ref().map(|icmp| icmp.router);
    let addresses = [Some(record.local.ip()), Some(record.remote.ip()), router];
    let forms = addresses
        .into_iter()
        .flatten()
        .flat_map(|address: IpAddr| [address.to_string(), address.to_canonical().to_string()]);
    let mut found: Vec<_> =
        forms.chain(record.path.clone()).filter(|text| !text.is_empty()).collect();
    // An address may be a prefix of another: replace the longest ones first.
    found.sort_unstable_by_key(|text| std::cmp::Reverse(text.len()));
    for text in found {
        sentence = sentence.replace(&text, ADDRESS);
    }
    sentence
}
