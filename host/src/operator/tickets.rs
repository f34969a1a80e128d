//! `cortex-gateway tickets`: everybody's tickets, and what is decided about them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::info;

use super::Failed;
use crate::store::Store;
use crate::ticket::{Answer, Book, Filter, Moment, Standing, Ticket, TicketError, TicketId};

/// What is asked about tickets.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tickets {
    /// Those that fit, newest first.
    List {
        /// Which.
        filter: Filter,
        /// How many at most.
        limit: usize,
    },
    /// One.
    Show(TicketId),
    /// Some, oldest first, from behind this one.
    After(Option<TicketId>),
    /// Something was decided.
    Decide {
        /// About which.
        id: TicketId,
        /// What.
        standing: Standing,
        /// What its reporter is told.
        answer: Option<String>,
    },
}

impl From<TicketError> for Failed {
    fn from(error: TicketError) -> Self {
        match error {
            TicketError::Store(error) => Self::Store(error),
            other => Self::Refused(other.to_string()),
        }
    }
}

pub(super) async fn run(store: &Store, asked: Tickets) -> Result<Value, Failed> {
    let book = Book::new(store);
    Ok(match asked {
        Tickets::List { filter, limit } => shown(&book.list(&filter, limit).await?),
        Tickets::After(id) => shown(&book.after(id).await?),
        Tickets::Show(id) => book.get(id).await?.to_operator(),
        Tickets::Decide {
            id,
            standing,
            answer,
        } => {
            let answer = answer.map(|text| Answer::new(&text)).transpose();
            let answer = answer.map_err(TicketError::from)?;
            let ticket = book.decide(id, standing, answer, Moment::now()).await?;
            info!(ticket.id = %id, ticket.status = %ticket.status(), "an operator decided about a ticket");
            ticket.to_operator()
        }
    })
}

fn shown(tickets: &[Ticket]) -> Value {
    let tickets: Vec<Value> = tickets.iter().map(Ticket::to_operator).collect();
    json!({ "tickets": tickets })
}
