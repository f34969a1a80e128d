//! Where people link their accounts at MCP servers: pages for browsers, and two requests for whoever
//! has an access token.
//!
//! | path                              | who                     | what                              |
//! |-----------------------------------|-------------------------|-----------------------------------|
//! | `/connections`                    | browser                 | what is linked                    |
//! | `/connections/sign-in`            | browser                 | to the issuer, and back           |
//! | `/connections/signed-in`          | browser                 | back from there                   |
//! | `/connections/sign-out`           | browser, form           | forgets who it is                 |
//! | `/api/link/{server}/start`        | browser, or with token  | to the provider; or a URL for it  |
//! | `/api/link/{server}/callback`     | browser                 | back from there                   |
//! | `/api/link/{server}/unlink`       | form, or with token     | takes the grant back              |
//! | `/api/link/client-metadata.json`  | anybody                 | who the gateway is as a client    |

mod cookies;
mod pages;

use std::sync::Arc;

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Method};
use serde_json::json;

use super::respond::{self, Reply, Tone};
use crate::account::{CLIENT_DOCUMENT, LinkError, Owner, Person, SIGNED_IN, SignInError};
use crate::pipeline::{self, Arrival, Gateway};
use crate::types::{BackendId, ScopeSet};

const CONNECTIONS: &str = "/connections";
const SIGN_IN: &str = "/connections/sign-in";
const SIGN_OUT: &str = "/connections/sign-out";
const LINK: &str = "/api/link/";

/// Whether a path is one of these.
pub(super) fn are_at(path: &str) -> bool {
    path == CONNECTIONS || path.starts_with("/connections/") || path.starts_with(LINK)
}

/// Answers one request.
pub(super) async fn answer(gw: &Arc<Gateway>, arrival: Arrival) -> Reply {
    let caller = match pipeline::visitor(gw, &arrival).await {
        Ok(caller) => caller,
        Err(refusal) => return respond::refused_plainly(&gw.config, &refusal),
    };
    let path = arrival.head.uri.path().to_owned();
    let visit = Visit {
        gw,
        person: gw.accounts.person(&arrival.head.headers),
        caller,
        arrival,
    };
    let get = visit.arrival.head.method == Method::GET;
    let post = visit.arrival.head.method == Method::POST;
    match path.as_str() {
        CONNECTIONS if get => visit.connections().await,
        SIGN_IN if get => visit.sign_in(CONNECTIONS).await,
        SIGNED_IN if get => visit.signed_in().await,
        SIGN_OUT if post => visit.sign_out().await,
        CLIENT_DOCUMENT if get => match gw.accounts.client_document() {
            Some(document) => respond::public_document(&document, 3600),
            None => respond::not_found(),
        },
        CONNECTIONS | SIGN_IN | SIGNED_IN | CLIENT_DOCUMENT => respond::method_not_allowed("GET"),
        SIGN_OUT => respond::method_not_allowed("POST"),
        path => {
            let parts = path
                .strip_prefix(LINK)
                .and_then(|rest| rest.split_once('/'));
            let server = parts.and_then(|(server, what)| Some((server.parse().ok()?, what)));
            let known = server.filter(|(server, _)| gw.accounts.links(server));
            match known {
                Some((server, "start")) if get => visit.start(&server).await,
                Some((server, "start")) if post => visit.invite(&server),
                Some((_, "start")) => respond::method_not_allowed("GET, POST"),
                Some((server, "callback")) if get => visit.callback(&server).await,
                Some((_, "callback")) => respond::method_not_allowed("GET"),
                Some((server, "unlink")) if post => visit.unlink(&server).await,
                Some((_, "unlink")) => respond::method_not_allowed("POST"),
                _ => respond::not_found(),
            }
        }
    }
}

/// One request, and who has sent it.
struct Visit<'a> {
    gw: &'a Arc<Gateway>,
    /// By cookie.
    person: Option<Person>,
    /// By access token.
    caller: Option<Owner>,
    arrival: Arrival,
}

