//! Keeps this instance connected to the engine: listens, sends, says that it is alive, and begins anew
//! whenever that does not go on.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::engine::{Envelope, Listener, Trouble};
use super::figures::{Operation, no_answer};
use super::members::{BEAT, LIVES};
use super::news::News;
use super::shared::Shared;
use super::{Away, InstanceId, Shelf, Topic};

/// Longest that connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// The first pause between two tries to connect, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// A connection that has lived so long was a good one.
const GOOD: Duration = Duration::from_secs(10);
/// Least time between two beats, however many instances come and go.
const BREATH: Duration = Duration::from_millis(200);
/// Most instances that are counted.
const MOST: usize = 10_000;

/// Keeps the connection, for ever. `ready` is true once this instance and the others know of each other.
pub(super) async fn keep(
    shared: Arc<Shared>,
    news: Arc<News>,
    mut outgoing: mpsc::Receiver<(Topic, Vec<u8>)>,
    ready: watch::Sender<bool>,
) {
    let name = shared.engine.name();
    let (mut pause, mut told, mut since) = (PAUSES.0, false, Instant::now());
    let mut epoch = Epoch::default();
    loop {
        let connected = tokio::time::timeout(CONNECT, shared.engine.connect()).await;
        let why = match connected {
            Ok(Ok(listener)) => {
                let began = Instant::now();
                let mut ends = shared.here();
                if std::mem::take(&mut told) {
                    let away = since.elapsed().as_secs();
                    info!("{name} is back after {away} s: the gateways share again");
                }
                shared.members.spare(began);
                gaps(&shared, &news);
                let why = tokio::select! {
                    why = listen(&shared, &news, listener) => why,
                    why = send(&shared, &mut outgoing) => why,
                    why = beat(&shared, &news, &mut epoch, &ready) => why,
                    why = end(&mut ends) => why,
                };
                shared.figures.away.one();
                since = Instant::now();
                if began.elapsed() > GOOD {
                    pause = PAUSES.0;
                }
                why
            }
            Ok(Err(trouble)) => trouble.to_string(),
            Err(_) => no_answer(CONNECT).to_string(),
        };
        shared.gone();
        // Once for each time that it is away, however many tries fail, and in whatever way.
        if std::mem::replace(&mut told, true) {
            debug!("{name} is still away: {why}");
        } else {
            warn!(
                "{name} is away: {why}; calls go on, rate limits are this instance's share, and what other instances \
                 change is seen later; it is tried again and again"
            );
        }
        tokio::time::sleep(jitter(pause)).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Whoever listens may have missed something.
fn gaps(shared: &Shared, news: &News) {
    shared.figures.gaps.one();
    for topic in Topic::ALL {
        news.gap(*topic);
    }
}

async fn listen(shared: &Shared, news: &News, mut listener: Box<dyn Listener>) -> String {
    loop {
        let sealed = match listener.next().await {
            Ok(sealed) => sealed,
            Err(trouble) => return trouble.to_string(),
        };
        // Other versions may talk of other things, and in another way.
        let Some(envelope) = Envelope::open(&sealed) else {
            continue;
        };
        let topic = Topic::ALL
            .iter()
            .find(|topic| topic.name() == envelope.topic);
        let Some(topic) = topic.filter(|_| envelope.from != shared.instance) else {
            continue;
        };
        shared.figures.heard.one();
        match envelope.text {
            Some(text) => news.said(*topic, text),
            None => news.gap(*topic),
        }
    }
}

async fn send(shared: &Shared, outgoing: &mut mpsc::Receiver<(Topic, Vec<u8>)>) -> String {
    loop {
        for topic in shared.missed() {
            if publish(shared, topic, None).await.is_err() {
                shared.miss(topic);
            }
        }
        let (topic, text) = tokio::select! {
            next = outgoing.recv() => match next {
                Some(next) => next,
                None => return "nobody is left who tells anything".to_owned(),
            },
            () = shared.lost.notified() => continue,
        };
        if publish(shared, topic, Some(&text)).await.is_err() {
            shared.miss(topic);
            // What the engine refuses it will refuse at once again.
            tokio::time::sleep(PAUSES.0).await;
        }
    }
}

/// Sends one piece of news.
pub(super) async fn publish(
    shared: &Shared,
    topic: Topic,
    text: Option<&[u8]>,
) -> Result<(), Away> {
    let envelope = Envelope {
        from: shared.instance,
        topic: topic.name(),
        text,
    };
    let sealed = envelope.seal();
    let sent = shared.engine.publish(&sealed);
    shared.ask(Operation::Tell, sent).await?;
    shared.figures.told.one();
    Ok(())
}

/// What the engine called the time since it was emptied at last.
#[derive(Default)]
struct Epoch(Option<Vec<u8>>);

async fn beat(
    shared: &Shared,
    news: &News,
    epoch: &mut Epoch,
    ready: &watch::Sender<bool>,
) -> String {
    let mut others = news.hear(Topic::Instances);
    let mut first = true;
    loop {
        match one_beat(shared, epoch).await {
            Ok(Emptied(true)) => {
                warn!(
                    "{} was emptied: what the gateways had shared is looked up again",
                    shared.engine.name()
                );
                shared.members.spare(Instant::now());
                gaps(shared, news);
            }
            Ok(Emptied(false)) => {}
            // It is away, and another branch tells why; or it refuses, and the log was told.
            Err(Away) => {
                tokio::time::sleep(BEAT).await;
                continue;
            }
        }
        if std::mem::take(&mut first) {
            shared.tell(Topic::Instances, Vec::new());
            ready.send_replace(true);
        }
        tokio::time::sleep(BREATH).await;
        tokio::select! {
            () = tokio::time::sleep(BEAT - BREATH) => {}
            // Somebody came or went.
            _ = others.next() => {}
        }
    }
}

/// Whether everything that was kept was lost.
struct Emptied(bool);

async fn one_beat(shared: &Shared, epoch: &mut Epoch) -> Result<Emptied, Away> {
    let own = shared.instance;
    if !shared.leaves.load(Ordering::Acquire) {
        let version = env!("CARGO_PKG_VERSION").as_bytes();
        let put = shared
            .engine
            .put(Shelf::Instances, own.as_bytes(), version, LIVES);
        shared.ask(Operation::Put, put).await?;
    }
    let fresh = Uuid::now_v7().to_string();
    let now = shared.engine.epoch(&fresh);
    let now = shared.ask(Operation::Get, now).await?;
    let before = epoch.0.replace(now.clone());
    let emptied = Emptied(before.is_some_and(|before| before != now));
    if emptied.0 {
        shared.members.spare(Instant::now());
    }
    let all = shared.engine.all(Shelf::Instances, MOST);
    let all = shared.ask(Operation::All, all).await?;
    let ids = all.iter();
    let ids = ids.filter_map(|(key, _)| InstanceId::from_bytes(key));
    shared.members.seen(ids, Instant::now());
    Ok(emptied)
}

/// Waits until somebody who asked has found the connection useless.
async fn end(ends: &mut watch::Receiver<Option<String>>) -> String {
    match ends.wait_for(Option::is_some).await.map(|why| why.clone()) {
        Ok(Some(why)) => why,
        _ => Trouble::Lost("it ended".to_owned()).to_string(),
    }
}

/// A time of about this length: what many do at once is not done at the same moment.
pub(super) fn jitter(about: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1_000;
    about.mul_f64(0.75 + random as f64 / 2_000.0)
}
