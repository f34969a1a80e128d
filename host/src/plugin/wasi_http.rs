//! `wasi:http/outgoing-handler` for components whose language brings an HTTP client of its own (`fetch`
//! in JavaScript, for example): the same guard, the same credentials and the same limits as the import
//! `http`.
//!
//! A request says as whom it is made in the field `Cortex-Credential`, which ends here:
//! `caller`, `technical`, `linked-account ID`, `secret NAME`; without it, as nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::HeaderName;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, EXPECT, SET_COOKIE, TE};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpHooks};

use super::egress::Egress;
use super::guest_log::LogSink;
use super::meter::Meter;
use super::patience::Patience;
use super::v0_2::adapter::cortex::gateway::http::{Credential, Header, HttpError, Request};
use super::v0_2::adapter::cortex::gateway::log::Level;
use super::wire::Body;

/// As whom a request is made.
const CREDENTIAL: HeaderName = HeaderName::from_static("cortex-credential");
/// Fields that clients set by themselves and that the host decides about.
const DROPPED: [HeaderName; 4] = [CONTENT_LENGTH, ACCEPT_ENCODING, EXPECT, TE];
/// Most that the header fields of one request or response may take, in bytes of memory.
const MAX_FIELDS: usize = 64 * 1024;
/// Largest piece of a body that is taken from a component at once.
const PIECE: usize = 64 * 1024;

/// The limits of what components build of requests.
pub(super) fn limits() -> WasiHttpCtx {
    let mut limits = WasiHttpCtx::new();
    limits.set_field_size_limit(MAX_FIELDS);
    limits
}

/// What the call in flight may reach, for both ways of asking for it.
pub(super) struct Outgoing {
    /// Nothing outside calls.
    pub(super) egress: Option<Egress>,
    patience: Arc<Patience>,
    log: LogSink,
    /// Ends with the call, and with it what it has open.
    over: CancellationToken,
    /// Bytes of bodies on their way out.
    held: Arc<AtomicUsize>,
}

impl Outgoing {
    pub(super) fn new(log: LogSink) -> Self {
        Self {
            egress: None,
            patience: Arc::new(Patience::new()),
            log,
            over: CancellationToken::new(),
            held: Arc::default(),
        }
    }

    /// A call begins.
    pub(super) fn begin(&mut self, egress: Option<Egress>, patience: &Arc<Patience>) {
        self.egress = egress;
        self.patience = Arc::clone(patience);
        self.over = CancellationToken::new();
    }

    /// It is over.
    pub(super) fn end(&mut self) {
        self.egress = None;
        self.over.cancel();
    }

    fn sent(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<impl Future<Output = Result<http::Response<WasiBody>, Error>> + use<>, HttpError>
    {
        let (head, body) = request.into_parts();
        let timeout = options.and_then(|options| options.first_byte_timeout);
        let request = in_our_words(&head, timeout)?;
        let egress = self.egress.as_mut().ok_or_else(|| {
            HttpError::OriginNotGranted("nothing is granted outside a call".to_owned())
        })?;
        let (mut request, timeout) = egress.admit(request)?;
        let mut exchange = egress.begin(&mut request);
        let (wire, max_body) = (egress.wire.clone(), egress.max_body);
        let mut rest = Rest {
            body: None,
            left: max_body,
            max_body,
            meter: Arc::clone(&egress.meter),
            patience: Arc::clone(&self.patience),
            opened: Instant::now(),
            limit: egress.timeout,
            pause: options.and_then(|options| options.between_bytes_timeout),
            over: self.over.clone(),
        };
        let (over, held) = (self.over.clone(), Arc::clone(&self.held));
        let exchange = async move {
            let (body, _held) = whole(body, max_body, &held).await?;
            let request = request.map(|_| body);
            rest.opened = Instant::now();
            exchange.goes();
            let (mut head, body) = match wire.open(request, timeout, max_body).await {
                Ok(opened) => opened,
                Err(error) => {
                    exchange.failed(&error);
                    return Err(in_their_words(super::egress::error(error)));
                }
            };
            exchange.answered(head.status.as_u16());
            head.headers.remove(SET_COOKIE);
            rest.body = Some(body);
            Ok(http::Response::from_parts(head, rest.stream()))
        };
        Ok(async move {
            tokio::select! {
                biased;
                () = over.cancelled() => Err(Error::ConnectionTerminated),
                response = exchange => response,
            }
        })
    }
}

type Sent = Result<
    (
        http::Response<WasiBody>,
        Box<dyn Future<Output = Result<(), Error>> + Send>,
    ),
    Error,
>;

impl WasiHttpHooks for Outgoing {
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        PIECE
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let sent = self.sent(request, options).map_err(|error| {
            // Languages tend to hide why.
            if let Some(why) = refused(&error) {
                self.log.write(Level::Warning, &format!("wasi:http: {why}"));
            }
            in_their_words(error)
        });
        Box::new(async move {
            let response = sent?.await?;
            let nothing: Box<dyn Future<Output = Result<(), Error>> + Send> =
                Box::new(async { Ok(()) });
            Ok((response, nothing))
        })
    }
}

