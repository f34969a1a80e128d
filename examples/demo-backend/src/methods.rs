//! Method name and params in, JSON or a [`Failure`] out: the contract without HTTP.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::HeaderMap;
use serde_json::{Value, json};

use crate::caller::{Caller, Secret, User};
use crate::catalog::{self, READ, WRITE};
use crate::clock::utc;
use crate::failure::Failure;
use crate::notes::{Note, Notes};
use crate::params::{Params, number, optional_string, string, strings, whole_number};
use crate::token::Issuer;

/// Longest text of a note, in characters.
const LONGEST_TEXT: usize = 4000;

/// The backend: its tokens and its notes.
#[derive(Debug)]
pub struct App {
    technical: Secret,
    user: Option<Secret>,
    issuer: Option<Issuer>,
    notes: Mutex<Notes>,
}

impl App {
    /// Takes the gateway's technical token, and what a user may come with: the token that stands
    /// for one, or any of an issuer's.
    pub fn new(technical: Secret, user: Option<Secret>, issuer: Option<Issuer>) -> Self {
        Self {
            technical,
            user,
            issuer,
            notes: Mutex::new(Notes::new()),
        }
    }

    /// Answers one call: first who, then what, then whether they may.
    pub(crate) async fn answer(
        &self,
        headers: &HeaderMap,
        method: &str,
        params: &Params,
    ) -> Result<Value, Failure> {
        let (user, issuer) = (self.user.as_ref(), self.issuer.as_ref());
        match Caller::identify(headers, &self.technical, user, issuer).await? {
            Caller::Gateway => self.answer_gateway(method),
            Caller::User(user) => self.answer_user(&user, method, params),
        }
    }

    /// Catalog methods, for the technical token alone.
    fn answer_gateway(&self, method: &str) -> Result<Value, Failure> {
        match method {
            "list_tools" => Ok(catalog::tools()),
            "list_prompts" => Ok(catalog::prompts()),
            "list_resource_templates" => Ok(catalog::resource_templates()),
            "get_snapshot" => Ok(self.snapshot()),
            _ => Err(Failure::TechnicalTokenOnly),
        }
    }

    /// Everything else, for a user. `whoami` needs no scope: it is how one learns what is missing.
    fn answer_user(&self, user: &User, method: &str, params: &Params) -> Result<Value, Failure> {
        let scope = match method {
            "list_tools" | "list_prompts" | "list_resource_templates" | "get_snapshot" => {
                return Err(Failure::TokenRefused(
                    "catalog methods need the technical token",
                ));
            }
            "whoami" => return Ok(self.whoami(user)),
            "echo" | "add" | "list_notes" | "get_help" | "say" | "get_prompt" | "read_resource" => {
                READ
            }
            "add_note" | "delete_note" => WRITE,
            _ => return Err(Failure::UnknownMethod),
        };
        user.need_scope(scope)?;
        match method {
            "echo" => Ok(json!({"echo": params, "caller": user.summary()})),
            "add" => add(params),
            "list_notes" => self.list_notes(params),
            "get_help" => Ok(help(params)),
            "say" => Ok(json!({"message": string(params, "message")?})),
            "add_note" => self.add_note(user, params),
            "delete_note" => self.delete_note(user, params),
            "get_prompt" => self.prompt(params),
            "read_resource" => self.resource(params),
            _ => Err(Failure::UnknownMethod),
        }
    }

    fn list_notes(&self, params: &Params) -> Result<Value, Failure> {
        let tag = optional_string(params, "tag")?;
        let limit = match params.get("limit") {
            None | Some(Value::Null) => 20,
            Some(_) => whole_number(params, "limit")?.clamp(1, 100) as usize,
        };
        let notes = self.notes();
        let found: Vec<Value> = notes
            .list(tag)
            .take(limit)
            .map(|(id, note)| note.to_json(id))
            .collect();
        Ok(json!({"count": found.len(), "notes": found}))
    }

    fn add_note(&self, user: &User, params: &Params) -> Result<Value, Failure> {
        let text = string(params, "text")?;
        if text.chars().count() > LONGEST_TEXT {
            return Err(Failure::BadArguments(format!(
                "`text` is longer than {LONGEST_TEXT} characters"
            )));
        }
        let note = Note {
            text: text.to_owned(),
            tags: strings(params, "tags")?,
            author: user.sub.clone(),
        };
        let id = self.notes().add(note.clone()).ok_or(Failure::Full)?;
        Ok(note.to_json(id))
    }

