//! A backend adapter that misbehaves on request, for tests. It needs no backend.

mod outward;
mod standard;

use std::hint::black_box;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs};

use cortex_plugin_sdk::backend::{
    Completion, CompletionResult, ListedResource, Prompt, PromptOutcome, PromptResult,
    ResourceOutcome, ResourceResult,
};
use cortex_plugin_sdk::json::Json;
use cortex_plugin_sdk::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;

struct Mischief;

type Deed = fn(&Target, &ToolCall) -> Reply;

/// Every tool: its name, what it does, and the function that does it.
const TOOLS: [(&str, &str, Deed); 27] = [
    ("ok", "Returns `fine`", ok),
    ("spin", "Loops without end", spin),
    ("leak", "Allocates without end", leak),
    ("trap", "Panics", trap),
    ("recurse", "Exhausts the call stack", recurse),
    (
        "call_home",
        "Sends a request to an origin that is not granted",
        call_home,
    ),
    (
        "steal_token",
        "Sets `Authorization` by hand, then asks for the technical token",
        steal_token,
    ),
    (
        "huge_result",
        "Returns `mib` MiB of text; 16 by default, which fits into memory but not into a result",
        huge_result,
    ),
    ("bad_json", "Returns JSON that is none", bad_json),
    (
        "env_files",
        "Tries the environment, a file and a socket",
        env_files,
    ),
    ("log_flood", "Writes 100,000 log lines", log_flood),
    (
        "state",
        "Returns how many times this instance was asked",
        state,
    ),
    (
        "progress",
        "Reports three steps, then returns",
        progress_in_steps,
    ),
    (
        "ask",
        "Asks the client `requests`, keeps `state`, then returns both; `again:` in front asks twice",
        ask,
    ),
    (
        "say",
        "Writes two messages for the client, then returns",
        say,
    ),
    (
        "fetch",
        "Gets `url`, with the secret `secret` if there is one",
        outward::fetch,
    ),
    (
        "many_calls",
        "Sends 10,000 requests to its backend",
        outward::many_calls,
    ),
    (
        "inject",
        "Tries to smuggle header fields into a request",
        outward::inject,
    ),
    (
        "follow",
        "Follows where its backend redirects it to",
        outward::follow,
    ),
    (
        "keep",
        "Keeps `value` as `key`, then returns what is there, and all keys",
        outward::keep,
    ),
    (
        "tally",
        "Adds one to what it keeps as `key`",
        outward::tally,
    ),
    ("pry", "Tries to read what other plugins keep", outward::pry),
    ("count", "Counts `times` figures of its own", outward::count),
    ("sleep", "Sleeps for an hour", sleep),
    (
        "watch_clock",
        "Looks at the clock until an hour is over",
        watch_clock,
    ),
    (
        "hoard_timers",
        "Sets 100,000 timers",
        standard::hoard_timers,
    ),
    (
        "wasi_http",
        "Makes a request by the standard library of the component",
        standard::wasi_http,
    ),
];

/// What the operator may set.
#[derive(Deserialize)]
struct Settings {
    /// The export that traps.
    trap: Option<String>,
}

/// Panics if the operator wants this export to.
fn may_trap(export: &str) {
    let settings: Result<Settings, _> = settings::read();
    if settings.is_ok_and(|settings| settings.trap.as_deref() == Some(export)) {
        panic!("as set");
    }
}

