//! `cortex-gateway plugin grant`: writes into the file beside a component what it may have.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, value};

use super::inspected;
use crate::cli::keys;
use crate::cli::terminal::plain;
use crate::plugin::{Inspection, Want};

/// Comments and everything else in the file stay as they are.
#[derive(Debug, Args)]
pub(in crate::cli) struct Grant {
    /// The component.
    file: PathBuf,
    /// Requests to this origin, whether or not the component names it.
    #[arg(long, value_name = "ORIGIN")]
    http: Vec<String>,
    /// So much storage, whatever the component wants.
    #[arg(long, value_name = "KIB")]
    kv_kib: Option<u32>,
    /// A secret: `NAME=ORIGIN,env=VARIABLE` or `NAME=ORIGIN,file=PATH`, and `,header=FIELD` if it is not a
    /// bearer token. It is sent to that origin only.
    #[arg(long, value_name = "NAME=ORIGIN,…")]
    secret: Vec<String>,
    /// Statements to a database, whose URL is in a variable or a file: `NAME,env=VARIABLE` or
    /// `NAME,file=PATH`.
    #[arg(long, value_name = "NAME,…")]
    postgres: Vec<String>,
    /// Run without this, written as the component wants it: `secret api-key`.
    #[arg(long, value_name = "WANT")]
    without: Vec<String>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

impl Grant {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let found = inspected(&self.file)?;
        let beside = self.file.with_extension("toml");
        let text = match std::fs::exists(&beside) {
            Ok(false) => String::new(),
            _ => keys::read(&beside)?,
        };
        let mut file: DocumentMut = text.parse().with_context(|| keys::shown(&beside))?;
        let granted = self.apply(&mut file, &found)?;
        if granted.is_empty() {
            println!("it has what it wants: nothing to grant");
            return Ok(());
        }
        println!("{} would have:", keys::shown(&self.file));
        for line in &granted {
            println!("  {line}");
        }
        if !self.yes && !confirmed()? {
            bail!("nothing was granted");
        }
        keys::write(&beside, &file.to_string())?;
        println!("written: {}", keys::shown(&beside));
        let now = inspected(&self.file)?;
        let open: Vec<String> = (now.wants.iter())
            .filter(|wanted| !wanted.settled)
            .map(|wanted| format!("`{}`", plain(&wanted.want.to_string())))
            .collect();
        if !open.is_empty() {
            println!("still wanted: {}; hint: {HINT}", open.join(", "));
        }
        match now.refusal {
            Some(refusal) => bail!("{}: {refusal}", keys::shown(&self.file)),
            None => Ok(()),
        }
    }

