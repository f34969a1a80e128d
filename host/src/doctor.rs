//! `cortex-gateway check` and `cortex-gateway doctor`: what keeps a gateway from working, and what to do
//! about it.
//!
//! A section looks at one thing and tells what it found, a line each. Looking changes nothing: no token is
//! asked for in anybody's name, nobody is registered anywhere, and what is told holds no secret and no path
//! of somebody else's URL.

mod backends;
mod certificate;
mod client_view;
mod clocks;
mod configuration;
mod database;
mod fleet;
mod gateway;
mod issuer;
mod mcp_servers;
mod others;
mod plugins;
mod probe;
mod store;

use std::time::Duration;

use serde::Serialize;

use crate::config::Config;
use crate::operator;
use crate::plugin::Plugins;
use probe::Probes;

/// Longest wait for any one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Ok,
    /// The gateway works, and this is worth a look.
    Warning,
    /// Something does not work.
    Broken,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it is.
    pub state: State,
    /// What was found.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What was found out about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Section {
    /// What it is about.
    pub name: &'static str,
    /// The lines, in order.
    pub findings: Vec<Finding>,
}

impl Section {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            findings: Vec::new(),
        }
    }

    fn ok(&mut self, what: impl Into<String>) {
        self.add(State::Ok, what.into(), None);
    }

    fn warn(&mut self, what: impl Into<String>, hint: impl Into<String>) {
        self.add(State::Warning, what.into(), Some(hint.into()));
    }

    fn broken(&mut self, what: impl Into<String>, hint: impl Into<String>) {
        self.add(State::Broken, what.into(), Some(hint.into()));
    }

    /// Something that says itself what to do about it, after `; hint: `.
    fn told(&mut self, state: State, what: &str) {
        match what.split_once("; hint: ") {
            Some((what, hint)) => self.add(state, what.to_owned(), Some(hint.to_owned())),
            None => self.add(state, what.to_owned(), None),
        }
    }

    fn add(&mut self, state: State, what: String, hint: Option<String>) {
        self.findings.push(Finding { state, what, hint });
    }
}

/// Everything that was found out.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// In the order in which they are to be read: what comes first explains what comes later.
    pub sections: Vec<Section>,
}

impl Report {
    /// How many lines are of this state.
    pub fn count(&self, state: State) -> usize {
        let findings = self.sections.iter().flat_map(|section| &section.findings);
        findings.filter(|finding| finding.state == state).count()
    }
}

/// Looks at what a gateway would be started with: the environment, and the files that it names. Binds
/// nothing, contacts nobody, writes nothing.
pub async fn check() -> Report {
    let (told, config) = configuration::look();
    let mut sections = vec![told];
    let (told, _) = match &config {
        Some(config) => plugins::look(&config.plugins, Some(config), None).await,
        None => plugins::alone().await,
    };
    sections.push(told);
    if let Some(config) = &config {
        sections.push(configuration::files(config));
    }
    Report { sections }
}

/// Walks the whole chain: what `check` looks at, what is on disk, the gateway that runs, and everybody whom
/// it depends on.
pub async fn examine() -> Report {
    let (told, config) = configuration::look();
    let mut sections = vec![told];
    let Some(config) = config else {
        sections.push(plugins::alone().await.0);
        return Report { sections };
    };
    let runs = operator::is_running(&config.data_dir).await;
    sections.push(configuration::files(&config));
    let told = database::look(config.database.as_ref()).await;
    let reached = told.findings.iter().all(|it| it.state != State::Broken);
    sections.extend((!told.findings.is_empty()).then_some(told));
    sections.push(store::look(&config, runs, reached).await);
    let compiled = config.data_dir.join("compiled");
    let compiled = compiled.is_dir().then_some(compiled.as_path());
    let (told, loaded) = plugins::look(&config.plugins, Some(&config), compiled).await;
    sections.push(told);
    match Probes::new() {
        Ok(probes) => sections.extend(ask_others(&config, runs, loaded.as_deref(), &probes).await),
        Err(error) => {
            let mut section = Section::new("network");
            section.broken(error.to_string(), "report this: it should not happen");
            sections.push(section);
        }
    }
    Report { sections }
}

/// Everything that takes the network, side by side.
async fn ask_others(
    config: &Config,
    runs: bool,
    loaded: Option<&Plugins>,
    probes: &Probes,
) -> Vec<Section> {
    let (gateway, fleet, backends, servers, issuer, client, others) = tokio::join!(
        gateway::look(config, runs, probes),
        fleet::look(config),
        backends::look(config, loaded, probes),
        mcp_servers::look(config, loaded, probes),
        issuer::look(config, probes),
        client_view::look(config, runs, probes),
        others::look(config, loaded, probes),
    );
    let mut sections = vec![gateway, fleet, backends, servers, issuer, client, others];
    sections.push(clocks::look(probes));
    sections.push(certificate::look(probes));
    sections.retain(|section| !section.findings.is_empty());
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_what_to_do_is_taken_apart() {
        let mut section = Section::new("x");
        section.told(State::Broken, "it is gone; hint: put it back");
        section.told(State::Warning, "it is slow");
        section.ok("fine");
        let report = Report {
            sections: vec![section],
        };
        let findings = &report.sections[0].findings;
        assert_eq!(findings[0].what, "it is gone");
        assert_eq!(findings[0].hint.as_deref(), Some("put it back"));
        assert_eq!(findings[1].hint, None);
        assert_eq!(
            [State::Ok, State::Warning, State::Broken].map(|state| report.count(state)),
            [1, 1, 1]
        );
    }
}
