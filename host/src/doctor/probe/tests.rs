use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::*;
use crate::doctor::certificate::tests::{GOOD, KEY, OVER, der};

/// A TLS server with this certificate; its port.
async fn tls_server(certificate: &str) -> u16 {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der(KEY)));
    let provider = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider();
    let config = ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .expect("protocols")
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(der(certificate))], key)
        .expect("a certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(mut stream) = acceptor.accept(tcp).await {
                    let _ = stream.read(&mut [0; 1]).await;
                }
            });
        }
    });
    port
}

fn url(text: &str) -> Url {
    Url::parse(text).expect("a URL")
}

fn trusting(certificates: &[&str]) -> Probes {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let root = CertificateDer::from(der(certificate));
        roots.add(root).expect("a root");
    }
    Probes::trusting(roots)
}

#[tokio::test]
async fn a_good_certificate_is_accepted_and_its_end_remembered() {
    let port = tls_server(GOOD).await;
    let probes = trusting(&[GOOD]);
    let place = url(&format!("https://localhost:{port}/secret-path"));
    probes.reach(&place).await.expect("reached");
    let seen = probes.seen().certificates;
    let expected = (format!("localhost:{port}"), Some(4_922_899_200));
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [expected]);
}

#[tokio::test]
async fn a_certificate_that_does_not_hold_is_told_with_the_reason() {
    let (good, over) = (tls_server(GOOD).await, tls_server(OVER).await);
    for (port, trusted, why) in [
        (good, &[][..], "UnknownIssuer"),
        (over, &[OVER][..], "expired"),
    ] {
        let place = url(&format!("https://localhost:{port}/secret-path"));
        let told = trusting(trusted).reach(&place).await.expect_err("refused");
        assert!(told.contains("TLS fails") && told.contains(why), "{told}");
        assert!(!told.contains("secret-path"), "{told}");
    }
}

#[tokio::test]
async fn each_step_that_fails_is_named() {
    let probes = trusting(&[]);
    let free = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("an address").port()
    };
    for (place, why) in [
        (
            "http://does-not-exist.invalid/".to_owned(),
            "does not resolve",
        ),
        (format!("http://127.0.0.1:{free}/"), "takes no connection"),
    ] {
        let told = probes.reach(&url(&place)).await.expect_err("not reached");
        assert!(told.contains(why) && told.contains("; hint: "), "{told}");
    }
}

#[tokio::test]
async fn the_other_clock_is_compared_with_ours() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.expect("a connection");
        let _ = tcp.read(&mut [0; 1024]).await;
        let answer =
            "HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-length: 2\r\n\r\n{}";
        let _ = tcp.write_all(answer.as_bytes()).await;
    });
    let probes = trusting(&[]);
    let before = seconds();
    let place = url(&format!("http://{address}/"));
    probes.object(&place).await.expect("an object");
    let ahead = probes.seen().clocks[&address.to_string()];
    assert!(
        (784_111_777 - seconds()..=784_111_777 - before).contains(&ahead),
        "{ahead}"
    );
}
