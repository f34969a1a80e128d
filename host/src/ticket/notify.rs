//! Tells somebody of a new blocking ticket (`CORTEX_TICKET_WEBHOOK_URL`).
//!
//! A ticket never waits for that longer than a few seconds and never fails by it.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use serde_json::json;
use tracing::{info, warn};

use super::Wish;
use crate::config::WebhookUrl;
use crate::outbound::Client;

/// Longest that the receiver is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer that is read. Nobody looks at it.
const MAX_ANSWER: usize = 64 * 1024;

/// A new blocking ticket.
pub struct Blocking<'a> {
    /// Its id, as its keeper calls it.
    pub ticket_id: &'a str,
    /// Who keeps it: a backend's id, or `gateway`.
    pub backend: &'a str,
    /// `backend` or `gateway`.
    pub source: &'a str,
    /// What is wished for.
    pub wish: &'a Wish,
    /// The OAuth client through which it was reported.
    pub agent: Option<&'a str>,
}

/// Tells the receiver.
#[derive(Clone)]
pub struct Notifier {
    url: WebhookUrl,
    client: Client,
}

impl Notifier {
    /// For a receiver.
    pub fn new(url: WebhookUrl, client: Client) -> Self {
        Self { url, client }
    }

    /// Tells of a ticket. Answers whether the receiver took it; why not is in the log.
    pub async fn tell(&self, ticket: &Blocking<'_>) -> bool {
        let Blocking {
            ticket_id,
            backend,
            source,
            wish,
            agent,
        } = ticket;
        let text = format!(
            "Blocking ticket {ticket_id} ({backend}), reported by {}: {}",
            agent.unwrap_or("an unnamed agent"),
            wish.what_i_wanted
        );
        let body = json!({
            "type": "cortex.ticket.blocking",
            "ticketId": ticket_id,
            "backend": backend,
            "source": source,
            "whatIWanted": wish.what_i_wanted,
            "userIntent": wish.user_intent,
            "contextTool": wish.context_tool,
            "contextApp": wish.context_app,
            "suggestedShape": wish.suggested_shape,
            "agent": agent,
            "text": text,
        });
        let (this, id) = (self.clone(), (*ticket_id).to_owned());
        // On its own: a caller that goes away does not take the word back.
        let telling = tokio::spawn(async move { this.post(&id, body.to_string().into()).await });
        telling.await.unwrap_or(false)
    }

    async fn post(&self, id: &str, body: Bytes) -> bool {
        let request = Request::post(self.url.reveal())
            .header("content-type", "application/json")
            .body(body);
        let refused = match request {
            Ok(request) => match self.client.send(request, PATIENCE, MAX_ANSWER).await {
                Ok(answer) if answer.status.is_success() => None,
                Ok(answer) => Some(format!("it answered HTTP {}", answer.status.as_u16())),
                Err(error) => Some(error.to_string()),
            },
            Err(error) => Some(error.to_string()),
        };
        match refused {
            None => {
                info!(ticket.id = %id, "a blocking ticket was told to CORTEX_TICKET_WEBHOOK_URL");
                true
            }
            Some(why) => {
                warn!(
                    ticket.id = %id,
                    "a blocking ticket was not told to CORTEX_TICKET_WEBHOOK_URL ({:?}): {why}; \
                     hint: the ticket is kept, see `cortex-gateway tickets list`",
                    self.url
                );
                false
            }
        }
    }
}
