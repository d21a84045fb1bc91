//! A world on servers of its own, which a story may stop, start and fail over.

use roster::demo::cluster::{Cluster, Options, Stop};

use super::{Database, world::World};

/// A PostgreSQL for one story, that keeps what is committed unless `change` says otherwise.
pub(crate) async fn server(change: impl FnOnce(Options) -> Options) -> Cluster {
    let options = Options::default().set("synchronous_commit", "on");
    Cluster::start(change(options))
        .await
        .expect("a private PostgreSQL")
}

/// In mode `enforce`, on this server.
pub(crate) async fn world_on(server: &Cluster) -> World {
    enforcing(&server.url("postgres")).await
}

async fn enforcing(url: &str) -> World {
    let world = World::installed(Database::on_its_own(url).await, |_| {}).await;
    world.enforce().await;
    world
}

/// A primary and its standby, by streaming replication.
pub(crate) struct Pair {
    pub(crate) first: Cluster,
    pub(crate) second: Cluster,
}

impl Pair {
    /// The second follows the first.
    pub(crate) async fn start() -> Self {
        let first = server(|options| options).await;
        let second = first.standby().await.expect("a standby");
        Self { first, second }
    }

    /// Both hosts; sessions are with the one that accepts writes.
    pub(crate) fn url(&self) -> String {
        let (password_at, dbname) = (self.first.url("postgres"), "postgres");
        let (login, _) = password_at.rsplit_once('@').expect("a password");
        format!(
            "{login}@127.0.0.1:{},127.0.0.1:{}/{dbname}?target_session_attrs=read-write",
            self.first.port(),
            self.second.port()
        )
    }

    /// In mode `enforce`, reaching both.
    pub(crate) async fn world(&self) -> World {
        enforcing(&self.url()).await
    }

    /// The first stops in this way, and the second takes over.
    pub(crate) async fn failover(&mut self, how: Stop) {
        self.first.halt(how).await.expect("a halted primary");
        self.second.promote().await.expect("a promoted standby");
    }

    /// The first comes back as a standby of the second.
    pub(crate) async fn first_comes_back(&mut self) {
        let primary = self.second.conninfo();
        self.first.follow(&primary).expect("a new standby");
        self.first.resume().await.expect("a running standby");
    }
}
