//! As much of an HTTP/1.1 client as the demo needs: one request, one bounded answer.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest answer that is read.
const LONGEST_ANSWER: u64 = 4 * 1024 * 1024;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body; of an event stream, the data of its last event.
    pub body: String,
}

/// Sends one request, with a body if there is one, and waits at most `time` for each part of
/// the answer.
pub fn send(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
    time: Duration,
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&to, time)?;
    stream.set_read_timeout(Some(time))?;
    stream.set_write_timeout(Some(time))?;
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    request.push_str(body);
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer)?;
    parse(&answer)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head
        .strip_prefix("HTTP/1.")?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()?;
    let says = |name: &str, value: &str| {
        head.lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .any(|(key, text)| {
                key.eq_ignore_ascii_case(name) && text.to_ascii_lowercase().contains(value)
            })
    };
    let mut body = answer[end + 4..].to_vec();
    if says("transfer-encoding", "chunked") {
        body = join_chunks(&body)?;
    }
    let mut body = String::from_utf8(body).ok()?;
    if says("content-type", "text/event-stream") {
        body = last_event(&body);
    }
    Some(Answer { status, body })
}

fn join_chunks(mut chunked: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let line = chunked.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&chunked[..line]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        let rest = chunked.get(line + 2..)?;
        whole.extend_from_slice(rest.get(..size)?);
        chunked = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

/// The data of the last event, its lines joined.
fn last_event(stream: &str) -> String {
    let data = |event: &str| {
        let lines = event.lines().filter_map(|line| line.strip_prefix("data:"));
        lines.map(str::trim_start).collect::<Vec<_>>().join("\n")
    };
    let stream = stream.replace("\r\n", "\n");
    stream
        .split("\n\n")
        .map(data)
        .filter(|data| !data.is_empty())
        .last()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answer: &str, expected: Option<(u16, &str)>) {
        let parsed = parse(answer.as_bytes());
        let parsed = parsed
            .as_ref()
            .map(|answer| (answer.status, answer.body.as_str()));
        assert_eq!(parsed, expected, "{answer}");
    }

    #[test]
    fn answers_of_every_shape() {
        check("HTTP/1.1 204 No Content\r\n\r\n", Some((204, "")));
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            Some((200, "ok")),
        );
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(
            &format!("{chunked}3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n"),
            Some((200, "abcd")),
        );
        let events = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        check(
            &format!(
                "{events}: hello\n\ndata: {{\"a\":1}}\n\nevent: message\ndata: b\ndata: c\n\n"
            ),
            Some((200, "b\nc")),
        );
    }

    #[test]
    fn what_is_not_an_answer() {
        for answer in [
            "",
            "hello\r\n\r\n",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1\r\n\r\n",
        ] {
            check(answer, None);
        }
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nab",
            None,
        );
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nab",
            None,
        );
    }
}
