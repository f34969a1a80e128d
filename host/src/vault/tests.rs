use super::*;
use crate::oauth_client::token::Grant;
use crate::types::Secret;

const SECRETS: [&str; 3] = [
    "access-in-clear",
    "refresh-in-clear",
    "client-secret-in-clear",
];

fn owner(subject: &str) -> Owner {
    Owner {
        issuer: Issuer::new("https://login.example"),
        subject: Subject::new(subject),
    }
}

fn server(id: &str) -> BackendId {
    id.parse().expect("an id")
}

fn account() -> Account {
    let url = |text: &str| text.parse().expect("a URL");
    Account {
        grant: Some(Grant {
            access: Secret::new(SECRETS[0].to_owned()),
            refresh: Some(Secret::new(SECRETS[1].to_owned())),
            expires_at: Some(9),
            scopes: "a b".parse().expect("scopes"),
        }),
        origin: Origin {
            issuer: "https://p.example".to_owned(),
            resource: "https://wiki.example/mcp".to_owned(),
            token: url("https://p.example/token"),
            revocation: Some(url("https://p.example/revoke")),
        },
        client: client(),
        linked_at: 7,
    }
}

fn client() -> Registered {
    Registered {
        id: "c".to_owned(),
        secret: Some(Secret::new(SECRETS[2].to_owned())),
        secret_in_form: true,
        redirect: None,
    }
}

fn keys(bytes: &[u8]) -> Vec<Key256> {
    bytes.iter().map(|byte| Key256::new([*byte; 32])).collect()
}

async fn access(vault: &Vault, owner: &Owner, at: &str) -> Option<String> {
    let kept = vault.get(owner, &server(at)).await.expect("read")?;
    Some(kept.account.grant?.access.reveal().to_owned())
}

#[tokio::test]
async fn an_account_is_found_by_its_owner_alone_and_not_on_the_disk() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path(), None).await.expect("open");
    let vault = Vault::open(&store, &keys(&[1])).await.expect("open");
    let ada = owner("ada@example");
    vault
        .put(&ada, &server("wiki"), &account())
        .await
        .expect("kept");
    vault
        .keep_client("https://p.example", "https://r", Some(&client()))
        .await
        .expect("kept");

    assert_eq!(
        access(&vault, &ada, "wiki").await.as_deref(),
        Some(SECRETS[0])
    );
    assert!(
        access(&vault, &owner("bob@example"), "wiki")
            .await
            .is_none()
    );
    assert!(access(&vault, &ada, "mail").await.is_none());
    let known = vault
        .client("https://p.example", "https://r")
        .await
        .expect("read");
    assert_eq!(
        known.expect("there").secret.expect("one").reveal(),
        SECRETS[2]
    );
    let other = vault.client("https://q.example", "https://r").await;
    assert!(
        other.expect("read").is_none(),
        "credentials of one issuer are not for another"
    );

    drop((vault, store));
    let mut bytes = Vec::new();
    let mut folders = vec![dir.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => bytes.extend(std::fs::read(path).expect("a file")),
            }
        }
    }
    let holds = |text: &str| {
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    assert!(holds("wiki"), "the search finds what is there");
    for text in SECRETS
        .into_iter()
        .chain(["ada@example", "login.example", "p.example"])
    {
        assert!(!holds(text), "`{text}` is on the disk in clear");
    }
}

#[tokio::test]
async fn a_record_that_is_moved_opens_for_nobody() {
    let store = Store::temporary(None).await.expect("open");
    let vault = Vault::open(&store, &keys(&[1])).await.expect("open");
    let (ada, eve) = (owner("ada"), owner("eve"));
    vault
        .put(&ada, &server("wiki"), &account())
        .await
        .expect("kept");
    let found = ACCOUNTS
        .get(&store, &key(&ada, &server("wiki")))
        .await
        .expect("read");
    let stolen = found.expect("there").value;
    for place in [key(&eve, &server("wiki")), key(&ada, &server("mail"))] {
        let mut batch = Batch::default();
        ACCOUNTS.put(&mut batch, &place, &stolen).expect("written");
        store.commit(batch).await.expect("committed");
    }
    for (owner, at) in [(&eve, "wiki"), (&ada, "mail")] {
        let got = vault.get(owner, &server(at)).await;
        assert!(matches!(got, Err(VaultError::Damaged)));
    }
}

