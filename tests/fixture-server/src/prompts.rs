//! Prompts, and the completion of their arguments.

use rmcp::ErrorData;
use rmcp::model::{
    CompleteRequestParams, CompleteResult, CompletionInfo, ContentBlock, GetPromptResult,
    JsonObject, Prompt, PromptArgument, PromptMessage, ResourceContents, Role,
};
use serde_json::Value;

use crate::ask::{Answers, Ask, Outcome, broken, field};
use crate::media;

/// What the arguments of the prompts and the id of the template are completed to.
const WORDS: [&str; 4] = ["test", "testValue1", "testValue2", "text"];

/// The prompt that comes and goes.
const EXTRA: &str = "test_extra_prompt";

/// `prompts/list`.
pub(crate) fn list(with_extra: bool) -> Vec<Prompt> {
    let argument = |name: &str, description: &str| {
        PromptArgument::new(name)
            .with_description(description)
            .with_required(true)
    };
    let prompt =
        |name: &str, description: &str, arguments| Prompt::new(name, Some(description), arguments);
    let mut prompts = vec![
        prompt("test_simple_prompt", "One sentence", None),
        prompt(
            "test_prompt_with_arguments",
            "A sentence with both arguments in it",
            Some(vec![
                argument("arg1", "The first word"),
                argument("arg2", "The second word"),
            ]),
        ),
        prompt(
            "test_prompt_with_embedded_resource",
            "A resource and a request to look at it",
            Some(vec![argument("resourceUri", "The URI that it shall have")]),
        ),
        prompt(
            "test_prompt_with_image",
            "A picture and a request to look at it",
            None,
        ),
        prompt(
            "test_input_required_result_prompt",
            "Asks the user for context first",
            None,
        ),
    ];
    if with_extra {
        prompts.push(prompt(EXTRA, "Comes and goes", None));
    }
    prompts
}

/// `prompts/get`, as far as the answers of the client go.
pub(crate) fn get(
    name: &str,
    arguments: &JsonObject,
    answers: &Answers,
) -> Result<Outcome<GetPromptResult>, ErrorData> {
    let messages = match name {
        "test_simple_prompt" => vec![say("This is a simple prompt for testing.")],
        "test_prompt_with_arguments" => {
            let (first, second) = (word(arguments, "arg1")?, word(arguments, "arg2")?);
            vec![say(&format!(
                "Prompt with arguments: arg1='{first}', arg2='{second}'"
            ))]
        }
        "test_prompt_with_embedded_resource" => {
            let uri = word(arguments, "resourceUri")?;
            let resource = ResourceContents::text("Embedded resource content for testing.", uri)
                .with_mime_type("text/plain");
            vec![
                PromptMessage::new(Role::User, ContentBlock::resource(resource)),
                say("Please process the embedded resource above."),
            ]
        }
        "test_prompt_with_image" => vec![
            PromptMessage::new(Role::User, ContentBlock::image(media::PNG, "image/png")),
            say("Please analyze the image above."),
        ],
        "test_input_required_result_prompt" => {
            let Some(context) = answers
                .field("user_context", "context")
                .and_then(Value::as_str)
            else {
                let question = field("What context should the prompt use?", "context", "string")?;
                return Ok(Outcome::Ask(Ask::one("user_context", question)));
            };
            vec![say(&format!("Prompt with context: {context}"))]
        }
        EXTRA => vec![say("This prompt comes and goes.")],
        _ => return Err(ErrorData::invalid_params("no such prompt", None)),
    };
    Ok(Outcome::Done(GetPromptResult::new(messages)))
}

/// `completion/complete`: the words that begin with what is there.
pub(crate) fn complete(request: &CompleteRequestParams) -> Result<CompleteResult, ErrorData> {
    let values = WORDS
        .iter()
        .filter(|word| word.starts_with(&request.argument.value))
        .map(|word| (*word).to_owned())
        .collect();
    let completion = CompletionInfo::with_all_values(values).map_err(broken)?;
    Ok(CompleteResult::new(completion))
}

fn say(text: &str) -> PromptMessage {
    PromptMessage::new_text(Role::User, text)
}

fn word<'a>(arguments: &'a JsonObject, name: &str) -> Result<&'a str, ErrorData> {
    arguments
        .get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| ErrorData::invalid_params(format!("argument `{name}` is missing"), None))
}
