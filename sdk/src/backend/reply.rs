//! What a tool answers.

use super::{Blob, Content, InputRequired, ToolOutcome, ToolResult};

/// What a tool answers: a result, a question, or something newer.
///
/// ```
/// use cortex_plugin_sdk::backend::{Content, Reply};
///
/// let plain = Reply::text("done");
/// let rich = Reply::text("A chart of 3 values")
///     .and(Content::image(vec![0x89, b'P', b'N', b'G'], "image/png"))
///     .structured(r#"{"values":[1,2,3]}"#);
/// let sorry = Reply::text("The index is being rebuilt: try again in a minute").error();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply(ToolOutcome);

impl Reply {
    /// A result of content blocks, in order; of none, if need be.
    pub fn new(content: impl IntoIterator<Item = Content>) -> Self {
        Self::from(ToolResult {
            content: content.into_iter().collect(),
            structured_content: None,
            is_error: false,
            meta: None,
            extra: None,
        })
    }

    /// A result of one text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new([Content::text(text)])
    }

    /// A result of one JSON text, for a tool that declares an output schema: as structured
    /// content, and as text for clients that read only that.
    pub fn json(json: impl Into<String>) -> Self {
        let json = json.into();
        Self::text(json.clone()).structured(json)
    }

    /// Asks the client something before the call can go on: `requests` is MCP `inputRequests` (a
    /// JSON object). The repeated call brings the answers, and `state`, in
    /// [`RequestContext::continuation`](super::RequestContext::continuation).
    pub fn ask(requests: impl Into<String>, state: impl Into<Vec<u8>>) -> Self {
        Self(ToolOutcome::InputRequired(InputRequired {
            requests: requests.into(),
            state: state.into(),
        }))
    }

    /// Adds a content block to a result.
    #[must_use]
    pub fn and(self, content: Content) -> Self {
        self.change(|result| result.content.push(content))
    }

    /// Gives a result its structured content, as JSON text.
    #[must_use]
    pub fn structured(self, json: impl Into<String>) -> Self {
        self.change(|result| result.structured_content = Some(json.into()))
    }

    /// Marks a result as an error that its content explains.
    #[must_use]
    pub fn error(self) -> Self {
        self.change(|result| result.is_error = true)
    }

    /// Gives a result its MCP `_meta`, a JSON object.
    #[must_use]
    pub fn meta(self, json: impl Into<String>) -> Self {
        self.change(|result| result.meta = Some(json.into()))
    }

    /// Gives a result further members (a JSON object) that a later revision of MCP or an extension names.
    #[must_use]
    pub fn extra(self, json: impl Into<String>) -> Self {
        self.change(|result| result.extra = Some(json.into()))
    }

    /// Questions are not results: they stay as they are.
    fn change(mut self, change: impl FnOnce(&mut ToolResult)) -> Self {
        if let Self(ToolOutcome::Complete(result)) = &mut self {
            change(result);
        }
        self
    }
}

impl From<ToolResult> for Reply {
    fn from(result: ToolResult) -> Self {
        Self(ToolOutcome::Complete(result))
    }
}

impl From<ToolOutcome> for Reply {
    fn from(outcome: ToolOutcome) -> Self {
        Self(outcome)
    }
}

impl From<Reply> for ToolOutcome {
    fn from(Reply(outcome): Reply) -> Self {
        outcome
    }
}

impl Content {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// An image: its bytes (the gateway encodes them) and its media type.
    pub fn image(data: impl Into<Vec<u8>>, mime_type: impl Into<String>) -> Self {
        Self::Image(Blob::new(data, mime_type))
    }

    /// Sound: its bytes and its media type.
    pub fn audio(data: impl Into<Vec<u8>>, mime_type: impl Into<String>) -> Self {
        Self::Audio(Blob::new(data, mime_type))
    }

    /// Any MCP content block as a JSON object, such as a `resource_link`.
    pub fn block(json: impl Into<String>) -> Self {
        Self::Block(json.into())
    }
}

impl Blob {
    /// Bytes and their media type.
    pub fn new(data: impl Into<Vec<u8>>, mime_type: impl Into<String>) -> Self {
        Self {
            data: data.into(),
            mime_type: mime_type.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_built_from_left_to_right() {
        let reply = Reply::text("a")
            .and(Content::audio([1, 2], "audio/wav"))
            .structured("{}")
            .meta(r#"{"k":1}"#)
            .extra(r#"{"later":2}"#)
            .error();
        assert_eq!(
            ToolOutcome::from(reply),
            ToolOutcome::Complete(ToolResult {
                content: vec![
                    Content::Text("a".into()),
                    Content::Audio(Blob {
                        data: vec![1, 2],
                        mime_type: "audio/wav".into()
                    }),
                ],
                structured_content: Some("{}".into()),
                is_error: true,
                meta: Some(r#"{"k":1}"#.into()),
                extra: Some(r#"{"later":2}"#.into()),
            })
        );
    }

    #[test]
    fn json_is_there_for_both_kinds_of_client() {
        assert_eq!(
            Reply::json("[1]"),
            Reply::new([Content::Text("[1]".into())]).structured("[1]")
        );
    }

    #[test]
    fn a_question_stays_a_question() {
        let question = Reply::ask("{}", "state");
        assert_eq!(question.clone().error().structured("1"), question);
    }
}
