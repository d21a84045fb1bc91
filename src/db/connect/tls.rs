//! TLS towards PostgreSQL as libpq's `sslmode` defines it, by rustls.
//!
//! Two differences from OpenSSL remain: a certificate's name must be a subject alternative name (the common name is not
//! looked at), and X.509 version 1 certificates are refused.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature,
        verify_tls13_signature,
    },
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
    version::{TLS12, TLS13},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::UrlError;

/// What a connection string says about TLS.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) verify: Verify,
    /// A file, or the word `system`; without it `~/.postgresql/root.crt`, else the machine's own certificates.
    pub(super) root: Option<PathBuf>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) no_sni: bool,
    pub(super) only_13: bool,
    /// TLS from the first byte (PostgreSQL 17), which needs ALPN.
    pub(super) direct: bool,
}

/// How much of the server's certificate is looked at.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) enum Verify {
    /// Encryption against listeners only (`prefer`, `require`).
    #[default]
    Nothing,
    /// The server's certificate comes from a trusted authority (`verify-ca`).
    Chain,
    /// And it is for the host that was asked for (`verify-full`).
    ChainAndName,
}

pub(super) fn connector(settings: &Settings) -> Result<MakeRustlsConnect, UrlError> {
    // Named, since a process-wide provider would be whichever library came first.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions: &[_] = if settings.only_13 {
        &[&TLS13]
    } else {
        &[&TLS13, &TLS12]
    };
    let (given, roots) = match settings.verify {
        Verify::Nothing => (Vec::new(), RootCertStore::empty()),
        Verify::Chain | Verify::ChainAndName => roots(settings.root.as_deref())?,
    };
    let verifier = Verifier {
        verify: settings.verify,
        given,
        roots,
        algorithms: provider.signature_verification_algorithms,
    };
    let builder = ClientConfig::builder_with_provider(Arc::<CryptoProvider>::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(tls_error)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));

    let mut config = match (&settings.certificate, &settings.key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates("sslcert", certificate)?;
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|source| file_error("sslkey", key, source))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(tls_error)?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => {
            return Err(UrlError::BadValue {
                key: "sslcert",
                expected: "sslcert and sslkey together, or neither",
            });
        }
    };
    config.enable_sni = !settings.no_sni;
    if settings.direct {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(MakeRustlsConnect::new(config))
}

/// The certificates of a file, and what is trusted.
fn roots(given: Option<&Path>) -> Result<(Vec<CertificateDer<'static>>, RootCertStore), UrlError> {
    let system = given == Some(Path::new("system"));
    let home = || {
        let path = std::env::home_dir()?.join(".postgresql/root.crt");
        path.is_file().then_some(path)
    };
    let file = if system {
        None
    } else {
        given.map(Path::to_owned).or_else(home)
    };

    let mut store = RootCertStore::empty();
    let Some(file) = file else {
        let native = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(native.certs);
        return if store.is_empty() {
            Err(tls_error(
                "this machine has no certificate authorities installed; give sslrootcert",
            ))
        } else {
            Ok((Vec::new(), store))
        };
    };
    let given = certificates("sslrootcert", &file)?;
    for certificate in &given {
        store
            .add(certificate.clone())
            .map_err(|source| file_error("sslrootcert", &file, source))?;
    }
    Ok((given, store))
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, UrlError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err(file_error(key, path, "it holds no PEM certificate"))
        }
        Ok(certificates) => Ok(certificates),
        Err(source) => Err(file_error(key, path, source)),
    }
}

fn file_error(
    key: &'static str,
    path: &Path,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> UrlError {
    UrlError::File {
        key,
        path: path.to_owned(),
        source: source.into(),
    }
}

fn tls_error(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> UrlError {
    UrlError::Tls {
        source: source.into(),
    }
}

/// The handshake's signature is checked in every mode: without it channel binding would prove nothing.
#[derive(Debug)]
struct Verifier {
    verify: Verify,
    /// The certificates of `sslrootcert`, each trusted as it stands.
    given: Vec<CertificateDer<'static>>,
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.verify == Verify::Nothing {
            return Ok(ServerCertVerified::assertion());
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let chain = verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        );
        match chain {
            // A server's certificate that is its own authority, as PostgreSQL's manual makes one (section 18.9.5), is
            // "a CA used as end entity" to webpki, which has looked at its dates before it says so.
            Err(Error::InvalidCertificate(CertificateError::Other(_)))
                if self.given.contains(end_entity) => {}
            other => other?,
        }
        if self.verify == Verify::ChainAndName {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
