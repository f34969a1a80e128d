use super::*;
use crate::types::{Issuer, Subject};

fn owner(issuer: &str, subject: &str) -> Option<Owner> {
    Some(Owner {
        issuer: Issuer::new(issuer),
        subject: Subject::new(subject),
    })
}

async fn one(keys: &Keys, owner: &Option<Owner>) -> Arc<SubjectKey> {
    let found = keys.of(std::iter::once(owner.clone())).await;
    found.expect("a key").remove(0)
}

/// Makes whatever is kept of a subject's keys useless.
pub(in crate::audit) async fn damage(store: &Store, subject: &str) {
    let keys = Keys::new(store);
    let mut batch = Batch::default();
    for (place, owner) in keys.owned(subject).await.expect("read") {
        let key = Some(Zeroizing::new("none".to_owned()));
        let damaged = KeyRecord {
            key: key.clone(),
            erased_at: None,
        };
        let put = KEYS.put(&mut batch, &key_place(&owner.id), &damaged);
        put.expect("written");
        let put = OWNERS.put(&mut batch, &place, &OwnerRecord { key, ..owner });
        put.expect("written");
    }
    let kept = store.commit(batch).await;
    assert_eq!(kept.expect("kept"), Committed::Yes);
}

/// Those of a gateway that shares its store: each is looked up again at every use, if that can be done.
pub(in crate::audit) fn that_others_may_forget(store: &Store) -> Keys {
    Keys::remembering(store, Duration::ZERO, Duration::from_secs(600))
}

#[tokio::test]
async fn each_subject_has_a_key_that_stays() {
    let store = Store::temporary(None).await.expect("a store");
    let keys = Keys::new(&store);
    let owners = [
        owner("a", "ann"),
        owner("a", "bob"),
        owner("b", "ann"),
        None,
        owner("a", "ann"),
    ];
    let found = keys.of(owners.iter().cloned()).await.expect("keys");
    let ids: Vec<&str> = found.iter().map(|key| key.id.as_str()).collect();
    assert_eq!(ids[0], ids[4]);
    let different: std::collections::BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(different.len(), 4);
    let sealed = found[0].seal(7, "text").expect("sealed");
    // After a restart.
    let keys = Keys::new(&store);
    for (owner, id) in owners.iter().zip(&ids) {
        assert_eq!(one(&keys, owner).await.id, *id);
    }
    let Named::Key(key) = keys.named(ids[0]).await.expect("found") else {
        panic!("no key");
    };
    assert_eq!(key.open(7, &sealed).as_deref(), Ok("text"));
    assert_eq!(key.open(8, &sealed), Err(NotOurs::Foreign));
    assert_eq!(key.commit(7, "text"), found[0].commit(7, "text"));
    assert_ne!(key.commit(7, "text"), key.commit(8, "text"));
    assert_ne!(key.commit(7, "text"), found[1].commit(7, "text"));
}

#[tokio::test]
async fn what_is_forgotten_is_forgotten_and_nothing_else() {
    let store = Store::temporary(None).await.expect("a store");
    let keys = Keys::new(&store);
    let [ann, other, bob] = [owner("a", "ann"), owner("b", "ann"), owner("a", "bob")];
    let (first, second) = (one(&keys, &ann).await, one(&keys, &other).await);
    let third = one(&keys, &bob).await;
    for key in [&first, &second, &third] {
        assert!(matches!(keys.named(&key.id).await, Ok(Named::Key(_))));
    }
    let erased = keys.erase("ann", Some("a")).await.expect("erased");
    assert_eq!(erased.len(), 1);
    assert_eq!(
        (erased[0].issuer.as_str(), &erased[0].key),
        ("a", &first.id)
    );
    assert!(matches!(keys.named(&first.id).await, Ok(Named::Erased)));
    assert!(matches!(keys.named(&second.id).await, Ok(Named::Key(_))));
    // Whoever comes back is somebody new.
    assert_ne!(one(&keys, &ann).await.id, first.id);
    assert_eq!(keys.erase("ann", None).await.expect("erased").len(), 2);
    assert_eq!(keys.erase("nobody", None).await.expect("none"), []);
    assert_eq!(one(&keys, &bob).await.id, third.id);
    assert!(matches!(keys.named("strange").await, Ok(Named::Unknown)));
}

#[tokio::test]
async fn keys_of_earlier_versions_are_found() {
    let store = Store::temporary(None).await.expect("a store");
    let keys = Keys::new(&store);
    let ann = owner("a", "ann");
    let before = one(&keys, &ann).await;
    let mut batch = Batch::default();
    for (place, owner) in keys.owned("ann").await.expect("read") {
        let put = OWNERS.put(&mut batch, &place, &OwnerRecord { key: None, ..owner });
        put.expect("written");
    }
    let kept = store.commit(batch).await;
    assert_eq!(kept.expect("kept"), Committed::Yes);
    let keys = Keys::new(&store);
    assert_eq!(one(&keys, &ann).await.id, before.id);
    // And forgotten whole.
    assert_eq!(keys.erase("ann", None).await.expect("erased").len(), 1);
    assert_ne!(one(&keys, &ann).await.id, before.id);
}

#[tokio::test]
async fn what_was_looked_up_before_something_was_forgotten_is_not_remembered_after_it() {
    let store = Store::temporary(None).await.expect("a store");
    let keys = Keys::new(&store);
    let (ann, bob) = (owner("a", "ann"), owner("a", "bob"));
    let before = *keys.forgotten();
    let key = one(&keys, &ann).await;
    keys.erase("ann", None).await.expect("erased");
    let take = |keys: &Keys| {
        let found = (Arc::clone(&key), Instant::now());
        keys.owners.insert(ann.clone(), found);
    };
    keys.remember(before, take);
    assert!(matches!(keys.known(&ann), Known::Unknown));
    one(&keys, &bob).await;
    assert!(matches!(keys.known(&bob), Known::Fresh(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_that_make_a_key_at_the_same_time_have_the_same() {
    let store = Store::temporary(None).await.expect("a store");
    for round in 0..20 {
        let making: Vec<_> = (0..4)
            .map(|_| {
                // Each is a gateway of its own.
                let keys = Keys::new(&store);
                tokio::spawn(async move {
                    let ann = owner("a", &format!("ann {round}"));
                    let bob = owner("a", &format!("bob {round}"));
                    let found = keys.of([ann, bob].into_iter()).await.expect("keys");
                    found.iter().map(|key| key.id.clone()).collect::<Vec<_>>()
                })
            })
            .collect();
        let mut ids = std::collections::BTreeSet::new();
        for one in making {
            ids.insert(one.await.expect("it ends"));
        }
        assert_eq!(ids.len(), 1, "{ids:?}");
    }
}
