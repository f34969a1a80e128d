//! A browser as far as tests need one: it keeps cookies, follows redirects and sends forms.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{COOKIE, LOCATION, SET_COOKIE};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use url::Url;

use crate::client::Reply;

/// Redirects that are followed in a row.
const MOST: usize = 10;

/// A browser with cookies of its own.
#[derive(Clone)]
pub struct Browser {
    http: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
    /// By host and port, path and name.
    cookies: BTreeMap<(String, String, String), String>,
}

/// Where a browser came to rest.
pub struct Page {
    /// Its URL.
    pub url: Url,
    /// What is there.
    pub reply: Reply,
}

impl Page {
    /// The page as text.
    pub fn text(&self) -> String {
        self.reply.text()
    }

    /// The first value of an attribute that begins like this, entities undone.
    pub fn attribute(&self, name: &str, begins: &str) -> String {
        let text = self.text();
        let opens = format!("{name}=\"");
        let values = text.split(opens.as_str()).skip(1);
        let mut values = values.filter_map(|rest| rest.split('"').next());
        let value = values.find(|value| value.starts_with(begins));
        value
            .unwrap_or_else(|| panic!("no {name}=\"{begins}…\" in {text}"))
            .replace("&amp;", "&")
    }

    /// The hidden word of its first form.
    pub fn word(&self) -> String {
        let text = self.text();
        let rest = text.split("name=\"word\" value=\"").nth(1);
        let rest = rest.unwrap_or_else(|| panic!("no word in {text}"));
        rest.split('"').next().unwrap_or_default().to_owned()
    }
}

impl Default for Browser {
    fn default() -> Self {
        Self::new()
    }
}

impl Browser {
    /// One without cookies.
    pub fn new() -> Self {
        Self {
            http: hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http(),
            cookies: BTreeMap::new(),
        }
    }

    /// Signed in as somebody at a [`Provider`](crate::Provider).
    #[must_use]
    pub fn knows(mut self, provider: &str, user: &str) -> Self {
        let host = authority(&url(provider));
        let key = (host, "/".to_owned(), "user".to_owned());
        self.cookies.insert(key, user.to_owned());
        self
    }

    /// Goes somewhere and follows redirects.
    pub async fn get(&mut self, place: &str) -> Page {
        self.go(place, |_| false).await
    }

    /// Follows redirects up to the first URL of which this holds; that one is not asked for, and its
    /// page is the redirect to it.
    pub async fn go(&mut self, place: &str, stop: impl Fn(&Url) -> bool) -> Page {
        let mut at = url(place);
        for _ in 0..MOST {
            let reply = self.send(Method::GET, &at, &[], String::new()).await;
            let Some(next) = reply.headers.get(LOCATION) else {
                return Page { url: at, reply };
            };
            let next = at.join(next.to_str().expect("text")).expect("a URL");
            if stop(&next) {
                return Page { url: next, reply };
            }
            at = next;
        }
        panic!("redirected without end, last to {at}");
    }

    /// Sends a form, and follows where it leads.
    pub async fn post(&mut self, place: &str, form: &[(&str, &str)]) -> Page {
        let origin = url(place).origin().ascii_serialization();
        let reply = self.post_from(place, &origin, form).await;
        match reply.headers.get(LOCATION) {
            Some(next) => {
                let next = url(place)
                    .join(next.to_str().expect("text"))
                    .expect("a URL");
                self.get(next.as_str()).await
            }
            None => Page {
                url: url(place),
                reply,
            },
        }
    }

    /// Sends a form as a page of this origin would.
    pub async fn post_from(&mut self, place: &str, origin: &str, form: &[(&str, &str)]) -> Reply {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let headers = [
            ("origin", origin),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        self.send(Method::POST, &url(place), &headers, body).await
    }

    /// Forgets its cookies of a place.
    pub fn forget(&mut self, place: &str) {
        let host = authority(&url(place));
        self.cookies.retain(|(of, ..), _| *of != host);
    }

    /// Names of its cookies of a place.
    pub fn cookies(&self, place: &str) -> Vec<String> {
        let host = authority(&url(place));
        let of_host = self.cookies.keys().filter(|(of, ..)| *of == host);
        of_host.map(|(_, _, name)| name.clone()).collect()
    }

    async fn send(
        &mut self,
        method: Method,
        at: &Url,
        headers: &[(&str, &str)],
        body: String,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(at.as_str());
        let host = authority(at);
        let sent = self.cookies.iter().filter(|((of, path, _), _)| {
            let rest = at.path().strip_prefix(path.as_str());
            *of == host
                && rest.is_some_and(|rest| {
                    rest.is_empty() || rest.starts_with('/') || path.ends_with('/')
                })
        });
        let cookies: Vec<String> = sent
            .map(|((_, _, name), value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies.join("; "));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        let (parts, body) = self.http.request(request).await.expect("sent").into_parts();
        for cookie in parts.headers.get_all(SET_COOKIE) {
            self.keep(&host, cookie.to_str().expect("text"));
        }
        Reply {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.expect("a body").to_bytes(),
        }
    }

    fn keep(&mut self, host: &str, cookie: &str) {
        let mut parts = cookie.split("; ");
        let (name, value) = parts
            .next()
            .and_then(|pair| pair.split_once('='))
            .expect("a cookie");
        let (mut path, mut gone) = ("/".to_owned(), false);
        for part in parts {
            match part.split_once('=') {
                Some(("Path", given)) => path = given.to_owned(),
                Some(("Max-Age", "0")) => gone = true,
                _ => {}
            }
        }
        let key = (host.to_owned(), path, name.to_owned());
        if gone {
            self.cookies.remove(&key);
        } else {
            self.cookies.insert(key, value.to_owned());
        }
    }
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn authority(url: &Url) -> String {
    url.authority().to_owned()
}
