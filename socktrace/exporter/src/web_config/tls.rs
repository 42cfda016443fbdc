//! Parser for the TLS section, with the terms of Go's `crypto/tls`.

use std::path::{Path, PathBuf};

use rustls::{
    SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{SupportedKxGroup, ring::default_provider},
    version::{TLS12, TLS13},
};

use super::{
    suites::{restrict_groups, restrict_suites},
    yaml::{Node, Problem, Word},
};

const KEYS: [&str; 13] = [
    "cert",
    "key",
    "client_ca",
    "cert_file",
    "key_file",
    "client_auth_type",
    "client_ca_file",
    "client_allowed_sans",
    "min_version",
    "max_version",
    "cipher_suites",
    "prefer_server_cipher_suites",
    "curve_preferences",
];

const VERSIONS: [&str; 4] = ["TLS10", "TLS11", "TLS12", "TLS13"];

const CLIENT_AUTH: [(&str, ClientAuth); 6] = [
    ("NoClientCert", ClientAuth::None),
    ("RequestClientCert", ClientAuth::Request),
    ("RequireAnyClientCert", ClientAuth::RequireAny),
    // An older synonym.
    ("RequireClientCert", ClientAuth::RequireAny),
    ("VerifyClientCertIfGiven", ClientAuth::VerifyIfGiven),
    ("RequireAndVerifyClientCert", ClientAuth::RequireAndVerify),
];

/// Requirements on client certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    None,
    Request,
    RequireAny,
    VerifyIfGiven,
    RequireAndVerify,
}

/// Certificates or a key, in PEM format.
#[derive(Debug)]
pub(crate) enum Pem {
    File(PathBuf),
    Inline(String),
}

impl Pem {
    fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Inline(_) => None,
        }
    }
}

/// TLS settings.
#[derive(Debug)]
pub(crate) struct TlsConfig {
    pub(crate) certificate: Pem,
    pub(crate) key: Pem,
    pub(crate) client_ca: Option<Pem>,
    pub(crate) client_auth: ClientAuth,
    /// If set, a client certificate must have one of these names.
    pub(crate) allowed_names: Option<Vec<String>>,
    pub(crate) versions: Vec<&'static SupportedProtocolVersion>,
    pub(crate) suites: Vec<SupportedCipherSuite>,
    pub(crate) groups: Vec<&'static dyn SupportedKxGroup>,
    pub(crate) prefer_own_suites: bool,
}

impl TlsConfig {
    /// The files named in the section.
    pub(crate) fn files(&self) -> Vec<&Path> {
        let pems = [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()];
        pems.into_iter().flatten().filter_map(Pem::file).collect()
    }
}

/// Parses the section; its key is the place of problems with the section as a whole. `None` if
/// empty.
pub(super) fn parse(
    section: Node<'_>,
    name: &Word,
    directory: &Path,
    notes: &mut Vec<Problem>,
) -> Result<Option<TlsConfig>, Problem> {
    let (mut certificate, mut key, mut client_ca) = Default::default();
    let mut client_auth = ClientAuth::None;
    let mut allowed_names = None;
    let (mut lowest, mut highest) = (2, 3);
    let provider = default_provider();
    let (mut suites, mut groups) = (provider.cipher_suites, provider.kx_groups);
    let mut prefer_own_suites = true;

    let entries = section.mapping()?;
    if entries.is_empty() {
        return Ok(None);
    }
    for (key_word, value) in entries {
        let set = |pem: &mut Option<Pem>, is_file| set_pem(pem, value, is_file, directory);
        match key_word.text.as_str() {
            "cert_file" => set(&mut certificate, true)?,
            "cert" => set(&mut certificate, false)?,
            "key_file" => set(&mut key, true)?,
            "key" => set(&mut key, false)?,
            "client_ca_file" => set(&mut client_ca, true)?,
            "client_ca" => set(&mut client_ca, false)?,
            "client_auth_type" => {
                let word = value.word()?;
                if !word.text.is_empty() {
                    client_auth = *word.choose("client_auth_type", &CLIENT_AUTH)?;
                }
            }
            "client_allowed_sans" => allowed_names = Some(names(value)?),
            "min_version" => lowest = version(value)?,
            "max_version" => highest = version(value)?,
            "cipher_suites" => restrict_suites(&mut suites, value, notes)?,
            "prefer_server_cipher_suites" => prefer_own_suites = value.boolean()?,
            "curve_preferences" => restrict_groups(&mut groups, value, notes)?,
            _ => return Err(key_word.unknown("key", &KEYS)),
        }
    }
    let missing = |what: &str| name.problem(format!("{what} is missing"));
    let config = TlsConfig {
        certificate: certificate.ok_or_else(|| missing("cert_file"))?,
        key: key.ok_or_else(|| missing("key_file"))?,
        client_ca,
        client_auth,
        allowed_names,
        versions: versions(lowest, highest).map_err(|text| name.problem(text))?,
        suites,
        groups,
        prefer_own_suites,
    };
    config.check().map_err(|text| name.problem(text))?;
    Ok(Some(config))
}

