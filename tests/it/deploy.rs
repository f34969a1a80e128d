//! What `docs/deploy` offers for running the gateway: parsed, and held against what the gateway reads.
//!
//! Nothing here starts a container, a cluster or a unit: that was not run.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use cortex_gateway::config::Config;
use serde_json::Value;

/// What the gateway may take from the signal to its end, without the notice, in seconds.
const STOPPING: u64 = 30 + 5 + 3;
/// A key, as a secret.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Lines that are neither blank nor comments.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Variables as files have them: `NAME=value`.
fn assignments<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
    lines
        .map(|line| {
            let (name, value) = line
                .split_once('=')
                .unwrap_or_else(|| panic!("no value: {line}"));
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

/// Reads a configuration as a start would. Secrets named by `…_FILE` are there, in a folder of their own;
/// every variable is one that the gateway asks for, and is in the table for operators.
fn configuration(mut variables: BTreeMap<String, String>) -> Config {
    let secrets = tempfile::tempdir().expect("a folder");
    for (name, value) in &mut variables {
        if let Some(secret) = name.strip_suffix("_FILE") {
            let text = match secret {
                "CORTEX_DATABASE_URL" => "postgresql://cortex:secret@db.example.com/cortex",
                "CORTEX_REDIS_URL" => "redis://:secret@redis.example.com",
                _ => KEY,
            };
            let file = secrets.path().join(secret);
            std::fs::write(&file, text).expect("written");
            *value = file.display().to_string();
        }
    }
    // How the log is written every command asks by itself, before anything else.
    let asked = RefCell::new(BTreeSet::from(["CORTEX_LOG_FORMAT".to_owned()]));
    let config = Config::read(&|name| {
        asked.borrow_mut().insert(name.to_owned());
        variables.get(name).cloned()
    });
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    let asked = asked.into_inner();
    let table = read("docs/operators.md");
    for name in variables.keys() {
        assert!(asked.contains(name), "the gateway does not read `{name}`");
        let plain = name.strip_suffix("_FILE").unwrap_or(name);
        let known = plain.starts_with("CORTEX_BACKEND_") || table.contains(&format!("`{plain}`"));
        assert!(known, "`{plain}` is not in docs/operators.md");
    }
    assert!(config.notes.is_empty(), "{:?}", config.notes);
    config
}

/// Whether a time limit for the end is enough for everything that the gateway does then.
fn fits(config: &Config, limit: u64) {
    let needed = config.bounds.stop_notice.as_secs() + STOPPING;
    assert!(limit > needed, "{limit} s, but it may take {needed} s");
}

#[test]
fn what_the_gateway_does_at_its_end_takes_as_long_as_is_said() {
    for (file, line) in [
        (
            "host/src/server/listener.rs",
            "DRAIN_TIME: Duration = Duration::from_secs(30)",
        ),
        (
            "host/src/app.rs",
            "LAST_RECORDS: Duration = Duration::from_secs(5)",
        ),
        (
            "host/src/app.rs",
            "LAST_TRACES: Duration = Duration::from_secs(3)",
        ),
    ] {
        assert!(read(file).contains(line), "{file}: mend `STOPPING` here");
    }
}

#[test]
fn the_unit_gives_the_gateway_what_it_reads() {
    let unit = read("docs/deploy/systemd/cortex-gateway.service");
    let fleet = read("docs/deploy/systemd/fleet.conf");
    let settings: Vec<(&str, &str)> = lines(&unit)
        .chain(lines(&fleet))
        .filter_map(|line| line.split_once('='))
        .collect();
    let all = |key: &str| -> Vec<&str> {
        let found = settings.iter().filter(|(k, _)| *k == key);
        found.map(|(_, value)| *value).collect()
    };
    let mut variables = assignments(all("Environment").into_iter());
    let credentials: BTreeSet<&str> = all("LoadCredential")
        .iter()
        .filter_map(|line| line.split(':').next())
        .collect();
    for (name, value) in variables.iter().filter(|(name, _)| name.ends_with("_FILE")) {
        let credential = value.strip_prefix("%d/").expect("a credential");
        assert!(
            credentials.contains(credential),
            "{name}: `{credential}` is not loaded"
        );
    }
    variables.extend(assignments(lines(&read("docs/deploy/systemd/gateway.env"))));
    let config = configuration(variables);
    assert_eq!(config.mode, cortex_gateway::config::Mode::Production);
    let limit = all("TimeoutStopSec")[0].parse().expect("seconds");
    fits(&config, limit);
    let files: u64 = all("LimitNOFILE")[0].parse().expect("a number");
    assert!(files > 2 * config.bounds.max_connections as u64);
    // With it no component could be compiled.
    assert!(all("MemoryDenyWriteExecute").is_empty());
    assert_eq!(all("ProtectSystem"), ["strict"]);
    assert_eq!(all("NoNewPrivileges"), ["yes"]);
    let state = format!("/var/lib/{}", all("StateDirectory")[0]);
    assert_eq!(config.data_dir.to_str(), Some(&*state));
}

#[test]
fn systemd_understands_the_unit() {
    let folder = tempfile::tempdir().expect("a folder");
    let unit = read("docs/deploy/systemd/cortex-gateway.service");
    // The program must be there to be verified.
    let unit = unit.replace("/usr/local/bin/cortex-gateway", "/bin/true");
    let file = folder.path().join("cortex-gateway.service");
    std::fs::write(&file, unit).expect("written");
    let drop_in = folder.path().join("cortex-gateway.service.d");
    std::fs::create_dir(&drop_in).expect("a folder");
    std::fs::write(
        drop_in.join("fleet.conf"),
        read("docs/deploy/systemd/fleet.conf"),
    )
    .expect("written");
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .arg(&file)
        .output();
    match verified {
        Ok(output) => {
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && told.is_empty(), "{told}");
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "systemd-analyze: {error}");
            eprintln!("left out: systemd-analyze is not installed");
        }
    }
}

