//! Server-sent events (WHATWG HTML, "Server-sent events"), read while they come.
//!
//! ```
//! use cortex_plugin_sdk::prelude::*;
//! use cortex_plugin_sdk::{http, sse};
//!
//! fn follow(target: &Target) -> Result<Reply, CallError> {
//!     let response = http::Request::get(target.url("/events")).open()?;
//!     let mut events = sse::Events::new(response, 64 * 1024);
//!     while let Some(event) = events.next()? {
//!         log::debug(format!("{}: {} bytes", event.name, event.data.len()));
//!     }
//!     Ok(Reply::text("done"))
//! }
//! ```

use std::fmt;

use crate::backend::{CallError, code};
use crate::http::{HttpError, Incoming};

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Field `event`; empty: it has none, which means `message`.
    pub name: String,
    /// The lines of field `data`, joined by line feeds.
    pub data: String,
    /// The newest field `id` up to here, this event's own or an earlier one's.
    pub last_id: Option<String>,
}

/// Why a stream cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The exchange failed.
    Http(HttpError),
    /// An event is larger than this many bytes.
    TooLarge(usize),
    /// A line is not UTF-8.
    NotUtf8,
}

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(error) => write!(formatter, "{error:?}"),
            Self::TooLarge(limit) => write!(formatter, "an event is larger than {limit} bytes"),
            Self::NotUtf8 => formatter.write_str("a line is not UTF-8"),
        }
    }
}

impl std::error::Error for Broken {}

impl From<HttpError> for Broken {
    fn from(error: HttpError) -> Self {
        Self::Http(error)
    }
}

/// For adapters that have nothing better to say about their backend.
impl From<Broken> for CallError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Http(error) => error.into(),
            other => Self::failed(
                code::ERROR,
                format!("Backend answered with events that cannot be read: {other}"),
            ),
        }
    }
}

/// The events of one response. Dropping it closes the exchange.
#[derive(Debug)]
pub struct Events {
    response: Incoming,
    parser: Parser,
    /// The next event, looked at already.
    waiting: Option<Result<Event, Broken>>,
}

impl Events {
    /// The events of this response, none of them larger than `max_event` bytes. That its content
    /// type is `text/event-stream` is for the caller to check.
    pub fn new(response: Incoming, max_event: usize) -> Self {
        Self {
            response,
            parser: Parser::new(max_event),
            waiting: None,
        }
    }

    /// Waits for the next event; `None` when the stream has ended. An event that was begun and not
    /// ended is none.
    ///
    /// # Errors
    ///
    /// [`Broken`], and then nothing more comes.
    #[expect(
        clippy::should_implement_trait,
        reason = "with `?` a `while let` reads better than an iterator of results"
    )]
    pub fn next(&mut self) -> Result<Option<Event>, Broken> {
        loop {
            if let Some(event) = self.waiting.take() {
                return event.map(Some);
            }
            if let Some(event) = self.parser.next()? {
                return Ok(Some(event));
            }
            match self.response.read()? {
                Some(piece) => self.parser.push(&piece),
                None => return Ok(None),
            }
        }
    }

    /// Whether the next event is here already, so that [`next`](Self::next) does not wait. Its failure counts
    /// as one.
    pub fn has_next(&mut self) -> bool {
        if self.waiting.is_none() {
            self.waiting = self.parser.next().transpose();
        }
        self.waiting.is_some()
    }

    /// The response that they come in.
    pub fn response(&self) -> &Incoming {
        &self.response
    }

    /// Reads one piece of the response, and waits for it no longer than so many milliseconds. False: it has
    /// ended.
    ///
    /// # Errors
    ///
    /// [`Broken`], and then nothing more comes.
    pub fn take_in(&mut self, timeout_ms: u32) -> Result<bool, Broken> {
        let piece = self.response.read_within(timeout_ms)?;
        if let Some(piece) = &piece {
            self.parser.push(piece);
        }
        Ok(piece.is_some())
    }

    /// Milliseconds to wait before connecting again, if the stream has said so.
    pub fn retry_ms(&self) -> Option<u32> {
        self.parser.retry_ms()
    }
}

/// Bytes in, events out: for streams that come from elsewhere than [`Incoming`]. Bounded: what
/// was pushed and not taken yet is at most one piece more than one event.
#[derive(Clone, Debug)]
pub struct Parser {
    max_event: usize,
    buffer: Vec<u8>,
    /// Up to here the buffer has been read.
    read: usize,
    /// From here on the end of a line is looked for.
    searched: usize,
    begun: bool,
    /// The line before ended in CR: a LF that follows belongs to it.
    after_cr: bool,
    event: Event,
    has_data: bool,
    retry_ms: Option<u32>,
}

impl Parser {
    /// A parser at the begin of a stream.
    pub fn new(max_event: usize) -> Self {
        Self {
            max_event,
            buffer: Vec::new(),
            read: 0,
            searched: 0,
            begun: false,
            after_cr: false,
            event: Event::default(),
            has_data: false,
            retry_ms: None,
        }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.drain(..self.read);
        self.searched -= self.read;
        self.read = 0;
        self.buffer.extend_from_slice(piece);
    }

