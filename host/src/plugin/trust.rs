//! Which components may run at all, where the operator says so: those of listed digests, and those that
//! somebody trusted has signed. Decided before anything of them is compiled.

use std::path::{Path, PathBuf};

use super::loader::Refusal;
use crate::config::PluginTrust;
use crate::types::signing::PrivateKey;

/// Where the signature of a component is: `x.wasm.sig` beside `x.wasm`.
pub fn signature_file(component: &Path) -> PathBuf {
    let mut path = component.as_os_str().to_owned();
    path.push(".sig");
    path.into()
}

/// Signs a component of this digest (SHA-256, hexadecimal digits).
pub fn sign(key: &PrivateKey, digest: &str) -> String {
    key.sign(signed(digest).as_bytes())
}

/// What is signed: nothing else that this project signs looks like it.
fn signed(digest: &str) -> String {
    format!("cortex.plugin sha256 {digest}\n")
}

/// Whether a component may run. `signature`: what the file beside it says.
///
/// # Errors
/// [`Refusal::Untrusted`], [`Refusal::WrongSignature`].
pub fn check(
    trust: Option<&PluginTrust>,
    digest: &str,
    signature: Option<&str>,
) -> Result<(), Refusal> {
    let Some(trust) = trust else {
        return Ok(());
    };
    if trust.digests.contains(digest) {
        return Ok(());
    }
    let Some(signature) = signature else {
        return Err(Refusal::Untrusted(digest.to_owned()));
    };
    let message = signed(digest);
    let holds =
        (trust.keys.iter()).any(|key| key.verifies(message.as_bytes(), signature.trim_ascii()));
    if holds {
        Ok(())
    } else {
        Err(Refusal::WrongSignature(digest.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed_or_signed_may_run() {
        let (key, _) = PrivateKey::generate().expect("a key");
        let (other, _) = PrivateKey::generate().expect("a key");
        let digest = "a".repeat(64);
        let good = format!("{}\n", sign(&key, &digest));
        assert!(check(None, &digest, None).is_ok());
        let trust = PluginTrust {
            keys: vec![other.public(), key.public()],
            digests: ["b".repeat(64)].into(),
        };
        let check = |digest: &str, signature: Option<&str>| check(Some(&trust), digest, signature);
        assert!(check(&"b".repeat(64), None).is_ok());
        assert!(check(&digest, Some(good.as_str())).is_ok());
        assert!(matches!(check(&digest, None), Err(Refusal::Untrusted(_))));
        let stranger = sign(&PrivateKey::generate().expect("a key").0, &digest);
        // Of something else, of somebody else, of nobody.
        for wrong in [
            sign(&key, &"c".repeat(64)),
            stranger,
            "x".to_owned(),
            String::new(),
        ] {
            let checked = check(&digest, Some(wrong.as_str()));
            assert!(
                matches!(checked, Err(Refusal::WrongSignature(_))),
                "{wrong}"
            );
        }
    }
}
