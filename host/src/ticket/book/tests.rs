use serde_json::json;

use super::*;
use crate::ticket::WishArguments;

const HOUR: Duration = Duration::from_secs(3600);

struct Bench {
    book: Book,
    _dir: tempfile::TempDir,
}

async fn bench() -> Bench {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path(), None).await.expect("open");
    Bench {
        book: Book::new(&store),
        _dir: dir,
    }
}

fn owner(subject: &str) -> Owner {
    Owner {
        issuer: "https://issuer.example".to_owned(),
        subject: subject.to_owned(),
    }
}

fn wish(wanted: &str, severity: &str) -> Wish {
    let given: WishArguments = serde_json::from_value(json!({
        "whatIWanted": wanted,
        "userIntent": format!("because of {severity}"),
        "severity": severity,
    }))
    .expect("arguments");
    given.try_into().expect("a wish")
}

impl Bench {
    async fn report(&self, who: &str, wanted: &str, now: Moment) -> Result<Reported, TicketError> {
        let wish = wish(wanted, "inconvenient");
        let agent = Some("agent");
        self.book.report(&owner(who), agent, &wish, now).await
    }

    async fn own(&self, who: &str) -> Vec<Value> {
        let own = self.book.own(&owner(who), &Filter::default(), 1_000).await;
        own.expect("read").shown()
    }

    async fn all(&self) -> Vec<Ticket> {
        let all = self.book.list(&Filter::default(), 10_000).await;
        all.expect("read")
    }
}

#[tokio::test]
async fn the_same_wish_is_one_ticket_for_a_day_after_its_last_report() {
    let bench = bench().await;
    let start = Moment::now();
    let first = bench.report("ann", "w", start).await.expect("kept");
    assert!(!first.deduplicated);
    let second = bench.report("ann", "w", start.plus(HOUR * 23)).await;
    let second = second.expect("kept");
    assert!(second.deduplicated);
    assert_eq!(second.ticket.id, first.ticket.id);
    assert_eq!(second.ticket.times_reported, 2);
    let third = bench.report("ann", "w", start.plus(HOUR * 46)).await;
    assert!(third.expect("kept").deduplicated, "23 h after the last one");
    let fourth = bench.report("ann", "w", start.plus(HOUR * 70)).await;
    let fourth = fourth.expect("kept");
    assert!(!fourth.deduplicated, "24 h after the last one");
    let ids: Vec<_> = bench.own("ann").await;
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0]["ticketId"], json!(fourth.ticket.id), "newest first");
    assert_eq!(ids[1]["timesReported"], 3);
}

#[tokio::test]
async fn a_report_again_keeps_the_greater_need_and_the_newer_words() {
    let bench = bench().await;
    let now = Moment::now();
    let ann = owner("ann");
    for severity in ["nice_to_have", "blocking", "inconvenient"] {
        let wish = wish("w", severity);
        let reported = bench.book.report(&ann, None, &wish, now).await;
        reported.expect("kept");
    }
    let [ticket] = &bench.own("ann").await[..] else {
        panic!("one ticket");
    };
    assert_eq!(ticket["severity"], "blocking");
    assert_eq!(ticket["userIntent"], "because of inconvenient");
}

#[tokio::test]
async fn everybody_has_their_own() {
    let bench = bench().await;
    let now = Moment::now();
    let anns = bench.report("ann", "w", now).await.expect("kept");
    let bobs = bench.report("bob", "w", now).await.expect("kept");
    assert!(!bobs.deduplicated);
    assert_ne!(anns.ticket.id, bobs.ticket.id);
    let stranger = Owner {
        issuer: "https://other.example".to_owned(),
        subject: "ann".to_owned(),
    };
    let own = bench.book.own(&stranger, &Filter::default(), 10).await;
    assert!(
        own.expect("read").shown().is_empty(),
        "another issuer's ann"
    );
    assert_eq!(bench.own("bob").await.len(), 1);
    let of = anns.ticket.id;
    let decided = Standing::Duplicate { of };
    let decided = bench.book.decide(bobs.ticket.id, decided, None, now).await;
    assert_eq!(
        decided.expect("decided").to_operator()["duplicateOf"],
        json!(of)
    );
    let shown = &bench.own("bob").await[0];
    assert_eq!(shown["status"], "duplicate");
    assert_eq!(shown["duplicateOf"], Value::Null, "another's is not named");
    assert!(!shown.to_string().contains(&of.to_string()), "{shown}");
}

