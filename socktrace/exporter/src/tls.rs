//! TLS settings of a web configuration file.

use std::{fs, sync::Arc};

use anyhow::{Context as _, ensure};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring::default_provider},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};

use super::{
    client_certificates::{AllowedNames, AnyCertificate},
    web_config::{ClientAuth, Pem, TlsConfig},
};

/// The only protocol offered during ALPN.
const HTTP_1_1: &[u8] = b"http/1.1";

/// Reads certificates and key, and returns the TLS server configuration.
///
/// # Errors
/// When a file cannot be read, or certificate and key do not match.
pub(super) fn server_config(tls: &TlsConfig) -> anyhow::Result<ServerConfig> {
    let provider = Arc::new(CryptoProvider {
        cipher_suites: tls.suites.clone(),
        kx_groups: tls.groups.clone(),
        ..default_provider()
    });
    let certificates = certificates(&tls.certificate).context("the server's certificate")?;
    let key = private_key(&tls.key).context("the server's key")?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&tls.versions)?;
    let builder = match client_verifier(tls, provider)? {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    };
    let mut config = builder
        .with_single_cert(certificates, key)
        .context("the server's certificate and key do not go together")?;
    config.ignore_client_order = tls.prefer_own_suites;
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(config)
}

fn client_verifier(
    tls: &TlsConfig,
    provider: Arc<CryptoProvider>,
) -> anyhow::Result<Option<Arc<dyn ClientCertVerifier>>> {
    let verifying = |provider| {
        let mut roots = RootCertStore::empty();
        if let Some(authority) = &tls.client_ca {
            for certificate in certificates(authority).context("client_ca_file")? {
                roots.add(certificate).context("client_ca_file")?;
            }
        }
        anyhow::Ok(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider))
    };
    let verifier: Arc<dyn ClientCertVerifier> = match tls.client_auth {
        ClientAuth::None => return Ok(None),
        ClientAuth::Request => Arc::new(AnyCertificate::new(&provider, false)),
        ClientAuth::RequireAny => Arc::new(AnyCertificate::new(&provider, true)),
        ClientAuth::VerifyIfGiven => verifying(provider)?.allow_unauthenticated().build()?,
        ClientAuth::RequireAndVerify => verifying(provider)?.build()?,
    };
    Ok(Some(match &tls.allowed_names {
        None => verifier,
        Some(names) => Arc::new(AllowedNames::new(verifier, names.clone())),
    }))
}

fn certificates(pem: &Pem) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let text = read(pem)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.context("no certificates in PEM")?;
    ensure!(!found.is_empty(), "there is no certificate in {}", name(pem));
    Ok(found)
}

fn private_key(pem: &Pem) -> anyhow::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(&read(pem)?)
        .with_context(|| format!("there is no private key in PEM in {}", name(pem)))
}

fn read(pem: &Pem) -> anyhow::Result<Vec<u8>> {
    match pem {
        Pem::File(path) => {
            fs::read(path).with_context(|| format!("cannot read {}", path.display()))
        }
        Pem::Inline(text) => Ok(text.clone().into_bytes()),
    }
}

fn name(pem: &Pem) -> String {
    match pem {
        Pem::File(path) => path.display().to_string(),
        Pem::Inline(_) => "the configuration file".to_owned(),
    }
}
