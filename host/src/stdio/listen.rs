//! The stream of what the server says by itself (MCP 2025-11-25, "Listening for Messages from the
//! Server"). The modern era has none: there it is a request like any other.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use tracing::debug;

use super::answer::{Form, Kind, Parts, Stream, form};
use super::bridge::Bridge;
use super::exchange::WAIT;
use super::renew;
use super::session::Session;

/// Longest wait between two tries.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Listens for as long as the session lives, and the server offers this.
pub(super) async fn run(bridge: Arc<Bridge>, session: Arc<Session>) {
    let mut last_id: Option<String> = None;
    let mut wait = WAIT;
    loop {
        let mut fields = session.fields();
        if let Some(Ok(id)) = last_id.as_deref().map(HeaderValue::from_str) {
            fields.push((HeaderName::from_static("last-event-id"), id));
        }
        match bridge.transport.get(&fields).await {
            Ok(answer)
                if answer.status().is_success() && form(answer.headers()) == Form::Events =>
            {
                wait = WAIT;
                let mut events = Stream::new(answer.into_body());
                while let Some(message) = events.next().await {
                    pass_on(&bridge, &message).await;
                }
                let (id, retry) = events.position();
                last_id = id.or(last_id);
                wait = retry.unwrap_or(wait).min(MAX_WAIT);
            }
            Ok(answer) if answer.status() == StatusCode::NOT_FOUND && session.id.is_some() => {
                // The new session has a listener of its own, which ends this one.
                if let Err(why) = renew::session(&bridge, &session).await {
                    debug!(why, "the next request tries again");
                }
                return;
            }
            Ok(answer) if !answer.status().is_server_error() => {
                debug!(status = %answer.status(), "the server offers no stream of its own");
                return;
            }
            Ok(answer) => debug!(status = %answer.status(), "no stream of the server's own yet"),
            Err(trouble) => debug!(%trouble, "no stream of the server's own yet"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(MAX_WAIT);
    }
}

async fn pass_on(bridge: &Bridge, message: &str) {
    match Parts::read(message).map(|parts| parts.kind()) {
        Some(Kind::Request | Kind::Notification) => bridge.output.write(message.to_owned()).await,
        // Answers come where they were asked for.
        Some(Kind::Response(_)) | None => debug!("left out: no message for this stream"),
    }
}
