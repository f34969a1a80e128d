//! The socket: connections bounded in number, header size and time, and a stop that loses no call.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::{Instrument, debug, info, info_span, warn};

use super::routes;
use crate::pipeline::{Arrival, Gateway};
use crate::types::RequestId;

/// Connections at one time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 10_000;
/// Longest a client may take to send a header, and an idle connection may stay.
const HEADER_TIME: Duration = Duration::from_secs(30);
/// Largest header block.
const MAX_HEADER_BYTES: usize = 32 * 1024;
/// Longest the calls in flight may take when the gateway stops.
const DRAIN_TIME: Duration = Duration::from_secs(30);

/// Why the gateway does not listen.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Somebody else does.
    #[error(
        "{address} is taken by another program; hint: choose another port, \
         with CORTEX_LISTEN=127.0.0.1:{} for example", .address.port().wrapping_add(1000).max(1024)
    )]
    Taken {
        /// The address.
        address: SocketAddr,
    },
    /// Any other reason.
    #[error("cannot listen on {address}")]
    Other {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A bound socket.
pub struct Listener(TcpListener);

impl Listener {
    /// Binds the address.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        match TcpListener::bind(address).await {
            Ok(listener) => Ok(Self(listener)),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                Err(ListenError::Taken { address })
            }
            Err(source) => Err(ListenError::Other { address, source }),
        }
    }

    /// The bound address.
    ///
    /// # Errors
    /// When the socket cannot tell.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Serves until `stop` resolves, then lets the calls in flight finish.
pub async fn serve(gw: Arc<Gateway>, listener: Listener, stop: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    tokio::pin!(stop);
    loop {
        let permit = tokio::select! {
            permit = Arc::clone(&room).acquire_owned() => permit,
            () = &mut stop => break,
        };
        let Ok(permit) = permit else { break };
        let (stream, peer) = tokio::select! {
            accepted = listener.0.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, mostly: give the connections there are time to end.
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        // Answers are small and written whole.
        let _ = stream.set_nodelay(true);
        let gw = Arc::clone(&gw);
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let gw = Arc::clone(&gw);
            let id = RequestId::new();
            let (head, body) = request.into_parts();
            let arrival = Arrival {
                head,
                body,
                peer,
                id,
            };
            async move { Ok::<_, Infallible>(routes::route(&gw, arrival).await) }
                .instrument(info_span!("request", %id))
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIME)
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "a connection ended badly");
            }
            drop(permit);
        });
    }
    // From here on new connections are refused.
    drop(listener);
    info!("stopping: no new connections; calls in flight finish");
    gw.streams.stop();
    if tokio::time::timeout(DRAIN_TIME, graceful.shutdown())
        .await
        .is_err()
    {
        warn!(
            "some calls did not finish within {} s and are given up",
            DRAIN_TIME.as_secs()
        );
    }
}
