//! Three gateways under steady load while one after the other is upgraded, one is killed, the engines behind them
//! restart or forget everything, and the network between them breaks: what was accepted is neither lost nor
//! done twice, and no list is older than it may be. The load is on other threads than the test, and goes on while
//! that waits for a process.
//!
//! Two versions run side by side. By default they are this gateway with another version of a plugin;
//! `CORTEX_TESTS_OLD_GATEWAY` names the program of an older gateway that shares a store. `CORTEX_TESTS_ROUNDS`
//! (1 by default) says how often each thing happens.

use std::time::Duration;

use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use self::load::{Done, Kind, Outcome, Report, Trouble};
use self::stand::{CLIENTS, PATIENCE, RENEWED_AGAIN, SOME, Stand};

mod lists;
mod load;
mod stand;

/// Held by each test: so many gateways and so much load beside one another would be a test of the machine.
static ALONE: Mutex<()> = Mutex::const_new(());
/// How long clients wait for an answer: longer than a gateway waits for anything,
const PATIENT: Duration = Duration::from_secs(45);
/// and where a gateway may be cut off with all they have asked: not so long that nothing goes on.
const IMPATIENT: Duration = Duration::from_secs(8);
/// How soon after it is back a database is used again by all.
const FEW: Duration = Duration::from_secs(5);
/// How long after the death of a gateway that asks a backend another one may ask it.
const ASKED_AGAIN: Duration = Duration::from_secs(5);
/// How soon one that was cut off is as before: packets that got lost are sent again after twice the time that it
/// took at most, what waits for an answer that will never come gives up, and connections are made anew.
const CATCHES_UP: Duration = Duration::from_secs(10);

fn rounds() -> usize {
    let rounds = std::env::var("CORTEX_TESTS_ROUNDS").ok();
    rounds.and_then(|rounds| rounds.parse().ok()).unwrap_or(1)
}

/// Requests that did not go well.
fn bad(report: &Report) -> Vec<&Done> {
    let bad = report.done.iter();
    bad.filter(|done| !matches!(done.outcome, Outcome::Good))
        .collect()
}

/// Asserts that all went well but what is excused.
fn went_well(stand: &Stand, report: &Report, is_excused: impl Fn(&Done) -> bool) {
    for done in bad(report) {
        assert!(is_excused(done), "{done:#?}\n{}", stand.fleet.log());
    }
}

/// Whether somebody may have to wait for an account because an instance that the others lost sight of was renewing its
/// token then, or had no time to say that it has: the last call went there.
fn waits_for_a_lost_one(report: &Report, done: &Done, lost: &[Trouble]) -> bool {
    let had_it = |lost: &Trouble| {
        let just_before = Trouble {
            from: lost.from - Duration::from_secs(1),
            ..*lost
        };
        report.done.iter().any(|call| {
            let may_be_there = call.by.is_empty() || lost.is_at(&call.by);
            call.kind == Kind::Account
                && call.client == done.client
                && may_be_there
                && just_before.met(call)
        })
    };
    let is_felt =
        |lost: &Trouble| done.ended >= lost.from && done.began <= lost.from + RENEWED_AGAIN;
    done.kind == Kind::Account && lost.iter().any(|lost| is_felt(lost) && had_it(lost))
}

/// How many tokens may be presented once more because of these: of each account, the robot's too, one renewal is under
/// way at a time.
fn renewing(lost: &[Trouble]) -> usize {
    (CLIENTS + 1) * lost.len()
}

/// Whether it is of an account or a ticket, and needed what an instance could not reach that was cut off, or had not
/// caught up.
fn needs_what_is_away(done: &Done, apart: &[Trouble]) -> bool {
    let may_be_of = |apart: &Trouble| done.by.is_empty() || apart.is_at(&done.by);
    let is_kept_there = matches!(done.kind, Kind::Report | Kind::Account);
    is_kept_there
        && apart
            .iter()
            .any(|apart| apart.met(done) && may_be_of(apart))
}

