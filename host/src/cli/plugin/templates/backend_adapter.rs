//! Greets people by the name that its backend knows them by.
use cortex_plugin_sdk::prelude::*;

struct Adapter;

impl Backend for Adapter {
    fn discover(_: &Target) -> Result<Catalog, CallError> {
        let greet = Tool::new("greet", "Greets somebody by their nickname").param("name", "string");
        // Callers need this scope to see and call it.
        Ok(Catalog::of([greet.scope("mcp:greetings:use")]))
    }

    fn call_tool(target: &Target, _: &Principal, call: &ToolCall) -> Result<Reply, CallError> {
        match call.tool.as_str() {
            "greet" => {
                let name: String = call.arg_str("name")?;
                // The gateway attaches the caller's token: nothing here ever sees it.
                let request = http::Request::post(target.url("/nicknames")).json(&*call.arguments);
                let response = request.as_caller().send()?;
                let nickname = response.text().unwrap_or(&name);
                Ok(Reply::text(format!("Hello, {nickname}!")))
            }
            other => Err(CallError::not_found(other)),
        }
    }
}

cortex_plugin_sdk::export_backend!(Adapter);

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_plugin_sdk::testing;

    #[test]
    fn it_greets_by_nickname() {
        let backend = testing::serve(|_| Ok(testing::response(200, "Countess")));
        let call = testing::call("greet", r#"{"name":"Ada"}"#);
        let reply = Adapter::call_tool(&testing::target(), &testing::caller(&[]), &call);
        assert_eq!(reply, Ok(Reply::text("Hello, Countess!")));
        assert_eq!(backend.requests()[0].url, "http://docs.test/nicknames");
    }
}
