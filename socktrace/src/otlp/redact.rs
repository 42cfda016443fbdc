//! Leaves addresses out of a sentence.

use std::net::IpAddr;

use crate::record::Record;

/// Replaces an address.
const ADDRESS: &str = "(address)";

/// The sentence without the addresses and the path of the record that it is about.
pub(super) fn redact(mut sentence: String, record: &Record) -> String {
    let router = record.icmp.as_ref().map(|icmp| icmp.router);
    let addresses = [Some(record.local.ip()), Some(record.remote.ip()), router];
    let forms = addresses
        .into_iter()
        .flatten()
        .flat_map(|address: IpAddr| [address.to_string(), address.to_canonical().to_string()]);
    let mut found: Vec<_> =
        forms.chain(record.path.clone()).filter(|text| !text.is_empty()).collect();
    // One may be the beginning of another.
    found.sort_unstable_by_key(|text| std::cmp::Reverse(text.len()));
    for text in found {
        sentence = sentence.replace(&text, ADDRESS);
    }
    sentence
}
