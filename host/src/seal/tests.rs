use super::*;

const BINDING: &[&[u8]] = &[b"https://issuer.example", b"alice"];

fn sealer(keys: &[u8]) -> Sealer {
    let keys: Vec<_> = keys.iter().map(|n| Key256::new([*n; 32])).collect();
    Sealer::new(&keys).expect("at least one key")
}

#[test]
fn what_was_sealed_is_opened_and_is_visible_ascii() {
    let sealer = sealer(&[1]);
    for payload in [&b""[..], b"x", &[0xff; 3_000]] {
        let text = sealer
            .seal(Purpose::Session, BINDING, payload)
            .expect("sealed");
        assert!(text.bytes().all(|b| b.is_ascii_graphic()), "{text}");
        let opened = sealer.open(Purpose::Session, BINDING, &text);
        assert_eq!(opened.map(|opened| opened.to_vec()), Ok(payload.to_vec()));
        let again = sealer
            .seal(Purpose::Session, BINDING, payload)
            .expect("sealed");
        assert_ne!(text, again, "a nonce is used once");
    }
}

#[test]
fn every_changed_bit_is_noticed() {
    let sealer = sealer(&[1, 2]);
    let text = sealer
        .seal(Purpose::Session, BINDING, b"payload")
        .expect("sealed");
    let bytes = URL_SAFE_NO_PAD.decode(&text).expect("base64");
    for n in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[n] ^= 1 << bit;
            let changed = URL_SAFE_NO_PAD.encode(changed);
            let opened = sealer.open(Purpose::Session, BINDING, &changed);
            assert_eq!(opened, Err(NotOurs::Foreign), "byte {n}, bit {bit}");
        }
        let cut = URL_SAFE_NO_PAD.encode(&bytes[..n]);
        let opened = sealer.open(Purpose::Session, BINDING, &cut);
        assert_eq!(opened, Err(NotOurs::Foreign), "cut after {n} bytes");
    }
}

#[test]
fn texts_of_other_shapes_are_foreign() {
    let sealer = sealer(&[1]);
    let text = sealer
        .seal(Purpose::Session, BINDING, b"pq")
        .expect("sealed");
    let long = "A".repeat(MAX_TEXT + 1);
    // One text, one spelling: else an ended session could come back in another.
    for other in [
        "",
        "from-elsewhere",
        "é",
        &format!("{text}="),
        &format!("{text}A"),
        &format!(" {text}"),
        &long,
    ] {
        let opened = sealer.open(Purpose::Session, BINDING, other);
        assert_eq!(opened, Err(NotOurs::Foreign), "{other:.60}");
    }
    let bits_left_over = text.len() * 6 % 8;
    assert_ne!(bits_left_over, 0, "the last character has bits to spare");
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let same = alphabet.chars().filter(|last| {
        let other = format!("{}{last}", &text[..text.len() - 1]);
        sealer.open(Purpose::Session, BINDING, &other).is_ok()
    });
    assert_eq!(same.count(), 1);
}

#[test]
fn a_seal_is_good_for_its_purpose_and_binding_only() {
    let sealer = sealer(&[1]);
    let text = sealer
        .seal(Purpose::Session, BINDING, b"p")
        .expect("sealed");
    for purpose in [Purpose::RequestState, Purpose::Link] {
        assert_eq!(sealer.open(purpose, BINDING, &text), Err(NotOurs::Foreign));
    }
    for binding in [
        &[][..],
        &[&b"https://issuer.example"[..], b"mallory"],
        &[b"https://issuer.example", b"alice", b""],
        &[b"https://issuer.examplealice"],
        &[b"https://issuer.example", b"", b"alice"],
        // The boundary moved: the lengths in front keep these apart.
        &[b"https://issuer.examplea", b"lice"],
    ] {
        assert_eq!(
            sealer.open(Purpose::Session, binding, &text),
            Err(NotOurs::Foreign),
            "{binding:?}"
        );
    }
}

#[test]
fn keys_rotate_and_other_keys_open_nothing() {
    let old = sealer(&[1]);
    let text = old.seal(Purpose::Session, BINDING, b"p").expect("sealed");
    let open = |keys: &[u8]| sealer(keys).open(Purpose::Session, BINDING, &text);
    assert_eq!(
        open(&[2, 1]).map(|opened| opened.to_vec()),
        Ok(b"p".to_vec())
    );
    assert_eq!(open(&[2]), Err(NotOurs::Foreign));
    let new = sealer(&[2, 1])
        .seal(Purpose::Session, BINDING, b"p")
        .expect("sealed");
    assert_eq!(
        old.open(Purpose::Session, BINDING, &new),
        Err(NotOurs::Foreign)
    );
    assert!(Sealer::new(&[]).is_none());
}