impl TlsConfig {
    /// Checks that the settings are consistent, without reading files.
    fn check(&self) -> Result<(), String> {
        use ClientAuth::{None, RequireAndVerify, RequireAny, VerifyIfGiven};
        if self.client_ca.is_some() && self.client_auth == None {
            return Err("client_ca_file needs a client_auth_type that uses it".to_owned());
        }
        if self.client_ca.is_none() && matches!(self.client_auth, VerifyIfGiven | RequireAndVerify)
        {
            return Err(
                "this client_auth_type verifies certificates and needs client_ca_file".to_owned()
            );
        }
        if self.allowed_names.is_some()
            && !matches!(self.client_auth, RequireAny | RequireAndVerify)
        {
            return Err("client_allowed_sans needs a client_auth_type of RequireAnyClientCert or \
                 RequireAndVerifyClientCert"
                .to_owned());
        }
        let usable = |suite: &SupportedCipherSuite| self.versions.contains(&suite.version());
        if !self.suites.iter().any(usable) {
            return Err("no cipher suite is left for these versions of TLS".to_owned());
        }
        Ok(())
    }
}

fn set_pem(
    pem: &mut Option<Pem>,
    value: Node<'_>,
    is_file: bool,
    directory: &Path,
) -> Result<(), Problem> {
    let text = value.text()?;
    if text.is_empty() {
        return Ok(());
    }
    if pem.is_some() {
        return Err(value.problem("this is given twice, as a file and inline: keep one"));
    }
    *pem = Some(if is_file { Pem::File(directory.join(text)) } else { Pem::Inline(text) });
    Ok(())
}

fn names(list: Node<'_>) -> Result<Vec<String>, Problem> {
    let name = |item: Node<'_>| {
        let name = item.text()?;
        if name.contains('@') {
            return Err(item.problem("e-mail names are not supported; use DNS, IP or URI names"));
        }
        Ok(name)
    };
    list.list()?.into_iter().map(name).collect()
}

/// Index of a version in [`VERSIONS`].
fn version(value: Node<'_>) -> Result<usize, Problem> {
    let word = value.word()?;
    let place = VERSIONS.iter().position(|version| *version == word.text);
    place.ok_or_else(|| word.unknown("version", &VERSIONS))
}

