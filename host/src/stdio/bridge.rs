//! Between the client's lines and the server's HTTP: what is in flight, in which order it may go,
//! and how it ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::framing::{Line, Output};
use super::message::{self, Call, Said};
use super::mirror::{self, Tools};
use super::session::{Session, Sessions};
use super::transport::Transport;
use super::{exchange, listen};
use crate::mcp::jsonrpc::{Id, code};

/// Longest that requests in flight may take when the input has ended.
const LAST_ANSWERS: Duration = Duration::from_secs(30);
/// Longest that they may take when we are told to stop.
const STOPPING: Duration = Duration::from_secs(5);
/// Longest that saying goodbye to the server may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// A request that has no answer yet.
struct Flight {
    task: AbortHandle,
    modern: bool,
    method: String,
}

/// The bridge.
pub(super) struct Bridge {
    pub(super) transport: Transport,
    pub(super) output: Output,
    pub(super) tools: Tools,
    pub(super) sessions: Sessions,
    flights: Mutex<HashMap<Id, Flight>>,
    /// What is waited for before the end.
    work: TaskTracker,
    listener: Mutex<Option<AbortHandle>>,
}

/// `initialize` and `notifications/initialized` must have been taken by the server before
/// anything that the client says after them; all else may overtake.
#[derive(Default)]
struct Barrier(Option<watch::Receiver<()>>);

impl Barrier {
    /// Resolves when everything before it has been taken.
    fn pass(&self) -> impl Future<Output = ()> + Send + use<> {
        let before = self.0.clone();
        async move {
            if let Some(mut before) = before {
                // Ends with the sender, which is dropped when the exchange is over.
                while before.changed().await.is_ok() {}
            }
        }
    }

    /// Puts a barrier up until what is returned is dropped.
    fn raise(&mut self) -> watch::Sender<()> {
        let (sender, receiver) = watch::channel(());
        self.0 = Some(receiver);
        sender
    }
}

impl Bridge {
    pub(super) fn new(transport: Transport, output: Output) -> Arc<Self> {
        Arc::new(Self {
            transport,
            output,
            tools: Tools::default(),
            sessions: Sessions::default(),
            flights: Mutex::default(),
            work: TaskTracker::new(),
            listener: Mutex::default(),
        })
    }

    /// Serves the client until its lines end, or `stop` resolves.
    pub(super) async fn run(
        self: Arc<Self>,
        mut lines: mpsc::Receiver<Line>,
        stop: impl Future<Output = ()>,
    ) {
        tokio::pin!(stop);
        let mut barrier = Barrier::default();
        let patience = loop {
            tokio::select! {
                line = lines.recv() => match line {
                    Some(line) => self.take(line, &mut barrier).await,
                    None => break LAST_ANSWERS,
                },
                () = &mut stop => break STOPPING,
                () = self.output.closed() => break Duration::ZERO,
            }
        };
        // What only ends when it is ended is ended now.
        self.flights()
            .values()
            .filter(|flight| flight.method == "subscriptions/listen")
            .for_each(|f| f.task.abort());
        self.stop_listening();
        self.work.close();
        tokio::select! {
            waited = tokio::time::timeout(patience, self.work.wait()) => if waited.is_err() {
                warn!("some requests had no answer in time and are given up");
            },
            // After the end of the input a signal says that the client will not wait.
            () = &mut stop, if patience == LAST_ANSWERS => {}
            () = self.output.closed() => {}
        }
        self.flights()
            .values()
            .for_each(|flight| flight.task.abort());
        if tokio::time::timeout(GOODBYE, self.end_session())
            .await
            .is_err()
        {
            debug!("the server did not take the end of the session in time");
        }
    }

    async fn take(self: &Arc<Self>, line: Line, barrier: &mut Barrier) {
        let said = match line {
            Line::Whole(line) => message::read(line),
            Line::TooLong(max) => {
                let why = format!("the message is longer than {max} bytes");
                Err(message::error(None, code::INVALID_REQUEST, &why))
            }
        };
        match said {
            Ok(Said::Call(call)) => self.begin(call, barrier).await,
            Ok(Said::Other {
                method,
                body,
                modern,
            }) => {
                self.send_on(method, body, modern, barrier);
            }
            Ok(Said::Cancelled { request, body }) => self.cancel(&request, body, barrier),
            Err(refusal) => self.output.write(refusal).await,
        }
    }

