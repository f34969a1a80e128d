//! An authority of a test's own, and a certificate by it for a server on this machine.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

/// The files, for as long as this is kept.
pub struct Certificates(TempDir);

impl Certificates {
    /// New ones. `None`, with a line that says so, where OpenSSL is not installed and this is no build machine.
    pub fn new() -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            assert!(
                std::env::var_os("CI").is_none(),
                "OpenSSL is not installed (Debian: openssl)"
            );
            eprintln!("skipped: OpenSSL is not installed");
            return None;
        }
        let made = Self(tempfile::tempdir().expect("a folder"));
        let names = "subjectAltName=IP:127.0.0.1,DNS:localhost\n";
        std::fs::write(made.0.path().join("names"), names).expect("written");
        for command in [
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=an-authority -keyout authority.key -out authority.pem",
            "req -newkey rsa:2048 -nodes -subj /CN=a-server -keyout server.key -out server.csr",
            "x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 2 \
             -extfile names -out server.pem",
        ] {
            let run = Command::new("openssl")
                .args(command.split_whitespace())
                .current_dir(made.0.path())
                .output();
            let run = run.expect("openssl runs");
            let told = String::from_utf8_lossy(&run.stderr);
            assert!(run.status.success(), "{command}: {told}");
        }
        Some(made)
    }

    /// The authority's certificate, for whoever is to believe in it.
    pub fn authority(&self) -> PathBuf {
        self.0.path().join("authority.pem")
    }

    /// The server's.
    pub fn server(&self) -> PathBuf {
        self.0.path().join("server.pem")
    }

    /// Its key.
    pub fn key(&self) -> PathBuf {
        self.0.path().join("server.key")
    }

    /// The server's side of TLS, which offers these protocols (ALPN).
    pub fn acceptor(&self, protocols: &[&[u8]]) -> TlsAcceptor {
        let certificate = CertificateDer::from_pem_file(self.server()).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(self.key()).expect("a key");
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let tls = rustls::ServerConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .expect("versions");
        let tls = tls.with_no_client_auth();
        let mut tls = tls
            .with_single_cert(vec![certificate], key)
            .expect("key and certificate belong together");
        tls.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        TlsAcceptor::from(Arc::new(tls))
    }
}
