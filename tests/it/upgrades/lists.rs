//! A backend that offers one more tool all the time, and how soon each list has to have it.
//!
//! A list is as new as the last refresh, whoever answers (docs/operators.md, "The catalog"). A client may keep it for
//! `ttlMs` and is then behind by so much more; what is looked at here is the answer itself, which must never be.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cortex_tests::FakeBackend;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::load::{Done, Kind, Outcome, Report, Trouble, lock};

/// How often the gateways of these tests ask a backend for its catalog.
pub(super) const REFRESH: Duration = Duration::from_secs(1);
/// What it may take besides: to be asked, to keep the first approval of a tool and to tell the others, on a machine
/// that has much to do. Nothing that happens in these tests may make it longer, but for what a [`Trouble`] says.
const LEEWAY: Duration = Duration::from_secs(4);
/// Longest that clients may keep a list.
const TTL_MS: u64 = 60_000;
/// How often there is another tool,
const EVERY: Duration = Duration::from_secs(2);
/// and how many of them there are: older ones are offered no more, so that lists of long tests stay short.
const OFFERED: usize = 30;
/// How many more there have to be after the last thing that happens.
const AFTERWARDS: usize = 3;

/// The numbers of the tools that are offered with the newest one.
fn offered(newest: usize) -> RangeInclusive<usize> {
    newest.saturating_sub(OFFERED - 1)..=newest
}

/// What the backend offers then.
pub(super) fn tools(newest: usize) -> Value {
    let numbered = offered(newest).map(|number| FakeBackend::tool(&format!("n{number}")));
    let all: Vec<Value> = [FakeBackend::tool("echo")]
        .into_iter()
        .chain(numbered)
        .collect();
    json!(all)
}

/// The public name of a tool.
pub(super) fn name(number: usize) -> String {
    format!("docs_n{number}")
}

fn numbers(list: &Value) -> Vec<usize> {
    let tools = list["tools"].as_array().into_iter().flatten();
    let names = tools.filter_map(|tool| tool["name"].as_str());
    let numbers = names.filter_map(|name| name.strip_prefix("docs_n")?.parse().ok());
    let mut numbers: Vec<usize> = numbers.collect();
    numbers.sort_unstable();
    numbers
}

/// The newest of the numbered tools in a list.
pub(super) fn newest(list: &Value) -> Option<usize> {
    numbers(list).last().copied()
}

/// Whether a list is one, and has what the backend offered at one moment, whichever, or nothing of it.
pub(super) fn is_whole(list: &Value) -> bool {
    let has_echo = list["tools"]
        .as_array()
        .is_some_and(|tools| tools.iter().any(|tool| tool["name"] == "docs_echo"));
    let is_of_one_moment = match newest(list) {
        Some(newest) => has_echo && numbers(list).into_iter().eq(offered(newest)),
        None => !has_echo && list["tools"].is_array(),
    };
    let ttl = list["ttlMs"].as_u64();
    is_of_one_moment && ttl.is_some_and(|ttl| ttl <= TTL_MS)
}

/// Offers one more tool after the other, until it is told to stop.
pub(super) struct Growing {
    /// When each of them came.
    came: Arc<Mutex<Vec<Instant>>>,
    task: JoinHandle<()>,
}

impl Drop for Growing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Growing {
    /// Begins where a backend offers [`tools`]`(0)`, and all lists have it.
    pub(super) fn start(offer: impl Fn(Value) + Send + 'static) -> Self {
        let came = Arc::new(Mutex::new(vec![Instant::now()]));
        let task = tokio::spawn({
            let came = Arc::clone(&came);
            async move {
                loop {
                    tokio::time::sleep(EVERY).await;
                    let mut came = lock(&came);
                    offer(tools(came.len()));
                    came.push(Instant::now());
                }
            }
        });
        Self { came, task }
    }

    /// Goes on for a while, stops, and waits until every list must have the last tool. Returns its number.
    pub(super) async fn ends(&self, troubles: &[Trouble]) -> usize {
        let goes_on = EVERY * u32::try_from(AFTERWARDS).expect("few");
        tokio::time::sleep(goes_on).await;
        self.task.abort();
        while !self.task.is_finished() {
            tokio::task::yield_now().await;
        }
        let came = self.came();
        let last = came.len() - 1;
        tokio::time::sleep_until(due(came[last], None, troubles)).await;
        last
    }

    pub(super) fn came(&self) -> Vec<Instant> {
        lock(&self.came).clone()
    }
}

/// From when on lists must have a tool that came then; `by`: those of this instance. Of what comes while it cannot be
/// found out they have to have it as soon after the end of that.
fn due(came: Instant, by: Option<&str>, troubles: &[Trouble]) -> Instant {
    let mut due = came + REFRESH + LEEWAY;
    let of_it = |trouble: &&Trouble| by.is_none_or(|by| trouble.is_at(by));
    // They are in the order in which they began: one may lead into the next.
    for trouble in troubles.iter().filter(of_it) {
        if trouble.from <= due && came <= trouble.to {
            due = due.max(trouble.to + REFRESH + LEEWAY);
        }
    }
    due
}

/// Asserts that no list lacked a tool that it must have had by then, and that this says something.
pub(super) fn are_fresh(report: &Report, troubles: &[Trouble]) {
    let came = &report.came;
    let must_have = |done: &Done, number: usize| {
        let due = came
            .get(number)
            .map(|came| due(*came, Some(&done.by), troubles));
        due.is_some_and(|due| done.began > due)
    };
    let lists = report.done.iter().filter(|done| {
        let is_good = matches!(done.outcome, Outcome::Good);
        done.kind == Kind::List && is_good
    });
    let mut with_the_last = 0;
    for done in lists {
        // If it may lack this one, it may lack all that came after it.
        let lacked = done.newest.map_or(0, |newest| newest + 1);
        if must_have(done, lacked) {
            let age = done.began.duration_since(came[lacked]);
            panic!("a list lacks tool {lacked}, which came {age:?} before: {done:#?}");
        }
        with_the_last += usize::from(must_have(done, came.len() - 1));
    }
    assert!(came.len() >= AFTERWARDS, "{came:?}");
    assert!(with_the_last > 0, "no list had to have the last tool");
}
