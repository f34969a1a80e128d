//! `cortex-gateway tickets`, with the gateway running and without.

use cortex_tests::GatewayBuilder;
use serde_json::{Value, json};

use super::{Bench, blocking, list, report, wish};

/// What a command wrote; it must have succeeded.
async fn said(gateway: &impl Operate, arguments: &[&str]) -> String {
    let (success, out, err) = gateway.run(arguments).await;
    assert!(success, "{arguments:?}: {err}");
    out
}

/// What a command complained of; it must have failed.
async fn complaint(gateway: &impl Operate, arguments: &[&str]) -> String {
    let (success, out, err) = gateway.run(arguments).await;
    assert!(!success && out.is_empty(), "{arguments:?}: {out}");
    err
}

trait Operate {
    async fn run(&self, arguments: &[&str]) -> (bool, String, String);
}

fn read(output: std::process::Output) -> (bool, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}

impl Operate for Bench {
    async fn run(&self, arguments: &[&str]) -> (bool, String, String) {
        read(self.gateway.operate(arguments).await)
    }
}

impl Operate for GatewayBuilder {
    async fn run(&self, arguments: &[&str]) -> (bool, String, String) {
        read(self.operate(arguments).await)
    }
}

fn id(told: &Value) -> String {
    told["ticketId"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn operators_answer_and_the_agent_reads_it() {
    let bench = Bench::start(|gateway| gateway).await;
    let (ann, bob) = (bench.client("ann"), bench.client("bob"));
    let anns = id(&report(&ann, blocking("export as PDF")).await);
    let bobs = id(&report(&bob, wish("PDF export")).await);

    let all = said(&bench, &["tickets", "list"]).await;
    let lines: Vec<_> = all.lines().collect();
    assert_eq!(lines.len(), 2, "{all}");
    assert!(
        lines[0].starts_with(&bobs) && lines[0].ends_with("1x  PDF export"),
        "{all}"
    );
    assert!(
        lines[1].starts_with(&anns) && lines[1].contains("  blocking      open  "),
        "{all}"
    );
    let some = said(
        &bench,
        &[
            "tickets",
            "list",
            "--subject",
            "ann",
            "--severity",
            "blocking",
        ],
    )
    .await;
    assert_eq!(some.lines().count(), 1);
    assert_eq!(
        said(&bench, &["tickets", "list", "--status", "planned"]).await,
        "no tickets\n"
    );

    let triage = [
        "tickets",
        "triage",
        &anns,
        "--status",
        "planned",
        "--answer",
        "In March.",
    ];
    assert!(
        said(&bench, &triage)
            .await
            .contains("status        planned\n")
    );
    said(
        &bench,
        &["tickets", "triage", &bobs, "--duplicate-of", &anns],
    )
    .await;
    let seen = list(&ann, json!({})).await;
    assert_eq!(seen["tickets"][0]["status"], "planned");
    assert_eq!(seen["tickets"][0]["answer"], "In March.");
    let again = report(&ann, blocking("export as PDF")).await;
    let ack = again["ackMessage"].as_str().expect("a text");
    assert!(
        ack.ends_with("Its status is planned. The operator says: In March."),
        "{ack}"
    );
    let seen = list(&bob, json!({})).await;
    assert_eq!(seen["tickets"][0]["status"], "duplicate");
    assert!(
        !seen.to_string().contains(&anns),
        "of ann's nothing is told: {seen}"
    );
    let shown = said(&bench, &["tickets", "show", &bobs, "--json"]).await;
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(
        (&shown["duplicateOf"], &shown["subject"]),
        (&json!(anns), &json!("bob"))
    );

    // The same without a gateway.
    let stopped = bench.gateway.stop().await;
    said(
        &stopped,
        &["tickets", "resolve", &anns, "--answer", "Use docs_export."],
    )
    .await;
    let shown = said(&stopped, &["tickets", "show", &anns]).await;
    assert!(
        shown.contains("answer        Use docs_export.\n"),
        "{shown}"
    );
    assert!(shown.contains("times         2\n"), "{shown}");
    let gateway = stopped.start().await;
    let ann = gateway
        .client
        .with_token(&bench.people.token("ann", "agent-1"));
    let seen = list(&ann, json!({ "status": "resolved" })).await;
    assert_eq!(seen["tickets"][0]["answer"], "Use docs_export.");
}

#[tokio::test]
async fn what_cannot_be_done_is_said_with_the_way_out() {
    let bench = Bench::start(|gateway| gateway).await;
    let mine = id(&report(&bench.client("ann"), wish("w")).await);
    let nobody = "0".repeat(32);
    let long = "x".repeat(4_001);
    for (arguments, expected) in [
        (
            &["show", &nobody][..],
            format!("error: there is no ticket `{nobody}`; hint: `cortex-gateway tickets list`"),
        ),
        (&["show", "seven"], "expected the id of a ticket".to_owned()),
        (
            &["triage", &mine, "--status", "wont-fix"],
            "not settled without an answer; hint: add --answer".to_owned(),
        ),
        (
            &["triage", &mine, "--duplicate-of", &mine],
            "cannot be what this one is a duplicate of".to_owned(),
        ),
        (&["resolve", &mine], "--answer <TEXT>".to_owned()),
        (
            &["resolve", &mine, "--answer", " "],
            "`answer` is empty".to_owned(),
        ),
        (
            &["resolve", &mine, "--answer", &long],
            "`answer` has 4001 characters; hint: 4000 at most".to_owned(),
        ),
        (
            &["list", "--status", "closed"],
            "expected one of `open`, `triaged`".to_owned(),
        ),
    ] {
        let all = [&["tickets"], arguments].concat();
        let complaint = complaint(&bench, &all).await;
        assert!(complaint.contains(&expected), "{arguments:?}: {complaint}");
    }
    let seen = list(&bench.client("ann"), json!({})).await;
    assert_eq!(seen["tickets"][0]["status"], "open", "nothing was done");
}

#[tokio::test]
async fn everything_can_be_taken_away_as_lines_and_obeyed_by_no_terminal() {
    let bench = Bench::start(|gateway| gateway).await;
    let evil = "\u{1b}[2J\u{9b}31m\u{202e}two\nlines";
    report(&bench.client("ann"), wish(evil)).await;
    for n in 0..5 {
        // Enough for several pages.
        for m in 0..45 {
            let client = bench.client(&format!("user-{n}"));
            report(&client, wish(&format!("w{m}"))).await;
        }
    }
    let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    let lines = said(&bench, &["tickets", "export"]).await;
    let tickets: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(tickets.len(), 226);
    assert_eq!(tickets[0]["format"], "cortex.ticket");
    assert_eq!(tickets[0]["version"], 1);
    assert_eq!(tickets[0]["ticket"]["whatIWanted"], evil);
    let mut ids: Vec<_> = tickets
        .iter()
        .map(|it| it["ticket"]["ticketId"].to_string())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 226, "each once");
    let first = tickets[0]["ticket"]["ticketId"].as_str().expect("an id");
    for arguments in [
        &["tickets", "export"][..],
        &["tickets", "list", "--limit", "1000"],
        &["tickets", "list", "--subject", "ann", "--json"],
        &["tickets", "show", first],
        &["tickets", "show", first, "--json"],
    ] {
        let shown = said(&bench, arguments).await;
        assert!(
            shown.contains("2J") && !shown.contains(obeyed),
            "{arguments:?}: {shown:?}"
        );
    }
}