    /// Changes the file, and tells what that grants, a line each.
    fn apply(&self, file: &mut DocumentMut, found: &Inspection) -> anyhow::Result<Vec<String>> {
        let mut told = Vec::new();
        let mut origins = self.http.clone();
        let mut kib = self.kv_kib;
        let mut without = self.without.clone();
        let asked = found.wants.iter().filter(|wanted| !wanted.settled);
        for wanted in asked {
            if without.contains(&wanted.want.to_string()) {
                continue;
            }
            match &wanted.want {
                Want::Http(Some(origin)) => origins.push(origin.clone()),
                Want::Kv(wants) => kib = kib.or(Some(wants.map_or(Ok(64), u32::try_from)?)),
                Want::Http(None) | Want::Secret(_) | Want::Postgres(_) | Want::Other(..) => {}
            }
        }
        let grants = file
            .entry("grants")
            .or_insert_with(|| Item::Table(Table::new()));
        let grants = grants.as_table_mut();
        let grants = grants.context("`grants` is no table: write it as `[grants]`")?;
        origins.sort();
        origins.dedup();
        for origin in origins {
            add(grants, "http", &origin)?;
            told.push(format!("requests to {}", plain(&origin)));
        }
        if let Some(kib) = kib {
            grants.insert("kv-kib", value(i64::from(kib)));
            told.push(format!("{kib} KiB of storage"));
        }
        for secret in &self.secret {
            let (name, entry) = read_secret(secret)?;
            told.push(format!("the secret {}", plain(secret)));
            let secrets = grants
                .entry("secrets")
                .or_insert_with(|| Item::Table(Table::new()));
            let secrets = secrets
                .as_table_mut()
                .context("`grants.secrets` is no table")?;
            secrets.insert(name, value(entry));
        }
        for database in &self.postgres {
            let wrong = || {
                let text = plain(database);
                format!("`--postgres {text}`: expected NAME,env=VARIABLE or NAME,file=PATH")
            };
            let (name, place) = database.split_once(',').with_context(wrong)?;
            let (key, place) = place.split_once('=').with_context(wrong)?;
            if !matches!(key, "env" | "file") || name.is_empty() || place.is_empty() {
                bail!(wrong());
            }
            told.push(format!("statements to the database {}", plain(name)));
            let databases = grants
                .entry("postgres")
                .or_insert_with(|| Item::Table(Table::new()));
            let databases = databases
                .as_table_mut()
                .context("`grants.postgres` is no table")?;
            let mut entry = InlineTable::new();
            entry.insert(key, place.into());
            databases.insert(name, value(entry));
        }
        without.sort();
        without.dedup();
        for want in without {
            add(grants, "without", &want)?;
            told.push(format!("nothing for `{}`: it runs without", plain(&want)));
        }
        Ok(told)
    }
}

const HINT: &str = "`--secret NAME=ORIGIN,env=VARIABLE`, `--http ORIGIN`, `--postgres NAME,env=VARIABLE`, or `--without` and the want";

fn add(grants: &mut Table, key: &str, text: &str) -> anyhow::Result<()> {
    let list = grants.entry(key).or_insert_with(|| value(Array::new()));
    let list = list.as_array_mut();
    let list = list.with_context(|| format!("`grants.{key}` is no list"))?;
    if !list.iter().any(|known| known.as_str() == Some(text)) {
        list.push(text);
    }
    Ok(())
}

fn read_secret(text: &str) -> anyhow::Result<(&str, InlineTable)> {
    let wrong = || {
        format!(
            "`--secret {}`: expected NAME=ORIGIN,env=VARIABLE or NAME=ORIGIN,file=PATH",
            plain(text)
        )
    };
    let (name, rest) = text.split_once('=').with_context(wrong)?;
    let mut parts = rest.split(',');
    let mut entry = InlineTable::new();
    entry.insert("origin", parts.next().with_context(wrong)?.into());
    for part in parts {
        match part.split_once('=') {
            Some((key @ ("env" | "file" | "header"), text)) => {
                entry.insert(key, text.into());
            }
            _ => bail!(wrong()),
        }
    }
    Ok((name, entry))
}

fn confirmed() -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("nobody to ask on this terminal; hint: `--yes`");
    }
    print!("grant this? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays_and_secrets_are_read() {
        let text = "# mine\n[grants]\nhttp = [\"https://a.test\"] # keep\n\n[settings]\nx = 1\n";
        let mut file: DocumentMut = text.parse().expect("TOML");
        let grants = file["grants"].as_table_mut().expect("a table");
        add(grants, "http", "https://a.test").expect("added");
        add(grants, "http", "https://b.test").expect("added");
        add(grants, "without", "kv").expect("added");
        assert_eq!(
            file.to_string(),
            "# mine\n[grants]\nhttp = [\"https://a.test\", \"https://b.test\"] # keep\nwithout = [\"kv\"]\n\n[settings]\nx = 1\n"
        );
        let (name, entry) = read_secret("key=https://a.test,env=KEY,header=x-key").expect("read");
        assert_eq!(name, "key");
        assert_eq!(
            entry.to_string(),
            "{ origin = \"https://a.test\", env = \"KEY\", header = \"x-key\" }"
        );
        for wrong in ["", "key", "key=https://a.test,wrong=1"] {
            assert!(read_secret(wrong).is_err(), "{wrong}");
        }
    }
}
