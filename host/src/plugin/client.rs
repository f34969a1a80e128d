//! The `client` import: questions to the client in the middle of its request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::instance::State;
use super::v0_2::adapter::cortex::gateway::client::{AskError, Host};

/// Questions of one call.
const MOST: u32 = 32;

/// A question to the client, and where its answer goes.
pub struct Question {
    /// MCP method.
    pub method: String,
    /// Its params, JSON.
    pub params: String,
    /// The result, a JSON object, or why there is none.
    pub reply: oneshot::Sender<Result<String, AskError>>,
}

/// Where the question of a call lies until it is taken. Nobody is waked for it: a call asks while it is polled, and
/// whoever polls it looks here afterwards.
#[derive(Clone, Default)]
pub struct Questions(Arc<Mutex<Option<Question>>>);

impl Questions {
    /// The question that the call waits with.
    pub fn take(&self) -> Option<Question> {
        self.slot().take()
    }

    fn put(&self, question: Question) {
        *self.slot() = Some(question);
    }

    fn slot(&self) -> MutexGuard<'_, Option<Question>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host for State {
    async fn ask(&mut self, method: String, params: String) -> Result<String, AskError> {
        let nobody = || AskError::Unanswered("nobody can be asked here".to_owned());
        let questions = self.notices.questions.clone().ok_or_else(nobody)?;
        self.asked += 1;
        if self.asked > MOST {
            return Err(AskError::LimitExceeded(format!(
                "{MOST} questions in a call"
            )));
        }
        if crate::mcp::json::check(params.as_bytes()).is_err() {
            return Err(AskError::Invalid("the params are not JSON".to_owned()));
        }
        let (reply, answer) = oneshot::channel();
        // The clock of the call stands still for as long as this lives.
        let _held = self.patience.hold();
        questions.put(Question {
            method,
            params,
            reply,
        });
        answer.await.unwrap_or_else(|_| Err(nobody()))
    }
}
