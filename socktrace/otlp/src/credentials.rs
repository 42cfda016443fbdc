//! Credentials read from files: headers to send, trusted authorities, client certificate and key.

use std::{
    fs,
    io::Read as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, ensure};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use super::{headers::Headers, settings::Settings};

/// The only protocol offered during ALPN.
const HTTP_1_1: &[u8] = b"http/1.1";

/// Size limit, larger than any of these files.
const LARGEST: u64 = 4 << 20;

/// Headers, and the TLS client configuration.
#[derive(Debug)]
pub struct Credentials {
    pub(crate) headers: Headers,
    /// `None` if no endpoint uses TLS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

impl Credentials {
    /// Reads the files.
    ///
    /// # Errors
    /// When a file cannot be read, or certificate and key do not match. Errors never contain header
    /// values.
    pub fn load(settings: &Settings) -> anyhow::Result<Self> {
        let headers = match &settings.headers_file {
            None => settings.headers.clone(),
            Some(path) => {
                let text = String::from_utf8(read(path)?)
                    .ok()
                    .with_context(|| format!("{}: no UTF-8", path.display()))?;
                let headers = Headers::from_file(&text).map_err(anyhow::Error::msg);
                headers.with_context(|| path.display().to_string())?.or(&settings.headers)
            }
        };
        let wants_tls = settings.logs.is_tls || settings.metrics.is_tls;
        let tls = wants_tls.then(|| client_config(settings).map(Arc::new)).transpose()?;
        Ok(Self { headers, tls })
    }
}

fn client_config(settings: &Settings) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &settings.certificate {
        for certificate in certificates(path)? {
            roots.add(certificate).with_context(|| path.display().to_string())?;
        }
    } else {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            log::debug!("certificates of this system: {error}");
        }
        roots.add_parsable_certificates(found.certs);
        ensure!(
            !roots.is_empty(),
            "this system has no CA certificates to verify the collector with: install \
             ca-certificates, or name a file with otlp-certificate"
        );
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match &settings.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let key_der = PrivateKeyDer::from_pem_slice(&read(key)?)
                .ok()
                .with_context(|| format!("there is no private key in PEM in {}", key.display()))?;
            builder.with_client_auth_cert(certificates(certificate)?, key_der).with_context(
                || format!("{} and {} do not go together", certificate.display(), key.display()),
            )?
        }
    };
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let found = found.with_context(|| format!("no certificates in PEM in {}", path.display()))?;
    ensure!(!found.is_empty(), "there is no certificate in {}", path.display());
    Ok(found)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let opened = fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    opened
        .take(LARGEST)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}

/// The credentials in force.
#[derive(Debug)]
pub(crate) struct Current(Mutex<Arc<Credentials>>);

impl Current {
    pub(crate) fn new(credentials: Credentials) -> Self {
        Self(Mutex::new(Arc::new(credentials)))
    }

    pub(crate) fn get(&self) -> Arc<Credentials> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set(&self, credentials: Credentials) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(credentials);
    }
}
