//! `CORTEX_STDIO_*`: what `cortex-gateway stdio` is told by the environment.

use std::path::PathBuf;

use super::variable;
use super::vars::{Problems, Vars};
use crate::types::{ScopeSet, Secret};

/// What the environment says to `cortex-gateway stdio`.
#[derive(Clone, Debug)]
pub struct StdioConfig {
    /// The access token to present; without one the user logs in.
    pub token: Option<Secret>,
    /// The scopes to ask for; without them the server's own words are followed.
    pub scopes: Option<ScopeSet>,
    /// The secret of the client id that the command line names.
    pub client_secret: Option<Secret>,
    /// Where tokens are kept, and what a local gateway keeps.
    pub data_dir: PathBuf,
    /// Who runs this.
    pub user: String,
    /// Whether a browser could be shown on this machine.
    pub has_display: bool,
}

impl StdioConfig {
    /// Reads it from the process environment.
    ///
    /// # Errors
    /// All wrong values together.
    pub fn from_env() -> Result<Self, Problems> {
        Self::read(&variable)
    }

    /// Reads it from any source of variables.
    ///
    /// # Errors
    /// All wrong values together.
    pub fn read(source: &dyn Fn(&str) -> Option<String>) -> Result<Self, Problems> {
        let mut vars = Vars::new(source, Vec::new());
        let scopes = vars.text("CORTEX_STDIO_SCOPES");
        let scopes = scopes.and_then(|text| match text.parse() {
            Ok(scopes) => Some(scopes),
            Err(_) => {
                let expected = "expected scopes separated by blanks";
                vars.wrong("CORTEX_STDIO_SCOPES", Some(&text), expected);
                None
            }
        });
        let token = vars.secret("CORTEX_STDIO_TOKEN");
        // RFC 6750 §2.1 has no others, and a header cannot hold all others.
        let speakable = |token: &Secret| token.reveal().bytes().all(|b| b.is_ascii_graphic());
        if token.as_ref().is_some_and(|token| !speakable(token)) {
            let expected = "expected an access token: visible ASCII without blanks";
            vars.wrong("CORTEX_STDIO_TOKEN", None, expected);
        }
        let config = Self {
            token,
            scopes,
            client_secret: vars.secret("CORTEX_STDIO_CLIENT_SECRET"),
            data_dir: data_dir(&vars),
            user: (vars.text("USER"))
                .or_else(|| vars.text("LOGNAME"))
                .unwrap_or_else(|| "user".to_owned()),
            has_display: cfg!(not(target_os = "linux"))
                || vars.text("DISPLAY").is_some()
                || vars.text("WAYLAND_DISPLAY").is_some(),
        };
        vars.finish().map(|_| config)
    }
}

/// The user's own data directory (XDG Base Directory Specification; on macOS, Apple's place).
fn data_dir(vars: &Vars<'_>) -> PathBuf {
    if let Some(dir) = vars.text("CORTEX_STDIO_DATA_DIR") {
        return dir.into();
    }
    // A relative path there is to be ignored, says that specification.
    let xdg = vars.text("XDG_DATA_HOME").map(PathBuf::from);
    let base = xdg.filter(|dir| dir.is_absolute()).or_else(|| {
        let home = PathBuf::from(vars.text("HOME")?);
        Some(home.join(if cfg!(target_os = "macos") {
            "Library/Application Support"
        } else {
            ".local/share"
        }))
    });
    base.unwrap_or_else(|| PathBuf::from("."))
        .join("cortex-gateway")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<StdioConfig, Problems> {
        let find = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        StdioConfig::read(&find)
    }

    #[test]
    fn wrong_values_are_told_together_and_secrets_are_not_shown() {
        let wrong = read(&[
            ("CORTEX_STDIO_SCOPES", "a \"b\""),
            ("CORTEX_STDIO_TOKEN", "s3cret t0ken"),
        ]);
        let told = wrong.expect_err("wrong").to_string();
        assert!(told.contains("CORTEX_STDIO_SCOPES is `a "), "{told}");
        assert!(told.contains("CORTEX_STDIO_TOKEN: "), "{told}");
        assert!(!told.contains("s3cret"), "{told}");
    }

    #[test]
    fn the_users_own_directory_is_found() {
        for (variables, expected) in [
            (
                &[("CORTEX_STDIO_DATA_DIR", "/x"), ("HOME", "/home/ann")][..],
                "/x",
            ),
            (
                &[("XDG_DATA_HOME", "/d"), ("HOME", "/home/ann")],
                "/d/cortex-gateway",
            ),
            (&[], "./cortex-gateway"),
        ] {
            let config = read(variables).expect("right");
            assert_eq!(config.data_dir, PathBuf::from(expected));
        }
        let home = read(&[("XDG_DATA_HOME", "relative"), ("HOME", "/home/ann")]);
        assert!(home.expect("right").data_dir.starts_with("/home/ann"));
    }
}
