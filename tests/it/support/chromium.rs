//! Chromium, headless, as by somebody who sits before it: stories name what is written on links, buttons and labels.
//!
//! Promised: a page is looked at until it says what it should, within the patience of a story; two browsers run at a time, however many
//! stories do; nothing is left behind, however the test program ends. Where there is no Chromium a story fails and says what it needs.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use thirtyfour::{
    By, Capabilities, WebDriver, WebElement, error::WebDriverResult,
    extensions::query::ElementQueryable,
};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    packages,
    world::{PATIENCE, eventually},
};

/// Each takes a core and some 300 MB.
const BROWSERS: u32 = 2;
/// Between two looks at a page.
const GLANCE: Duration = Duration::from_millis(50);

static TURNS: Semaphore = Semaphore::const_new(BROWSERS as usize);
/// Browsers that were started for a story that has ended: to start one takes longer than most stories.
static RESTING: Mutex<Vec<WebDriver>> = Mutex::new(Vec::new());

/// One browser that remembers nothing of other stories.
pub(crate) struct Chromium {
    driver: WebDriver,
    site: String,
    _turn: SemaphorePermit<'static>,
}

impl Chromium {
    /// A browser, which is to look at the site at this address.
    pub(crate) async fn at(site: &str) -> Self {
        let [one] = Self::some(site).await;
        one
    }

    /// So many browsers at once; nobody waits for a second one while holding the first.
    pub(crate) async fn some<const N: usize>(site: &str) -> [Self; N] {
        let number = u32::try_from(N).expect("a few");
        assert!(number <= BROWSERS);
        let turns = TURNS.acquire_many(number).await;
        let mut turns = turns.expect("it is never closed");
        let mut browsers = Vec::new();
        for _ in 0..N {
            let turn = turns.split(1).expect("one for each");
            browsers.push(Self::start(site, turn).await);
        }
        browsers.try_into().ok().expect("so many")
    }

    async fn start(site: &str, turn: SemaphorePermit<'static>) -> Self {
        let rested = RESTING.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut driver = match rested {
            Some(driver) => forgets(&driver).await.ok().map(|()| driver),
            None => None,
        };
        // A machine may be so busy that Chromium takes longer than its driver has patience for.
        for _ in 0..3 {
            if driver.is_none() {
                driver = new_browser().await.ok();
            }
        }
        Self {
            driver: driver.expect("a Chromium"),
            site: site.to_owned(),
            _turn: turn,
        }
    }

    /// Opens a page of the site.
    pub(crate) async fn open(&self, path: &str) {
        let url = format!("{}{path}", self.site);
        self.driver.goto(&url).await.expect("a page");
    }

    /// Where it is, below the site's address.
    pub(crate) async fn place(&self) -> String {
        let url = self.driver.current_url().await.expect("an address");
        url.as_str().replacen(&self.site, "", 1)
    }

    /// Presses the first link or button that says just this, and waits for the page that it leads to.
    pub(crate) async fn press(&self, words: &str) {
        self.run("window.isLeft = true").await;
        self.touch(words).await;
        self.until("!window.isLeft && document.readyState === 'complete'")
            .await;
    }

    /// Presses what leads to no other page.
    pub(crate) async fn touch(&self, words: &str) {
        let path =
            format!("//*[self::a or self::button or self::summary][normalize-space()=\"{words}\"]");
        self.element(&path).await.click().await.expect(words);
    }

    /// Writes into the field with this label instead of what was there.
    pub(crate) async fn fill(&self, label: &str, value: &str) {
        let field = self.field(label).await;
        field.clear().await.expect(label);
        field.send_keys(value).await.expect(label);
    }

    /// Ticks or unticks the box with this label.
    pub(crate) async fn tick(&self, label: &str) {
        self.field(label).await.click().await.expect(label);
    }

    /// Ticks or unticks the box that says this to a screen reader alone.
    pub(crate) async fn tick_named(&self, name: &str) {
        let path = format!("//input[@aria-label=\"{name}\"]");
        self.element(&path).await.click().await.expect(name);
    }

