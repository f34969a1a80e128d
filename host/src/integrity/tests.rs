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

#[tokio::test]
async fn a_backend_that_invents_names_fills_nothing() {
    let store = Store::temporary().await.expect("a store");
    let config = IntegrityConfig {
        mode: IntegrityMode::Block,
        file: None,
        private_key: None,
        public_key: None,
        lock: None,
    };
    let integrity = Integrity::open(&config, &store, &Fleet::alone()).await;
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
