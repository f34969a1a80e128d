//! An authorization code: where it is asked for, and what it is redeemed for. Linking an account and
//! signing in differ in what they remember meanwhile, and in what becomes of the token.

use url::Url;

use super::link::LinkError;
use super::provider::Clients;
use crate::config::StaticClient;
use crate::oauth_client::authorize::{Authorization, Response};
use crate::oauth_client::discover::Place;
use crate::oauth_client::fetch::Http;
use crate::oauth_client::pkce::Pkce;
use crate::oauth_client::register::Registered;
use crate::oauth_client::token;
use crate::types::ScopeSet;

/// One authorization server, and as whom it is asked.
pub(super) struct Desk<'a> {
    /// Reaches it.
    pub(super) http: &'a Http,
    /// Where it is.
    pub(super) place: &'a Place,
    /// As whom the gateway is known there.
    pub(super) clients: &'a Clients,
    /// The client that the operator gave.
    pub(super) given: Option<&'a StaticClient>,
    /// Where the browser comes back to.
    pub(super) redirect: String,
}

impl Desk<'_> {
    pub(super) async fn client(&self) -> Result<Registered, LinkError> {
        let server = &self.place.server;
        let client = self
            .clients
            .get(self.http, server, self.given, &self.redirect);
        client.await
    }

    /// Where the browser goes to have a code given out.
    pub(super) fn authorization(
        &self,
        endpoint: &Url,
        client: &Registered,
        state: &str,
        pkce: &Pkce,
        scopes: &ScopeSet,
    ) -> Url {
        Authorization {
            client_id: &client.id,
            redirect: &self.redirect,
            state,
            pkce,
            resource: &self.place.resource,
            scopes,
        }
        .url(endpoint)
    }

    /// What the code in this answer is good for.
    pub(super) async fn redeem(
        &self,
        response: Response,
        verifier: &str,
    ) -> Result<(token::Answer, Registered), LinkError> {
        let server = &self.place.server;
        let code = response.code(&server.issuer, server.promises_iss);
        let code = code.map_err(|error| LinkError::Refused(error.to_string()))?;
        let client = self.client().await?;
        let redeemed = token::redeem(
            self.http,
            self.place,
            &client,
            &code,
            &self.redirect,
            verifier,
        );
        match redeemed.await {
            Ok(answer) => Ok((answer, client)),
            Err(error) => {
                if error.code() == Some("invalid_client") {
                    self.clients.forget(&server.issuer, &self.redirect).await;
                }
                Err(LinkError::Refused(error.to_string()))
            }
        }
    }
}
