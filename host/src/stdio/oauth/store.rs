//! What a login leaves on disk: one file for each authorization server and resource, readable by
//! its owner only, and changed by one process at a time.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tracing::warn;

use crate::oauth_client::register::Registered;
use crate::oauth_client::token::Grant;
use crate::types::{Scope, Secret, hex};

/// What is kept.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) client: Option<Registered>,
    pub(super) grant: Option<Grant>,
}

/// The file of one authorization server and resource.
pub(super) struct Store {
    path: PathBuf,
    issuer: String,
    resource: String,
}

/// The same, with nobody else in it.
pub(super) struct Locked {
    pub(super) content: Content,
    store: Store,
    /// Given back when closed.
    _lock: File,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    issuer: String,
    resource: String,
    client: Option<WrittenClient>,
    grant: Option<WrittenGrant>,
}

#[derive(Serialize, Deserialize)]
struct WrittenClient {
    id: String,
    secret: Option<String>,
    secret_in_form: bool,
    redirect: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct WrittenGrant {
    access_token: String,
    refresh_token: Option<String>,
    expires_at: Option<u64>,
    scope: String,
}

impl Store {
    /// The file for this issuer, resource and, if the user gave one, client.
    pub(super) fn new(dir: &Path, issuer: &str, resource: &str, client: Option<&str>) -> Self {
        // Lengths first, so that no two of them run together to the same text.
        let mut hash = Sha256::new();
        for part in [issuer, resource, client.unwrap_or_default()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let name = hex(&hash.finalize()[..16]);
        Self {
            path: dir.join(format!("{name}.json")),
            issuer: issuer.to_owned(),
            resource: resource.to_owned(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until no other process is in it, and reads it.
    pub(super) async fn lock(self) -> std::io::Result<Locked> {
        in_thread(move || {
            if let Some(dir) = self.path.parent() {
                fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(dir)?;
            }
            let lock = private()
                .create(true)
                .open(self.path.with_extension("lock"))?;
            lock.lock()?;
            Ok(Locked {
                content: self.read()?,
                store: self,
                _lock: lock,
            })
        })
        .await
    }

    fn read(&self) -> std::io::Result<Content> {
        let mut text = String::new();
        match File::open(&self.path) {
            Ok(mut file) => {
                // Somebody copied or restored it, perhaps. It is ours: mend it.
                file.set_permissions(fs::Permissions::from_mode(0o600))?;
                file.read_to_string(&mut text)?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Content::default()),
            Err(error) => return Err(error),
        }
        let written: Option<Written> = serde_json::from_str(&text).ok();
        let ours =
            |w: &Written| w.version == 1 && w.issuer == self.issuer && w.resource == self.resource;
        let Some(written) = written.filter(ours) else {
            warn!(path = %self.path.display(), "this file of an earlier login cannot be read and is left out");
            return Ok(Content::default());
        };
        Ok(Content {
            client: written.client.map(|client| Registered {
                id: client.id,
                secret: client.secret.map(Secret::new),
                secret_in_form: client.secret_in_form,
                redirect: client.redirect,
            }),
            grant: written.grant.map(|grant| Grant {
                access: Secret::new(grant.access_token),
                refresh: grant.refresh_token.map(Secret::new),
                expires_at: grant.expires_at,
                scopes: grant
                    .scope
                    .split(' ')
                    .filter_map(|s| s.parse::<Scope>().ok())
                    .collect(),
            }),
        })
    }

    fn write(&self, content: &Content) -> std::io::Result<()> {
        let reveal = |secret: &Secret| secret.reveal().to_owned();
        let written = Written {
            version: 1,
            issuer: self.issuer.clone(),
            resource: self.resource.clone(),
            client: content.client.as_ref().map(|client| WrittenClient {
                id: client.id.clone(),
                secret: client.secret.as_ref().map(reveal),
                secret_in_form: client.secret_in_form,
                redirect: client.redirect.clone(),
            }),
            grant: content.grant.as_ref().map(|grant| WrittenGrant {
                access_token: reveal(&grant.access),
                refresh_token: grant.refresh.as_ref().map(reveal),
                expires_at: grant.expires_at,
                scope: grant.scopes.to_string(),
            }),
        };
        // Whole or not at all. The lock keeps others from the same temporary name.
        let half = self.path.with_extension("part");
        let mut file = private().create(true).truncate(true).open(&half)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(serde_json::to_string_pretty(&written)?.as_bytes())?;
        file.sync_all()?;
        fs::rename(&half, &self.path)?;
        // The name, too, must outlive a power cut.
        self.path
            .parent()
            .map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    }
}

impl Locked {
    pub(super) fn path(&self) -> &Path {
        &self.store.path
    }

    /// Writes it and lets others in.
    pub(super) async fn save(self) -> std::io::Result<()> {
        in_thread(move || {
            // All of it goes along, the lock too.
            let kept = &self;
            kept.store.write(&kept.content)
        })
        .await
    }
}

/// A file that nobody else may read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

async fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(std::io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that goes away with its value.
    struct Dir(PathBuf);

    impl Drop for Dir {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    fn dir(name: &str) -> Dir {
        Dir(std::env::temp_dir().join(format!("cortex-stdio-{}-{name}", std::process::id())))
    }

    fn grant(access: &str) -> Grant {
        Grant {
            access: Secret::new(access.to_owned()),
            refresh: Some(Secret::new("r".to_owned())),
            expires_at: Some(7),
            scopes: "a b".parse().expect("scopes"),
        }
    }

    #[tokio::test]
    async fn what_was_saved_is_read_by_its_owner_only() {
        let dir = dir("saved");
        let open = |issuer: &str| Store::new(&dir.0, issuer, "https://r", None).lock();
        let mut kept = open("https://i").await.expect("locked");
        assert!(kept.content.grant.is_none());
        kept.content.grant = Some(grant("token"));
        let path = kept.path().to_owned();
        kept.save().await.expect("saved");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&dir.0)), (0o600, 0o700));

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
        let kept = open("https://i").await.expect("locked");
        assert_eq!(
            kept.content
                .grant
                .map(|g| g.access.reveal().to_owned())
                .as_deref(),
            Some("token")
        );
        assert_eq!(mode(&path), 0o600);
        // Another server's file is another file.
        assert!(
            open("https://j")
                .await
                .expect("locked")
                .content
                .grant
                .is_none()
        );
        let all = fs::read_dir(&dir.0).expect("a folder").count();
        assert_eq!(all, 3, "one file, two locks, nothing half written");
    }

    #[tokio::test]
    async fn one_at_a_time() {
        let dir = dir("lock");
        let open = || Store::new(&dir.0, "https://i", "https://r", None).lock();
        let mut first = open().await.expect("locked");
        let second = tokio::spawn(open());
        first.content.grant = Some(grant("of the first"));
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        first.save().await.expect("saved");
        let second = second.await.expect("ended").expect("locked");
        assert_eq!(
            second
                .content
                .grant
                .map(|g| g.access.reveal().to_owned())
                .as_deref(),
            Some("of the first")
        );
    }

    #[tokio::test]
    async fn nonsense_is_left_out() {
        let dir = dir("nonsense");
        let store = Store::new(&dir.0, "https://i", "https://r", None);
        fs::create_dir_all(&dir.0).expect("made");
        fs::write(store.path(), "{").expect("written");
        assert!(store.lock().await.expect("locked").content.grant.is_none());
    }
}
