//! `sslmode` means what it means to libpq: a server of our own with certificates of our own.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use roster::{
    db::connect::Endpoint,
    demo::cluster::{Cluster, Options},
};
use tempfile::TempDir;

/// A server that speaks TLS, and files with what a client may trust.
struct Server {
    cluster: Cluster,
    files: TempDir,
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new([name.to_owned()]).expect("a host name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"))
        .expect("a certificate")
}

impl Server {
    /// The certificate is for `localhost` alone, so 127.0.0.1 is the same server under another name.
    async fn start(certificate: &str, key: &str) -> Self {
        let cluster = Cluster::start(Options::default())
            .await
            .expect("a private PostgreSQL");
        let files = tempfile::tempdir().expect("a directory");
        let endpoint = Endpoint::parse(&cluster.socket_url("postgres")).expect("a good string");
        let client = endpoint.session().await.expect("a session");
        // The server writes its files itself: they must be its user's, and the key must be private.
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let sql = format!(
                "copy (select unnest(string_to_array($pem${text}$pem$, chr(10)))) \
                 to program 'umask 077 && cat > {name}'"
            );
            client.batch_execute(&sql).await.expect("written");
        }
        client
            .batch_execute("alter system set ssl = on")
            .await
            .expect("set");
        client
            .batch_execute("select pg_reload_conf()")
            .await
            .expect("reloaded");
        let server = Self { cluster, files };
        // A reload is asked for, not waited for.
        for _ in 0..500 {
            if server.encrypted("localhost", "sslmode=prefer").await == Some(true) {
                return server;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the server does not speak TLS");
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.files.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    }

    /// Whether the session is encrypted, or `None` if there is none.
    async fn encrypted(&self, host: &str, parameters: &str) -> Option<bool> {
        let url = self.cluster.url("postgres").replace("127.0.0.1", host);
        let endpoint = Endpoint::parse(&format!("{url}?{parameters}&hostaddr=127.0.0.1"))
            .expect("a good string");
        let client = endpoint.session().await.ok()?;
        let query = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
        Some(client.query_one(query, &[]).await.expect("a row").get(0))
    }
}

#[tokio::test]
async fn each_sslmode_verifies_as_much_as_with_libpq() {
    let (ours, foreign) = (authority("our authority"), authority("another authority"));
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(["localhost".to_owned()])
        .expect("a host name")
        .signed_by(&key, &ours)
        .expect("a certificate");
    let server = Server::start(&certificate.pem(), &key.serialize_pem()).await;
    let ours = format!("sslrootcert={}", server.file("ours.pem", &ours.pem()));
    let foreign = format!("sslrootcert={}", server.file("foreign.pem", &foreign.pem()));

    let table = [
        ("localhost", "sslmode=disable".to_owned(), Some(false)),
        ("localhost", "sslmode=allow".to_owned(), Some(true)),
        ("127.0.0.1", "sslmode=require".to_owned(), Some(true)),
        (
            "127.0.0.1",
            "sslmode=require&channel_binding=require".to_owned(),
            Some(true),
        ),
        ("127.0.0.1", format!("sslmode=require&{ours}"), Some(true)),
        ("127.0.0.1", format!("sslmode=require&{foreign}"), None),
        ("127.0.0.1", format!("sslmode=verify-ca&{ours}"), Some(true)),
        ("127.0.0.1", format!("sslmode=verify-ca&{foreign}"), None),
        (
            "localhost",
            format!("sslmode=verify-full&{ours}"),
            Some(true),
        ),
        ("127.0.0.1", format!("sslmode=verify-full&{ours}"), None),
        ("localhost", format!("sslmode=verify-full&{foreign}"), None),
        // The machine's own authorities have not signed it.
        ("localhost", "sslrootcert=system".to_owned(), None),
        (
            "localhost",
            format!("sslmode=verify-full&ssl_min_protocol_version=TLSv1.3&{ours}"),
            Some(true),
        ),
    ];
    for (host, parameters, expected) in table {
        let encrypted = server.encrypted(host, &parameters).await;
        assert_eq!(encrypted, expected, "{host} {parameters}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_its_own_authority_is_trusted_where_it_is_given() {
    let own = authority("localhost");
    let server = Server::start(&own.pem(), &own.key().serialize_pem()).await;
    let given = server.file("own.pem", &own.pem());
    let other = server.file("other.pem", &authority("localhost").pem());
    let verify = |host, file: &str| {
        let parameters = format!("sslmode=verify-full&sslrootcert={file}");
        let server = &server;
        async move { server.encrypted(host, &parameters).await }
    };
    assert_eq!(verify("localhost", &given).await, Some(true));
    assert_eq!(verify("127.0.0.1", &given).await, None);
    assert_eq!(verify("localhost", &other).await, None);
}