/// The request without its body, as the import `http` has it.
fn in_our_words(
    head: &http::request::Parts,
    timeout: Option<Duration>,
) -> Result<Request, HttpError> {
    let mut credential = Credential::None;
    let mut headers = Vec::new();
    for (name, value) in &head.headers {
        if DROPPED.contains(name) {
            continue;
        }
        let value = value.to_str().map_err(|_| {
            HttpError::InvalidRequest(format!(
                "the value of header `{name}` cannot be carried by HTTP"
            ))
        })?;
        if *name == CREDENTIAL {
            credential = named(value);
            continue;
        }
        headers.push(Header {
            name: name.as_str().to_owned(),
            value: value.to_owned(),
        });
    }
    let ms = timeout.map(|timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX));
    Ok(Request {
        method: head.method.as_str().to_owned(),
        url: head.uri.to_string(),
        headers,
        body: None,
        credential,
        timeout_ms: ms,
    })
}

fn named(value: &str) -> Credential {
    let (kind, of) = value.split_once(' ').unwrap_or((value, ""));
    match (kind, of.trim()) {
        ("none", "") => Credential::None,
        ("caller", "") => Credential::Caller,
        ("technical", "") => Credential::Technical,
        ("linked-account", of) if !of.is_empty() => Credential::LinkedAccount(of.to_owned()),
        ("secret", of) if !of.is_empty() => Credential::Secret(of.to_owned()),
        _ => Credential::Other(value.to_owned()),
    }
}

/// What an author would want to read, if this is no fault of the network.
fn refused(error: &HttpError) -> Option<String> {
    Some(match error {
        HttpError::OriginNotGranted(origin) => format!("`{origin}` is not granted"),
        HttpError::CredentialRefused(why) => {
            format!("the credential is refused (`Cortex-Credential`): {why}")
        }
        HttpError::InvalidRequest(what) => format!("the request is refused: {what}"),
        HttpError::LimitExceeded(which) => which.clone(),
        _ => return None,
    })
}

fn in_their_words(error: HttpError) -> Error {
    match error {
        HttpError::OriginNotGranted(_) | HttpError::CredentialRefused(_) => {
            Error::HttpRequestDenied
        }
        HttpError::InvalidRequest(what) | HttpError::Other(what) => {
            Error::InternalError(Some(what))
        }
        HttpError::Timeout(_) => Error::HttpResponseTimeout,
        HttpError::ConnectionFailed(_) => Error::DestinationUnavailable,
        HttpError::ResponseTooLarge(most) => Error::HttpResponseBodySize(Some(most)),
        HttpError::LimitExceeded(_) => Error::ConnectionLimitReached,
    }
}

/// Bytes that are counted for as long as this lives.
struct Held {
    bytes: usize,
    of: Arc<AtomicUsize>,
}

impl Held {
    /// Counts more, if all together stay below `most`.
    fn more(&mut self, bytes: usize, most: usize) -> bool {
        self.bytes += bytes;
        self.of.fetch_add(bytes, Ordering::Relaxed) + bytes <= most
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Waits for the whole body of a request.
async fn whole(
    mut body: WasiBody,
    most: usize,
    held: &Arc<AtomicUsize>,
) -> Result<(Bytes, Held), Error> {
    let mut all = BytesMut::new();
    let mut held = Held {
        bytes: 0,
        of: Arc::clone(held),
    };
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            if !held.more(data.len(), most) {
                return Err(Error::HttpRequestBodySize(Some(most as u64)));
            }
            all.extend_from_slice(&data);
        }
    }
    Ok((all.freeze(), held))
}

