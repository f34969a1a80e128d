//! The log: text on a terminal, JSON otherwise, always on standard error. Standard output
//! belongs to audit exporters.
//!
//! Each line that is written for a request has its id, and the id of its trace where there is one.

use std::fmt;
use std::io::IsTerminal;

use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::LogFormat;
use crate::trace;

/// Sets up the log. `RUST_LOG` chooses what is written; `info` unless it is set.
pub fn init(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    let text = match format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    if text {
        log.compact()
            .with_ansi(std::io::stderr().is_terminal())
            .map_event_format(|inner| Tied { inner, json: false })
            .init();
    } else {
        log.json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .map_event_format(|inner| Tied { inner, json: true })
            .init();
    }
}

/// Ties lines to their requests.
struct Tied<F> {
    inner: F,
    json: bool,
}

impl<S, N, F> FormatEvent<S, N> for Tied<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some((request, trace)) = trace::ids() else {
            return self.inner.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.inner
            .format_event(context, Writer::new(&mut line), event)?;
        let said = event.fields().any(|field| field.name() == "request.id");
        let ids = [
            ("request.id", (!said).then(|| request.to_string())),
            ("trace.id", trace.map(|trace| trace.to_string())),
        ];
        let ids = (ids.into_iter()).filter_map(|(name, id)| Some((name, id?)));
        let line = line.trim_end();
        if self.json {
            writer.write_str(line.strip_suffix('}').unwrap_or(line))?;
            for (name, id) in ids {
                write!(writer, ",\"{name}\":\"{id}\"")?;
            }
            writeln!(writer, "}}")
        } else {
            writer.write_str(line)?;
            for (name, id) in ids {
                write!(writer, " {name}={id}")?;
            }
            writeln!(writer)
        }
    }
}
