//! Drives a peer over a fixed number of connections, one call at a time on each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::client::{Call, Connection};

/// Longest latency that is told apart, in nanoseconds; the wait for an answer ends earlier.
const LONGEST: u64 = 60_000_000_000;
/// Decimal digits of a latency that are kept.
const DIGITS: u8 = 3;

/// What a number of calls took.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Latencies in nanoseconds, one for each call.
    pub(crate) latencies: Histogram<u64>,
    /// From the first call to the last answer.
    pub(crate) elapsed: Duration,
    /// Bytes of the longest answer.
    pub(crate) answer: usize,
}

/// Open connections to one peer.
pub(crate) struct Load {
    connections: Vec<Connection>,
    /// Number of the next call: no two calls of one load are alike.
    next: u64,
}

impl Load {
    /// Opens all connections, for `calls` calls in all at most.
    pub(crate) async fn open(
        address: SocketAddr,
        call: Call,
        connections: u16,
        calls: u64,
    ) -> Result<Self> {
        let tokens = call.callers.tokens(connections, calls).await?;
        let mut open = Vec::with_capacity(connections.into());
        for place in 0..connections {
            let tokens = Arc::clone(&tokens);
            open.push(Connection::open(address, call, place.into(), tokens).await?);
        }
        Ok(Self {
            connections: open,
            next: 0,
        })
    }

    /// Makes `calls` calls as fast as they are answered, or as many as `limit` allows. The first wrong answer ends it all.
    pub(crate) async fn run(&mut self, calls: u64, limit: Duration) -> Result<Outcome> {
        self.drive(calls, limit, None).await
    }

    /// The same, with so many calls a second over all connections: each connection's calls are due in equal intervals.
    /// A call that is due while the one before is still under way has waited since then.
    pub(crate) async fn run_at(
        &mut self,
        rate: f64,
        calls: u64,
        limit: Duration,
    ) -> Result<Outcome> {
        let interval = (rate > 0.0)
            .then(|| Duration::try_from_secs_f64(self.connections.len() as f64 / rate).ok())
            .flatten()
            .with_context(|| format!("{rate} calls a second cannot be made"))?;
        self.drive(calls, limit, Some(interval)).await
    }

    async fn drive(
        &mut self,
        calls: u64,
        limit: Duration,
        interval: Option<Duration>,
    ) -> Result<Outcome> {
        let next = Arc::new(AtomicU64::new(self.next));
        let last = self.next.saturating_add(calls);
        let begin = Instant::now();
        let mut tasks = JoinSet::new();
        let among = u32::try_from(self.connections.len()).context("too many connections")?;
        for (place, connection) in (0..).zip(self.connections.drain(..)) {
            // Not all at once: each begins a part of the interval later than the one before.
            let due = interval.map(|interval| Due {
                at: begin + interval * place / among,
                interval,
            });
            let next = Arc::clone(&next);
            tasks.spawn(drive(connection, next, last, begin + limit, due));
        }
        let mut latencies = histogram()?;
        let mut answer = 0;
        while let Some(ended) = tasks.join_next().await {
            let (connection, part, longest) = ended.context("a connection's task failed")??;
            self.connections.push(connection);
            answer = answer.max(longest);
            latencies
                .add(part)
                .context("latencies cannot be added up")?;
        }
        let elapsed = begin.elapsed();
        self.next = last;
        ensure!(!latencies.is_empty(), "no call ended within {limit:?}");
        Ok(Outcome {
            latencies,
            elapsed,
            answer,
        })
    }
}

/// When a connection's next call is due.
struct Due {
    at: Instant,
    interval: Duration,
}

impl Due {
    /// Waits until it is time; returns since when the call's time counts.
    async fn wait(&mut self) -> Instant {
        let due = self.at;
        self.at += self.interval;
        if due <= Instant::now() {
            return due;
        }
        tokio::time::sleep_until(due.into()).await;
        // The clock of the runtime is late by up to a millisecond, which is nobody's latency.
        Instant::now()
    }
}

async fn drive(
    mut connection: Connection,
    next: Arc<AtomicU64>,
    last: u64,
    deadline: Instant,
    mut due: Option<Due>,
) -> Result<(Connection, Histogram<u64>, usize)> {
    let mut latencies = histogram()?;
    let mut answer = 0;
    loop {
        let begin = match &mut due {
            Some(due) => due.wait().await,
            None => Instant::now(),
        };
        if begin >= deadline {
            break;
        }
        // Connections share the calls, so a slow one does not keep the others waiting.
        let n = next.fetch_add(1, Ordering::Relaxed);
        if n >= last {
            break;
        }
        answer = answer.max(connection.call(n).await?);
        let nanos = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(LONGEST);
        latencies.saturating_record(nanos.max(1));
    }
    Ok((connection, latencies, answer))
}

fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LONGEST, DIGITS).context("no histogram")
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use hyper::body::{Bytes, Incoming};
    use hyper::{Request, Response, StatusCode};
    use tokio::net::TcpListener;

    use super::*;
    use crate::backend::Backend;
    use crate::echo::Echo;
    use crate::exchange::Exchange;
    use crate::proxy::Proxy;
    use crate::serve::{Answer, Http, json, serve};

    const LIMIT: Duration = Duration::from_secs(20);

    async fn open(address: SocketAddr, connections: u16) -> Load {
        let call = Call::new(Exchange::Contract);
        Load::open(address, call, connections, 1_000).await.unwrap()
    }

    async fn start(part: impl Answer) -> SocketAddr {
        start_speaking(part, Http::One).await
    }

    async fn start_speaking(part: impl Answer, http: Http) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, part, http));
        address
    }

    #[tokio::test]
    async fn every_call_through_the_proxy_is_answered_and_counted() {
        for http in [Http::One, Http::Two] {
            let backend = start_speaking(Backend::new(1), http).await;
            let mut load = open(start(Proxy::new(backend, http)).await, 4).await;
            for calls in [10, 500] {
                let outcome = load.run(calls, LIMIT).await.unwrap();
                assert_eq!(outcome.latencies.len(), calls);
            }
            assert_eq!(load.connections.len(), 4);
        }
    }

    #[tokio::test]
    async fn more_calls_than_time_end_in_time() {
        let backend = start(Backend::new(1)).await;
        let mut load = open(backend, 2).await;
        let limit = Duration::from_millis(100);
        let outcome = load.run(u64::MAX, limit).await.unwrap();
        assert!(!outcome.latencies.is_empty());
        assert!(outcome.elapsed < LIMIT);
    }

    #[tokio::test]
    async fn calls_come_at_the_rate_that_is_asked_for_and_waiting_counts() {
        let backend = start(Backend::new(1)).await;
        let mut load = open(backend, 4).await;
        let outcome = load.run_at(400.0, 41, LIMIT).await.unwrap();
        assert_eq!(outcome.latencies.len(), 41);
        // Ten are due on each connection before the last one.
        assert!(outcome.elapsed >= Duration::from_millis(90), "{outcome:?}");
        // A thousand times what can be answered: each call waits for all before it.
        let outcome = load.run_at(1e9, 400, LIMIT).await.unwrap();
        assert_eq!(outcome.latencies.len(), 400);
        let longest = Duration::from_nanos(outcome.latencies.max());
        assert!(longest >= outcome.elapsed / 2, "{outcome:?}");
        assert!(load.run_at(0.0, 1, LIMIT).await.is_err());
    }

    #[derive(Clone)]
    struct Stuck;

    impl Answer for Stuck {
        type Body = Full<Bytes>;

        async fn answer(&self, _: Request<Incoming>) -> Response<Self::Body> {
            json(StatusCode::OK, Exchange::Contract.body(3))
        }
    }

    #[tokio::test]
    async fn one_wrong_answer_fails_the_run() {
        let stuck = start(Stuck).await;
        let mut load = open(stuck, 1).await;
        let Err(error) = load.run(10, LIMIT).await else {
            panic!("the answer to call 3 passed for another");
        };
        let text = format!("{error:#}");
        assert!(text.starts_with("wrong answer to call 0: 200: "), "{text}");
    }

    #[tokio::test]
    async fn a_proxy_without_upstream_says_so() {
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = nobody.local_addr().unwrap();
        drop(nobody);
        let proxy = start(Proxy::new(address, Http::One)).await;
        let mut load = open(proxy, 1).await;
        let error = load.run(1, LIMIT).await.err().unwrap();
        assert!(format!("{error:#}").contains("502"), "{error:#}");
    }

    #[tokio::test]
    async fn the_echo_answers_what_it_was_told() {
        let echo = start(Echo::default()).await;
        crate::client::put(echo, "{}".into()).await.unwrap();
        let call = Call {
            to_echo: true,
            ..Call::new(Exchange::List)
        };
        let mut load = Load::open(echo, call, 2, 10).await.unwrap();
        let outcome = load.run(10, LIMIT).await.unwrap();
        assert_eq!((outcome.latencies.len(), outcome.answer), (10, 2));
    }
}