/// What is still to come of a response.
struct Rest {
    /// `None`: nothing, it is complete or has failed.
    body: Option<Body>,
    /// Bytes that may still come.
    left: usize,
    max_body: usize,
    meter: Arc<Meter>,
    patience: Arc<Patience>,
    opened: Instant,
    limit: Duration,
    /// Longest wait for the next piece, if the component has named one.
    pause: Option<Duration>,
    over: CancellationToken,
}

impl Rest {
    fn stream(self) -> WasiBody {
        let pieces = stream::unfold(self, |mut rest| async move {
            let piece = rest.next().await?;
            if piece.is_err() {
                rest.body = None;
            }
            Some((piece.map(Frame::data), rest))
        });
        StreamBody::new(pieces).boxed_unsync()
    }

    async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        let body = self.body.as_mut()?;
        loop {
            let mut deadline = self.patience.deadline(self.opened, self.limit);
            if let Some(pause) = self.pause {
                deadline = deadline.min(Instant::now() + pause);
            }
            let frame = tokio::select! {
                biased;
                () = self.over.cancelled() => return Some(Err(Error::ConnectionTerminated)),
                frame = timeout_at(deadline, body.frame()) => frame,
            };
            let data = match frame {
                Err(_) => return Some(Err(Error::ConnectionReadTimeout)),
                Ok(None) => return None,
                Ok(Some(Err(()))) => return Some(Err(Error::HttpResponseIncomplete)),
                // Trailers are of no interest.
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => data,
                    _ => continue,
                },
            };
            self.meter.received(data.len());
            return Some(match self.left.checked_sub(data.len()) {
                Some(left) => {
                    self.left = left;
                    Ok(data)
                }
                None => Err(Error::HttpResponseBodySize(Some(self.max_body as u64))),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&str, &str)]) -> http::request::Parts {
        let mut request = http::Request::builder().uri("https://a.test/x?y=1");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn the_credential_is_named_in_a_field_that_ends_here() {
        let head = head(&[
            ("cortex-credential", "secret api-key"),
            ("content-length", "3"),
            ("accept", "application/json"),
        ]);
        let request = in_our_words(&head, Some(Duration::from_secs(2))).expect("carried");
        assert!(matches!(request.credential, Credential::Secret(name) if name == "api-key"));
        let names: Vec<&str> = request.headers.iter().map(|h| h.name.as_str()).collect();
        assert_eq!(names, ["accept"]);
        assert_eq!(request.url, "https://a.test/x?y=1");
        assert_eq!(request.timeout_ms, Some(2000));
    }

    #[test]
    fn credentials_have_the_names_of_the_contract() {
        assert!(matches!(named("caller"), Credential::Caller));
        assert!(matches!(named("technical"), Credential::Technical));
        assert!(matches!(named("none"), Credential::None));
        assert!(
            matches!(named("linked-account docs"), Credential::LinkedAccount(id) if id == "docs")
        );
        for wrong in ["", "Caller", "caller x", "secret", "secret ", "bearer abc"] {
            assert!(matches!(named(wrong), Credential::Other(_)), "{wrong}");
        }
    }

    #[test]
    fn what_is_held_is_bounded_and_let_go() {
        let all = Arc::new(AtomicUsize::new(0));
        let held = || Held {
            bytes: 0,
            of: Arc::clone(&all),
        };
        let (mut one, mut other) = (held(), held());
        assert!(one.more(6, 10));
        assert!(!other.more(6, 10));
        drop(other);
        assert!(one.more(4, 10));
        drop(one);
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn every_refusal_is_told_to_the_author() {
        for error in [
            HttpError::OriginNotGranted("https://evil.test".to_owned()),
            HttpError::CredentialRefused("no".to_owned()),
            HttpError::InvalidRequest("no".to_owned()),
            HttpError::LimitExceeded("no".to_owned()),
        ] {
            assert!(refused(&error).is_some(), "{error:?}");
        }
        assert!(refused(&HttpError::Timeout(1)).is_none());
    }
}
