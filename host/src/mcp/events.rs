//! Reads server-sent events (WHATWG HTML, "Server-sent events", §9.2.6) from pieces as they come.

use std::time::Duration;

/// One event with data.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// Its data, lines joined by `\n`.
    pub data: String,
}

/// The stream holds a line or an event that is larger than the reader accepts.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {0} bytes")]
pub struct TooLarge(pub usize);

/// Puts events together.
#[derive(Debug)]
pub struct Decoder {
    max: usize,
    /// Bytes of the line that has not ended.
    line: Vec<u8>,
    /// The last byte was `\r`: a `\n` that follows belongs to it.
    after_cr: bool,
    at_start: bool,
    data: Option<String>,
    /// The id of the event that has not ended. An event that was cut off has not been had.
    id: Option<String>,
    last_id: Option<String>,
    retry: Option<Duration>,
}

impl Decoder {
    /// A decoder of events that are at most `max` bytes large.
    pub fn new(max: usize) -> Self {
        Self {
            max,
            line: Vec::new(),
            after_cr: false,
            at_start: true,
            data: None,
            id: None,
            last_id: None,
            retry: None,
        }
    }

    /// The id of the last event that had one: where to go on after the connection broke.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// How long the server wants to be left alone before the next connection.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Takes the next bytes, and adds the events that they complete to `events`.
    ///
    /// # Errors
    /// [`TooLarge`]; the stream cannot be read any further.
    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), TooLarge> {
        let mut rest = bytes;
        if std::mem::take(&mut self.after_cr) && rest.first() == Some(&b'\n') {
            rest = &rest[1..];
        }
        while let Some(end) = rest.iter().position(|b| matches!(b, b'\n' | b'\r')) {
            self.extend(&rest[..end])?;
            self.end_of_line(events)?;
            let ended_by_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            if ended_by_cr {
                match rest.first() {
                    Some(b'\n') => rest = &rest[1..],
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
        }
        self.extend(rest)
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        if self.line.len() + bytes.len() > self.max {
            return Err(TooLarge(self.max));
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_of_line(&mut self, events: &mut Vec<Event>) -> Result<(), TooLarge> {
        let line = std::mem::take(&mut self.line);
        let mut line = &*String::from_utf8_lossy(&line);
        if std::mem::take(&mut self.at_start) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            self.last_id = self.id.take().or_else(|| self.last_id.take());
            events.extend(self.data.take().map(|data| Event { data }));
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                let so_far = self.data.as_ref().map_or(0, String::len);
                if so_far + value.len() + 1 > self.max {
                    return Err(TooLarge(self.max));
                }
                match &mut self.data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                    None => self.data = Some(value.to_owned()),
                }
            }
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "retry" => {
                let millis = value
                    .bytes()
                    .all(|b| b.is_ascii_digit())
                    .then(|| value.parse());
                if let Some(Ok(millis)) = millis {
                    self.retry = Some(Duration::from_millis(millis));
                }
            }
            // `event` says nothing here, and a line that begins with `:` is a comment.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a stream whole, and cut at every place.
    fn check(stream: &str, expected: &[&str]) -> Decoder {
        let mut last = None;
        for cut in 0..=stream.len() {
            let (mut decoder, mut events) = (Decoder::new(1_000), Vec::new());
            let (one, two) = stream.as_bytes().split_at(cut);
            for part in [one, two] {
                decoder.push(part, &mut events).expect("small");
            }
            let data: Vec<_> = events.iter().map(|e| e.data.as_str()).collect();
            assert_eq!(data, expected, "cut at {cut}: {stream:?}");
            last = Some(decoder);
        }
        last.expect("one")
    }

    #[test]
    fn events_are_put_together_wherever_the_pieces_end() {
        check("data: {}\n\n", &["{}"]);
        check(
            "data: a\ndata: b\n\ndata:c\r\n\r\ndata: d\r\r",
            &["a\nb", "c", "d"],
        );
        check(": comment\n\nevent: message\ndata: é\n\n", &["é"]);
        check("\u{feff}data: 1\n\n", &["1"]);
        check("data\n\n", &[""]);
        check("data: unfinished\n", &[]);
        check("nonsense\nid: 1\n\n", &[]);
    }

    #[test]
    fn ids_and_waiting_times_are_remembered() {
        let decoder = check(
            "id: 7\nretry: 250\ndata: x\n\nid: 8\n\nretry: soon\n\n",
            &["x"],
        );
        assert_eq!(decoder.last_id(), Some("8"));
        assert_eq!(decoder.retry(), Some(Duration::from_millis(250)));
        assert_eq!(check("id: a\0b\n\n", &[]).last_id(), None);
        assert_eq!(
            check("id: 1\ndata: x\n\nid: 2\ndata: y\n", &["x"]).last_id(),
            Some("1")
        );
    }

    #[test]
    fn what_is_too_large_ends_the_stream() {
        let mut decoder = Decoder::new(10);
        let mut events = Vec::new();
        assert_eq!(
            decoder.push(b"data: 0123456789", &mut events),
            Err(TooLarge(10))
        );
        let mut decoder = Decoder::new(10);
        let many = decoder.push(b"data:12345\ndata:12345\n", &mut events);
        assert_eq!(many, Err(TooLarge(10)));
    }
}