/// The instructions of a container file: word and arguments.
fn instructions(text: &str) -> Vec<(String, String)> {
    let whole = text.replace("\\\n", " ");
    let found = lines(&whole).map(|line| {
        let (word, rest) = line
            .split_once(' ')
            .unwrap_or_else(|| panic!("no arguments: {line}"));
        (word.to_owned(), rest.trim().to_owned())
    });
    found.collect()
}

#[test]
fn the_container_file_builds_what_is_here() {
    const KNOWN: [&str; 10] = [
        "FROM",
        "RUN",
        "WORKDIR",
        "COPY",
        "ENV",
        "USER",
        "EXPOSE",
        "VOLUME",
        "STOPSIGNAL",
        "ENTRYPOINT",
    ];
    let text = read("docs/deploy/Containerfile");
    let found = instructions(&text);
    let all = |word: &str| -> Vec<&str> {
        let of = found.iter().filter(|(w, _)| w == word);
        of.map(|(_, rest)| rest.as_str()).collect()
    };
    for (word, _) in &found {
        assert!(KNOWN.contains(&word.as_str()), "{word}");
    }
    let manifest = read("Cargo.toml");
    let value = |key: &str| {
        let line = manifest.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_else(|| panic!("no {key}"))
            .trim_matches([' ', '=', '"'])
            .to_owned()
    };
    // The compiler that the workspace asks for, and the version that it is.
    assert!(all("FROM")[0].contains(&format!("rust:{}-", value("rust-version"))));
    assert!(text.contains(&format!("cortex-gateway:{} .", value("version"))));
    let (mut sources, mut from_build) = (BTreeSet::new(), BTreeSet::new());
    for copy in all("COPY") {
        let words: Vec<&str> = copy.split_whitespace().collect();
        let paths = words.iter().filter(|word| !word.starts_with("--"));
        let paths: Vec<&&str> = paths.collect();
        for source in &paths[..paths.len() - 1] {
            if copy.starts_with("--from=build") {
                from_build.insert(**source);
            } else {
                assert!(root().join(source).exists(), "`{source}` is not there");
                sources.insert(**source);
            }
        }
    }
    // Whatever is a member of the workspace must be there for cargo to read the workspace.
    let members = manifest.lines().skip_while(|line| *line != "members = [");
    let members = members.skip(1).take_while(|line| *line != "]");
    for member in members.map(|line| line.trim().trim_matches(['"', ','])) {
        let top = member.split('/').next().expect("a folder");
        assert!(sources.contains(top), "`{member}` is not copied");
    }
    // What the second stage takes, the first one has made.
    let commands = all("RUN").join("\n");
    for made in from_build {
        assert!(commands.contains(made), "nothing makes {made}");
    }
    for (command, page) in [
        (
            "cargo xtask components --out",
            "docs/building-components.md",
        ),
        ("--release -p cortex-gateway", "docs/operators.md"),
    ] {
        assert!(
            commands.contains(command) && read(page).contains(command),
            "{command}"
        );
    }
    let env = all("ENV")[0].split_whitespace();
    let mut variables = assignments(env);
    variables.extend(assignments(lines(&read("docs/deploy/systemd/gateway.env"))));
    variables.remove("CORTEX_LISTEN");
    variables.extend(assignments(all("ENV")[0].split_whitespace()));
    variables.insert("CORTEX_TECHNICAL_TOKEN_FILE".to_owned(), String::new());
    let config = configuration(variables);
    assert_eq!(all("EXPOSE"), [config.listen.port().to_string()]);
    assert!(!config.listen.ip().is_loopback());
    assert!(all("VOLUME")[0].contains(config.data_dir.to_str().expect("UTF-8")));
    assert_ne!(all("USER"), ["root"]);
}