#[tokio::test]
async fn the_key_is_changed_while_accounts_are_used() {
    let store = Store::temporary(None).await.expect("open");
    let old = Vault::open(&store, &keys(&[1])).await.expect("open");
    let people: Vec<Owner> = (0..600).map(|n| owner(&n.to_string())).collect();
    for person in &people {
        old.put(person, &server("wiki"), &account())
            .await
            .expect("kept");
    }
    old.keep_client("i", "r", Some(&client()))
        .await
        .expect("kept");

    let wrong = Vault::open(&store, &keys(&[2]))
        .await
        .err()
        .expect("refused");
    let said = wrong.to_string();
    assert!(
        said.contains("CORTEX_VAULT_KEY") && said.contains("rotate"),
        "{said}"
    );

    let both = Vault::open(&store, &keys(&[2, 1])).await.expect("open");
    assert_eq!(
        access(&both, &people[0], "wiki").await.as_deref(),
        Some(SECRETS[0])
    );
    // Renewed in the middle of it.
    let kept = both
        .get(&people[1], &server("wiki"))
        .await
        .expect("read")
        .expect("there");
    let (rotated, replaced) = tokio::join!(both.rotate(), async {
        let mut newer = account();
        newer.linked_at = 8;
        both.replace(&people[1], &server("wiki"), &kept, &newer)
            .await
    });
    let rotated = rotated.expect("rotated");
    assert_eq!(rotated.lost, 0);
    assert!(rotated.resealed >= 600, "{rotated:?}");
    // Whoever was first, nothing was written over.
    let kept = both
        .get(&people[1], &server("wiki"))
        .await
        .expect("read")
        .expect("there");
    let newest = if replaced.expect("no failure") { 8 } else { 7 };
    assert_eq!(kept.account.linked_at, newest);

    let new = Vault::open(&store, &keys(&[2]))
        .await
        .expect("the old key can go");
    for person in &people {
        assert!(access(&new, person, "wiki").await.is_some());
    }
    assert!(new.client("i", "r").await.expect("read").is_some());
    let status = new.status().await.expect("read");
    assert_eq!((status.sealed.len(), status.lost), (1, 0));
    assert_eq!(
        status.servers["wiki"],
        Accounts {
            linked: 600,
            ended: 0
        }
    );
    assert!(Vault::open(&store, &keys(&[1])).await.is_err());
    assert_eq!(new.rotate().await.expect("nothing to do").resealed, 0);
}

#[tokio::test]
async fn a_subject_is_forgotten_with_all_it_has() {
    let store = Store::temporary(None).await.expect("open");
    let vault = Vault::open(&store, &keys(&[1])).await.expect("open");
    for at in ["wiki", "mail"] {
        for person in ["ada", "ada2"] {
            vault
                .put(&owner(person), &server(at), &account())
                .await
                .expect("kept");
        }
    }
    let (accounts, forgotten) = vault.forget(&Subject::new("ada")).await.expect("forgotten");
    assert_eq!((accounts.len(), forgotten), (2, 2));
    for at in ["wiki", "mail"] {
        assert!(access(&vault, &owner("ada"), at).await.is_none());
        assert!(access(&vault, &owner("ada2"), at).await.is_some());
    }
    let (_, forgotten) = vault.forget(&Subject::new("ada")).await.expect("nothing");
    assert_eq!(forgotten, 0);
}

#[tokio::test]
async fn what_somebody_took_away_does_not_come_back() {
    let store = Store::temporary(None).await.expect("open");
    let vault = Vault::open(&store, &keys(&[1])).await.expect("open");
    let (ada, wiki) = (owner("ada"), server("wiki"));
    vault.put(&ada, &wiki, &account()).await.expect("kept");
    let kept = vault.get(&ada, &wiki).await.expect("read").expect("there");
    vault.remove(&ada, &wiki).await.expect("removed");
    let replaced = vault.replace(&ada, &wiki, &kept, &account()).await;
    assert!(!replaced.expect("no failure"));
    assert!(vault.get(&ada, &wiki).await.expect("read").is_none());
}

#[tokio::test]
async fn without_a_key_there_is_no_vault() {
    let store = Store::temporary(None).await.expect("open");
    assert!(matches!(
        Vault::open(&store, &[]).await,
        Err(VaultError::NoKey)
    ));
    assert!(!Vault::is_used(&store).await.expect("read"));
    let vault = Vault::open(&store, &keys(&[1])).await.expect("open");
    vault
        .put(&owner("ada"), &server("wiki"), &account())
        .await
        .expect("kept");
    assert!(Vault::is_used(&store).await.expect("read"));
}

#[tokio::test]
async fn accounts_are_counted_page_by_page_and_not_without_end() {
    let store = Store::temporary(None).await.expect("a store");
    let vault = Vault::open(&store, &keys(&[1])).await.expect("open");
    let many = 2 * PAGE + 3;
    for n in 0..many {
        let mut account = account();
        if n % 3 == 0 {
            account.grant = None;
        }
        let at = server(if n % 2 == 0 { "wiki" } else { "docs" });
        let put = vault.put(&owner(&n.to_string()), &at, &account).await;
        put.expect("kept");
    }
    let counted = vault.count(many).await.expect("read").expect("counted");
    assert_eq!(counted, vault.status().await.expect("read").servers);
    let all = counted.values().map(|at| at.linked + at.ended);
    assert_eq!(all.sum::<usize>(), many);
    assert_eq!(vault.count(many - 1).await.expect("read"), None);
}
