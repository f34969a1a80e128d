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

/// Bytes that are written together: what the standard library hands over in one piece. A longer line is written by
/// itself.
const TOGETHER: usize = 4096;

/// Writes one line per record and says how many are out. Only when there is none is a failure an
/// error: the rest is offered again anyway.
fn write_lines(mut out: impl Write, records: &[AuditRecord]) -> Result<usize, ExportError> {
    let mut written = 0;
    while written < records.len() {
        let (lines, count) = together(&records[written..]);
        // One write for whole lines: two could come apart, and a failure between them would leave half
        // a line behind.
        match out.write_all(lines.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => written += count,
            Err(error) if written == 0 => {
                let why = format!("standard output: {error}");
                return Err(ExportError::unavailable(why));
            }
            Err(_) => return Ok(written),
        }
    }
    Ok(written)
}

/// The lines of the records that are written next, and how many those are: one at least.
fn together(records: &[AuditRecord]) -> (String, usize) {
    let mut lines = String::with_capacity(TOGETHER);
    let mut count = 0;
    for record in records {
        if count > 0 && lines.len() + record.json.len() >= TOGETHER {
            break;
        }
        lines.push_str(&record.json);
        lines.push('\n');
        count += 1;
    }
    (lines, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so much at a time, so often, then fails.
    #[derive(Default)]
    struct Pipe {
        room: usize,
        writes: Vec<String>,
    }

    impl Write for Pipe {
        fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
            if self.writes.len() == self.room {
                return Err(io::Error::new(io::ErrorKind::BrokenPipe, "broken pipe"));
            }
            self.writes
                .push(String::from_utf8_lossy(lines).into_owned());
            Ok(lines.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn pipe(room: usize) -> Pipe {
        Pipe {
            room,
            ..Pipe::default()
        }
    }

    #[test]
    fn counts_the_lines_that_are_out() {
        // Too long for two in one write.
        let long = "x".repeat(TOGETHER / 2);
        let lines = [1, 2, 3].map(|n| format!(r#"{{"n":{n},"text":"{long}"}}"#));
        let records = lines.clone().map(|line| AuditRecord::new(1, line));
        let check = |room: usize, expected: Result<usize, &str>| {
            let mut pipe = pipe(room);
            let exported = write_lines(&mut pipe, &records);
            let expected = expected.map_err(ExportError::unavailable);
            assert_eq!(exported, expected, "room for {room}");
            let lines = lines.clone().map(|line| line + "\n");
            assert_eq!(pipe.writes, lines[..room.min(3)], "room for {room}");
        };
        check(9, Ok(3));
        check(3, Ok(3));
        check(2, Ok(2));
        check(1, Ok(1));
        check(0, Err("standard output: broken pipe"));
    }

    #[test]
    fn short_lines_are_written_together_and_whole() {
        let records: Vec<_> = (0..100)
            .map(|n| AuditRecord::new(n, format!(r#"{{"n":{n},"text":"{}"}}"#, "x".repeat(100))))
            .collect();
        let mut pipe = pipe(usize::MAX);
        assert_eq!(write_lines(&mut pipe, &records), Ok(100));
        let expected: String = records
            .iter()
            .map(|record| format!("{}\n", record.json))
            .collect();
        assert_eq!(pipe.writes.concat(), expected);
        assert!(pipe.writes.len() < 5, "{} writes", pipe.writes.len());
        for lines in &pipe.writes {
            assert!(lines.len() <= TOGETHER && lines.ends_with('\n'));
        }
    }

    #[test]
    fn a_line_of_any_length_is_written() {
        let records = [AuditRecord::new(1, "x".repeat(3 * TOGETHER))];
        let mut pipe = pipe(1);
        assert_eq!(write_lines(&mut pipe, &records), Ok(1));
        assert_eq!(pipe.writes[0].len(), 3 * TOGETHER + 1);
    }

    #[test]
    fn an_empty_batch_is_taken() {
        assert_eq!(write_lines(Pipe::default(), &[]), Ok(0));
    }
}
