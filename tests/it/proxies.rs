//! Real proxies with the configurations that Roster ships, an application behind them, and clients that mean harm.
//!
//! nginx, Caddy and `HAProxy` are the system's own, installed by `deploy/install-tools.sh --tests`. Traefik, Envoy and
//! Hasura are not in its packages: `replayed` sends what they send.

mod application;
mod hostile;
mod paths;
mod program;
mod refusals;
mod replayed;
mod wire;

use crate::support::authz::Server;

use self::{
    application::{Application, Reached},
    program::{KINDS, Proxy},
    wire::Told,
};

/// Roster, an application, and each kind of proxy between them.
struct Stage {
    roster: Server,
    application: Application,
    proxies: Vec<Proxy>,
    /// Ada's, who may read songs and not edit them.
    ada: String,
    /// Bob's, who may do nothing.
    bob: String,
}

/// What the application is told of Ada.
const ADA: [&str; 4] = ["1", "Ada@example.com", "Lead%20Artist", "read:songs"];

const IDENTITY: [&str; 4] = [
    "x-roster-user",
    "x-roster-email",
    "x-roster-role",
    "x-roster-permissions",
];

impl Stage {
    async fn set() -> Self {
        let roster = Server::reading_through().await;
        roster
            .run(
                "insert into public.role_permissions values ('Lead Artist', 'read:songs');
                 insert into public.users (id, email, role) values
                    (1, 'Ada@example.com', 'Lead Artist'), (2, 'bob@example.com', 'Nobody')",
            )
            .await;
        roster.fold().await;
        roster.link("auth0|ada", 1).await;
        roster.link("auth0|bob", 2).await;
        roster.answers("auth0|ada").await;
        let address = roster.url.trim_start_matches("http://").to_owned();
        Self::before(roster, &address).await
    }

    /// The proxies ask at this address.
    async fn before(roster: Server, address: &str) -> Self {
        let application = Application::start().await;
        let mut proxies = Vec::new();
        for kind in KINDS {
            proxies.push(Proxy::start(kind, address, &application.address).await);
        }
        let bearer = |subject| format!("Bearer {}", roster.issuer.token(subject));
        Self {
            ada: bearer("auth0|ada"),
            bob: bearer("auth0|bob"),
            roster,
            application,
            proxies,
        }
    }

    /// What a client was told by this proxy, and what of it reached the application.
    async fn send(&self, proxy: &Proxy, request: &[u8]) -> (Told, Vec<Reached>) {
        self.application.forget();
        let told = wire::send(proxy.port, request).await;
        (told, self.application.reached())
    }

    async fn get(&self, proxy: &Proxy, path: &str, headers: &str) -> (Told, Vec<Reached>) {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: app\r\nConnection: close\r\n{headers}\r\n");
        self.send(proxy, request.as_bytes()).await
    }
}

#[tokio::test]
async fn who_may_reaches_the_application_and_is_named_there() {
    let stage = Stage::set().await;
    let authorization = format!("Authorization: {}\r\n", stage.ada);
    for proxy in &stage.proxies {
        for path in ["/", "/songs", "/songs/1?require=none&page=2", "/other"] {
            let (told, reached) = stage.get(proxy, path, &authorization).await;
            assert_eq!(told.status, 200, "{proxy}: {told:?}");
            assert_eq!(reached.len(), 1, "{proxy}");
            assert_eq!(reached[0].address, path, "{proxy}");
            assert_eq!(reached[0].identity(), ADA, "{proxy}");
            assert_eq!(
                reached[0].headers["authorization"],
                stage.ada.as_str(),
                "{proxy}"
            );
        }
        let post = format!(
            "POST /songs HTTP/1.1\r\nHost: app\r\nConnection: close\r\n{authorization}Content-Length: 5\r\n\r\nhello"
        );
        let (told, reached) = stage.send(proxy, post.as_bytes()).await;
        assert_eq!(told.status, 200, "{proxy}: {told:?}");
        assert_eq!(
            (reached[0].method.as_str(), reached[0].body.as_str()),
            ("POST", "hello")
        );
        assert_eq!(reached[0].identity(), ADA, "{proxy}");
    }
}

#[tokio::test]
async fn a_permission_given_in_sql_opens_the_path_behind_the_proxy_at_once() {
    let stage = Stage::set().await;
    let authorization = format!("Authorization: {}\r\n", stage.ada);
    for proxy in &stage.proxies {
        let (told, reached) = stage.get(proxy, "/songs/edit", &authorization).await;
        assert_eq!((told.status, reached.len()), (403, 0), "{proxy}");
    }
    stage
        .roster
        .run("insert into public.role_permissions values ('Lead Artist', 'edit:songs')")
        .await;
    for proxy in &stage.proxies {
        let (told, reached) = stage.get(proxy, "/songs/edit", &authorization).await;
        assert_eq!(told.status, 200, "{proxy}");
        assert_eq!(reached[0].identity()[3], "edit:songs read:songs", "{proxy}");
    }
    stage
        .roster
        .run("update public.users set blocked = true")
        .await;
    for proxy in &stage.proxies {
        let (told, reached) = stage.get(proxy, "/songs/edit", &authorization).await;
        assert_eq!((told.status, reached.len()), (403, 0), "{proxy}");
    }
}
