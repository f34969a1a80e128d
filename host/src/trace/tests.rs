use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};

use super::*;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn trace(sampler: Sampler, header: &str) -> Arc<Trace> {
    let provider = SdkTracerProvider::builder().with_sampler(sampler).build();
    let headers = [("traceparent", header)];
    let headers = headers.map(|(name, value)| {
        let name = http::HeaderName::from_static(name);
        (name, value.parse().expect("a value"))
    });
    let parent = Parent::of_headers(&HeaderMap::from_iter(headers));
    Arc::new(Trace::new(provider.tracer("test"), parent))
}

fn told() -> Option<String> {
    let mut headers = HeaderMap::new();
    inject(&mut headers, None);
    let value = headers.get("traceparent")?;
    Some(value.to_str().expect("text").to_owned())
}

#[tokio::test]
async fn parts_lie_in_their_request_and_that_in_its_clients_trace() {
    let trace = trace(Sampler::AlwaysOn, PARENT);
    let request = RequestId::new();
    let (root, inner) = within(request, Some(Arc::clone(&trace)), async {
        assert_eq!(told(), None, "nothing is known yet");
        step("version", async {}).await;
        trace.known("tools/call", None);
        let root = told().expect("a trace");
        let inner = step("adapter", async { told().expect("a trace") }).await;
        assert_eq!(told().as_ref(), Some(&root), "the part is over");
        let (id, shown) = ids().expect("a request");
        assert_eq!(
            (id, shown.map(|id| id.to_string()).as_deref()),
            (request, Some(TRACE))
        );
        (root, inner)
    })
    .await;
    assert!(
        root.starts_with(&format!("00-{TRACE}-")) && root.ends_with("-01"),
        "{root}"
    );
    assert!(inner.starts_with(&format!("00-{TRACE}-")), "{inner}");
    assert!(root != inner && root != PARENT);
}

#[tokio::test]
async fn what_the_message_says_counts_for_more() {
    let trace = trace(Sampler::AlwaysOn, PARENT);
    let other = "00-11111111111111111111111111111111-2222222222222222-01";
    let state = Some("vendor=1".to_owned());
    trace.known("ping", Parent::of_texts(other.to_owned(), state));
    let members = within(RequestId::new(), Some(trace), async { members() }).await;
    assert!(
        members[0]
            .1
            .starts_with("00-11111111111111111111111111111111-"),
        "{members:?}"
    );
    assert_eq!(members[1], ("tracestate", "vendor=1".to_owned()));
}

#[tokio::test]
async fn a_request_that_is_not_sampled_says_so_and_has_no_parts() {
    let trace = trace(Sampler::AlwaysOff, PARENT);
    within(RequestId::new(), Some(Arc::clone(&trace)), async {
        trace.known("ping", None);
        let root = told().expect("a context");
        assert!(
            root.starts_with(&format!("00-{TRACE}-")) && root.ends_with("-00"),
            "{root}"
        );
        let inner = step("adapter", async { told() }).await;
        assert_eq!(inner, Some(root));
        assert_eq!(ids().map(|(_, trace)| trace), Some(None));
    })
    .await;
}

#[test]
fn what_is_no_context_counts_for_nothing() {
    for wrong in [
        "",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "Bearer eyJhbGciOiJSUzI1NiJ9",
    ] {
        assert_eq!(Parent::of_texts(wrong.to_owned(), None), None, "{wrong}");
    }
    let mut twice = HeaderMap::new();
    for _ in 0..2 {
        twice.append("traceparent", http::HeaderValue::from_static(PARENT));
    }
    assert_eq!(Parent::of_headers(&twice), None);
}

#[tokio::test]
async fn without_a_request_there_is_nothing_to_tell() {
    assert!(ids().is_none() && told().is_none() && members().is_empty());
    assert_eq!(step("x", async { 7 }).await, 7);
    assert_eq!(now("x", || 7), 7);
}