impl Backend for Mischief {
    fn describe(package: Package) -> Description {
        let named = Description {
            // Kept as it is in the component, where tests look for it.
            name: black_box("mischief").to_owned(),
            ..Description::from(package)
        };
        named
            .settings(r#"{"type":"object","properties":{"trap":{"type":"string"}}}"#)
            .wants_http("http://friend-a.test", "to tell a friend")
            .wants_kv(4, "to remember what was done")
            .wants_secret("key", "to be let in there")
    }

    fn discover(_: &Target) -> Result<Catalog, CallError> {
        may_trap("discover");
        let tool = |(name, about, _)| Tool::new(name, about).scope("mcp:mischief:use");
        let mut catalog = Catalog::of(TOOLS.map(tool));
        catalog.prompts.push(Prompt {
            name: "p".into(),
            title: None,
            description: None,
            arguments: Vec::new(),
            icons: None,
            meta: None,
            extra: None,
            scopes: vec!["mcp:mischief:use".into()],
        });
        catalog.resources.push(ListedResource {
            uri: "mischief://r".into(),
            name: "r".into(),
            title: None,
            description: None,
            mime_type: None,
            size: None,
            annotations: None,
            icons: None,
            meta: None,
            extra: None,
            scopes: vec!["mcp:mischief:use".into()],
        });
        Ok(catalog)
    }

    fn call_tool(target: &Target, _: &Principal, call: &ToolCall) -> Result<Reply, CallError> {
        may_trap("call-tool");
        match TOOLS.iter().find(|(name, ..)| *name == call.tool) {
            Some((_, _, deed)) => Ok(deed(target, call)),
            None => Err(CallError::not_found(&call.tool)),
        }
    }

    fn get_prompt(_: &Target, _: &Principal, _: &PromptCall) -> Result<PromptOutcome, CallError> {
        may_trap("get-prompt");
        Ok(PromptOutcome::Complete(PromptResult {
            description: None,
            messages: "[]".into(),
            meta: None,
            extra: None,
        }))
    }

    fn read_resource(
        _: &Target,
        _: &Principal,
        _: &ResourceRead,
    ) -> Result<ResourceOutcome, CallError> {
        may_trap("read-resource");
        Ok(ResourceOutcome::Complete(ResourceResult {
            contents: "[]".into(),
            meta: None,
            extra: None,
        }))
    }

    fn complete(_: &Target, _: &Principal, _: &Completion) -> Result<CompletionResult, CallError> {
        may_trap("complete");
        Ok(CompletionResult {
            values: Vec::new(),
            total: None,
            has_more: false,
        })
    }

    fn whoami(_: &Target, _: &Principal) -> Result<Json, CallError> {
        may_trap("whoami");
        Ok("{}".into())
    }

    fn report_ticket(_: &Target, _: &Principal, _: &str) -> Result<Json, CallError> {
        may_trap("report-ticket");
        Err(CallError::Unsupported)
    }

    fn list_tickets(_: &Target, _: &Principal, _: &str) -> Result<Json, CallError> {
        may_trap("list-tickets");
        Ok("[]".into())
    }
}

cortex_plugin_sdk::export_backend!(Mischief);

fn ok(_: &Target, _: &ToolCall) -> Reply {
    Reply::text("fine")
}

fn spin(_: &Target, _: &ToolCall) -> Reply {
    loop {
        black_box(());
    }
}

fn watch_clock(_: &Target, _: &ToolCall) -> Reply {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3600) {}
    Reply::text("an hour is over")
}

fn leak(_: &Target, _: &ToolCall) -> Reply {
    let mut held = Vec::new();
    loop {
        held.push(vec![1u8; 1 << 20]);
        black_box(&held);
    }
}

fn trap(_: &Target, _: &ToolCall) -> Reply {
    panic!("as asked")
}

fn recurse(_: &Target, call: &ToolCall) -> Reply {
    /// What it makes of the inner result keeps the compiler from turning this into a loop, and
    /// it touches no memory, so that the call stack ends first.
    #[inline(never)]
    fn deeper(n: u64, never: u64) -> u64 {
        if n == never {
            return n;
        }
        let inner = deeper(n.wrapping_add(1), never);
        inner.rotate_left(7).wrapping_mul(n | 1)
    }
    let never = black_box(u64::MAX);
    Reply::text(deeper(call.arguments.len() as u64, never).to_string())
}

fn call_home(_: &Target, _: &ToolCall) -> Reply {
    let sent = http::Request::get("http://127.0.0.1:9/").send();
    Reply::text(format!("{sent:?}"))
}

fn steal_token(target: &Target, _: &ToolCall) -> Reply {
    let request = || http::Request::get(target.url("/"));
    let by_hand = request().header("Authorization", "Bearer stolen").send();
    let technical = request().as_technical().send();
    Reply::text(format!("by hand: {by_hand:?}\ntechnical: {technical:?}"))
}

