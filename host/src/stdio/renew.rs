//! A session that the server has ended is begun anew, without the client noticing (MCP
//! 2025-11-25, "Session Management": 404 means that a new one must be started).

use std::sync::Arc;

use bytes::Bytes;
use tracing::info;

use super::answer::Parts;
use super::bridge::Bridge;
use super::exchange::{agreed_version, response};
use super::session::{SESSION_ID, Session};
use super::transport::Fields;

const INITIALIZED: &[u8] = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// Begins a session in the place of `lost`, unless somebody has done so meanwhile.
///
/// # Errors
/// Why there is none, for the client.
pub(super) async fn session(bridge: &Arc<Bridge>, lost: &Session) -> Result<(), String> {
    let _one_at_a_time = bridge.sessions.renewing.lock().await;
    if bridge
        .sessions
        .current()
        .is_some_and(|session| session.number != lost.number)
    {
        return Ok(());
    }
    let failed = |why: String| format!("the MCP session ended and cannot be begun anew: {why}");
    let answer = bridge
        .transport
        .post(&lost.initialize, &Fields::new())
        .await;
    let answer = answer.map_err(|trouble| failed(trouble.to_string()))?;
    let id = answer.headers().get(SESSION_ID).cloned();
    let message = response(answer).await.map_err(failed)?;
    let result = Parts::read(&message).and_then(|parts| parts.result);
    let version = result.and_then(agreed_version);
    if version.as_deref() != Some(lost.version.as_str()) {
        // The client goes by what it was told.
        return Err(failed(
            "the server speaks another revision now; restart this client".to_owned(),
        ));
    }
    let session = bridge
        .sessions
        .begin(lost.initialize.clone(), id, lost.version.clone());
    let initialized = bridge
        .transport
        .post(&Bytes::from_static(INITIALIZED), &session.fields())
        .await;
    initialized.map_err(|trouble| failed(trouble.to_string()))?;
    bridge.listen(session);
    info!("the MCP session had ended and was begun anew");
    Ok(())
}
