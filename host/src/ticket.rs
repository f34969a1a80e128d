//! Tickets: what agents report that they could not do here, and what operators answer.
//!
//! A ticket belongs to the caller who reported it, by issuer and subject. Callers see their own,
//! operators see all. Where a wish is reported again within a day, by the same caller through the
//! same agent, its ticket is refreshed and not repeated.

mod book;
mod notify;
mod wish;
mod words;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::types::Principal;

pub use book::{Book, Filter, Own, Reported, TicketError};
pub use notify::{Blocking, Notifier};
pub use wish::{
    Answer, MAX_APP, MAX_INTENT, MAX_SHAPE, MAX_TOOL, MAX_WANTED, TextError, Wish, WishArguments,
};
pub use words::{Moment, NotATicketId, Severity, Status, TicketId, UnknownWord};

/// Whose a ticket is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    issuer: String,
    subject: String,
}

impl Owner {
    /// The caller.
    pub fn of(principal: &Principal) -> Self {
        Self {
            issuer: principal.issuer.to_string(),
            subject: principal.subject.to_string(),
        }
    }
}

/// What has been decided about a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Standing {
    /// Nothing yet.
    Open,
    /// Somebody has read it.
    Triaged,
    /// It will be done.
    Planned,
    /// It is done, or there was a way already.
    Resolved,
    /// It will not be done.
    WontFix,
    /// Another one says the same.
    Duplicate {
        /// That one.
        #[serde(rename = "duplicateOf")]
        of: TicketId,
    },
}

impl Standing {
    /// As one word.
    pub fn status(self) -> Status {
        match self {
            Self::Open => Status::Open,
            Self::Triaged => Status::Triaged,
            Self::Planned => Status::Planned,
            Self::Resolved => Status::Resolved,
            Self::WontFix => Status::WontFix,
            Self::Duplicate { .. } => Status::Duplicate,
        }
    }

    /// The ticket that says the same.
    fn duplicate_of(self) -> Option<TicketId> {
        match self {
            Self::Duplicate { of } => Some(of),
            _ => None,
        }
    }
}

/// One ticket, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    /// Its id.
    pub id: TicketId,
    /// Whose it is.
    owner: Owner,
    /// The OAuth client through which it was reported.
    agent: Option<String>,
    /// What was wished for.
    #[serde(flatten)]
    wish: Wish,
    /// First reported.
    created_at: Moment,
    /// Last reported.
    reported_at: Moment,
    /// Last changed, by whomever.
    updated_at: Moment,
    /// How many times it was reported.
    times_reported: u32,
    /// What was decided.
    #[serde(flatten)]
    standing: Standing,
    /// What the operator says.
    answer: Option<Answer>,
}

impl Ticket {
    /// What was decided, as one word.
    pub fn status(&self) -> Status {
        self.standing.status()
    }

    /// What the operator says.
    pub fn answer(&self) -> Option<&str> {
        self.answer.as_ref().map(Answer::as_str)
    }

    /// As operators see it.
    pub fn to_operator(&self) -> Value {
        let mut shown = self.shown(self.standing.duplicate_of());
        shown["issuer"] = self.owner.issuer.as_str().into();
        shown["subject"] = self.owner.subject.as_str().into();
        shown
    }

    /// As its owner sees it. `is_own`: whether a ticket is the same owner's; of another's nobody
    /// learns so much as the id.
    fn to_owner(&self, is_own: impl Fn(TicketId) -> bool) -> Value {
        self.shown(self.standing.duplicate_of().filter(|id| is_own(*id)))
    }

    fn shown(&self, duplicate_of: Option<TicketId>) -> Value {
        json!({
            "ticketId": self.id,
            "whatIWanted": self.wish.what_i_wanted,
            "userIntent": self.wish.user_intent,
            "severity": self.wish.severity,
            "contextTool": self.wish.context_tool,
            "contextApp": self.wish.context_app,
            "suggestedShape": self.wish.suggested_shape,
            "agent": self.agent,
            "status": self.status(),
            "answer": self.answer,
            "duplicateOf": duplicate_of,
            "createdAt": self.created_at.to_text(),
            "reportedAt": self.reported_at.to_text(),
            "updatedAt": self.updated_at.to_text(),
            "timesReported": self.times_reported,
        })
    }
}
