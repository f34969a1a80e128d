//! Lines in and lines out (MCP 2026-07-28, stdio): one JSON-RPC message a line, each written whole.
//!
//! Threads of their own do the reading and writing: whether the client reads and writes must not
//! matter to anything else, least of all to our end.

use std::io::{BufRead, BufReader, Read, Write};

use bytes::Bytes;
use tokio::sync::mpsc;
use tracing::debug;

/// Longest line that is read.
pub(super) const MAX_LINE: usize = 64 * 1024 * 1024;
/// Lines that wait to be taken.
const AHEAD: usize = 64;

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line that is not blank.
    Whole(Bytes),
    /// It was longer than this and was left out.
    TooLong(usize),
}

/// Reads lines until the input ends.
pub(super) fn read(input: impl Read + Send + 'static, max: usize) -> mpsc::Receiver<Line> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        let mut input = BufReader::with_capacity(64 * 1024, input);
        loop {
            match next(&mut input, max) {
                Ok(Some(line)) => {
                    if sender.blocking_send(line).is_err() {
                        return;
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    debug!(%error, "standard input cannot be read any more");
                    return;
                }
            }
        }
    });
    receiver
}

/// The next line that is not blank. The last one may lack its end.
fn next(input: &mut impl BufRead, max: usize) -> std::io::Result<Option<Line>> {
    loop {
        let mut line = Vec::new();
        let limit = max as u64 + 1;
        let read = input.by_ref().take(limit).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        if line.last() != Some(&b'\n') && line.len() > max {
            input.skip_until(b'\n')?;
            return Ok(Some(Line::TooLong(max)));
        }
        let line = line.trim_ascii();
        if !line.is_empty() {
            return Ok(Some(Line::Whole(Bytes::copy_from_slice(line))));
        }
    }
}

/// Where lines for the client go. Cheap to clone; ends when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Output(mpsc::Sender<Bytes>);

impl Output {
    /// Starts writing. The receiver ends when everything was written, or nothing more can be.
    pub(super) fn start(
        mut to: impl Write + Send + 'static,
    ) -> (Self, tokio::sync::oneshot::Receiver<()>) {
        let (sender, mut receiver) = mpsc::channel::<Bytes>(AHEAD);
        let (done, ended) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            while let Some(line) = receiver.blocking_recv() {
                let mut written = to.write_all(&line).and_then(|()| to.write_all(b"\n"));
                if receiver.is_empty() {
                    written = written.and_then(|()| to.flush());
                }
                if let Err(error) = written {
                    debug!(%error, "standard output cannot be written any more");
                    break;
                }
            }
            // Nobody may be waiting any more.
            let _ = done.send(());
        });
        (Self(sender), ended)
    }

    /// Writes one message: JSON, in which line breaks can only be white space.
    pub(super) async fn write(&self, message: impl Into<Bytes>) {
        let mut message = message.into();
        if message.iter().any(|b| matches!(b, b'\n' | b'\r')) {
            let bytes = message.iter().copied();
            message = bytes.filter(|b| !matches!(b, b'\n' | b'\r')).collect();
        }
        // Without a reader there is nobody to tell; the bridge sees that by itself.
        let _ = self.0.send(message).await;
    }

    /// Resolves when nothing can be written any more.
    pub(super) async fn closed(&self) {
        self.0.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_one_by_one() {
        let mut input = &b"{}\r\n\n  \n[1]\n0123456789\n12345678\nlast"[..];
        let mut lines = Vec::new();
        while let Some(line) = next(&mut input, 8).expect("readable") {
            lines.push(line);
        }
        let whole = |text: &'static str| Line::Whole(Bytes::from_static(text.as_bytes()));
        let expected = [
            whole("{}"),
            whole("[1]"),
            Line::TooLong(8),
            whole("12345678"),
            whole("last"),
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_message_is_one_line_whatever_it_was() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(async {
            let (output, done) = Output::start(writer);
            output.write("{\r\n \"a\": \"x\\ny\"\n}").await;
            output.write("[]").await;
            drop(output);
            done.await.expect("it ends");
        });
        let text = std::io::read_to_string(reader).expect("UTF-8");
        assert_eq!(text, "{ \"a\": \"x\\ny\"}\n[]\n");
    }
}