    /// Starts a request.
    async fn begin(self: &Arc<Self>, mut call: Call, barrier: &mut Barrier) {
        let before = barrier.pass();
        let raised =
            (call.modern.is_none() && call.method == "initialize").then(|| barrier.raise());
        let in_order = call.modern.is_none();
        let ids = call.ids.clone();
        let taken = {
            let mut flights = self.flights();
            let taken = ids.iter().find(|id| flights.contains_key(*id)).cloned();
            if taken.is_none() {
                let bridge = Arc::clone(self);
                let (modern, method) = (call.modern.is_some(), call.method.clone());
                let waiting = ids.clone();
                let task = self.work.spawn(async move {
                    if in_order {
                        before.await;
                    }
                    let outcome = exchange::run(&bridge, &mut call).await;
                    bridge.landed(&waiting);
                    if let Err(why) = outcome
                        && !call.ids.is_empty()
                    {
                        warn!(rpc.method = call.method, "{why}");
                        bridge.output.write(call.failed(&why)).await;
                    }
                    drop(raised);
                });
                for id in &ids {
                    let task = task.abort_handle();
                    flights.insert(
                        id.clone(),
                        Flight {
                            task,
                            modern,
                            method: method.clone(),
                        },
                    );
                }
            }
            taken
        };
        if let Some(id) = taken {
            let why = "a request with this id has no answer yet";
            self.output
                .write(message::error(Some(&id), code::INVALID_REQUEST, why))
                .await;
        }
    }

    /// These wait for no answer any more.
    pub(super) fn landed(&self, ids: &[Id]) {
        let mut flights = self.flights();
        for id in ids {
            flights.remove(id);
        }
    }

    /// Sends a notification or a response on.
    fn send_on(
        self: &Arc<Self>,
        method: Option<String>,
        body: bytes::Bytes,
        modern: Option<String>,
        barrier: &mut Barrier,
    ) {
        let before = barrier.pass();
        let is_initialized =
            modern.is_none() && method.as_deref() == Some("notifications/initialized");
        let raised = is_initialized.then(|| barrier.raise());
        let bridge = Arc::clone(self);
        self.work.spawn(async move {
            before.await;
            let session = bridge.sessions.current().filter(|_| modern.is_none());
            let fields = match (&modern, &session) {
                (Some(revision), _) => mirror::standard(method.as_deref().unwrap_or_default(), revision),
                (None, Some(session)) => session.fields(),
                (None, None) => Vec::new(),
            };
            match bridge.transport.post(&body, &fields).await {
                Ok(answer) if answer.status().is_success() => {
                    if is_initialized && let Some(session) = session {
                        bridge.listen(session);
                    }
                }
                Ok(answer) => {
                    let method = method.as_deref().unwrap_or("a response");
                    warn!(rpc.method = method, status = %answer.status(), "the MCP server does not take it");
                }
                Err(trouble) => warn!("{trouble}"),
            }
            drop(raised);
        });
    }

    /// Gives a request up. In the modern era closing its stream says so; in the legacy one the
    /// notification does, and the stream is closed after it.
    fn cancel(self: &Arc<Self>, request: &Id, body: bytes::Bytes, barrier: &Barrier) {
        let mut flights = self.flights();
        // Answered already, or never asked; and `initialize` cannot be given up.
        let known = flights
            .get(request)
            .is_some_and(|flight| flight.method != "initialize");
        let Some(flight) = known.then(|| flights.remove(request)).flatten() else {
            return;
        };
        if flight.modern {
            flight.task.abort();
            return;
        }
        let (bridge, before) = (Arc::clone(self), barrier.pass());
        self.work.spawn(async move {
            before.await;
            let fields = bridge.sessions.current().map(|session| session.fields());
            let told = bridge
                .transport
                .post(&body, &fields.unwrap_or_default())
                .await;
            if let Err(trouble) = told {
                debug!(%trouble, "a cancellation was not taken");
            }
            flight.task.abort();
        });
    }

    /// Listens to what the server says by itself in this session, and in no other.
    pub(super) fn listen(self: &Arc<Self>, session: Arc<Session>) {
        let task = tokio::spawn(listen::run(Arc::clone(self), session));
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if self.work.is_closed() {
            task.abort();
        } else if let Some(old) = listener.replace(task.abort_handle()) {
            old.abort();
        }
    }

    fn stop_listening(&self) {
        let listener = self
            .listener
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(listener) = listener {
            listener.abort();
        }
    }

    async fn end_session(&self) {
        let session = self
            .sessions
            .current()
            .filter(|session| session.id.is_some());
        if let Some(session) = session
            && let Err(trouble) = self.transport.delete(&session.fields()).await
        {
            debug!(%trouble, "the session was not ended");
        }
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Id, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
