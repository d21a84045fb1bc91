//! TLS for whoever asks: a certificate and its key from PEM files, followed when they change.
//!
//! Promises: a pair that cannot be used stops the start and says which file it is; later, a pair that does not fit (half
//! of it written yet, say) is told once in the log and the one before stays in use. New handshakes get the new pair;
//! connections that stand keep theirs. HTTP/1.1 is the only protocol offered.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use aws_lc_rs::digest::{self, Digest};
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs::default_provider},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use crate::config;

/// Why a pair of files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("{key}: {path} cannot be read")]
    File {
        /// Of the configuration.
        key: &'static str,
        /// As it is configured.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It is something else.
    #[error("{key}: {path} is no PEM file with {holds}")]
    Pem {
        /// Of the configuration.
        key: &'static str,
        /// As it is configured.
        path: PathBuf,
        /// What belongs there.
        holds: &'static str,
        /// What is wrong; it quotes nothing of a key.
        #[source]
        source: pem::Error,
    },
    /// Each is good, but not with the other.
    #[error("http.tls.key: {0} is not the key of the first certificate in http.tls.certificate")]
    Pair(PathBuf, #[source] rustls::Error),
    /// No protocol version or cipher.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// Accepts handshakes with the pair that is current. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    current: Arc<Current>,
    files: config::Tls,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads both files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub async fn load(files: &config::Tls) -> Result<Self, TlsError> {
        // Named, since a process-wide provider would be whichever library came first.
        let provider = Arc::new(default_provider());
        let texts = Texts::read(files).await?;
        let current = Arc::new(Current(RwLock::new(texts.pair(files, &provider)?)));
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            current,
            files: files.clone(),
            provider,
        })
    }

    pub(super) async fn accept<S>(&self, socket: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.acceptor.accept(socket).await
    }

    /// Looks at both files every so often until `stop`, and takes them over when they have changed and fit.
    ///
    /// Contents are compared, not times: where files are links that are turned over, times may stand still.
    pub async fn follow(&self, every: Duration, stop: CancellationToken) {
        let mut seen = None;
        while stop
            .run_until_cancelled(tokio::time::sleep(every))
            .await
            .is_some()
        {
            let read = Texts::read(&self.files).await;
            let now = read
                .as_ref()
                .map(Texts::fingerprint)
                .map_err(ToString::to_string);
            // The first look may find what was loaded at the start; taking that over again changes nothing.
            if seen.as_ref() == Some(&now) {
                continue;
            }
            match read.and_then(|texts| texts.pair(&self.files, &self.provider)) {
                Ok(pair) => {
                    if self.current.replace(pair) {
                        tracing::info!("the certificate has changed and is in use");
                    }
                }
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the certificate cannot be taken over; the one before stays in use"
                ),
            }
            seen = Some(now);
        }
    }
}

/// What the two files hold.
struct Texts {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Texts {
    async fn read(files: &config::Tls) -> Result<Self, TlsError> {
        let read = async |key, path: &Path| {
            let text = tokio::fs::read(path).await;
            text.map_err(|source| TlsError::File {
                key,
                path: path.to_owned(),
                source,
            })
        };
        Ok(Self {
            certificate: read("http.tls.certificate", &files.certificate).await?,
            key: read("http.tls.key", &files.key).await?,
        })
    }

    fn fingerprint(&self) -> Fingerprint {
        let of = |text| Hash(digest::digest(&digest::SHA256, text));
        (of(&self.certificate), of(&self.key))
    }

    fn pair(
        &self,
        files: &config::Tls,
        provider: &CryptoProvider,
    ) -> Result<Arc<CertifiedKey>, TlsError> {
        let wrong = |key, path: &Path, holds| {
            let path = path.to_owned();
            move |source| TlsError::Pem {
                key,
                path,
                holds,
                source,
            }
        };
        let chain = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<Vec<_>, _>>()
            .and_then(|chain| match chain.is_empty() {
                true => Err(pem::Error::NoItemsFound),
                false => Ok(chain),
            })
            .map_err(wrong(
                "http.tls.certificate",
                &files.certificate,
                "certificates",
            ))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(wrong(
            "http.tls.key",
            &files.key,
            "a private key that is not encrypted",
        ))?;
        CertifiedKey::from_der(chain, key, provider)
            .map(Arc::new)
            .map_err(|error| TlsError::Pair(files.key.clone(), error))
    }
}

/// Tells contents apart without keeping them.
type Fingerprint = (Hash, Hash);

struct Hash(Digest);

impl PartialEq for Hash {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref() == other.0.as_ref()
    }
}

/// The pair that the next handshake gets.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl Current {
    /// Whether that is another certificate than the one before.
    fn replace(&self, pair: Arc<CertifiedKey>) -> bool {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let other = current.cert != pair.cert;
        *current = pair;
        other
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(current.clone())
    }
}
