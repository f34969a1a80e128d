//! Where tickets are kept, and how they change.
//!
//! Three tables: the tickets, which ticket a wish belongs to, and which tickets an owner has. What
//! changes together is one batch that expects what was read, and is tried again when somebody else
//! was faster.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::{Answer, Moment, Owner, Severity, Standing, Status, TextError, Ticket, TicketId, Wish};
use crate::store::{Batch, Committed, Found, Scan, Space, Store, StoreError, Table};

/// How long a wish that is reported again is the same ticket.
const SAME: Duration = Duration::from_secs(24 * 60 * 60);
/// New tickets of one owner within a day.
const MAX_A_DAY: usize = 50;
/// Tickets of one owner in all. Beyond, the oldest that is settled makes room.
const MAX_OWNED: usize = 500;
/// How often a change is tried when others change the same records.
const TRIES: u32 = 100;
/// Tickets that are read at a time.
const PAGE: usize = 200;

const TICKETS: Table<Ticket> = Table::new(Space::Tickets, 1);
const WISHES: Table<TicketId> = Table::new(Space::TicketWishes, 1);
const OWNERS: Table<Owned> = Table::new(Space::TicketOwners, 1);

/// The tickets of one owner.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Owned {
    /// Newest last.
    tickets: Vec<Held>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Held {
    id: TicketId,
    created_at: Moment,
}

/// Why something could not be done with tickets.
#[derive(Debug, Error)]
pub enum TicketError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The owner has reported enough for a day.
    #[error(
        "{MAX_A_DAY} new tickets within 24 hours are all you may report; hint: report again what matters most tomorrow"
    )]
    TooManyToday,
    /// The owner has too many that nobody has settled.
    #[error(
        "you have {MAX_OWNED} tickets that are not settled, which are all you may have; hint: ask the gateway's \
         operator to go through them"
    )]
    TooMany,
    /// There is no such ticket.
    #[error("there is no ticket `{0}`; hint: `cortex-gateway tickets list` shows them")]
    Unknown(TicketId),
    /// It would be a duplicate of itself, or of one that is a duplicate.
    #[error(
        "ticket `{0}` cannot be what this one is a duplicate of; hint: name one that is neither this one nor a \
         duplicate itself"
    )]
    NoOriginal(TicketId),
    /// The agent would not learn why.
    #[error("a ticket is not settled without an answer; hint: add --answer, the agent reads it")]
    NeedsAnswer,
    /// The answer cannot be kept.
    #[error(transparent)]
    Text(#[from] TextError),
}

/// What became of a report.
pub struct Reported {
    /// The ticket.
    pub ticket: Ticket,
    /// Whether it was there already.
    pub deduplicated: bool,
}

/// Which tickets are meant. All that is named has to fit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// What was decided.
    pub status: Option<Status>,
    /// How much is lost.
    pub severity: Option<Severity>,
    /// Where it was missed.
    pub context_app: Option<String>,
    /// Through which OAuth client.
    pub agent: Option<String>,
    /// Who reported it.
    pub subject: Option<String>,
}

impl Filter {
    fn fits(&self, ticket: &Ticket) -> bool {
        fn is<T: PartialEq>(wanted: Option<T>, found: Option<T>) -> bool {
            wanted.is_none() || wanted == found
        }
        let (wish, owner) = (&ticket.wish, &ticket.owner);
        is(self.status, Some(ticket.status()))
            && is(self.severity, Some(wish.severity))
            && is(self.context_app.as_deref(), wish.app())
            && is(self.agent.as_deref(), ticket.agent.as_deref())
            && is(self.subject.as_deref(), Some(owner.subject.as_str()))
    }
}

/// Some of an owner's tickets.
pub struct Own {
    tickets: Vec<Ticket>,
    all: BTreeSet<TicketId>,
}

impl Own {
    /// As the owner sees them, newest first.
    pub fn shown(&self) -> Vec<Value> {
        let is_own = |id| self.all.contains(&id);
        let tickets = self.tickets.iter();
        tickets.map(|ticket| ticket.to_owner(is_own)).collect()
    }
}

/// All tickets that the gateway keeps itself.
#[derive(Clone)]
pub struct Book(Store);

impl Book {
    /// In this store.
    pub fn new(store: &Store) -> Self {
        Self(store.clone())
    }

