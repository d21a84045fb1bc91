//! What pages look like: for a screen reader, in light and dark, and on a narrow screen.

use roster::db::reactors::Settings;

use super::{Chromium, Site};
use crate::support::{Database, world::World};

/// Every page there is, with its name.
const PAGES: [(&str, &str); 15] = [
    ("overview", "/console"),
    ("users", "/console/users"),
    ("nobody", "/console/users?q=zzz"),
    ("user", "/console/user/3"),
    ("parked", "/console/user/4"),
    ("removed", "/console/user/5"),
    ("changes", "/console/changes"),
    ("problems", "/console/problems"),
    ("new-user", "/console/new-user"),
    ("held", "/console/held"),
    ("drift", "/console/drift"),
    ("roles", "/console/roles"),
    ("import", "/console/import"),
    ("break-glass", "/console/break-glass"),
    ("not-found", "/console/nothing"),
];

impl Chromium {
    /// By how many pixels the page is wider than its window.
    pub(super) async fn sideways(&self) -> u64 {
        let wider =
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        self.run(wider).await.as_u64().expect("a number")
    }
}

/// A site where one user is behind, one is parked and one removal is held, and Ada in it.
async fn sights() -> (Site, Chromium) {
    let protected =
        |settings: &mut Settings| settings.guard_protected = vec!["held@example.com".to_owned()];
    let site = Site::of(World::with(protected).await, Database::pool).await;
    site.world.add(&["no address", "held@example.com"]).await;
    site.world.settle().await;
    site.world
        .run("delete from users where email like 'held@%'; update users set name = 'Otto II' where id = 3")
        .await;
    site.world.fold().await;
    let ada = Chromium::at(&site.url).await;
    ada.log_in("ada@example.com").await;
    (site, ada)
}

#[tokio::test]
async fn no_page_has_a_serious_fault_for_who_sees_hears_or_moves_otherwise_in_light_and_dark() {
    let (_site, ada) = sights().await;
    for scheme in ["light", "dark"] {
        ada.prefers(scheme).await;
        for (name, path) in PAGES {
            ada.open(path).await;
            let faults = ada.faults().await;
            assert_eq!(faults, [""; 0], "{name}, {scheme}");
            ada.picture(&format!("{name}-{scheme}")).await;
        }
    }
}

#[tokio::test]
async fn no_page_is_wider_than_a_telephone() {
    let (_site, ada) = sights().await;
    ada.is_wide(375).await;
    for (name, path) in PAGES {
        ada.open(path).await;
        ada.picture(&format!("{name}-narrow")).await;
        assert_eq!(ada.sideways().await, 0, "{name}");
    }
}
