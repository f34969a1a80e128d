//! The `client` import: questions to the client in the middle of its request.

use tokio::sync::{mpsc, oneshot};

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

/// Takes the questions of one call. Boxed: the way for them is made for each call, with room for 32, and hardly one asks.
pub type QuestionSink = mpsc::Sender<Box<Question>>;

impl Host for State {
    async fn ask(&mut self, method: String, params: String) -> Result<String, AskError> {
        let nobody = || AskError::Unanswered("nobody can be asked here".to_owned());
        let sink = self.notices.questions.clone().ok_or_else(nobody)?;
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
        let question = Question {
            method,
            params,
            reply,
        };
        // The clock of the call stands still for as long as this lives.
        let _held = self.patience.hold();
        sink.send(Box::new(question)).await.map_err(|_| nobody())?;
        answer.await.unwrap_or_else(|_| Err(nobody()))
    }
}
