//! Standard output and standard error of a guest: whole lines, to the log or to our own output.

use std::io::Write;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use super::guest_log::LogSink;
use crate::config::ExporterOutput;

/// Longest line that is kept together.
const MAX_LINE: usize = 64 * 1024;

/// Where the lines of a guest go.
#[derive(Clone)]
pub(super) enum Destination {
    /// Into the gateway's log.
    Log(LogSink),
    /// To the gateway's own output, for audit exporters.
    Own(ExporterOutput),
}

/// A guest's output stream. Clones share one unfinished line.
#[derive(Clone)]
pub(super) struct Lines {
    destination: Destination,
    unfinished: Arc<Mutex<Vec<u8>>>,
}

impl Lines {
    pub(super) fn new(destination: Destination) -> Self {
        Self {
            destination,
            unfinished: Arc::default(),
        }
    }

    fn accept(&self, bytes: &[u8]) -> std::io::Result<()> {
        let mut unfinished = self
            .unfinished
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        unfinished.extend_from_slice(bytes);
        let end = match unfinished.iter().rposition(|b| *b == b'\n') {
            Some(newline) => newline + 1,
            None if unfinished.len() > MAX_LINE => unfinished.len(),
            None => return Ok(()),
        };
        match &self.destination {
            Destination::Log(sink) => {
                for line in unfinished[..end]
                    .split(|b| *b == b'\n')
                    .filter(|l| !l.is_empty())
                {
                    sink.guest_output(&String::from_utf8_lossy(line));
                }
            }
            // Kept when the write fails: the guest is told and may try again.
            Destination::Own(ExporterOutput::Stdout) => {
                let mut out = std::io::stdout().lock();
                out.write_all(&unfinished[..end])?;
                out.flush()?;
            }
            Destination::Own(ExporterOutput::Stderr) => {
                std::io::stderr().lock().write_all(&unfinished[..end])?;
            }
        }
        unfinished.drain(..end);
        Ok(())
    }
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}

impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.accept(&bytes)
            .map_err(|e| StreamError::LastOperationFailed(e.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 * 1024)
    }
}

impl AsyncWrite for Lines {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(self.accept(bytes).map(|()| bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