    /// Keeps a wish: as a new ticket, or in the one that is there. When this returns, it is on disk.
    ///
    /// # Errors
    /// [`TicketError::Store`], [`TicketError::TooMany`], [`TicketError::TooManyToday`].
    pub async fn report(
        &self,
        owner: &Owner,
        agent: Option<&str>,
        wish: &Wish,
        now: Moment,
    ) -> Result<Reported, TicketError> {
        let key = wish.key(owner, agent);
        for tried in 0..TRIES {
            let known = WISHES.get(&self.0, &key).await?;
            let earlier = match &known {
                Some(known) => TICKETS.get(&self.0, known.value.key()).await?,
                None => None,
            };
            let mut batch = Batch::default();
            // Whoever reports the same at this moment changes this, too.
            WISHES.expect(&mut batch, &key, known.as_ref());
            let again = earlier.filter(|it| now.is_within(SAME, it.value.reported_at));
            let deduplicated = again.is_some();
            let ticket = match again {
                Some(found) => refresh(&mut batch, &found, wish, now)?,
                None => self.add(&mut batch, &key, owner, agent, wish, now).await?,
            };
            if self.0.commit(batch).await? == Committed::Yes {
                return Ok(Reported {
                    ticket,
                    deduplicated,
                });
            }
            pause(tried).await;
        }
        Err(StoreError::Contended.into())
    }

    /// Puts a new ticket into a change.
    async fn add(
        &self,
        batch: &mut Batch,
        key: &[u8],
        owner: &Owner,
        agent: Option<&str>,
        wish: &Wish,
        now: Moment,
    ) -> Result<Ticket, TicketError> {
        let found = OWNERS.get(&self.0, &owner.key()).await?;
        let mut owned = found
            .as_ref()
            .map(|it| it.value.clone())
            .unwrap_or_default();
        let held = &mut owned.tickets;
        let today = held.iter().filter(|it| now.is_within(SAME, it.created_at));
        if today.count() >= MAX_A_DAY {
            return Err(TicketError::TooManyToday);
        }
        if held.len() >= MAX_OWNED {
            let gone = self.make_room(batch, key, held).await?;
            held.retain(|it| it.id != gone);
        }
        let ticket = Ticket {
            id: TicketId::make(),
            owner: owner.clone(),
            agent: agent.map(str::to_owned),
            wish: wish.clone(),
            created_at: now,
            reported_at: now,
            updated_at: now,
            times_reported: 1,
            standing: Standing::Open,
            answer: None,
        };
        held.push(Held {
            id: ticket.id,
            created_at: now,
        });
        OWNERS.expect(batch, &owner.key(), found.as_ref());
        OWNERS.put(batch, &owner.key(), &owned)?;
        WISHES.put(batch, key, &ticket.id)?;
        TICKETS.expect(batch, ticket.id.key(), None);
        TICKETS.put(batch, ticket.id.key(), &ticket)?;
        Ok(ticket)
    }

    /// Takes the oldest settled ticket away. `key`: the wish that is about to be written, and so
    /// must not be removed.
    async fn make_room(
        &self,
        batch: &mut Batch,
        key: &[u8],
        held: &[Held],
    ) -> Result<TicketId, TicketError> {
        for Held { id, .. } in held {
            let Some(old) = TICKETS.get(&self.0, id.key()).await? else {
                return Ok(*id);
            };
            let Found { value: ticket, .. } = &old;
            if !ticket.status().is_settled() {
                continue;
            }
            TICKETS.expect(batch, id.key(), Some(&old));
            TICKETS.remove(batch, id.key());
            let its_key = ticket.wish.key(&ticket.owner, ticket.agent.as_deref());
            let its_wish = WISHES.get(&self.0, &its_key).await?;
            if its_key != key && its_wish.as_ref().is_some_and(|wish| wish.value == *id) {
                WISHES.expect(batch, &its_key, its_wish.as_ref());
                WISHES.remove(batch, &its_key);
            }
            return Ok(*id);
        }
        Err(TicketError::TooMany)
    }

