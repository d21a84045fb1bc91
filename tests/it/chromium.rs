//! The console in a real browser, as people use it: every page by mouse, by keyboard, without JavaScript, on a narrow screen and for a screen
//! reader; two browsers at once; and what is seen when the database or Auth0 is gone.

mod keys;
mod live;
mod losses;
mod many;
mod people;
mod repairs;
mod sights;

use crate::{console::Site, support::chromium::Chromium};

impl Chromium {
    /// Logs in at Auth0 with a Google account of this address, and sees the first page.
    pub(crate) async fn log_in(&self, email: &str) {
        self.open("/console").await;
        self.press("Log in with Auth0").await;
        self.fill("Google account", email).await;
        self.press("Continue with Google").await;
        self.sees("Log out").await;
    }
}

/// The site, and Ada in a browser of hers.
async fn ada() -> (Site, Chromium) {
    let site = Site::new().await;
    let ada = Chromium::at(&site.url).await;
    ada.log_in("ada@example.com").await;
    (site, ada)
}
