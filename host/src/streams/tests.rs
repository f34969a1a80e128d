use std::time::Duration;

use futures_util::FutureExt as _;

use super::*;

const BOUNDS: StreamConfig = StreamConfig {
    keep_alive: Duration::from_secs(30),
    max_per_caller: 2,
    max: 3,
};

fn principal(subject: &str) -> Arc<Principal> {
    Arc::new(Principal {
        subject: Subject::new(subject),
        issuer: Issuer::new("https://issuer.example"),
        client_id: None,
        email: None,
        name: None,
        role: None,
        pool: None,
        scopes: "a".parse().expect("scopes"),
        dev_bypass: false,
    })
}

fn view(n: u64) -> View {
    View([n, 0, 0])
}

/// What a reader gets without waiting: the last lines of its frames, and its end.
fn now(reader: &mut Reader) -> (Vec<String>, Option<End>) {
    let mut frames = Vec::new();
    loop {
        match reader.next().now_or_never() {
            Some(Next::Frame(frame)) => frames.push(String::from_utf8_lossy(&frame).into_owned()),
            Some(Next::End(end)) => return (frames, Some(end)),
            None => return (frames, None),
        }
    }
}

/// The id that a frame carries.
fn id(frame: &str) -> EventId {
    let id = frame.lines().find_map(|line| line.strip_prefix("id: "));
    EventId::parse(id.expect("an id")).expect("one of ours")
}

/// Tells all listeners that the tools look like this now.
fn look(hub: &Hub, n: u64) {
    for channel in hub.channels() {
        channel.look(view(n), n);
    }
}

#[test]
fn a_listener_is_told_of_changes_and_only_of_changes() {
    let hub = Arc::new(Hub::new(BOUNDS));
    let mut reader = hub
        .open(principal("ann"), Dialect::Legacy, view(1))
        .expect("a stream");
    look(&hub, 1);
    assert_eq!(now(&mut reader), (vec![], None));
    look(&hub, 2);
    look(&hub, 2);
    let told = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n";
    assert_eq!(now(&mut reader), (vec![told.to_owned()], None));
    // What an older generation showed is no news.
    reader.channel().look(view(1), 1);
    assert_eq!(now(&mut reader), (vec![], None));
    hub.stop();
    assert_eq!(now(&mut reader), (vec![], Some(End::Stopping)));
    let refused = hub.open(principal("ann"), Dialect::Legacy, view(1));
    assert_eq!(refused.err(), Some(NoStream::Stopping));
    drop(reader);
    assert!(hub.channels().is_empty());
}

#[test]
fn who_comes_back_gets_what_was_missed_and_nothing_twice() {
    let hub = Arc::new(Hub::new(BOUNDS));
    let session = SessionId::new();
    let open = |last| {
        hub.open_session(session, principal("ann"), last, view(1))
            .expect("a stream")
    };
    let (mut reader, begin) = open(None);
    look(&hub, 2);
    let (told, _) = now(&mut reader);
    let second = id(&told[0]);
    drop(reader);
    // Nobody reads now.
    look(&hub, 3);
    look(&hub, 4);

    let (mut reader, resumed) = open(Some(second));
    let (told, _) = now(&mut reader);
    assert_eq!(told.len(), 2);
    assert_eq!(
        resumed, second,
        "until the first event, the same id resumes"
    );
    let last = id(&told[1]);
    drop(reader);
    let (mut reader, _) = open(Some(begin));
    assert_eq!(now(&mut reader).0.len(), 3, "from the very beginning");
    drop(reader);
    let (mut reader, _) = open(Some(last));
    assert_eq!(now(&mut reader).0.len(), 0);
    drop(reader);
    // Without an id: what no stream has sent.
    look(&hub, 5);
    let (mut reader, _) = open(None);
    assert_eq!(now(&mut reader).0.len(), 1);
}

