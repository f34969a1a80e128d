use super::*;

/// A chain of so many exported records.
fn chain(count: u64) -> Vec<String> {
    let mut prev = GENESIS.to_owned();
    (1..=count)
        .map(|sequence| {
            let public = format!(
                r#"{{"latency_ms":5.0,"personal_mac":"m","prev":"{prev}","sequence":{sequence},"tool":"a\"ü\u001f"}}"#
            );
            let told = hash(&prev, &public);
            prev.clone_from(&told);
            // As somebody may pass it on: in another order, with blanks.
            format!(
                r#"{{ "hash": "{told}", "caller_sub": "ann", {} }}"#,
                &public[1..public.len() - 1]
            )
        })
        .collect()
}

fn walk(lines: &[String]) -> Result<u64, (u64, Broken)> {
    let mut walk = Walk {
        next: 1,
        prev: GENESIS.to_owned(),
    };
    for line in lines {
        let record = exported(line).map_err(|broken| (walk.next, broken))?;
        walk.step(&record.public, &record.hash)?;
    }
    Ok(walk.next - 1)
}

#[test]
fn a_chain_holds_and_what_is_done_to_it_shows() {
    let whole = chain(5);
    assert_eq!(walk(&whole), Ok(5));
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = whole.clone();
        change(&mut lines);
        walk(&lines)
    };
    let changed = with(&|lines| lines[2] = lines[2].replace("5.0", "6.0"));
    assert_eq!(changed, Err((3, Broken::Changed)));
    let removed = with(&|lines| drop(lines.remove(2)));
    assert_eq!(removed, Err((3, Broken::Missing(4))));
    let swapped = with(&|lines| lines.swap(2, 3));
    assert_eq!(swapped, Err((3, Broken::Missing(4))));
    let doubled = with(&|lines| lines.insert(2, lines[1].clone()));
    assert_eq!(doubled, Err((2, Broken::Misplaced(3))));
    let renumbered = with(&|lines| lines[2] = lines[2].replace("\"sequence\":3", "\"sequence\":4"));
    assert_eq!(renumbered, Err((3, Broken::Changed)));
    let nonsense = with(&|lines| lines[2] = "{}".to_owned());
    assert_eq!(nonsense, Err((3, Broken::NoRecord)));
    // Somebody who hashes anew what was changed is found out by the next.
    let forged = with(&|lines| {
        let record = exported(&lines[2]).expect("a record");
        let public = record.public.replace("5.0", "6.0");
        let told = hash(&record.place.prev, &public);
        lines[2] = format!(r#"{{"hash":"{told}",{}"#, &public[1..]);
    });
    assert_eq!(forged, Err((4, Broken::Unchained)));
}

#[test]
fn what_is_personal_may_be_gone() {
    let line = &chain(1)[0];
    let without = line.replace("\"caller_sub\": \"ann\", ", "");
    assert_ne!(*line, without);
    assert_eq!(exported(line), exported(&without));
}