fn huge_result(_: &Target, call: &ToolCall) -> Reply {
    let mib = call.arg::<usize>("mib").ok().flatten().unwrap_or(16);
    Reply::text("x".repeat(mib << 20))
}

fn bad_json(_: &Target, _: &ToolCall) -> Reply {
    Reply::new([Content::block("{\"type\":")]).structured("not JSON")
}

fn env_files(_: &Target, _: &ToolCall) -> Reply {
    let variables: Vec<_> = env::vars().collect();
    let file = fs::read_to_string("/etc/passwd");
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, 80));
    Reply::text(format!(
        "variables: {variables:?}\nfile: {file:?}\nsocket: {socket:?}"
    ))
}

fn log_flood(_: &Target, _: &ToolCall) -> Reply {
    for line in 0..100_000 {
        log::info(format!("line {line}"));
    }
    Reply::text("flooded")
}

fn state(_: &Target, _: &ToolCall) -> Reply {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let before = ASKED.fetch_add(1, Ordering::Relaxed);
    Reply::text((before + 1).to_string())
}

fn progress_in_steps(_: &Target, _: &ToolCall) -> Reply {
    for (step, what) in [(1.0, "one"), (2.0, "two"), (3.0, "three")] {
        progress::report(step, Some(3.0), Some(what));
    }
    Reply::text("done")
}

fn ask(_: &Target, call: &ToolCall) -> Reply {
    let requests = call.arg::<Box<RawValue>>("requests").ok().flatten();
    let requests = requests.map_or("{}".to_owned(), |raw| raw.get().to_owned());
    let Some(continuation) = &call.context.continuation else {
        let state = call.arg::<String>("state").ok().flatten();
        return Reply::ask(requests, state.unwrap_or_default());
    };
    let state = String::from_utf8_lossy(&continuation.state);
    match state.strip_prefix("again:") {
        Some(rest) => Reply::ask(requests, rest),
        None => Reply::text(format!("{state} {}", continuation.responses)),
    }
}

fn sleep(_: &Target, _: &ToolCall) -> Reply {
    std::thread::sleep(std::time::Duration::from_secs(3600));
    Reply::text("awake")
}

fn say(_: &Target, call: &ToolCall) -> Reply {
    client_log::write("debug", None, "1");
    client_log::write("warning", Some("mischief"), r#"{"low":true}"#);
    Reply::text(call.context.log_level.as_deref().unwrap_or("none"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_plugin_sdk::testing;

    fn call(tool: &str) -> Result<Reply, CallError> {
        let call = testing::call(tool, "{}");
        Mischief::call_tool(&testing::target(), &testing::caller(&[]), &call)
    }

    #[test]
    fn each_tool_has_its_own_name() {
        let mut names = TOOLS.map(|(name, ..)| name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        assert_eq!(call("none"), Err(CallError::not_found("none")));
    }

    #[test]
    fn what_can_be_tried_natively_does_what_it_says() {
        assert_eq!(call("ok"), Ok(Reply::text("fine")));
        assert_eq!(call("state"), Ok(Reply::text("1")));
        assert_eq!(call("state"), Ok(Reply::text("2")));
        assert_eq!(call("huge_result"), Ok(Reply::text("x".repeat(16 << 20))));
        assert_eq!(call("progress"), Ok(Reply::text("done")));
        let steps: Vec<_> = testing::progress().iter().map(|step| step.done).collect();
        assert_eq!(steps, [1.0, 2.0, 3.0]);
        assert_eq!(call("log_flood"), Ok(Reply::text("flooded")));
        assert_eq!(testing::logs().len(), 100_000);
    }

    #[test]
    fn stolen_headers_are_not_sent() {
        let served = testing::serve(|_| Ok(testing::response(200, "{}")));
        let told = format!("{:?}", call("steal_token"));
        assert!(
            told.contains("by hand: Err(HttpError::InvalidRequest("),
            "{told}"
        );
        assert_eq!(
            served.requests().len(),
            1,
            "only the one without the header"
        );
    }
}
