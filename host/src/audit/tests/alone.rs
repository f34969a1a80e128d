//! Who writes a record: the request itself, or the task that writes those of several.

use super::*;

#[tokio::test]
async fn whoever_is_alone_writes_and_all_others_are_written_together() {
    let bench = Bench::new().await;
    let open = bench.open().await;
    // Her key is there from here on.
    assert!(open.keep("ann", "search").await);
    let draft = || Draft {
        owner: Some(Owner {
            issuer: Issuer::new("https://issuer.example"),
            subject: Subject::new("ann"),
        }),
        ..Draft::default()
    };
    let reserve = || open.queue.reserve().expect("a place");
    let is_written = |receipt: &Receipt| receipt.0.is_none();
    let alone = reserve().fill(draft());
    assert!(is_written(&alone), "at once");
    let (first, second) = (reserve(), reserve());
    let first = first.fill(draft());
    assert!(!is_written(&first), "another one is under way");
    let second = second.fill(draft());
    first.kept().await.expect("kept");
    second.kept().await.expect("kept");
    // Whoever rests is in nobody's way.
    let mut resting = reserve();
    resting.rests();
    assert!(is_written(&reserve().fill(draft())));
    let resting = resting.fill(draft());
    assert!(!is_written(&resting));
    resting.kept().await.expect("kept");
    // And while the writer is at work, its queue takes what comes.
    let writer = open.queue.writer.clone().expect("one that is waited for");
    let busy = writer.lock().await;
    let waits = reserve().fill(draft());
    assert!(!is_written(&waits));
    drop(busy);
    waits.kept().await.expect("kept");
    let verified = open.verify().await;
    assert_eq!((verified.finding, verified.records), (None, 7));
    drop(writer);
    open.close().await;
}
