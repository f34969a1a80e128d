//! From nothing to a component that was tried: what an author is given.

use std::path::{Path, PathBuf};
use std::process::Output;

use tokio::process::Command;

/// The command line, with all that cargo needs.
async fn run(at: &Path, arguments: &[&str]) -> Output {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test/projects");
    let running = Command::new(cortex_tests::binary("cortex-gateway"))
        .args(arguments)
        .current_dir(at)
        .env("CARGO_TARGET_DIR", target)
        .output();
    running.await.expect("it runs")
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err)
}

/// A new project that needs the same versions of others as this repository.
async fn project(at: &Path, name: &str, arguments: &[&str]) -> PathBuf {
    let mut all = vec!["plugin", "new", name];
    all.extend(arguments);
    let made = run(at, &all).await;
    assert!(made.status.success(), "{}", said(&made));
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    std::fs::copy(lock, at.join(name).join("Cargo.lock")).expect("copied");
    at.join(name)
}

#[tokio::test]
async fn a_new_plugin_of_each_kind_builds_and_does_what_its_script_says() {
    let dir = tempfile::tempdir().expect("a directory");
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk");
    let sdk = sdk.to_str().expect("text");
    for (name, kind, own) in [
        ("greeter", "backend-adapter", true),
        ("nights", "scope-policy", false),
        ("collector", "audit-exporter", false),
    ] {
        // One with the SDK that the gateway carries, the others with that of this repository.
        let mut arguments = vec!["--kind", kind];
        if !own {
            arguments.extend(["--sdk", sdk]);
        }
        let project = project(dir.path(), name, &arguments).await;
        let played = run(&project, &["plugin", "test"]).await;
        let text = said(&played);
        assert!(played.status.success(), "{text}");
        assert!(
            text.contains("ok     first 1 ") && text.contains("(fuel "),
            "{text}"
        );
        let component = project.join(format!("target/component/{name}.wasm"));
        let component = component.to_str().expect("text");
        let checked = run(&project, &["plugin", "check", component]).await;
        assert!(
            said(&checked).contains("this gateway runs it"),
            "{}",
            said(&checked)
        );
    }
    let twice = run(
        dir.path(),
        &["plugin", "new", "greeter", "--kind", "scope-policy"],
    )
    .await;
    assert!(
        said(&twice).contains("is there already"),
        "{}",
        said(&twice)
    );

    // What is not as it was recorded is told; and recorded, if that is wanted.
    let greeter = dir.path().join("greeter");
    let script = greeter.join("tests/exchanges/first.json");
    let text = std::fs::read_to_string(&script).expect("read");
    let other = text
        .replace("Hello, Countess!", "Good day!")
        .replace("\"caller\"", "\"technical\"");
    std::fs::write(&script, &other).expect("written");
    let component = "target/component/greeter.wasm";
    let scripts = ["plugin", "test", component, "--scripts", "tests/exchanges"];
    let played = run(&greeter, &scripts).await;
    let text = said(&played);
    assert!(!played.status.success(), "{text}");
    for part in [
        "it goes as `caller`, recorded was `technical`",
        "1 step is not as it was recorded",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    std::fs::write(&script, other.replace("\"technical\"", "\"caller\"")).expect("written");
    let recorded = run(&greeter, &[&scripts[..], &["--record"]].concat()).await;
    assert!(recorded.status.success(), "{}", said(&recorded));
    let played = run(&greeter, &scripts).await;
    assert!(played.status.success(), "{}", said(&played));
    let now = std::fs::read_to_string(&script).expect("read");
    assert!(now.contains("Hello, Countess!"), "{now}");
}

#[tokio::test]
async fn a_script_that_cannot_be_played_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let component = cortex_tests::component("hello-backend");
    let component = component.to_str().expect("text");
    for (script, told) in [
        ("{", "the script cannot be read"),
        (
            r#"{"steps":[{"call":"dance"}]}"#,
            "has no export `dance`; there are discover, call-tool",
        ),
        (r#"{"steps":[{"call":"call-tool"}]}"#, "a step lacks `tool`"),
        (r#"{"now":"noon","steps":[]}"#, "`now` must be a time"),
        (r#"{"settings":{"x":1},"steps":[]}"#, "understands none"),
        (
            r#"{"grants":{"http":1},"steps":[]}"#,
            "`grants.http` must be a list of origins",
        ),
    ] {
        let file = dir.path().join("script.json");
        std::fs::write(&file, script).expect("written");
        let file = file.to_str().expect("text");
        let played = run(
            dir.path(),
            &["plugin", "test", component, "--scripts", file],
        )
        .await;
        assert!(!played.status.success());
        assert!(said(&played).contains(told), "{script}: {}", said(&played));
    }
}