#[test]
fn keys_whose_ids_collide_are_both_tried() {
    let mut ring = sealer(&[1, 2]);
    let text = sealer(&[2])
        .seal(Purpose::Session, BINDING, b"p")
        .expect("sealed");
    ring.ring[0].id = ring.ring[1].id;
    assert_eq!(
        ring.open(Purpose::Session, BINDING, &text)
            .map(|opened| opened.to_vec()),
        Ok(b"p".to_vec())
    );
}

#[test]
fn a_seal_has_its_time() {
    let sealer = sealer(&[1]);
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    for purpose in [
        Purpose::Session,
        Purpose::RequestState,
        Purpose::Link,
        Purpose::SignIn,
        Purpose::Browser,
        Purpose::Form,
        Purpose::Invitation,
    ] {
        let text = sealer.seal_at(purpose, BINDING, b"p", now).expect("sealed");
        let at = |then| sealer.open_at(purpose, BINDING, &text, then).map(drop);
        assert_eq!(at(now), Ok(()));
        assert_eq!(at(now + purpose.life()), Ok(()));
        let late = now + purpose.life() + Duration::from_secs(1);
        assert_eq!(at(late), Err(NotOurs::Expired));
        // The clock of another instance may be a little behind, not more.
        assert_eq!(at(now - LEEWAY), Ok(()));
        assert_eq!(
            at(now - LEEWAY - Duration::from_secs(1)),
            Err(NotOurs::Expired)
        );
    }
    for short in [Purpose::RequestState, Purpose::Link, Purpose::SignIn] {
        assert!(short.life() <= Duration::from_secs(600));
    }
}

#[test]
fn what_is_kept_on_disk_has_no_end() {
    let sealer = sealer(&[1]);
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let text = sealer
        .seal_at(Purpose::Vault, BINDING, b"p", now)
        .expect("sealed");
    let later = now + Duration::from_secs(100 * 365 * 24 * 3600);
    let opened = sealer.open_at(Purpose::Vault, BINDING, &text, later);
    assert_eq!(opened.map(|opened| opened.to_vec()), Ok(b"p".to_vec()));
}

#[test]
fn gateways_with_different_rings_seal_with_what_all_of_them_open() {
    let (rotated, behind) = (sealer(&[2, 1]), sealer(&[1]));
    let text = |sealer: &Sealer| {
        sealer
            .seal(Purpose::Session, BINDING, b"s")
            .expect("sealed")
    };
    let opens = |sealer: &Sealer, text: &str| sealer.open(Purpose::Session, BINDING, text).is_ok();
    assert!(!opens(&behind, &text(&rotated)));
    assert!(rotated.seal_for(|key| behind.knows(key)));
    assert!(behind.seal_for(|key| rotated.knows(key)));
    assert_eq!(rotated.sealing(), behind.sealing());
    assert!(opens(&behind, &text(&rotated)) && opens(&rotated, &text(&behind)));
    // Once the other one knows the newer key, too, that one seals.
    let newest = rotated.ring().next().expect("a key");
    assert!(rotated.seal_for(|_| true));
    assert_eq!(rotated.sealing(), newest);
    // Nothing in common: the own.
    assert!(!rotated.seal_for(|_| false));
    assert_eq!(rotated.sealing(), newest);
    let told: Vec<u8> = rotated.ring().flat_map(KeyId::bytes).collect();
    assert_eq!(
        KeyId::read_all(&told).collect::<Vec<_>>(),
        rotated.ring().collect::<Vec<_>>()
    );
}

#[test]
fn what_is_large_is_sealed_to_bytes_and_opened_for_its_use_alone() {
    let ring = sealer(&[1]);
    let payload = vec![7; 2 * MAX_TEXT];
    let sealed = ring
        .seal_bytes(Purpose::Catalog, BINDING, &payload)
        .expect("sealed");
    let opened = ring.open_bytes(Purpose::Catalog, BINDING, sealed.clone());
    assert_eq!(opened.map(|opened| opened.to_vec()), Ok(payload));
    let other = ring.open_bytes(Purpose::Catalog, &[b"other"], sealed.clone());
    assert_eq!(other, Err(NotOurs::Foreign));
    let keys = sealer(&[2]);
    for cut in [0, 1, sealed.len() - 1] {
        let part = sealed[..cut].to_vec();
        assert_eq!(
            ring.open_bytes(Purpose::Catalog, BINDING, part),
            Err(NotOurs::Foreign)
        );
    }
    assert_eq!(
        keys.open_bytes(Purpose::Catalog, BINDING, sealed),
        Err(NotOurs::Foreign)
    );
}