/// The manifests as JSON, checked against the schemas of Kubernetes. `None`, with a line that says so,
/// where what checks them is not installed.
fn manifests() -> Option<Vec<Value>> {
    let python = root().join("target/peers/k8s/bin/python");
    if !python.exists() {
        assert!(
            std::env::var_os("CI").is_none(),
            "tests/peers/setup.sh was not run"
        );
        eprintln!("left out: target/peers/k8s is not installed (tests/peers/setup.sh)");
        return None;
    }
    let folder = root().join("docs/deploy/kubernetes");
    let files = std::fs::read_dir(folder).expect("a folder");
    let checked = Command::new(python)
        .arg(root().join("tests/peers/manifests.py"))
        .args(files.map(|file| file.expect("a file").path()))
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{told}");
    Some(serde_json::from_slice(&checked.stdout).expect("JSON"))
}

fn of_kind<'a>(manifests: &'a [Value], kind: &str) -> &'a Value {
    let found = manifests.iter().find(|document| document["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind}"))
}

#[test]
fn kubernetes_gives_the_gateway_what_it_reads() {
    let Some(manifests) = manifests() else { return };
    let set = &of_kind(&manifests, "StatefulSet")["spec"];
    let pod = &set["template"]["spec"];
    let container = &pod["containers"][0];
    let data = of_kind(&manifests, "ConfigMap")["data"].as_object();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let mut variables: BTreeMap<String, String> = data
        .expect("data")
        .iter()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect();
    // Those of the image.
    let image = instructions(&read("docs/deploy/Containerfile"));
    let env = image.iter().find(|(word, _)| word == "ENV").expect("ENV");
    for (name, value) in assignments(env.1.split_whitespace()) {
        variables.entry(name).or_insert(value);
    }
    let secrets = &container["volumeMounts"][1];
    for entry in container["env"].as_array().expect("variables") {
        let (name, value) = (text(&entry["name"]), text(&entry["value"]));
        assert!(name.ends_with("_FILE"), "{name} is not by reference");
        assert!(value.starts_with(&text(&secrets["mountPath"])), "{name}");
        variables.insert(name, value);
    }
    let config = configuration(variables);
    fits(
        &config,
        pod["terminationGracePeriodSeconds"]
            .as_u64()
            .expect("seconds"),
    );
    let ports = container["ports"].as_array().expect("ports");
    let port = |name: &str| {
        let found = ports.iter().find(|port| port["name"] == name);
        found.and_then(|port| port["containerPort"].as_u64())
    };
    assert_eq!(port("http"), Some(config.listen.port().into()));
    let admin = config.admin_listen.expect("metrics");
    assert_eq!(port("metrics"), Some(admin.port().into()));
    assert_eq!(
        container["volumeMounts"][0]["mountPath"],
        config.data_dir.to_str().expect("UTF-8")
    );
    // Longer than it takes to be seen as not ready.
    let ready = &container["readinessProbe"];
    let number = |value: &Value| value.as_u64().expect("a number");
    let seen = (number(&ready["periodSeconds"]) + number(&ready["timeoutSeconds"]))
        * number(&ready["failureThreshold"]);
    assert!(config.bounds.stop_notice.as_secs() > seen);
}

