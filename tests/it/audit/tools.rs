//! An audit by hand, and what it found.

use std::time::Duration;

use roster::{
    audit::{Audit, AuditError},
    auth0::Patch,
    db::audit::Summary,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::world::World;

pub(super) const ADA: &str = "ada@example.test";

/// The audit of this world.
pub(super) fn of(world: &World) -> Audit {
    let mut audit = Audit::new(world.database.endpoint(), world.reactor.client.clone(), 4);
    audit.poll = Duration::from_millis(5);
    audit
}

/// Audits now.
pub(super) async fn audit(world: &World) -> Result<Summary, AuditError> {
    of(world).run(&(), &CancellationToken::new()).await
}

/// Audits once exports know everything.
pub(super) async fn audited(world: &World) -> Summary {
    let a_while = json!({"advance_seconds": 10});
    world.tenant.control("clock", a_while).await;
    audit(world).await.expect("an audit")
}

/// A world whose exports are a minute late.
pub(super) async fn lagging() -> World {
    let world = World::new().await;
    let late = json!({"answers": {"export_lag_ms": 60_000}});
    world.tenant.control("options", late).await;
    world
}

/// `kind address` of every row of `roster.drift`, in order.
pub(super) async fn drift(world: &World) -> Vec<String> {
    world
        .texts("select concat_ws(' ', kind, email) from roster.drift order by 1")
        .await
}

/// Somebody else gives the account another name.
pub(super) async fn renamed(world: &World, email: &str, name: &str) {
    let patch = Patch {
        name: Some(Some(name.into())),
        ..Patch::default()
    };
    world.tenant.somebody_patches(email, patch).await;
}

/// Ada's name is not what it should be, and exports know it.
pub(super) async fn with_a_renamed_ada() -> World {
    let world = World::new().await;
    world.add(&[ADA]).await;
    world.settle().await;
    renamed(&world, ADA, "Somebody").await;
    world
        .tenant
        .control("clock", json!({"advance_seconds": 10}))
        .await;
    world
}
