//! What the owner of a tool is shown of its caller: the caller's token, one that it was exchanged for,
//! or that of the caller's own account there.

use super::{Gateway, Route};
use crate::account::{NoAccount, Owner, Unfit};
use crate::config::TokenMode;
use crate::oauth::NotExchanged;
use crate::pipeline::auth::Caller;
use crate::plugin::Shown;

/// Why an owner cannot be asked.
#[derive(Debug)]
pub(super) enum NotShown {
    /// The caller's account there has ended: it has to be linked again.
    LinkAgain,
    /// Something else: a stable word, and a sentence for the model.
    Failed(&'static str, String),
}

/// What to show to the backend of this route.
pub(super) async fn of(gw: &Gateway, caller: &Caller, route: &Route) -> Result<Shown, NotShown> {
    let id = &route.backend.id;
    match route.backend.token {
        TokenMode::None => Ok(Shown::Never),
        TokenMode::Passthrough => Ok(Shown::Caller(caller.token().secret().clone())),
        TokenMode::Exchange => exchanged(gw, caller, route).await,
        TokenMode::Linked => match gw.accounts.token(&owner(caller), id).await {
            Ok(found) => Ok(found.map_or(Shown::Nothing, |found| found.shown())),
            Err(error) => Err(not_shown(route, &error)),
        },
    }
}

/// What to show after the backend has refused this. `None`: there is nothing else.
pub(super) async fn instead(
    gw: &Gateway,
    caller: &Caller,
    route: &Route,
    refused: &Shown,
) -> Result<Option<Shown>, NotShown> {
    let Shown::Account(token, _) = refused else {
        return Ok(None);
    };
    let (owner, id) = (owner(caller), &route.backend.id);
    let renewed = gw
        .accounts
        .renewed(&owner, id, Unfit::Refused(token.clone()));
    match renewed.await {
        Ok(found) => Ok(found.map(|found| found.shown())),
        Err(error) => Err(not_shown(route, &error)),
    }
}

/// The backend refused an account's token though it was renewed a moment ago.
pub(super) async fn useless(gw: &Gateway, caller: &Caller, route: &Route, shown: &Shown) {
    if let Shown::Account(token, _) = shown {
        let id = &route.backend.id;
        if let Err(error) = gw.accounts.refused(&owner(caller), id, token).await {
            tracing::error!(backend.id = %id, "{error}");
        }
    }
}

/// Whose accounts a caller uses: their own.
pub(super) fn owner(caller: &Caller) -> Owner {
    let principal = caller.principal();
    Owner {
        issuer: principal.issuer.clone(),
        subject: principal.subject.clone(),
    }
}

async fn exchanged(gw: &Gateway, caller: &Caller, route: &Route) -> Result<Shown, NotShown> {
    let id = &route.backend.id;
    let failed = |why: String| NotShown::Failed("token_exchange", why);
    let Some(exchange) = &gw.exchange else {
        return Err(failed(format!(
            "Backend {id} wants a token of its own, and nothing exchanges any"
        )));
    };
    if caller.principal().dev_bypass {
        let why = "the development bypass has no token that could be exchanged";
        return Err(failed(format!(
            "Backend {id} wants a token of its own: {why}"
        )));
    }
    let target = &route.backend.exchange;
    let exchanged = exchange.token(id, target, caller.token().secret()).await;
    exchanged.map(Shown::Caller).map_err(|error| {
        tracing::warn!(backend.id = %id, "a token is not exchanged: {error}");
        // What the authorization server says is for the operator.
        failed(match error {
            NotExchanged::Refused(_) => {
                format!("Backend {id}: the authorization server gives you no token for it")
            }
            NotExchanged::Unavailable(_) => {
                format!("Backend {id}: no token for it can be had at the moment; try again")
            }
        })
    })
}

fn not_shown(route: &Route, error: &NoAccount) -> NotShown {
    let id = &route.backend.id;
    match error {
        NoAccount::Ended => NotShown::LinkAgain,
        NoAccount::Unavailable(_) => NotShown::Failed(
            "account_unavailable",
            format!("Your account at {id} cannot be renewed at the moment; try again later"),
        ),
        NoAccount::Vault(why) => {
            tracing::error!(backend.id = %id, "{why}");
            NotShown::Failed(
                "account_unavailable",
                format!("Your account at {id} cannot be read at the moment; try again later"),
            )
        }
    }
}
