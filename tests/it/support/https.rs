//! HTTPS in front of an emulated tenant, for clients that speak nothing else.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    KeyUsagePurpose::KeyCertSign,
};
use roster::emulator;
use tempfile::NamedTempFile;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::tenant::Tenant;

const HOST: &str = "127.0.0.1";

/// An authority of the test's own, which signs for this machine's loopback address.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: NamedTempFile,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyCertSign];
        // Named otherwise than what it signs, or that would look self-signed.
        params
            .distinguished_name
            .push(DnType::CommonName, "Roster's tests");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"))
            .expect("a certificate");
        let file = NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), issuer.pem()).expect("written");
        Self { issuer, file }
    }

    /// The file that makes clients trust it.
    pub(crate) fn file(&self) -> &std::path::Path {
        self.file.path()
    }

    /// A certificate for this machine's loopback address and its key, new each time.
    fn sign(&self) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([HOST.to_owned()]).expect("a name");
        // Python from 3.13 on refuses a certificate that does not say whose key signed it.
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate, key)
    }

    /// The same as PEM.
    pub(crate) fn pair(&self) -> (String, String) {
        let (certificate, key) = self.sign();
        (certificate.pem(), key.serialize_pem())
    }

    fn acceptor(&self) -> TlsAcceptor {
        let (certificate, key) = self.sign();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .expect("a certificate with its key");
        TlsAcceptor::from(Arc::new(config))
    }
}

/// An emulated tenant whose public address is an HTTPS one; its control face answers at `tenant.url` too.
pub(crate) struct Https {
    pub(crate) tenant: Tenant,
    /// Host and port, where Auth0's clients want a tenant's domain.
    pub(crate) domain: String,
    _stop: DropGuard,
}

impl Https {
    pub(crate) async fn start(authority: &Authority, options: emulator::Options) -> Self {
        let listener = TcpListener::bind((HOST, 0)).await.expect("a free port");
        let domain = listener.local_addr().expect("an address").to_string();
        let tenant = Tenant::start(emulator::Options {
            base_url: Some(format!("https://{domain}")),
            ..options
        })
        .await;
        let stop = CancellationToken::new();
        let behind = tenant.url.replace("http://", "");
        let serve = pass_on(listener, authority.acceptor(), behind);
        tokio::spawn(stop.clone().run_until_cancelled_owned(serve));
        Self {
            tenant,
            domain,
            _stop: stop.drop_guard(),
        }
    }
}

/// Decrypts what comes and passes it on, for ever.
async fn pass_on(listener: TcpListener, acceptor: TlsAcceptor, behind: String) {
    while let Ok((socket, _)) = listener.accept().await {
        let (acceptor, behind) = (acceptor.clone(), behind.clone());
        tokio::spawn(async move {
            let mut client = acceptor.accept(socket).await?;
            let mut tenant = TcpStream::connect(behind).await?;
            tokio::io::copy_bidirectional(&mut client, &mut tenant).await
        });
    }
}
