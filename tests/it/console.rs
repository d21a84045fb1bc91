//! The console, by a browser that is plain HTTP: who gets in, what may be done there, and what becomes of it in the table.

mod browser;
mod bulk;
mod changes;
pub(crate) mod drift;
mod edits;
mod entry;
mod import;
mod live;
mod overview;
mod presses;
mod problems;
mod roles;
mod shown;

use std::sync::Arc;

use roster::{
    authz::{self, Authz, Settings},
    config::Config,
    console::Console,
    db::pool::Pool,
    http::{Limits, first_of, serve, warp_service},
    telemetry::Metrics,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use warp::Filter;

use crate::support::{Database, world::World};

pub(crate) use browser::{Browser, Page};

/// The token of the day Auth0 is broken, and its SHA-256.
pub(crate) const GLASS: &str = "a-long-random-token";
const GLASS_SHA256: &str = "b780ec04f0ac941421b556e74f31ff207f799c4ad119ea0178a81054b373b34b";

/// A world with a server that has the console.
pub(crate) struct Site {
    pub(crate) world: World,
    pub(crate) url: String,
    stop: DropGuard,
}

impl Site {
    /// With Ada (user 1), who may do everything, Rita (2), who may look, and Otto (3), who is nobody here.
    pub(crate) async fn new() -> Self {
        Self::of(World::new().await, Database::pool).await
    }

    /// As [`Site::new`], in this world, whose database the server reaches in its own way.
    pub(crate) async fn of(world: World, pool: impl FnOnce(&Database) -> Pool) -> Self {
        world
            .run(
                "insert into roles values ('Admin', 'May do everything');
                 insert into role_permissions select 'Admin', p
                 from unnest(array['roster:read', 'roster:write', 'roster:operate']) p;
                 insert into role_permissions values ('Reader', 'roster:read');
                 insert into users (email, name, role) values ('ada@example.com', 'Ada', 'Admin'),
                     ('rita@example.com', 'Rita', 'Reader'), ('otto@example.com', 'Otto', 'Artist')",
            )
            .await;
        world.settle().await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let issuer = format!("{}/", world.tenant.url);
        let keys = format!("{issuer}.well-known/jwks.json").parse();
        let mut settings =
            Settings::new(issuer, ["https://api.example.test"], keys.expect("a URL"));
        settings.directory = authz::DirectoryMode::ReadThrough;
        let pool = pool(&world.database);
        let authz = Authz::new(settings, pool.clone(), Metrics::default()).expect("the server");
        let stop = CancellationToken::new();
        let console = console(&url, &authz, pool, stop.clone());
        let endpoints = authz::endpoints(authz).map(warp::Reply::into_response);
        let faces = first_of([console.routes(), endpoints.boxed()]).recover(authz::recover);
        let limits = Limits::default();
        tokio::spawn(serve(listener, warp_service(faces), limits, stop.clone()));
        Self {
            world,
            url,
            stop: stop.drop_guard(),
        }
    }

    /// Somebody with this address, logged in by Auth0, and the page they see first.
    pub(crate) async fn log_in(&self, email: &str) -> (Browser, Page) {
        let mut browser = Browser::new(&self.url);
        let page = browser.log_in(email).await;
        (browser, page)
    }

    /// The first column of the first row, as text.
    pub(crate) async fn one(&self, query: &str) -> String {
        self.world
            .texts(query)
            .await
            .into_iter()
            .next()
            .unwrap_or_default()
    }
}

fn console(url: &str, authz: &Arc<Authz>, pool: Pool, stop: CancellationToken) -> Arc<Console> {
    let app = roster::emulator::Options::default().app;
    let file = format!(
        "[console]\nclient_id = '{}'\nbreak_glass_sha256 = '{GLASS_SHA256}'\n",
        app.client_id
    );
    let config = Config::load_from(Some(&file), &Default::default()).expect("a configuration");
    let settings = config.console.expect("a console");
    let url = url.parse().expect("a URL");
    Console::new(&settings, &url, authz.clone(), pool, stop).expect("the console")
}
