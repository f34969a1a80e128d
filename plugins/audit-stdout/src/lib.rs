//! Audit exporter: one JSON line per record on standard output.

use std::io::{self, Write};

use cortex_plugin_sdk::prelude::*;

struct Stdout;

impl Exporter for Stdout {
    fn export_batch(records: &[AuditRecord]) -> Result<usize, ExportError> {
        write_lines(io::stdout().lock(), records)
    }
}

cortex_plugin_sdk::export_exporter!(Stdout);

/// Writes one line per record and says how many are out. Only when there is none is a failure an
/// error: the rest is offered again anyway.
fn write_lines(mut out: impl Write, records: &[AuditRecord]) -> Result<usize, ExportError> {
    for (written, record) in records.iter().enumerate() {
        // One write per line: two could come apart, and a failure between them would leave half
        // a line behind.
        let line = format!("{}\n", record.json);
        if let Err(error) = out.write_all(line.as_bytes()).and_then(|()| out.flush()) {
            return match written {
                0 => Err(ExportError::unavailable(format!(
                    "standard output: {error}"
                ))),
                written => Ok(written),
            };
        }
    }
    Ok(records.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many lines, then fails.
    #[derive(Default)]
    struct Pipe {
        room: usize,
        lines: Vec<String>,
    }

    impl Write for Pipe {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            if self.lines.len() == self.room {
                return Err(io::Error::new(io::ErrorKind::BrokenPipe, "broken pipe"));
            }
            self.lines.push(String::from_utf8_lossy(line).into_owned());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn counts_the_lines_that_are_out() {
        let records = [1, 2, 3].map(|n| AuditRecord::new(n, format!(r#"{{"n":{n}}}"#)));
        let check = |room: usize, expected: Result<usize, &str>| {
            let mut pipe = Pipe {
                room,
                ..Pipe::default()
            };
            let exported = write_lines(&mut pipe, &records);
            let expected = expected.map_err(ExportError::unavailable);
            assert_eq!(exported, expected, "room for {room}");
            let lines = ["{\"n\":1}\n", "{\"n\":2}\n", "{\"n\":3}\n"];
            assert_eq!(pipe.lines, lines[..room.min(3)], "room for {room}");
        };
        check(9, Ok(3));
        check(3, Ok(3));
        check(2, Ok(2));
        check(1, Ok(1));
        check(0, Err("standard output: broken pipe"));
    }

    #[test]
    fn an_empty_batch_is_taken() {
        assert_eq!(write_lines(Pipe::default(), &[]), Ok(0));
    }
}
