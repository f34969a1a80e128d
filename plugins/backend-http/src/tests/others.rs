//! What it makes of prompts and templates, and of the methods behind them.

use super::*;

/// Discovers with these answers to `list_prompts` and `list_resource_templates`.
fn discover(prompts: Answer, templates: Answer) -> Catalog {
    let _served = testing::serve(move |request| {
        assert_eq!(request.credential, Credential::Technical);
        match body(request) {
            sent if sent.contains("list_prompts") => prompts.clone(),
            sent if sent.contains("list_resource_templates") => templates.clone(),
            _ => Ok(response(200, r#"{"tools":[]}"#)),
        }
    });
    HttpBackend::discover(&target()).expect("a catalog")
}

fn left_out(catalog: &Catalog) -> Vec<String> {
    let skipped = catalog.skipped.iter();
    skipped
        .map(|skipped| format!("{}: {}", skipped.item, skipped.reason))
        .collect()
}

#[test]
fn prompts_and_templates_are_read() {
    let catalog = discover(
        Ok(response(
            200,
            r#"{"prompts":[{"name":"review","scope":"a","description":"d",
                "arguments":[{"name":"lang","required":true},{"name":"x"}]}]}"#,
        )),
        Ok(response(
            200,
            r#"{"resourceTemplates":[{"uriTemplate":"docs://{id}","name":"n","mimeType":"text/plain","scope":"b"}]}"#,
        )),
    );
    assert_eq!(left_out(&catalog), [""; 0]);
    let [prompt] = &catalog.prompts[..] else {
        panic!("one prompt")
    };
    let arguments: Vec<_> = prompt
        .arguments
        .iter()
        .map(|a| (a.name.as_str(), a.required))
        .collect();
    assert_eq!(arguments, [("lang", true), ("x", false)]);
    assert_eq!(prompt.scopes, ["a"]);
    let [template] = &catalog.resource_templates[..] else {
        panic!("one template")
    };
    assert_eq!(template.uri_template, "docs://{id}");
    assert_eq!(template.scopes, ["b"]);
}

#[test]
fn a_backend_without_them_has_none_and_a_broken_one_is_told_of() {
    for status in [400, 404, 501] {
        let unknown = || Ok(response(status, r#"{"error":"unknown method"}"#));
        assert_eq!(discover(unknown(), unknown()), Catalog::default());
    }
    let check = |prompts: Answer, said: &str| {
        let none = Ok(response(404, "{}"));
        let catalog = discover(prompts, none);
        assert!(catalog.prompts.is_empty());
        let told = left_out(&catalog);
        assert!(told.len() == 1 && told[0].contains(said), "{told:?}");
    };
    check(Err(HttpError::Timeout(5)), "did not answer");
    check(Ok(response(500, r#"{"error":"tired"}"#)), "HTTP 500: tired");
    check(Ok(response(200, "{}")), "`prompts` array");
    check(
        Ok(response(200, r#"{"prompts":[{"name":"x"}]}"#)),
        "prompt `x`: it has no `scope`",
    );
    check(
        Ok(response(200, r#"{"prompts":[{"scope":"a","name":""}]}"#)),
        "its `name` is empty",
    );
}

#[test]
fn they_are_had_as_the_caller() {
    let served = testing::serve(|request| {
        Ok(response(
            200,
            if body(request).contains("get_prompt") {
                r#"{"description":"d","messages":[ {"role":"user"} ]}"#
            } else {
                r#"{"contents":[{"uri":"docs://1","text":"t"}]}"#
            },
        ))
    });
    let call = PromptCall {
        prompt: "re\"view".into(),
        arguments: r#"{"lang":"de"}"#.into(),
        context: testing::context(),
    };
    let prompt = HttpBackend::get_prompt(&target(), &caller(&[]), &call);
    let Ok(PromptOutcome::Complete(prompt)) = prompt else {
        panic!("{prompt:?}")
    };
    assert_eq!(prompt.description.as_deref(), Some("d"));
    assert_eq!(prompt.messages, r#"[ {"role":"user"} ]"#);
    let read = ResourceRead {
        uri: "docs://1".into(),
        context: testing::context(),
    };
    let resource = HttpBackend::read_resource(&target(), &caller(&[]), &read);
    let Ok(ResourceOutcome::Complete(resource)) = resource else {
        panic!("{resource:?}")
    };
    assert_eq!(resource.contents, r#"[{"uri":"docs://1","text":"t"}]"#);
    let sent = served.requests();
    assert!(sent.iter().all(|r| r.credential == Credential::Caller));
    assert_eq!(
        body(&sent[0]),
        r#"{"method":"get_prompt","params":{"name":"re\"view","arguments":{"lang":"de"}}}"#
    );
    assert_eq!(
        body(&sent[1]),
        r#"{"method":"read_resource","params":{"uri":"docs://1"}}"#
    );
}
