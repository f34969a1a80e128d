//! Canaries: texts that must not turn up, in whatever form.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// One text that must not turn up.
pub(crate) struct Canary {
    /// What it is, for whoever reads that it was found.
    pub(crate) name: String,
    forms: Vec<(&'static str, Vec<u8>)>,
}

impl Canary {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        assert!(text.len() >= 12, "`{name}` is too short to be told apart");
        let bytes = text.as_bytes();
        let mut forms = vec![("as it is", bytes.to_vec())];
        // In the middle of other bytes, base64 comes in three ways; its first and last digits depend on
        // the neighbours and are left out.
        for shift in 0..3 {
            let padded = [&vec![0; shift][..], bytes].concat();
            let whole = padded.len() / 3 * 3;
            for (form, engine) in [("base64", &STANDARD), ("base64url", &URL_SAFE)] {
                let digits = engine.encode(&padded[..whole]);
                let first = if shift == 0 { 0 } else { 4 };
                forms.push((form, digits.as_bytes()[first..].to_vec()));
            }
        }
        let hex = |upper: bool| -> Vec<u8> {
            let digits = bytes.iter().map(|byte| match upper {
                true => format!("{byte:02X}"),
                false => format!("{byte:02x}"),
            });
            digits.collect::<String>().into_bytes()
        };
        forms.push(("hex", hex(false)));
        forms.push(("hex", hex(true)));
        let each = |form: &dyn Fn(u8) -> String| -> Vec<u8> {
            bytes
                .iter()
                .map(|byte| form(*byte))
                .collect::<String>()
                .into_bytes()
        };
        forms.push(("percent-encoded", each(&|byte| format!("%{byte:02X}"))));
        forms.push(("percent-encoded", each(&|byte| format!("%{byte:02x}"))));
        forms.push(("JSON-escaped", each(&|byte| format!("\\u{byte:04x}"))));
        let listed: Vec<String> = bytes.iter().map(u8::to_string).collect();
        forms.push(("a list of bytes", listed.join(", ").into_bytes()));
        forms.push(("a list of bytes", listed.join(",").into_bytes()));
        let form = url::form_urlencoded::byte_serialize(bytes).collect::<String>();
        forms.push(("percent-encoded", form.into_bytes()));
        let json = serde_json::json!(text).to_string();
        forms.push(("JSON-escaped", json.trim_matches('"').as_bytes().to_vec()));
        let debug = text.escape_debug().to_string();
        forms.push(("escaped", debug.into_bytes()));
        Self {
            name: name.to_owned(),
            forms,
        }
    }

    /// How it stands there, if it does.
    pub(crate) fn found_in(&self, haystack: &[u8]) -> Option<(&'static str, String)> {
        self.forms.iter().find_map(|(form, needle)| {
            let at = find(haystack, needle)?;
            let around =
                &haystack[at.saturating_sub(200)..(at + needle.len() + 60).min(haystack.len())];
            Some((*form, String::from_utf8_lossy(around).into_owned()))
        })
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let (first, rest) = needle.split_first()?;
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|byte| byte == first) {
        let at = from + at;
        if haystack[at + 1..].starts_with(rest) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

#[test]
fn a_canary_is_found_in_every_form() {
    let text = "Zq7\"canary+word/é=3kXw9";
    let canary = Canary::new("x", text);
    for (form, hidden) in [
        ("as it is", text.to_owned()),
        ("base64", STANDARD.encode(format!("a{text}b"))),
        ("base64", STANDARD.encode(format!("ab{text}"))),
        (
            "base64url",
            URL_SAFE.encode(format!("{{\"x\":\"{text}\"}}")),
        ),
        (
            "percent-encoded",
            url::form_urlencoded::byte_serialize(text.as_bytes()).collect(),
        ),
        ("JSON-escaped", serde_json::json!({ "x": text }).to_string()),
        ("hex", text.bytes().map(|b| format!("{b:02x}")).collect()),
        ("escaped", format!("{text:?}")),
        ("a list of bytes", format!("{:?}", text.as_bytes())),
    ] {
        let haystack = format!("before {hidden} after");
        assert!(canary.found_in(haystack.as_bytes()).is_some(), "{form}");
    }
    assert!(canary.found_in(b"canary word").is_none());
}
