//! A browser as far as the console needs one: it keeps cookies, follows nothing by itself, and says where a form comes from.

use std::collections::BTreeMap;

use reqwest::{Method, RequestBuilder, header, redirect::Policy};

/// A browser at one site.
pub(crate) struct Browser {
    site: String,
    http: reqwest::Client,
    pub(crate) cookies: BTreeMap<String, String>,
    /// Sent with each POST.
    pub(crate) origin: Option<String>,
}

/// What was answered.
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) headers: header::HeaderMap,
    pub(crate) body: String,
}

impl Page {
    pub(crate) fn location(&self) -> String {
        let to = self.headers.get(header::LOCATION).expect("a redirect");
        to.to_str().expect("a text").to_owned()
    }

    /// The value of the first hidden field of this name.
    pub(crate) fn hidden(&self, name: &str) -> String {
        let field = format!("name=\"{name}\" value=\"");
        let (_, rest) = self.body.split_once(&field).expect("such a field");
        rest.split('"').next().unwrap_or_default().to_owned()
    }

    pub(crate) fn says(&self, text: &str) -> bool {
        self.body.contains(text)
    }
}

impl Browser {
    pub(crate) fn new(site: &str) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .build();
        Self {
            site: site.to_owned(),
            http: http.expect("a client"),
            cookies: BTreeMap::new(),
            origin: Some(site.to_owned()),
        }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Page {
        let request = self.http.get(self.at(path));
        self.send(request).await
    }

    /// What stands behind `prefix` in the links of this page and all that follow it.
    pub(crate) async fn walk(&mut self, page: &str, prefix: &str) -> Vec<String> {
        let (mut next, mut met) = (page.to_owned(), Vec::new());
        loop {
            let page = self.get(&next).await;
            let link = format!("href=\"{prefix}");
            let links = page.body.split(&link).skip(1);
            met.extend(links.map(|rest| rest.split('"').next().unwrap_or_default().to_owned()));
            let Some((_, rest)) = page.body.split_once("rel=\"next\" href=\"") else {
                return met;
            };
            let to = rest.split('"').next().unwrap_or_default();
            next = to.replace("&amp;", "&");
        }
    }

    /// Posts a form as it is.
    pub(crate) async fn post_just(&mut self, path: &str, form: &[(&str, &str)]) -> Page {
        let mut request = self.http.request(Method::POST, self.at(path)).form(form);
        if let Some(origin) = &self.origin {
            request = request.header(header::ORIGIN, origin);
        }
        self.send(request).await
    }

    /// Opens a page and posts a form of it, with its hidden fields.
    pub(crate) async fn post(&mut self, page: &str, path: &str, form: &[(&str, &str)]) -> Page {
        let opened = self.get(page).await;
        self.post_from(&opened, path, form).await
    }

    /// Posts a form of a page that was opened before.
    pub(crate) async fn post_from(
        &mut self,
        page: &Page,
        path: &str,
        form: &[(&str, &str)],
    ) -> Page {
        let csrf = page.hidden("csrf");
        let version = match page.says("name=\"version\"") {
            true => page.hidden("version"),
            false => String::new(),
        };
        let mut whole = vec![("csrf", csrf.as_str()), ("version", version.as_str())];
        whole.extend(form);
        self.post_just(path, &whole).await
    }

    /// Uploads a file by a form of this page, as browsers send them.
    pub(crate) async fn upload(
        &mut self,
        page: &Page,
        path: &str,
        file: &str,
        form: &[(&str, &str)],
    ) -> Page {
        let csrf = page.hidden("csrf");
        let mut body = String::new();
        for (name, value) in [("csrf", csrf.as_str())].iter().chain(form) {
            body += &format!(
                "--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            );
        }
        body += &format!(
            "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"people.csv\"\r\ncontent-type: text/csv\r\n\r\n{file}\r\n--b--\r\n"
        );
        let request = self.http.post(self.at(path)).body(body);
        let mut request = request.header(header::CONTENT_TYPE, "multipart/form-data; boundary=b");
        if let Some(origin) = &self.origin {
            request = request.header(header::ORIGIN, origin);
        }
        self.send(request).await
    }

    /// Logs in with a Google account of this address, and gives the page that the console then shows.
    pub(crate) async fn log_in(&mut self, email: &str) -> Page {
        let back = self.callback(email).await;
        let entered = self.get(&back).await;
        match entered.status {
            303 => self.get(&entered.location()).await,
            _ => entered,
        }
    }

    /// Where Auth0 sends a browser that has logged in there.
    pub(crate) async fn callback(&mut self, email: &str) -> String {
        let begun = self.get("/console/login?back=%2Fconsole").await;
        let page = self.http.get(begun.location()).send().await;
        let page = page.expect("the log-in page");
        let at = page.url().join("/u/login/google").expect("a URL");
        let text = page.text().await.expect("a page");
        let (_, rest) = text.split_once("name=\"state\" value=\"").expect("a form");
        let state = rest.split('"').next().unwrap_or_default();
        let form = [
            ("state", state),
            ("email", email),
            ("email_verified", "true"),
        ];
        let back = self.http.post(at).form(&form).send().await;
        let back = back.expect("an answer");
        let to = back.headers()[header::LOCATION].to_str();
        to.expect("a text").to_owned()
    }

    fn at(&self, path: &str) -> String {
        match path.starts_with('/') {
            true => format!("{}{path}", self.site),
            false => path.to_owned(),
        }
    }

    /// Asks for a page and its changes, as the script does.
    pub(crate) async fn look_at(&self, path: &str) -> reqwest::Response {
        let request = self
            .http
            .get(self.at(path))
            .header(header::ACCEPT, "text/event-stream");
        let request = request.header(header::COOKIE, self.sent());
        request.send().await.expect("an answer")
    }

    fn sent(&self) -> String {
        let pairs = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    async fn send(&mut self, request: RequestBuilder) -> Page {
        let request = request.header(header::COOKIE, self.sent());
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        for set in headers.get_all(header::SET_COOKIE) {
            let pair = set.to_str().expect("a text").split(';').next();
            let (name, value) = pair.and_then(|p| p.split_once('=')).expect("a cookie");
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        let body = response.text().await.expect("a body");
        Page {
            status,
            headers,
            body,
        }
    }
}
