//! An HTTP origin that nobody has configured: it writes down what reaches it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A small server on a free port. It answers `{}`, and `/redirect` with the way to `elsewhere`.
pub struct FakeOrigin {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl FakeOrigin {
    /// Starts it.
    pub async fn start(elsewhere: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let (seen, elsewhere) = (Arc::clone(&heads), elsewhere.to_owned());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&seen), elsewhere.clone()));
            }
        });
        Self { address, heads }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The heads of the requests so far, in lower case.
    pub fn heads(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        heads.clone()
    }
}

async fn serve(stream: TcpStream, heads: Arc<Mutex<Vec<String>>>, elsewhere: String) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            match stream.read_line(&mut head).await {
                Ok(read) if read > 0 => {}
                _ => return,
            }
        }
        let head = head.to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.and_then(|text| text.parse().ok()).unwrap_or(0)];
        if stream.read_exact(&mut body).await.is_err() {
            return;
        }
        let answer = if head.contains(" /redirect ") {
            format!("HTTP/1.1 302 Found\r\nlocation: {elsewhere}\r\ncontent-length: 0\r\n\r\n")
        } else {
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_owned()
        };
        let seen = |mut heads: std::sync::MutexGuard<'_, Vec<String>>| heads.push(head);
        seen(heads.lock().unwrap_or_else(PoisonError::into_inner));
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
