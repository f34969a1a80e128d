//! The gateway that runs on the data directory.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::Method;
use serde_json::Value;
use url::Url;

use super::probe::Probes;
use super::{Section, State};
use crate::config::Config;
use crate::operator::{self, Command};

pub(super) async fn look(config: &Config, runs: bool, probes: &Probes) -> Section {
    let mut section = Section::new("running gateway");
    if !runs {
        section.warn(
            format!("no gateway runs on `{}`", config.data_dir.display()),
            "start it with `cortex-gateway serve`; if it runs elsewhere, set CORTEX_DATA_DIR to where that one keeps its files",
        );
        return section;
    }
    match operator::ask(&config.data_dir, Command::Status).await {
        Ok(status) => told(&mut section, &status),
        Err(error) => section.told(State::Broken, &format!("{error:#}")),
    }
    match operator::ask(&config.data_dir, Command::Plugins).await {
        Ok(plugins) => refused(&mut section, &plugins),
        Err(error) => section.told(State::Broken, &format!("{error:#}")),
    }
    // With port 0 only the gateway knows where it listens.
    if config.listen.port() != 0 {
        for path in ["/healthz", "/readyz"] {
            answers(&mut section, config.listen, path, probes).await;
        }
    }
    section
}

fn told(section: &mut Section, status: &Value) {
    let (theirs, ours) = (&status["version"], env!("CARGO_PKG_VERSION"));
    if theirs == ours {
        section.ok(format!("it runs, version {ours}, and takes commands"));
    } else {
        section.warn(
            format!("it runs as version {theirs}, and this is version {ours}"),
            "use the command line of the gateway's own version, or start it anew",
        );
    }
    for backend in status["backends"].as_array().into_iter().flatten() {
        let (id, health) = (word(&backend["id"]), word(&backend["health"]));
        let listed = format!(
            "backend `{id}` is {health} there: {} tools, {} prompts, {} resources",
            backend["tools"], backend["prompts"], backend["resources"]
        );
        match (health, backend["reason"].as_str()) {
            ("up", _) => section.ok(listed),
            (_, Some(reason)) => {
                section.told(
                    State::Broken,
                    &format!("backend `{id}` is {health} there: {reason}"),
                );
            }
            _ => section.warn(listed, "ask again in a moment"),
        }
        let left_out = backend["leftOut"].as_array().map_or(0, Vec::len);
        if left_out > 0 {
            section.warn(
                format!("{left_out} things of backend `{id}` are left out"),
                "`cortex-gateway status` says which, and why",
            );
        }
    }
}

fn refused(section: &mut Section, plugins: &Value) {
    for file in plugins["plugins"].as_array().into_iter().flatten() {
        let name = word(&file["file"]);
        if let Some(refusal) = file["refused"].as_str() {
            section.told(State::Broken, &format!("it refuses `{name}`: {refusal}"));
        }
        if file["running"]["resting"] == true {
            section.warn(
                format!("it leaves the plugin of `{name}` alone for a while, because it did nothing but fail"),
                "the log says how it failed; `cortex-gateway plugin top` counts it",
            );
        }
    }
}

async fn answers(section: &mut Section, listen: SocketAddr, path: &str, probes: &Probes) {
    let host = match listen.ip() {
        ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    let at = SocketAddr::new(host, listen.port());
    let Ok(url) = Url::parse(&format!("http://{at}{path}")) else {
        return;
    };
    match probes.ask(Method::GET, &url).await {
        Ok(answer) if answer.status.is_success() => {
            section.ok(format!("{path} answers {}", answer.status))
        }
        Ok(answer) => {
            let body = String::from_utf8_lossy(&answer.body);
            let body: String = body.trim().escape_debug().take(300).collect();
            section.broken(
                format!("{path} answers {}: {body}", answer.status),
                "it says itself what is missing; the log has more",
            );
        }
        Err(error) => section.broken(
            format!("{path} at {at}: {error}"),
            "is CORTEX_LISTEN what the running gateway was started with?",
        ),
    }
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
