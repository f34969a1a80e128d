//! The pages themselves: plain HTML without scripts, pictures or anything from elsewhere. Whatever
//! somebody else said is escaped; how things stand is said in words, not by colour alone.

use std::fmt::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::super::pages::status::Escaped;
use super::super::respond::{self, Reply, Tone};
use super::{CONNECTIONS, LINK, SIGN_IN, SIGN_OUT};
use crate::account::{Person, Standing};
use crate::pipeline::Gateway;
use crate::types::BackendId;

/// The field that a form of ours brings back.
pub(super) const WORD: &str = "word";

const STYLE: &str = concat!(
    include_str!("../pages/status.css"),
    include_str!("connections.css")
);

/// `Content-Security-Policy`: nothing but the style sheet with this hash, and forms of our own.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
});

/// What is linked, for whoever is signed in.
pub(super) async fn connections(gw: &Gateway, person: Option<&Person>) -> Reply {
    let mut content = String::new();
    match person {
        None => sign_in_first(gw, &mut content),
        Some(person) => rows(gw, person, &mut content).await,
    }
    page(gw, person, Tone::Good, "Connections", &content)
}

fn sign_in_first(gw: &Gateway, content: &mut String) {
    content.push_str("<p>Some MCP servers behind this gateway work with your own account there. Here you link and unlink them.</p>\n");
    if gw.accounts.can_sign_in() {
        let _ = writeln!(
            content,
            "<p><a class=\"button\" href=\"{SIGN_IN}\">Sign in</a></p>"
        );
    } else {
        content.push_str("<p>This gateway has no authorization server to sign in at: it is for local development. Its operator can set OAUTH_ISSUER.</p>\n");
    }
}

async fn rows(gw: &Gateway, person: &Person, content: &mut String) {
    let servers: Vec<&BackendId> = gw.accounts.servers().collect();
    if servers.is_empty() {
        content.push_str(
            "<p>No MCP server behind this gateway works with accounts of its users.</p>\n",
        );
        return;
    }
    if !gw.accounts.can_keep() {
        content.push_str("<p class=\"state down\">▲ Accounts cannot be linked: the operator of this gateway has not set CORTEX_VAULT_KEY.</p>\n");
    }
    content.push_str("<p>These MCP servers can be used with your own account there. Unlinking also takes the access back at the provider, if it lets us.</p>\n");
    content.push_str("<table>\n<thead><tr><th scope=\"col\">Server</th><th scope=\"col\">Your account</th><th scope=\"col\"><span class=\"unseen\">Change</span></th></tr></thead>\n<tbody>\n");
    let word = gw.accounts.form_word(person).unwrap_or_default();
    let word = Escaped(&word);
    for server in servers {
        let standing = gw.accounts.standing(&person.owner, server).await;
        let (class, said) = match &standing {
            Ok(Standing::Linked) => ("up", "● linked"),
            Ok(Standing::Expired) => ("down", "▲ ended: link it again"),
            Ok(Standing::Never) => ("wait", "○ not linked"),
            Err(error) => {
                tracing::error!("{error}");
                ("down", "▲ cannot be read at the moment")
            }
        };
        let link = |words: &str| {
            format!(
                "<a class=\"button\" href=\"{LINK}{server}/start?{WORD}={word}\">{words}<span class=\"unseen\"> {server}</span></a>"
            )
        };
        let unlink = format!(
            "<form method=\"post\" action=\"{LINK}{server}/unlink\"><input type=\"hidden\" name=\"{WORD}\" value=\"{word}\">\
             <button>Unlink<span class=\"unseen\"> {server}</span></button></form>"
        );
        let change = match standing {
            Ok(Standing::Linked) => unlink,
            Ok(Standing::Expired) => format!("{}{unlink}", link("Link again")),
            Ok(Standing::Never) if gw.accounts.can_keep() => link("Link"),
            Ok(Standing::Never) | Err(_) => String::new(),
        };
        let _ = writeln!(
            content,
            "<tr id=\"{server}\"><th scope=\"row\">{server}</th><td class=\"state {class}\">{said}</td><td class=\"change\">{change}</td></tr>"
        );
    }
    content.push_str("</tbody>\n</table>\n");
}

/// It is done.
pub(super) fn linked(gw: &Gateway, person: Option<&Person>, server: &BackendId) -> Reply {
    let content = format!(
        "<p class=\"state up\">● Your account at <b>{server}</b> is linked.</p>\n\
         <p>You can close this page and go on in your MCP client: what it wanted to do works now.</p>\n\
         <p><a href=\"{CONNECTIONS}\">All connections</a></p>\n"
    );
    page(gw, person, Tone::Good, "Linked", &content)
}

/// Nobody asked for it that is known: whoever is here has to say so.
pub(super) fn confirm(gw: &Gateway, person: &Person, server: &BackendId) -> Reply {
    let word = gw.accounts.form_word(person).unwrap_or_default();
    let word = Escaped(&word);
    let content = format!(
        "<p>Do you want to link your account at <b>{server}</b>?</p>\n\
         <p><a class=\"button\" href=\"{LINK}{server}/start?{WORD}={word}\">Link</a> <a href=\"{CONNECTIONS}\">Cancel</a></p>\n"
    );
    page(gw, Some(person), Tone::Good, "Link an account", &content)
}

/// The link was made for somebody else.
pub(super) fn other_person(gw: &Gateway, person: &Person) -> Reply {
    let content = "<p class=\"state down\">▲ This link was made for somebody else.</p>\n\
         <p>If it is yours, sign out and sign in as the one whose MCP client gave it to you. If somebody sent it to you, \
         leave it: nothing was changed.</p>\n";
    page(
        gw,
        Some(person),
        Tone::Forbidden,
        "Nothing was linked",
        content,
    )
}

/// A page that says one thing.
pub(super) fn message(
    gw: &Gateway,
    person: Option<&Person>,
    tone: Tone,
    title: &str,
    text: &str,
) -> Reply {
    let content = format!(
        "<p>{}</p>\n<p><a href=\"{CONNECTIONS}\">All connections</a></p>\n",
        Escaped(text)
    );
    page(gw, person, tone, title, &content)
}

fn page(gw: &Gateway, person: Option<&Person>, tone: Tone, title: &str, content: &str) -> Reply {
    let name = Escaped(&gw.config.identity.name);
    let signed_in = person.map(|person| {
        let word = gw.accounts.form_word(person).unwrap_or_default();
        format!(
            "<form class=\"who\" method=\"post\" action=\"{SIGN_OUT}\"><span class=\"quiet\">Signed in as {}</span> \
             <input type=\"hidden\" name=\"{WORD}\" value=\"{}\"><button>Sign out</button></form>\n",
            Escaped(&person.name),
            Escaped(&word)
        )
    });
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}: {name}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n{}{content}\
         <footer class=\"quiet\"><a href=\"/\">{name}</a></footer>\n</main>\n</body>\n</html>\n",
        signed_in.unwrap_or_default(),
        title = Escaped(title),
    );
    respond::page(tone, html, &POLICY)
}