impl Visit<'_> {
    fn headers(&self) -> &HeaderMap {
        &self.arrival.head.headers
    }

    fn query(&self) -> &str {
        self.arrival.head.uri.query().unwrap_or_default()
    }

    /// A parameter of the query that is there once.
    fn param(&self, name: &str) -> Option<String> {
        once(self.query().as_bytes(), name)
    }

    fn says(&self, tone: Tone, title: &str, text: &str) -> Reply {
        pages::message(self.gw, self.person.as_ref(), tone, title, text)
    }

    async fn connections(&self) -> Reply {
        if let Some(elsewhere) = self.elsewhere() {
            return respond::see_other(&elsewhere);
        }
        pages::connections(self.gw, self.person.as_ref()).await
    }

    /// The same page under the name that the gateway has for others, where a browser on this machine
    /// came by another one: its cookies would not come along.
    fn elsewhere(&self) -> Option<String> {
        let host = self.headers().get(HOST)?.to_str().ok()?;
        let named = url::Url::parse(&format!("http://{host}/")).ok()?;
        let ours = self.gw.accounts.origin();
        let local = crate::config::is_loopback(&named) && crate::config::is_loopback(ours);
        let other = named.host() != ours.host();
        let rest = self.arrival.head.uri.path_and_query()?.as_str();
        (local && other).then(|| ours.join(rest).map(String::from).ok())?
    }

    async fn sign_in(&self, then: &str) -> Reply {
        if let Some(elsewhere) = self.elsewhere() {
            return respond::see_other(&elsewhere);
        }
        match self.gw.accounts.begin_sign_in(then).await {
            Ok(begun) => cookies::with(
                self.gw,
                respond::see_other(begun.url.as_str()),
                &begun.cookie,
                cookies::FLOW,
            ),
            Err(error) => self.not_signed_in(&error),
        }
    }

    async fn signed_in(&self) -> Reply {
        let Some(oauth) = &self.gw.oauth else {
            return self.not_signed_in(&SignInError::Nowhere);
        };
        let finished = self
            .gw
            .accounts
            .finish_sign_in(oauth, self.query(), self.headers());
        let (person, then) = match finished.await {
            Ok(finished) => finished,
            Err(error) => return cookies::without_flows(self, self.not_signed_in(&error)),
        };
        let reply = cookies::without_flows(self, respond::see_other(&then));
        match self.gw.accounts.badge(&person) {
            Ok(badge) => cookies::with(self.gw, reply, &badge, cookies::SESSION),
            Err(error) => self.says(Tone::Broken, "You are not signed in", &error.to_string()),
        }
    }

    fn not_signed_in(&self, error: &SignInError) -> Reply {
        let tone = match error {
            SignInError::Stopped(error) => tone_of(error),
            SignInError::NotAllowed => Tone::Forbidden,
            SignInError::Nowhere | SignInError::BadToken(_) => Tone::Broken,
        };
        self.says(
            tone,
            "You are not signed in",
            &capitalised(&error.to_string()),
        )
    }

    async fn sign_out(self) -> Reply {
        let badge = self.gw.accounts.badge_name();
        let reply = match self.form().await {
            Ok(_) => respond::see_other(CONNECTIONS),
            Err(reply) => return reply,
        };
        cookies::forget(reply, badge, "/")
    }

    /// What a form of ours brings: its fields, and who has sent it. Nobody else's page can send it.
    async fn form(self) -> Result<(Vec<u8>, Person), Reply> {
        let Self {
            gw,
            person,
            arrival,
            ..
        } = self;
        let refused = |why: &str| {
            pages::message(
                gw,
                person.as_ref(),
                Tone::Forbidden,
                "Nothing was changed",
                why,
            )
        };
        let ours = gw.accounts.origin().origin().ascii_serialization();
        let origin = arrival.head.headers.get(ORIGIN);
        // Browsers name it with every form. `null` is what our own pages' policy makes of it.
        let foreign = origin.is_some_and(|origin| {
            origin.as_bytes() != ours.as_bytes() && origin.as_bytes() != b"null"
        });
        if foreign {
            return Err(refused("This came from another site."));
        }
        let body = pipeline::whole_body(&gw.config, arrival.body).await;
        let Ok(body) = body else {
            return Err(refused("This did not arrive whole."));
        };
        let Some(person) = &person else {
            return Err(refused(
                "You are not signed in any more. Sign in and try again.",
            ));
        };
        let word = once(&body, pages::WORD).unwrap_or_default();
        if !gw.accounts.knows_form_word(person, &word) {
            return Err(refused(
                "This page was too old. Go back, reload it and try again.",
            ));
        }
        Ok((body.to_vec(), person.clone()))
    }

    /// For programs: the URL that has the caller link an account.
    fn invite(&self, server: &BackendId) -> Reply {
        let Some(caller) = &self.caller else {
            return respond::refused_plainly(&self.gw.config, &pipeline::Refusal::Unauthenticated);
        };
        match self
            .gw
            .accounts
            .invite(caller, server, &ScopeSet::default())
        {
            Ok(url) => respond::json(&json!({ "url": url.as_str() })),
            Err(error) => respond::admin_failed(&error.to_string()),
        }
    }

    /// Sends a browser to the provider.
    async fn start(&self, server: &BackendId) -> Reply {
        if let Some(elsewhere) = self.elsewhere() {
            return respond::see_other(&elsewhere);
        }
        let Some(person) = &self.person else {
            let then = self.arrival.head.uri.path_and_query();
            return self
                .sign_in(then.map_or(CONNECTIONS, |then| then.as_str()))
                .await;
        };
        let scopes = match self.param("for") {
            Some(invitation) => match self.gw.accounts.invited(server, &invitation) {
                Ok((owner, scopes)) if owner == person.owner => scopes,
                Ok(_) => return pages::other_person(self.gw, person),
                Err(error) => return self.not_linked(&error),
            },
            // Otherwise any page could have a browser link what is signed in at the provider.
            None => match self.param(pages::WORD) {
                Some(word) if self.gw.accounts.knows_form_word(person, &word) => {
                    ScopeSet::default()
                }
                _ => return pages::confirm(self.gw, person, server),
            },
        };
        match self.gw.accounts.begin(&person.owner, server, &scopes).await {
            Ok(begun) => cookies::with(
                self.gw,
                respond::see_other(begun.url.as_str()),
                &begun.cookie,
                cookies::FLOW,
            ),
            Err(error) => self.not_linked(&error),
        }
    }

    async fn callback(&self, server: &BackendId) -> Reply {
        let person = self.person.as_ref().map(|person| &person.owner);
        let finished = self
            .gw
            .accounts
            .finish(person, server, self.query(), self.headers());
        let reply = match finished.await {
            Ok(()) => {
                // It may be the account that lists what the server offers.
                self.gw.catalog.ask_again(server);
                pages::linked(self.gw, self.person.as_ref(), server)
            }
            Err(error) => self.not_linked(&error),
        };
        cookies::without_flows(self, reply)
    }

    fn not_linked(&self, error: &LinkError) -> Reply {
        tracing::info!("an account was not linked: {error}");
        let text = capitalised(&error.to_string());
        self.says(tone_of(error), "Nothing was linked", &text)
    }

    async fn unlink(self, server: &BackendId) -> Reply {
        let gw = self.gw;
        if let Some(caller) = &self.caller {
            return match gw.accounts.unlink(caller, server).await {
                Ok(was) => respond::json(&json!({ "unlinked": was })),
                Err(error) => respond::admin_failed(&error.to_string()),
            };
        }
        let person = match self.form().await {
            Ok((_, person)) => person,
            Err(reply) => return reply,
        };
        match gw.accounts.unlink(&person.owner, server).await {
            Ok(_) => respond::see_other(CONNECTIONS),
            Err(error) => {
                tracing::error!("{error}");
                let text = "The vault cannot be used at the moment. Try again later.";
                pages::message(gw, Some(&person), Tone::Broken, "Nothing was changed", text)
            }
        }
    }
}

/// A field of a form or a query that is there once.
fn once(text: &[u8], name: &str) -> Option<String> {
    let mut found = url::form_urlencoded::parse(text).filter(|(known, _)| known == name);
    match (found.next(), found.next()) {
        (Some((_, value)), None) => Some(value.into_owned()),
        _ => None,
    }
}

fn tone_of(error: &LinkError) -> Tone {
    match error {
        LinkError::Unknown => Tone::Missing,
        LinkError::OtherPerson | LinkError::OtherBrowser | LinkError::Foreign => Tone::Forbidden,
        LinkError::Expired | LinkError::Done | LinkError::Refused(_) => Tone::Wrong,
        LinkError::NoKey
        | LinkError::Provider(_)
        | LinkError::Vault(_)
        | LinkError::NoRandomness => Tone::Broken,
    }
}

/// A sentence.
fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|c| c.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), characters.as_str())
}