#[tokio::test]
async fn many_at_once_are_one_ticket_and_none_is_lost() {
    let bench = bench().await;
    let now = Moment::now();
    let same = (0..20).map(|_| bench.report("ann", "w", now));
    let others = (0..20).map(|n| {
        let bench = &bench;
        async move { bench.report("ann", &format!("w{n}"), now).await }
    });
    let (same, others) = futures_util::future::join(
        futures_util::future::join_all(same),
        futures_util::future::join_all(others),
    )
    .await;
    let same: Vec<Reported> = same.into_iter().map(|it| it.expect("kept")).collect();
    assert_eq!(same.iter().filter(|it| !it.deduplicated).count(), 1);
    assert!(
        others
            .iter()
            .all(|it| it.as_ref().is_ok_and(|it| !it.deduplicated))
    );
    let shown = bench.own("ann").await;
    assert_eq!(shown.len(), 21);
    let counts: u64 = shown
        .iter()
        .filter_map(|it| it["timesReported"].as_u64())
        .sum();
    assert_eq!(counts, 40, "every report is counted");
    assert_eq!(bench.all().await.len(), 21);
}

#[tokio::test]
async fn one_owner_cannot_fill_the_disk() {
    let bench = bench().await;
    let start = Moment::now();
    for n in 0..MAX_A_DAY {
        let reported = bench.report("ann", &format!("w{n}"), start).await;
        reported.expect("kept");
    }
    let more = bench.report("ann", "more", start).await;
    assert!(matches!(more, Err(TicketError::TooManyToday)));
    let again = bench.report("ann", "w0", start).await;
    assert!(again.expect("kept").deduplicated, "not a new one");
    bench.report("bob", "w", start).await.expect("bob may");
    for n in MAX_A_DAY..MAX_OWNED {
        let day = u32::try_from(n / MAX_A_DAY).expect("few");
        let when = start.plus(HOUR * 24 * day);
        let reported = bench.report("ann", &format!("w{n}"), when).await;
        reported.expect("kept");
    }
    let later = start.plus(HOUR * 24 * 30);
    let more = bench.report("ann", "more", later).await;
    assert!(matches!(more, Err(TicketError::TooMany)));

    let oldest_but_one: TicketId =
        serde_json::from_value(bench.own("ann").await[MAX_OWNED - 2]["ticketId"].clone())
            .expect("an id");
    let answer = Answer::new("done").expect("an answer");
    let decided = bench
        .book
        .decide(oldest_but_one, Standing::Resolved, Some(answer), later);
    decided.await.expect("decided");
    bench
        .report("ann", "more", later)
        .await
        .expect("there is room");
    let own = bench.own("ann").await;
    assert_eq!(own.len(), MAX_OWNED);
    assert!(own.iter().all(|it| it["ticketId"] != json!(oldest_but_one)));
    assert!(matches!(
        bench.book.get(oldest_but_one).await,
        Err(TicketError::Unknown(_))
    ));
    // Its wish is free again, and not a wish of nobody.
    let again = bench.report("ann", "w1", later).await;
    assert!(matches!(again, Err(TicketError::TooMany)));
}

#[tokio::test]
async fn operators_decide_and_the_answer_stays() {
    let bench = bench().await;
    let now = Moment::now();
    let one = bench.report("ann", "w", now).await.expect("kept").ticket.id;
    let two = bench.report("ann", "v", now).await.expect("kept").ticket.id;
    let book = &bench.book;
    let refused = book.decide(one, Standing::WontFix, None, now).await;
    assert!(matches!(refused, Err(TicketError::NeedsAnswer)));
    let soon = Answer::new(" soon ").expect("an answer");
    let planned = book.decide(one, Standing::Planned, Some(soon), now).await;
    assert_eq!(planned.expect("decided").answer(), Some("soon"));
    let resolved = book.decide(one, Standing::Resolved, None, now).await;
    assert_eq!(resolved.expect("decided").answer(), Some("soon"));
    let itself = book
        .decide(two, Standing::Duplicate { of: two }, None, now)
        .await;
    assert!(matches!(itself, Err(TicketError::NoOriginal(_))));
    let nobody = TicketId::make();
    let lost = book
        .decide(two, Standing::Duplicate { of: nobody }, None, now)
        .await;
    assert!(matches!(lost, Err(TicketError::Unknown(id)) if id == nobody));
    let twin = book
        .decide(two, Standing::Duplicate { of: one }, None, now)
        .await;
    twin.expect("decided");
    let chain = book
        .decide(one, Standing::Duplicate { of: two }, None, now)
        .await;
    assert!(matches!(chain, Err(TicketError::NoOriginal(_))));
    assert_eq!(bench.own("ann").await[0]["duplicateOf"], json!(one));

    let settled = |status| Filter {
        status: Some(status),
        ..Filter::default()
    };
    for (status, found) in [
        (Status::Resolved, 1),
        (Status::Duplicate, 1),
        (Status::Open, 0),
    ] {
        let listed = book.list(&settled(status), 10).await.expect("read");
        assert_eq!(listed.len(), found, "{status}");
    }
    let page = book.after(Some(one)).await.expect("read");
    assert_eq!(page.iter().map(|it| it.id).collect::<Vec<_>>(), [two]);
    assert!(book.after(Some(two)).await.expect("read").is_empty());
}