/// Where lists may be older when instances are cut off: at themselves; and everywhere, while such a one may have been
/// asking the backend for all of them.
fn older_lists(lost: &[Trouble], apart: &[Trouble]) -> Vec<Trouble> {
    let asking = lost.iter().map(|lost| Trouble {
        from: lost.from,
        to: lost.from + ASKED_AGAIN,
        at: None,
    });
    apart.iter().copied().chain(asking).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_is_not_noticed() {
    let _alone = ALONE.lock().await;
    let Some(mut stand) = Stand::start(false).await else {
        return;
    };
    let load = stand.load(PATIENT).await;
    for _ in 0..rounds() {
        for number in 0..3 {
            stand.fleet.stop(number).await;
            load.goes_on(SOME).await;
            stand.fleet.start(number, Stand::newer).await;
            // Old and new side by side.
            load.goes_on(SOME).await;
        }
    }
    let report = stand.ends(load, &[]).await;
    went_well(&stand, &report, |_| false);
    stand.nothing_is_lost(&report, &[], 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_instance_takes_nothing_with_it_but_the_requests_it_had() {
    let _alone = ALONE.lock().await;
    let Some(mut stand) = Stand::start(false).await else {
        return;
    };
    stand.forgives();
    let load = stand.load(PATIENT).await;
    let mut killed = Vec::new();
    for round in 0..rounds() {
        let number = round % 3;
        let others: Vec<usize> = (0..3).filter(|other| *other != number).collect();
        let from = Instant::now();
        stand.fleet.kill(number).await;
        stand.fleet.balancer.sees(&others).await;
        killed.push(Trouble::since(from, Some(number)));
        load.goes_on(SOME).await;
        stand.fleet.start(number, |builder| builder).await;
        load.goes_on(SOME).await;
    }
    let report = stand.ends(load, &older_lists(&killed, &[])).await;
    went_well(&stand, &report, |done| match &done.outcome {
        // The balancer did not know yet.
        Outcome::Balancer(_) | Outcome::Broken(_) => killed.iter().any(|killed| killed.met(done)),
        // A renewal that the dead one had begun is waited for.
        Outcome::Refused(_) => waits_for_a_lost_one(&report, done, &killed),
        _ => false,
    });
    let again = renewing(&killed);
    stand.nothing_is_lost(&report, &killed, again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_store_costs_nothing_that_was_acknowledged() {
    let _alone = ALONE.lock().await;
    let Some(mut stand) = Stand::start(false).await else {
        return;
    };
    let load = stand.load(PATIENT).await;
    let mut away = Vec::new();
    for _ in 0..rounds() {
        let from = Instant::now();
        stand.fleet.postgres.stop();
        tokio::time::sleep(Duration::from_millis(500)).await;
        stand.fleet.postgres.run();
        away.push(Trouble::since(from, None));
        load.goes_on(SOME).await;
    }
    // A tool that is new is approved before it is listed, and that is kept there.
    let report = stand.ends(load, &away).await;
    went_well(&stand, &report, |done| {
        // What is kept there cannot be had while it is away.
        let is_kept_there = matches!(done.kind, Kind::Report | Kind::Account);
        let is_refused = matches!(done.outcome, Outcome::Refused(_));
        is_kept_there && is_refused && away.iter().any(|away| away.longer(FEW).met(done))
    });
    stand.nothing_is_lost(&report, &[], 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_forgets_or_restarts_is_not_noticed() {
    let _alone = ALONE.lock().await;
    let Some(mut stand) = Stand::start(false).await else {
        return;
    };
    let load = stand.load(PATIENT).await;
    for _ in 0..rounds() {
        let redis = stand.fleet.redis.as_mut().expect("a Redis");
        redis.command(&["FLUSHALL"]);
        load.goes_on(SOME).await;
        redis.stop();
        load.goes_on(SOME).await;
        redis.run();
        load.goes_on(SOME).await;
    }
    // Not even by accounts, and no list is older: each gateway asks by itself meanwhile.
    let report = stand.ends(load, &[]).await;
    went_well(&stand, &report, |_| false);
    stand.nothing_is_lost(&report, &[], 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_is_cut_off_and_comes_back_is_one_of_them_again() {
    let _alone = ALONE.lock().await;
    let Some(stand) = Stand::start(true).await else {
        return;
    };
    stand.forgives();
    let network = stand.fleet.network.as_ref().expect("a network");
    let load = stand.load(IMPATIENT).await;
    // Until the balancer knew, and until it was as before.
    let (mut lost, mut apart) = (Vec::new(), Vec::new());
    for round in 0..rounds() {
        let cut = round % 3;
        let others: Vec<usize> = (0..3).filter(|other| *other != cut).collect();
        let from = Instant::now();
        network.cut(cut);
        stand.fleet.balancer.sees(&others).await;
        lost.push(Trouble::since(from, Some(cut)));
        // Of accounts all may wait for what it was renewing.
        let others = [Kind::Call, Kind::InSession, Kind::List, Kind::Report];
        load.goes_on_with(SOME, &others, None).await;
        network.mend(cut);
        stand.fleet.balancer.sees(&[0, 1, 2]).await;
        apart.push(Trouble::since(from, Some(cut)).longer(CATCHES_UP));
        load.goes_on(SOME).await;
    }
    let report = stand.ends(load, &older_lists(&lost, &apart)).await;
    went_well(&stand, &report, |done| match &done.outcome {
        Outcome::Balancer(_) | Outcome::Broken(_) if lost.iter().any(|lost| lost.met(done)) => true,
        // A renewal that it had begun is waited for.
        Outcome::Refused(_) | Outcome::Broken(_) => {
            needs_what_is_away(done, &apart) || waits_for_a_lost_one(&report, done, &lost)
        }
        _ => false,
    });
    let again = renewing(&lost);
    stand.nothing_is_lost(&report, &lost, again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_reaches_neither_store_nor_redis_serves_whom_it_knows_and_recovers() {
    let _alone = ALONE.lock().await;
    let Some(stand) = Stand::start(true).await else {
        return;
    };
    let network = stand.fleet.network.as_ref().expect("a network");
    let load = stand.load(PATIENT).await;
    let (mut lost, mut apart) = (Vec::new(), Vec::new());
    for round in 0..rounds() {
        let cut = round % 3;
        let told = |text: &str| stand.fleet.gateway(cut).log().matches(text).count();
        let lines = ["Redis is away", "keys of audit records cannot be had"];
        let before = lines.map(told);
        // Nobody has seen this one yet: what is done for it could not be recorded.
        let token = stand
            .issuer
            .token(&format!("stranger{round}"), "mcp:test:use");
        let stranger = stand.fleet.gateway(cut).client.with_token(&token);
        let from = Instant::now();
        network.cut_from_engines(cut);
        lost.push(Trouble::since(from, Some(cut)));
        let refused = stranger.modern("tools/list", json!({})).await;
        assert_eq!(refused.status, 503, "{}", refused.text());
        stand.says_so(cut, &lines, before).await;
        // It is still one of those that clients reach, and what it has to do for whom it knows it does.
        assert_eq!(stand.fleet.balancer.up(), [0, 1, 2]);
        let known = [Kind::Call, Kind::InSession, Kind::List];
        load.goes_on_with(SOME, &known, Some(cut)).await;
        let lines = ["Redis is back", "keys of audit records can be had again"];
        let before = lines.map(told);
        network.mend(cut);
        apart.push(Trouble::since(from, Some(cut)).longer(CATCHES_UP));
        let began = Instant::now();
        while stranger.modern("tools/list", json!({})).await.status != 200 {
            assert!(began.elapsed() < PATIENCE, "{}", stand.fleet.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        stand.says_so(cut, &lines, before).await;
        // Tickets and accounts, too.
        load.goes_on_with(SOME, &Kind::ALL, Some(cut)).await;
    }
    let report = stand.ends(load, &older_lists(&lost, &apart)).await;
    went_well(&stand, &report, |done| {
        let is_refused = matches!(done.outcome, Outcome::Refused(_));
        // What it was renewing it keeps as soon as it can; until then the others wait for it.
        let waits = || waits_for_a_lost_one(&report, done, &lost);
        is_refused && (needs_what_is_away(done, &apart) || waits())
    });
    // It reached the provider all the time: no answer got lost, so that nothing is presented again.
    stand.nothing_is_lost(&report, &lost, 0).await;
}