    /// The next event of what was pushed; `None`: push more.
    ///
    /// # Errors
    ///
    /// [`Broken::TooLarge`] or [`Broken::NotUtf8`].
    #[expect(
        clippy::should_implement_trait,
        reason = "it ends only for the moment, which is not what iterators do"
    )]
    pub fn next(&mut self) -> Result<Option<Event>, Broken> {
        while let Some(line) = self.line()? {
            if !line.is_empty() {
                self.field(&line)?;
            } else if std::mem::take(&mut self.has_data) {
                let next = Event {
                    last_id: self.event.last_id.clone(),
                    ..Event::default()
                };
                return Ok(Some(std::mem::replace(&mut self.event, next)));
            } else {
                // Without data there is no event, and its name is forgotten.
                self.event.name.clear();
            }
        }
        Ok(None)
    }

    /// Milliseconds to wait before connecting again, if the stream has said so.
    pub fn retry_ms(&self) -> Option<u32> {
        self.retry_ms
    }

    /// The next whole line without its end.
    fn line(&mut self) -> Result<Option<String>, Broken> {
        if self.after_cr && self.buffer.get(self.read) == Some(&b'\n') {
            self.read += 1;
            self.searched = self.searched.max(self.read);
        }
        self.after_cr &= self.read == self.buffer.len();
        let unread = &self.buffer[self.searched..];
        let Some(end) = unread.iter().position(|b| matches!(b, b'\r' | b'\n')) else {
            self.searched = self.buffer.len();
            return self.fits(self.buffer.len() - self.read).map(|()| None);
        };
        let end = self.searched + end;
        let mut line = &self.buffer[self.read..end];
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        }
        self.fits(line.len())?;
        let line = str::from_utf8(line).map_err(|_| Broken::NotUtf8)?;
        let line = line.to_owned();
        self.after_cr = self.buffer[end] == b'\r';
        self.read = end + 1;
        self.searched = self.read;
        Ok(Some(line))
    }

    fn field(&mut self, line: &str) -> Result<(), Broken> {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            "id" if !value.contains('\0') => self.event.last_id = Some(value.to_owned()),
            "retry" if value.bytes().all(|b| b.is_ascii_digit()) => {
                self.retry_ms = value.parse().ok().or(self.retry_ms);
            }
            // Comments (no name) and fields that nobody knows.
            _ => {}
        }
        self.fits(0)
    }

    /// Whether this event may still grow by so many bytes.
    fn fits(&self, more: usize) -> Result<(), Broken> {
        let id = self.event.last_id.as_ref().map_or(0, String::len);
        let size = self.event.name.len() + self.event.data.len() + id;
        if size + more > self.max_event {
            return Err(Broken::TooLarge(self.max_event));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All events of a stream that comes in pieces of this size.
    fn events(stream: &[u8], piece: usize) -> Result<Vec<Event>, Broken> {
        let mut parser = Parser::new(64);
        let mut events = Vec::new();
        for piece in stream.chunks(piece) {
            parser.push(piece);
            while let Some(event) = parser.next()? {
                events.push(event);
            }
        }
        Ok(events)
    }

    fn event(name: &str, data: &str, last_id: Option<&str>) -> Event {
        Event {
            name: name.into(),
            data: data.into(),
            last_id: last_id.map(Into::into),
        }
    }

    #[test]
    fn events_are_read_however_they_are_cut() {
        let check = |stream: &str, expected: &[Event]| {
            for piece in 1..=stream.len().max(1) {
                let read = events(stream.as_bytes(), piece);
                assert_eq!(read.as_deref(), Ok(expected), "{stream:?} in {piece}s");
            }
        };
        check("", &[]);
        check("data: a\n\n", &[event("", "a", None)]);
        check("data:a\r\n\r\n", &[event("", "a", None)]);
        check(
            "data:a\r\rdata:b\n\n",
            &[event("", "a", None), event("", "b", None)],
        );
        check("\u{feff}data:  a\n\n", &[event("", " a", None)]);
        check(
            "data: a\ndata\ndata: ü:b\n\n",
            &[event("", "a\n\nü:b", None)],
        );
        check(": keep-alive\n\n:\n\ndata: a\n\n", &[event("", "a", None)]);
        check(
            "event: x\nid: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n",
            &[
                event("x", "a", Some("1")),
                event("", "b", Some("1")),
                event("", "c", Some("")),
            ],
        );
        check("id: 7\ndata:\n\n", &[event("", "", Some("7"))]);
        check("event: lost\n\ndata: a\n\n", &[event("", "a", None)]);
        check("id: a\0b\nother: x\ndata: a\n\n", &[event("", "a", None)]);
        check("data: never ended\n", &[]);
    }

    #[test]
    fn what_is_too_large_or_no_text_is_refused() {
        let long = format!("data: {}\n\n", "x".repeat(70));
        let many = "data: xxxxxxxx\n".repeat(20);
        let endless = "x".repeat(1000);
        let id = format!("id: {}\n\n", "x".repeat(70));
        for stream in [&long, &many, &endless, &id] {
            for piece in [1, 7, 1000] {
                assert_eq!(
                    events(stream.as_bytes(), piece),
                    Err(Broken::TooLarge(64)),
                    "{stream:?} in {piece}s"
                );
            }
        }
        assert_eq!(events(b"data: \xff\n\n", 1), Err(Broken::NotUtf8));
        let comments = ": alive\n\n".repeat(1000);
        assert_eq!(events(comments.as_bytes(), 5), Ok(vec![]));
    }

    #[test]
    fn the_time_to_wait_is_a_number() {
        let mut parser = Parser::new(64);
        for (line, expected) in [
            ("retry: soon\n", None),
            ("retry: 250\n", Some(250)),
            ("retry: 99999999999999999999\n", Some(250)),
            ("retry: -1\n", Some(250)),
        ] {
            parser.push(line.as_bytes());
            assert_eq!(parser.next(), Ok(None));
            assert_eq!(parser.retry_ms(), expected, "{line}");
        }
    }
}