    /// Chooses a file for the field with this label.
    pub(crate) async fn choose(&self, label: &str, file: &Path) {
        let field = self.field(label).await;
        field.send_keys(file.to_string_lossy()).await.expect(label);
    }

    /// What stands in the field with this label.
    pub(crate) async fn entered(&self, label: &str) -> String {
        let value = self.field(label).await.value().await;
        value.expect(label).unwrap_or_default()
    }

    async fn field(&self, label: &str) -> WebElement {
        let path = format!(
            "//label[starts-with(normalize-space(), \"{label}\")]//*[self::input or self::textarea or self::select]"
        );
        self.element(&path).await
    }

    async fn element(&self, path: &str) -> WebElement {
        let query = self.driver.query(By::XPath(path)).wait(PATIENCE, GLANCE);
        match query.first().await {
            Ok(element) => element,
            Err(error) => panic!("{path}: {error}\n{}", self.text().await),
        }
    }

    /// Presses keys, one after another, wherever the focus is.
    pub(crate) async fn type_keys(&self, keys: &str) {
        let typed = self.driver.action_chain().send_keys(keys).perform().await;
        typed.expect("keys");
    }

    /// What can be read on the page; nothing while it is on its way.
    pub(crate) async fn text(&self) -> String {
        let script = "return document.body.innerText";
        let text = self.driver.execute(script, []).await;
        text.ok()
            .and_then(|text| text.convert().ok())
            .unwrap_or_default()
    }

    /// Waits until that can be read on the page.
    pub(crate) async fn sees(&self, what: &str) {
        let ends = tokio::time::Instant::now() + PATIENCE;
        loop {
            let text = self.text().await;
            if text.contains(what) {
                return;
            }
            let is_over = tokio::time::Instant::now() > ends;
            assert!(!is_over, "{what} is not on the page:\n{text}");
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Waits until a JavaScript expression is true.
    pub(crate) async fn until(&self, expression: &str) {
        let script = format!("return Boolean({expression})");
        eventually(expression, async || {
            let is = self.driver.execute(script.as_str(), []).await;
            is.is_ok_and(|is| *is.json() == true)
        })
        .await;
    }

    /// What a script in the page returns; a page that is just leaving is asked once more.
    pub(crate) async fn run(&self, script: &str) -> Value {
        let mut returned = self.driver.execute(script, []).await;
        for _ in 0..3 {
            if returned.is_ok() {
                break;
            }
            tokio::time::sleep(GLANCE).await;
            returned = self.driver.execute(script, []).await;
        }
        returned.expect("a script that runs").json().clone()
    }

    /// A command of the `DevTools` protocol.
    pub(crate) async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let answer = self.driver.cdp().send_raw(command, parameters).await;
        answer.expect(command)
    }

    /// From now on pages are this wide.
    pub(crate) async fn is_wide(&self, width: u32) {
        let metrics =
            json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
            .await;
    }

    /// From now on pages are told that somebody prefers `light` or `dark`.
    pub(crate) async fn prefers(&self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.devtools("Emulation.setEmulatedMedia", json!({"features": features}))
            .await;
    }

    /// What axe-core finds on the page: impact, rule, and where.
    pub(crate) async fn faults(&self) -> Vec<String> {
        static AXE: tokio::sync::OnceCell<String> = tokio::sync::OnceCell::const_new();
        let axe = AXE.get_or_init(async || {
            let node = packages::locked("axe").await.expect("axe-core");
            let axe = node.modules.join("axe-core/axe.min.js");
            std::fs::read_to_string(axe).expect("axe-core")
        });
        self.run(axe.await).await;
        let told = self.driver.execute_async(JUDGE, []).await;
        told.expect("a verdict").convert().expect("a list")
    }

    /// Keeps what is to be seen, below `target/tmp/console`.
    pub(crate) async fn picture(&self, name: &str) {
        let shot = self
            .devtools("Page.captureScreenshot", json!({"format": "png"}))
            .await;
        let png = BASE64_STANDARD.decode(shot["data"].as_str().expect("a picture"));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(format!("{name}.png")), png.expect("base64")).expect("a file");
    }
}