/// The versions in this range. TLS 1.0 and 1.1 are no longer supported: RFC 8996.
fn versions(
    lowest: usize,
    highest: usize,
) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let spoken = [(2, &TLS12), (3, &TLS13)];
    let between = spoken.into_iter().filter(|(place, _)| (lowest..=highest).contains(place));
    let versions: Vec<_> = between.map(|(_, version)| version).collect();
    if versions.is_empty() {
        let (lowest, highest) = (VERSIONS[lowest], VERSIONS[highest]);
        return Err(format!(
            "min_version {lowest} and max_version {highest} leave nothing of TLS12 and TLS13"
        ));
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use rustls::{CipherSuite, NamedGroup};

    use super::*;
    use crate::web_config::WebConfig;

    const FILES: &str = "tls_server_config:\n  cert_file: c\n  key_file: k\n";

    fn config(more: &str) -> Result<WebConfig, Problem> {
        WebConfig::parse(&format!("{FILES}{more}"), Path::new("/"))
    }

    fn tls(more: &str) -> TlsConfig {
        config(more).expect(more).tls.expect("TLS")
    }

    #[test]
    fn versions_are_bounded() {
        assert_eq!(tls("").versions, [&TLS12, &TLS13]);
        assert_eq!(tls("  min_version: TLS10\n").versions, [&TLS12, &TLS13]);
        assert_eq!(tls("  min_version: TLS13\n").versions, [&TLS13]);
        assert_eq!(tls("  max_version: TLS12\n").versions, [&TLS12]);
    }

    #[test]
    fn suites_and_curves_are_restricted_in_order() {
        let tls = tls(
            "  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256,\n    \
             TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n  curve_preferences: [CurveP384, X25519]\n  \
             max_version: TLS12\n",
        );
        let older = tls.suites.iter().filter(|suite| suite.version() == &TLS12);
        assert_eq!(
            older.map(SupportedCipherSuite::suite).collect::<Vec<_>>(),
            [
                CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
                CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            ]
        );
        let groups: Vec<_> = tls.groups.iter().map(|group| group.name()).collect();
        assert_eq!(groups, [NamedGroup::secp384r1, NamedGroup::X25519]);
    }

    #[test]
    fn what_is_weak_is_left_out_with_a_note() {
        let config = config(
            "  cipher_suites:\n    - TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA\n    \
             - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\n",
        );
        let notes = config.expect("sound").notes;
        let notes: Vec<_> = notes.iter().map(ToString::to_string).collect();
        assert_eq!(notes, ["line 5: TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA is not supported"]);
    }

    #[test]
    fn problems_name_line_and_choices() {
        let problem =
            |text: &str| WebConfig::parse(text, Path::new("/")).expect_err(text).to_string();
        for (more, words) in [
            ("  cert_fil: x\n", &["line 4", "did you mean cert_file?"][..]),
            ("  cert: x\n", &["line 4", "twice"]),
            ("  client_auth_type: Require\n", &["line 4", "RequireAndVerifyClientCert"]),
            ("  client_auth_type: RequireAndVerifyClientCert\n", &["line 1", "client_ca_file"]),
            ("  client_ca_file: ca\n", &["line 1", "client_auth_type"]),
            ("  client_allowed_sans: [a]\n", &["line 1", "RequireAnyClientCert"]),
            ("  client_allowed_sans: [a@b]\n", &["line 4", "e-mail"]),
            ("  min_version: TLS1.2\n", &["line 4", "did you mean TLS12?"]),
            ("  max_version: TLS11\n", &["line 1", "TLS12 and TLS13"]),
            ("  cipher_suites: [TLS_RSA_WITH_RC4]\n", &["line 4", "unknown cipher suite"]),
            ("  curve_preferences: [CurveP521]\n", &["line 4", "none of these curves"]),
            ("  prefer_server_cipher_suites: 1\n", &["line 4", "true, false"]),
            (
                "  max_version: TLS12\n  cipher_suites: [TLS_AES_128_GCM_SHA256]\n",
                &["line 1", "no cipher suite is left"],
            ),
        ] {
            let problem = problem(&format!("{FILES}{more}"));
            assert!(words.iter().all(|word| problem.contains(word)), "{more}: {problem}");
        }
        assert!(problem("\ntls_server_config:\n  key_file: k\n").contains("line 2: cert_file"));
        assert!(problem("tls_server_config:\n  cert_file: c\n").contains("key_file is missing"));
    }
}
