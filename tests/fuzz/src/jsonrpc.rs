//! The JSON-RPC parser: what it accepts is one message, means the same to every reader, and its
//! id can be echoed as it came.

use std::collections::HashSet;
use std::fmt;

use cortex_gateway::mcp::jsonrpc::{self, Message};
use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Members of which there must not be two.
const MEMBERS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];

/// Parses these bytes.
pub fn check(bytes: &[u8]) {
    let parsed = jsonrpc::parse(bytes);
    let peeked = jsonrpc::peek_id(bytes);
    let Ok(message) = parsed else { return };
    let text = std::str::from_utf8(bytes).expect("a message is UTF-8");
    let names = serde_json::from_str::<Names>(text)
        .expect("a message is an object")
        .0;
    let mut seen = HashSet::new();
    for name in names.iter().filter(|name| MEMBERS.contains(&name.as_str())) {
        assert!(seen.insert(name), "`{name}` is there twice");
    }
    match message {
        Message::Request(request) => {
            assert!(seen.contains(&"id".to_owned()) && seen.contains(&"method".to_owned()));
            assert_eq!(
                peeked.as_ref(),
                Some(&request.id),
                "both readers find one id"
            );
            same_id(text, &serde_json::to_string(&request.id).expect("JSON"));
            // Written and read again it is the same.
            let written = json!({ "jsonrpc": "2.0", "id": request.id, "method": request.method });
            let mut written = written.to_string();
            if let Some(params) = &request.params {
                written.pop();
                written.push_str(",\"params\":");
                written.push_str(params.get());
                written.push('}');
            }
            let Ok(Message::Request(again)) = jsonrpc::parse(written.as_bytes()) else {
                panic!("not a request any more: {written}");
            };
            assert_eq!((&again.id, &again.method), (&request.id, &request.method));
            let raw =
                |params: &Option<Box<RawValue>>| params.as_ref().map(|raw| raw.get().to_owned());
            assert_eq!(raw(&again.params), raw(&request.params));
        }
        Message::Notification { .. } => assert!(!seen.contains(&"id".to_owned())),
        Message::Response(_) => assert!(!seen.contains(&"method".to_owned())),
    }
}

/// The id that is echoed is the one that came: the same text, or the same digits.
fn same_id(text: &str, echoed: &str) {
    #[derive(Deserialize)]
    struct Asked<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
    }
    let asked: Asked<'_> = serde_json::from_str(text).expect("it has an id");
    match serde_json::from_str::<Value>(asked.id.get()).expect("JSON") {
        Value::String(text) => {
            assert_eq!(serde_json::from_str::<String>(echoed).expect("JSON"), text);
        }
        Value::Number(_) => assert_eq!(echoed, asked.id.get()),
        other => panic!("an id that is neither text nor number: {other}"),
    }
}

/// Names of an object's members, in order.
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some((name, IgnoredAny)) = map.next_entry()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}
