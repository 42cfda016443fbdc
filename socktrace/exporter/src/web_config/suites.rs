//! Cipher suites and curves, named as in Go's `crypto/tls`.

use rustls::{
    CipherSuite, NamedGroup, SupportedCipherSuite, crypto::SupportedKxGroup, version::TLS13,
};

use super::yaml::{Node, Problem};

/// Go's names of cipher suites. Those of TLS 1.3 are always enabled, as in Go. `None` marks weak
/// suites that the library does not implement.
const SUITES: [(&str, Option<CipherSuite>); 13] = [
    ("TLS_AES_128_GCM_SHA256", Some(CipherSuite::TLS13_AES_128_GCM_SHA256)),
    ("TLS_AES_256_GCM_SHA384", Some(CipherSuite::TLS13_AES_256_GCM_SHA384)),
    ("TLS_CHACHA20_POLY1305_SHA256", Some(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256)),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        Some(CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        Some(CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        Some(CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    ),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", None),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", None),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", None),
    ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", None),
];

/// Go's names of the supported curves.
const CURVES: [(&str, Option<NamedGroup>); 4] = [
    ("CurveP256", Some(NamedGroup::secp256r1)),
    ("CurveP384", Some(NamedGroup::secp384r1)),
    ("CurveP521", None),
    ("X25519", Some(NamedGroup::X25519)),
];

/// Restricts TLS 1.2 to the listed suites, in this order.
pub(super) fn restrict_suites(
    suites: &mut Vec<SupportedCipherSuite>,
    list: Node<'_>,
    notes: &mut Vec<Problem>,
) -> Result<(), Problem> {
    let wanted = listed(list, "cipher suite", &SUITES, notes)?;
    if list.list()?.is_empty() {
        return Ok(());
    }
    let (newer, older): (Vec<_>, Vec<_>) =
        suites.iter().copied().partition(|suite| suite.version() == &TLS13);
    let find = |wanted| older.iter().copied().find(|suite| suite.suite() == wanted);
    *suites = newer.into_iter().chain(wanted.into_iter().filter_map(find)).collect();
    Ok(())
}

/// Restricts the curves to the listed ones, in this order.
pub(super) fn restrict_groups(
    groups: &mut Vec<&'static dyn SupportedKxGroup>,
    list: Node<'_>,
    notes: &mut Vec<Problem>,
) -> Result<(), Problem> {
    let wanted = listed(list, "curve", &CURVES, notes)?;
    if list.list()?.is_empty() {
        return Ok(());
    }
    let find = |wanted| groups.iter().copied().find(|group| group.name() == wanted);
    let kept: Vec<_> = wanted.into_iter().filter_map(find).collect();
    if kept.is_empty() {
        return Err(list.problem("none of these curves is supported"));
    }
    *groups = kept;
    Ok(())
}

/// The listed items that are supported; adds a note for each of the others.
fn listed<T: Copy>(
    list: Node<'_>,
    kind: &str,
    choices: &[(&str, Option<T>)],
    notes: &mut Vec<Problem>,
) -> Result<Vec<T>, Problem> {
    let mut wanted = Vec::new();
    for item in list.list()? {
        let word = item.word()?;
        match *word.choose(kind, choices)? {
            Some(one) => wanted.push(one),
            None => notes.push(word.problem(format!("{} is not supported", word.text))),
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use rustls::crypto::ring::default_provider;

    use super::*;

    #[test]
    fn every_name_that_has_a_suite_is_offered() {
        let provider = default_provider();
        for (name, suite) in SUITES.iter().filter_map(|(name, suite)| suite.map(|it| (name, it))) {
            assert!(provider.cipher_suites.iter().any(|it| it.suite() == suite), "{name}");
        }
        for (name, group) in CURVES.iter().filter_map(|(name, group)| group.map(|it| (name, it))) {
            assert!(provider.kx_groups.iter().any(|it| it.name() == group), "{name}");
        }
    }
}
