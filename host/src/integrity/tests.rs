use super::*;

fn tool(n: usize) -> Tool {
    Tool {
        name: format!("t{n}"),
        title: None,
        description: String::new(),
        input_schema: "{}".to_owned(),
        output_schema: None,
        annotations: None,
        icons: None,
        meta: None,
        extra: None,
        scopes: Vec::new(),
        version: None,
        deprecated: None,
    }
}

async fn open(store: &Store) -> Integrity {
    let config = IntegrityConfig {
        mode: IntegrityMode::Block,
        file: None,
        private_key: None,
        public_key: None,
        lock: None,
    };
    Integrity::open(&config, store, &Fleet::alone()).await
}

#[tokio::test]
async fn of_several_who_see_a_tool_first_one_approves_it() {
    // Gateways with one store, of which each has read it before the others wrote.
    let store = Store::temporary(None).await.expect("a store");
    let gateways = [open(&store).await, open(&store).await, open(&store).await];
    let docs: BackendId = "docs".parse().expect("valid");
    let described = |n: usize| Tool {
        description: format!("as gateway {n} sees it"),
        ..tool(0)
    };
    let many: Vec<Tool> = (1..20).map(tool).collect();
    let seen = |n: usize| [&[described(n)], &many[..]].concat();
    let reviews = (0..3).map(|n| {
        let (gateway, docs, seen) = (&gateways[n], &docs, seen(n));
        async move { gateway.review(docs, &seen).await }
    });
    let verdicts = futures_util::future::join_all(reviews).await;
    let served = |verdicts: &Vec<Verdict>| verdicts[0] == Verdict::Serve;
    assert_eq!(
        verdicts.iter().filter(|v| served(v)).count(),
        1,
        "{verdicts:?}"
    );
    for verdicts in &verdicts {
        assert!(
            verdicts[1..]
                .iter()
                .all(|verdict| *verdict == Verdict::Serve)
        );
    }
    let winner = verdicts.iter().position(served).expect("one");
    for gateway in &gateways {
        let verdicts = gateway.review(&docs, &seen(winner)).await;
        assert!(served(&verdicts));
    }
}

#[tokio::test]
async fn what_one_gateway_approves_is_approved_at_the_others() {
    let store = Store::temporary(None).await.expect("a store");
    let (here, there) = (open(&store).await, open(&store).await);
    let docs: BackendId = "docs".parse().expect("valid");
    let changed = Tool {
        description: "changed".to_owned(),
        ..tool(0)
    };
    assert_eq!(here.review(&docs, &[tool(0)]).await, [Verdict::Serve]);
    let differing = there.look_up().await.expect("read");
    assert!(differing.contains(&docs));
    assert_ne!(
        there.review(&docs, std::slice::from_ref(&changed)).await,
        [Verdict::Serve]
    );
    // What was only seen changes nothing for the others.
    let generation = here.generation();
    assert!(here.look_up().await.expect("read").is_empty());
    assert_eq!(here.generation(), generation);
    let approved = here.approve(None).await.expect("approved");
    assert_eq!(approved, [(docs.clone(), "t0".to_owned())]);
    assert!(there.look_up().await.expect("read").contains(&docs));
    assert_eq!(there.review(&docs, &[changed]).await, [Verdict::Serve]);
    // An operator who has looked at something that is not there any more is told so.
    let again = Tool {
        description: "changed again".to_owned(),
        ..tool(0)
    };
    here.review(&docs, std::slice::from_ref(&again)).await;
    there.look_up().await.expect("read");
    here.approve(None).await.expect("approved");
    assert!(matches!(
        there.approve(None).await,
        Err(IntegrityError::Store(StoreError::Contended))
    ));
    assert_eq!(there.review(&docs, &[again]).await, [Verdict::Serve]);
}

#[tokio::test]
async fn a_backend_that_invents_names_fills_nothing() {
    let store = Store::temporary(None).await.expect("a store");
    let integrity = open(&store).await;
    let docs: BackendId = "docs".parse().expect("valid");
    let many: Vec<Tool> = (0..MAX_KNOWN + 5).map(tool).collect();
    let verdicts = integrity.review(&docs, &many).await;
    let served = verdicts.iter().filter(|v| **v == Verdict::Serve).count();
    assert_eq!(served, MAX_KNOWN);
    assert_eq!(verdicts[MAX_KNOWN..], [const { Verdict::Withheld }; 5]);
    // Those that are known stay, and another backend has room of its own.
    assert_eq!(integrity.review(&docs, &many[..1]).await, [Verdict::Serve]);
    let other: BackendId = "other".parse().expect("valid");
    assert_eq!(integrity.review(&other, &many[..1]).await, [Verdict::Serve]);
    let report = integrity.report().await;
    assert_eq!(report["baseline"]["approved"], MAX_KNOWN + 1);
}