    /// An owner's tickets, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn own(
        &self,
        owner: &Owner,
        filter: &Filter,
        limit: usize,
    ) -> Result<Own, StoreError> {
        let found = OWNERS.get(&self.0, &owner.key()).await?;
        let held = found.map(|it| it.value.tickets).unwrap_or_default();
        let mut tickets = Vec::new();
        for Held { id, .. } in held.iter().rev() {
            if tickets.len() == limit {
                break;
            }
            let found = TICKETS.get(&self.0, id.key()).await?.map(|it| it.value);
            // Whose it is stands in the ticket, too: a mistake in one place shows nobody's.
            tickets.extend(found.filter(|it| it.owner == *owner && filter.fits(it)));
        }
        Ok(Own {
            tickets,
            all: held.iter().map(|it| it.id).collect(),
        })
    }

    /// One ticket, of whomever.
    ///
    /// # Errors
    /// [`TicketError::Unknown`], [`TicketError::Store`].
    pub async fn get(&self, id: TicketId) -> Result<Ticket, TicketError> {
        Ok(self.found(id).await?.value)
    }

    async fn found(&self, id: TicketId) -> Result<Found<Ticket>, TicketError> {
        let found = TICKETS.get(&self.0, id.key()).await?;
        found.ok_or(TicketError::Unknown(id))
    }

    /// Everybody's tickets, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self, filter: &Filter, limit: usize) -> Result<Vec<Ticket>, StoreError> {
        let (mut tickets, mut before) = (Vec::new(), None);
        loop {
            let page = self.page(before, true).await?;
            let Some(last) = page.last() else {
                return Ok(tickets);
            };
            before = Some(last.id);
            let wanted = limit - tickets.len();
            tickets.extend(page.into_iter().filter(|it| filter.fits(it)).take(wanted));
            if tickets.len() >= limit {
                return Ok(tickets);
            }
        }
    }

    /// Everybody's tickets, oldest first, from behind this one: some at a time. Nothing: the end.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn after(&self, id: Option<TicketId>) -> Result<Vec<Ticket>, StoreError> {
        self.page(id, false).await
    }

    async fn page(
        &self,
        after: Option<TicketId>,
        backwards: bool,
    ) -> Result<Vec<Ticket>, StoreError> {
        let scan = Scan {
            prefix: Vec::new(),
            after: after.map(|id| id.key().to_vec()),
            backwards,
            limit: PAGE,
        };
        let found = TICKETS.scan(&self.0, scan).await?;
        Ok(found.into_iter().map(|(_, it)| it.value).collect())
    }

    /// An operator decides. Without an answer, an earlier one stays.
    ///
    /// # Errors
    /// [`TicketError`].
    pub async fn decide(
        &self,
        id: TicketId,
        standing: Standing,
        answer: Option<Answer>,
        now: Moment,
    ) -> Result<Ticket, TicketError> {
        for tried in 0..TRIES {
            let found = self.found(id).await?;
            let mut batch = Batch::default();
            if let Standing::Duplicate { of } = standing {
                let original = self.found(of).await?;
                if of == id || original.value.status() == Status::Duplicate {
                    return Err(TicketError::NoOriginal(of));
                }
                TICKETS.expect(&mut batch, of.key(), Some(&original));
            }
            let mut ticket = found.value.clone();
            ticket.standing = standing;
            ticket.updated_at = now;
            ticket.answer = answer.clone().or(ticket.answer);
            // The original says enough of a duplicate.
            let told = matches!(standing, Standing::Resolved | Standing::WontFix);
            if told && ticket.answer.is_none() {
                return Err(TicketError::NeedsAnswer);
            }
            TICKETS.expect(&mut batch, id.key(), Some(&found));
            TICKETS.put(&mut batch, id.key(), &ticket)?;
            if self.0.commit(batch).await? == Committed::Yes {
                return Ok(ticket);
            }
            pause(tried).await;
        }
        Err(StoreError::Contended.into())
    }
}

/// Puts a ticket that is reported again into a change.
fn refresh(
    batch: &mut Batch,
    found: &Found<Ticket>,
    wish: &Wish,
    now: Moment,
) -> Result<Ticket, StoreError> {
    let mut ticket = found.value.clone();
    ticket.wish.refresh(wish);
    ticket.reported_at = now;
    ticket.updated_at = now;
    ticket.times_reported = ticket.times_reported.saturating_add(1);
    TICKETS.expect(batch, ticket.id.key(), Some(found));
    TICKETS.put(batch, ticket.id.key(), &ticket)?;
    Ok(ticket)
}

/// Lets whoever was faster finish.
async fn pause(tried: u32) {
    tokio::time::sleep(Duration::from_millis(u64::from(tried.min(20)))).await;
}

#[cfg(test)]
mod tests;