#[test]
fn kubernetes_keeps_the_gateway_in_bounds_and_reachable() {
    let Some(manifests) = manifests() else { return };
    let set = &of_kind(&manifests, "StatefulSet")["spec"];
    let labels = &set["template"]["metadata"]["labels"];
    let pod = &set["template"]["spec"];
    let container = &pod["containers"][0];
    let routes = read("host/src/server/routes.rs");
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let path = container[probe]["httpGet"]["path"]
            .as_str()
            .expect("a path");
        assert!(
            routes.contains(&format!("(\"{path}\", &Method::GET)")),
            "{path}"
        );
    }
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(
        container["securityContext"]["allowPrivilegeEscalation"],
        false
    );
    for part in ["requests", "limits"] {
        assert!(container["resources"][part]["memory"].is_string(), "{part}");
    }
    // Everything that selects instances selects these.
    assert_eq!(&set["selector"]["matchLabels"], labels);
    for (kind, selector) in [
        ("Service", "/spec/selector"),
        ("PodDisruptionBudget", "/spec/selector/matchLabels"),
        ("NetworkPolicy", "/spec/podSelector/matchLabels"),
    ] {
        let mut of = manifests.iter().filter(|document| document["kind"] == kind);
        assert!(
            of.all(|document| document.pointer(selector) == Some(labels)),
            "{kind}"
        );
    }
    // The image is that of this version, and the list of files is complete.
    let manifest = read("Cargo.toml");
    let version = manifest
        .lines()
        .find_map(|line| line.strip_prefix("version = "));
    let version = version.expect("a version").trim_matches('"');
    let image = format!("registry.example.com/cortex-gateway:{version}");
    assert_eq!(container["image"], image);
    let list = of_kind(&manifests, "Kustomization");
    assert_eq!(list["images"][0]["newTag"], version);
    let listed = list["resources"].as_array().expect("files");
    let listed: BTreeSet<&str> = listed.iter().filter_map(Value::as_str).collect();
    let files = std::fs::read_dir(root().join("docs/deploy/kubernetes")).expect("a folder");
    let files = files.map(|file| file.expect("a file").file_name());
    let files: Vec<String> = files.filter_map(|name| name.into_string().ok()).collect();
    for file in files.iter().filter(|file| *file != "kustomization.yaml") {
        assert!(listed.contains(file.as_str()), "{file} is not listed");
    }
    assert_eq!(files.len(), listed.len() + 1);
}

#[test]
fn haproxy_understands_its_configuration() {
    let text = read("docs/deploy/haproxy.cfg");
    assert!(text.contains("option httpchk GET /readyz"));
    for affinity in ["cookie ", "stick-table", "stick on", "balance source"] {
        assert!(!text.contains(affinity), "{affinity}");
    }
    // A certificate must be there to be checked.
    let text = text.replace(
        " ssl crt /etc/haproxy/mcp.example.com.pem alpn h2,http/1.1",
        "",
    );
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("haproxy.cfg");
    std::fs::write(&file, text).expect("written");
    let Some(program) = cortex_tests::balancer::program() else {
        return;
    };
    let checked = Command::new(program)
        .args(["-c", "-q", "-f"])
        .arg(&file)
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && told.is_empty(), "{told}");
}

#[test]
fn the_page_names_every_file() {
    let page = read("docs/deployment.md");
    for folder in ["docs/deploy", "docs/deploy/systemd"] {
        for file in std::fs::read_dir(root().join(folder)).expect("a folder") {
            let name = file.expect("a file").file_name().into_string();
            let name = name.expect("UTF-8");
            assert!(
                page.contains(&format!("{name})")) || page.contains(&name),
                "{name}"
            );
        }
    }
}