    /// The scope is there already; this is the application's own rule on top of it.
    fn delete_note(&self, user: &User, params: &Params) -> Result<Value, Failure> {
        if user.role != "admin" {
            return Err(Failure::NotAllowed("only the role admin may delete notes"));
        }
        let id = whole_number(params, "id")?;
        if self.notes().delete(id) {
            Ok(json!({"deleted": id}))
        } else {
            Err(Failure::NotFound(format!("note: {id}")))
        }
    }

    fn prompt(&self, params: &Params) -> Result<Value, Failure> {
        let name = string(params, "name")?;
        if name != "summarize_notes" {
            return Err(Failure::NotFound(format!("prompt: {name}")));
        }
        let none = Params::new();
        let arguments = params
            .get("arguments")
            .and_then(Value::as_object)
            .unwrap_or(&none);
        let language = string(arguments, "language")?;
        let notes = self.notes();
        let mut text = format!("Summarize these notes in {language}:\n");
        for (id, note) in notes.list(optional_string(arguments, "tag")?).take(100) {
            text.push_str(&format!("\n{id}. {}", note.text));
        }
        Ok(json!({
            "description": "A summary of the notes.",
            "messages": [{"role": "user", "content": {"type": "text", "text": text}}],
        }))
    }

    fn resource(&self, params: &Params) -> Result<Value, Failure> {
        let uri = string(params, "uri")?;
        let id = uri
            .strip_prefix("demo://notes/")
            .and_then(|id| id.parse().ok());
        let notes = self.notes();
        let note = id
            .and_then(|id| notes.get(id))
            .ok_or_else(|| Failure::NotFound(format!("resource: {uri}")))?;
        Ok(json!({"contents": [{"uri": uri, "mimeType": "text/plain", "text": note.text}]}))
    }

    fn whoami(&self, user: &User) -> Value {
        json!({
            "sub": user.sub,
            "email": user.email,
            "role": user.role,
            "pool": user.pool,
            "scopes": user.scopes,
            "notesWritten": self.notes().list(None).filter(|(_, note)| note.author == user.sub).count(),
        })
    }

    /// Sums only: whoever sees a snapshot need not be allowed to see a note.
    fn snapshot(&self) -> Value {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        json!({
            "backend": "demo",
            "generatedAt": utc(now),
            "title": "Demo notes",
            "headline": [{"key": "notes", "label": "Notes", "value": self.notes().len(), "status": "green"}],
        })
    }

    /// The notes, also after a panic elsewhere: no change to them can be half done.
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(params: &Params) -> Result<Value, Failure> {
    let sum = number(params, "a")? + number(params, "b")?;
    if !sum.is_finite() {
        return Err(Failure::BadArguments("the sum is too large".to_owned()));
    }
    // Whole numbers stay whole: `3`, not `3.0`.
    let whole = |name| params.get(name).and_then(Value::as_i64);
    match whole("a")
        .zip(whole("b"))
        .and_then(|(a, b)| a.checked_add(b))
    {
        Some(sum) => Ok(json!({ "sum": sum })),
        None => Ok(json!({ "sum": sum })),
    }
}

fn help(params: &Params) -> Value {
    let text = match params.get("topic").and_then(Value::as_str) {
        Some("notes") => {
            "add_note writes, list_notes lists, delete_note deletes. Read one at demo://notes/{id}."
        }
        _ => "A demo that keeps notes in memory. Topics: notes.",
    };
    json!({ "help": text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_tool_is_known_and_guarded() {
        let app = App::new(Secret::new("t".into()), None, None);
        let user = |scopes: &[&str]| User {
            sub: "u".into(),
            email: String::new(),
            role: "admin".into(),
            pool: String::new(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        };
        for tool in catalog::tools()["tools"].as_array().unwrap() {
            let (name, scope) = (
                tool["name"].as_str().unwrap(),
                tool["scope"].as_str().unwrap(),
            );
            let refused = app.answer_user(&user(&[]), name, &Params::new());
            assert!(
                matches!(refused, Err(Failure::ScopeMissing(needed)) if needed == scope),
                "{name}"
            );
            let answer = app.answer_user(&user(&[scope]), name, &Params::new());
            assert!(
                matches!(answer, Ok(_) | Err(Failure::BadArguments(_))),
                "{name}: {answer:?}"
            );
        }
    }
}
