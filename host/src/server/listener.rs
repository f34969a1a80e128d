//! The socket: connections bounded in number, and a stop that loses no call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::connection::{self, Door};
use super::respond;
use crate::pipeline::Gateway;
use crate::repoll::Repoll;

/// Connections over the bound that are being told so at one time; further ones are just closed.
const TOLD_AT_ONCE: usize = 256;
/// Connections of operators at one time.
const OPERATORS_AT_ONCE: usize = 32;
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
    let stopping = CancellationToken::new();
    let open = TaskTracker::new();
    let room = Arc::new(Semaphore::new(gw.config.bounds.max_connections));
    let told = Arc::new(Semaphore::new(TOLD_AT_ONCE));
    let stop = async {
        stop.await;
        give_notice(&gw).await;
    };
    tokio::pin!(stop);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.0.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, mostly: give the connections there are time to end.
                    warn!(
                        %error,
                        "cannot accept a connection; hint: if there are too many open files, raise `ulimit -n`, \
                         or set CORTEX_MAX_CONNECTIONS well below it"
                    );
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        // Who does not get in is told at once: nobody waits unseen in the backlog.
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            turn_away(stream, &told);
            continue;
        };
        // Answers are small and written whole.
        let _ = stream.set_nodelay(true);
        let connection = connection::serve(
            Arc::clone(&gw),
            Door::Public,
            stream,
            peer,
            stopping.clone(),
        );
        open.spawn(Repoll::new(async move {
            connection.await;
            drop(permit);
        }));
    }
    // From here on new connections are refused.
    drop(listener);
    info!("stopping: no new connections; calls in flight finish");
    gw.streams.stop();
    stopping.cancel();
    open.close();
    if tokio::time::timeout(DRAIN_TIME, open.wait()).await.is_err() {
        warn!(
            "some calls did not finish within {} s and are given up",
            DRAIN_TIME.as_secs()
        );
    }
}

/// Lets balancers see that this gateway is about to stop, while it still serves what they send.
async fn give_notice(gw: &Gateway) {
    gw.leaving.store(true, Ordering::Relaxed);
    let notice = gw.config.bounds.stop_notice;
    if !notice.is_zero() {
        info!(
            "about to stop: not ready any more, everything is served for {} s",
            notice.as_secs()
        );
        tokio::time::sleep(notice).await;
    }
}

/// Serves operators, on a socket of their own, for ever.
pub async fn serve_operators(gw: Arc<Gateway>, listener: Listener) {
    let room = Arc::new(Semaphore::new(OPERATORS_AT_ONCE));
    // What is asked here takes no time; it ends with this task.
    let stopping = CancellationToken::new();
    let _stopped = stopping.clone().drop_guard();
    loop {
        let Ok((stream, peer)) = listener.0.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // Who finds no room is not answered.
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            continue;
        };
        let connection = connection::serve(
            Arc::clone(&gw),
            Door::Operators,
            stream,
            peer,
            stopping.clone(),
        );
        tokio::spawn(async move {
            connection.await;
            drop(permit);
        });
    }
}

/// Answers a connection for which there is no room, without reading what it asks.
fn turn_away(stream: TcpStream, told: &Arc<Semaphore>) {
    // Fits into the empty buffer of a new connection, so that nobody waits for it.
    let _ = stream.try_write(respond::NO_ROOM);
    match Arc::clone(told).try_acquire_owned() {
        Ok(permit) => drop(tokio::spawn(async move {
            connection::end_gently(stream).await;
            drop(permit);
        })),
        Err(_) => drop(stream),
    }
}