impl Drop for Chromium {
    /// The next story has the browser, and its turn only after that.
    fn drop(&mut self) {
        let mut resting = RESTING.lock().unwrap_or_else(PoisonError::into_inner);
        resting.push(self.driver.clone());
    }
}

/// A browser of its own, which any story's runtime may ask: no connection outlives its request.
async fn new_browser() -> WebDriverResult<WebDriver> {
    let server = tokio::task::spawn_blocking(|| &DRIVER.get_or_init(Driver::start).url);
    let server = server.await.expect("Chromium's driver");
    let http = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0);
    let builder = WebDriver::builder(server, capabilities()).client(http.build()?);
    builder.connect().await
}

/// Everything is as in a new browser.
async fn forgets(driver: &WebDriver) -> WebDriverResult<()> {
    driver.goto("about:blank").await?;
    for (command, parameters) in [
        ("Network.clearBrowserCookies", json!({})),
        ("Emulation.clearDeviceMetricsOverride", json!({})),
        ("Emulation.setEmulatedMedia", json!({"features": []})),
        (
            "Emulation.setScriptExecutionDisabled",
            json!({"value": false}),
        ),
    ] {
        driver.cdp().send_raw(command, parameters).await?;
    }
    Ok(())
}

const JUDGE: &str = "const done = arguments[arguments.length - 1];
axe.run({ resultTypes: ['violations'] }).then(
    (found) => done(found.violations.map((rule) => `${rule.impact} ${rule.id}: ${rule.nodes.map((node) => node.html).join(' ')}`)),
    (error) => done([String(error)]));";

fn capabilities() -> Capabilities {
    let wanted = json!({
        // Only our own pages are ever opened, and neither root nor a container has what Chromium's sandbox is made of.
        "goog:chromeOptions": {"args": [
            "--headless", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--no-proxy-server", "--window-size=1280,800",
        ]},
        "timeouts": {"script": 120_000, "pageLoad": 120_000},
    });
    Capabilities::from(wanted.as_object().cloned().unwrap_or_default())
}

/// The one driver of the test program, which starts the browsers.
struct Driver {
    url: String,
    _process: Child,
    /// Kept open, for it may say more.
    _said: BufReader<ChildStdout>,
    /// Ends driver and browsers, once our end of its input is gone.
    _watchdog: Child,
}

static DRIVER: OnceLock<Driver> = OnceLock::new();

impl Driver {
    /// `$1` is the group of the driver and its browsers, `$2` their directory.
    const WATCH: &str = "trap '' HUP INT TERM QUIT
        read -r _
        kill -s KILL -- \"-$1\"
        for _ in 1 2 3 4 5 6 7 8 9 10; do rm -rf \"$2\" && exit 0; sleep 0.1; done";

    fn start() -> Self {
        let profiles = tempfile::Builder::new().prefix("roster-chromium").tempdir();
        let profiles: PathBuf = profiles.expect("a directory").keep();
        let process = Command::new("chromedriver")
            .arg("--port=0")
            .env("TMPDIR", &profiles)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut process = process.expect(
            "Chromium and its chromedriver are needed; deploy/install-tools.sh --tests installs them",
        );
        let watchdog = Command::new("/bin/sh")
            .args(["-c", Self::WATCH, "chromium-watchdog"])
            .arg(process.id().to_string())
            .arg(&profiles)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut said = BufReader::new(process.stdout.take().expect("a pipe"));
        let port = (&mut said).lines().map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        Self {
            url: format!("http://127.0.0.1:{}", port.expect("a driver that starts")),
            _process: process,
            _said: said,
            _watchdog: watchdog.expect("a shell"),
        }
    }
}