#[test]
fn who_comes_back_to_a_gateway_that_knows_nothing_learns_of_a_change() {
    let session = SessionId::new();
    let seen = |n| {
        let hub = Arc::new(Hub::new(BOUNDS));
        let opened = hub.open_session(session, principal("ann"), None, view(n));
        opened.expect("a stream").1
    };
    let hub = Arc::new(Hub::new(BOUNDS));
    for (last, told) in [(seen(7), 0), (seen(6), 1)] {
        let opened = hub.open_session(session, principal("ann"), Some(last), view(7));
        let (mut reader, _) = opened.expect("a stream");
        reader.channel().look(view(7), 7);
        assert_eq!(now(&mut reader).0.len(), told);
    }
}

#[test]
fn a_newer_stream_of_a_session_replaces_the_older_and_takes_its_room() {
    let hub = Arc::new(Hub::new(BOUNDS));
    let session = SessionId::new();
    let open = || {
        hub.open_session(session, principal("ann"), None, view(1))
            .expect("a stream")
            .0
    };
    let mut older = open();
    let mut newer = open();
    look(&hub, 2);
    assert_eq!(now(&mut older), (vec![], Some(End::Replaced)));
    drop(older);
    assert_eq!(now(&mut newer).0.len(), 1);
    for _ in 0..10 {
        newer = open();
    }
    let _second = hub
        .open(principal("ann"), Dialect::Legacy, view(1))
        .expect("one more is allowed");
    hub.end_session(session);
    assert_eq!(now(&mut newer).1, Some(End::SessionOver));
    assert_eq!(hub.channels().len(), 1);
}

#[test]
fn streams_are_counted_by_caller_and_in_all() {
    let hub = Arc::new(Hub::new(BOUNDS));
    let open = |subject| hub.open(principal(subject), Dialect::Legacy, view(1));
    let (first, _second) = (open("ann").expect("1"), open("ann").expect("2"));
    assert_eq!(open("ann").err(), Some(NoStream::TooManyOfCaller));
    let _third = open("bob").expect("3");
    assert_eq!(open("bob").err(), Some(NoStream::TooMany));
    drop(first);
    assert!(open("bob").is_ok());
}

#[test]
fn a_slow_reader_is_let_go_and_what_it_missed_is_bounded() {
    let hub = Arc::new(Hub::new(BOUNDS));
    let session = SessionId::new();
    let (mut slow, begin) = hub
        .open_session(session, principal("ann"), None, view(0))
        .expect("a stream");
    for n in 1..=1_000 {
        look(&hub, n);
    }
    assert_eq!(now(&mut slow), (vec![], Some(End::TooSlow)));
    drop(slow);
    // The gap cannot be filled; that something has changed is told all the same.
    let (mut reader, _) = hub
        .open_session(session, principal("ann"), Some(begin), view(1_000))
        .expect("a stream");
    reader.channel().look(view(1_000), 1_000);
    assert_eq!(now(&mut reader).0.len(), 1);
}

#[tokio::test]
async fn a_waiting_reader_is_woken() {
    let hub = Arc::new(Hub::new(BOUNDS));
    let mut reader = hub
        .open(principal("ann"), Dialect::Legacy, view(1))
        .expect("a stream");
    let waiting = tokio::spawn(async move { reader.next().await });
    tokio::task::yield_now().await;
    look(&hub, 2);
    assert!(matches!(waiting.await, Ok(Next::Frame(_))));
}

#[test]
fn who_listens_at_another_gateway_now_is_told_so_and_learns_there_what_may_have_changed() {
    let (here, there) = (Arc::new(Hub::new(BOUNDS)), Arc::new(Hub::new(BOUNDS)));
    let session = SessionId::new();
    let opened = here.open_session(session, principal("ann"), None, view(1));
    let (mut reader, _) = opened.expect("a stream");
    here.taken_over(session);
    assert_eq!(now(&mut reader), (Vec::new(), Some(End::Replaced)));
    assert!(here.of_session(session).is_none());
    drop(reader);
    assert_eq!(here.open_streams().0, 0);
    // Without a word of what it was told last, every list may have changed.
    let last = Some(EventId::unknown());
    let opened = there.open_session(session, principal("ann"), last, view(1));
    let (mut reader, _) = opened.expect("a stream");
    assert!(reader.channel().is_new());
    reader.channel().look(View([1, 2, 3]), 1);
    assert_eq!(now(&mut reader).0.len(), 3);
}
