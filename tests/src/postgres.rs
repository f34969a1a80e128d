//! A real PostgreSQL server of a test's own: a cluster in a folder that goes away with it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::address::free_address;
use crate::certificates::Certificates;

/// Longest that the server may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// What lets in. It must turn up nowhere.
pub const PASSWORD: &str = "pa55word-of-the-database";

/// The server.
pub struct Postgres {
    bin: PathBuf,
    folder: TempDir,
    port: u16,
    server: Option<Child>,
    /// What it is started with besides.
    more: Vec<String>,
}

impl Postgres {
    /// Starts one. `None`, with a line that says so, where PostgreSQL is not installed and this is no build
    /// machine.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Starts one that counts statements, in the view `pg_stat_statements`.
    pub fn counting() -> Option<Self> {
        let made = Self::start_with(&["shared_preload_libraries=pg_stat_statements"])?;
        made.query("CREATE EXTENSION pg_stat_statements");
        Some(made)
    }

    /// Starts one that speaks TLS to whoever wants it.
    pub fn encrypted(certificates: &Certificates) -> Option<Self> {
        let (certificate, key) = (certificates.server(), certificates.key());
        // It reads its key itself, and nobody else may.
        give_away(key.parent().expect("a folder"));
        let certificate = format!("ssl_cert_file={}", certificate.display());
        let key = format!("ssl_key_file={}", key.display());
        Self::start_with(&["ssl=on", &certificate, &key])
    }

    fn start_with(settings: &[&str]) -> Option<Self> {
        let Some(bin) = bin() else {
            assert!(
                std::env::var_os("CI").is_none(),
                "PostgreSQL is not installed (Debian: postgresql)"
            );
            eprintln!("skipped: PostgreSQL is not installed");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let words = folder.path().join("password");
        std::fs::write(&words, PASSWORD).expect("written");
        give_away(folder.path());
        let data = folder.path().join("data");
        let made = as_somebody(&bin.join("initdb"))
            .arg("-D")
            .arg(&data)
            .args(["-U", "postgres", "-A", "scram-sha-256", "--no-sync"])
            .arg(format!("--pwfile={}", words.display()))
            .output();
        expect(made, "initdb");
        let mut made = Self {
            bin,
            folder,
            port: free_address().port(),
            server: None,
            more: { settings.iter() }
                .flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()])
                .collect(),
        };
        made.run();
        Some(made)
    }

    /// Where it is, with its password.
    pub fn url(&self) -> String {
        format!(
            "postgresql://postgres:{PASSWORD}@127.0.0.1:{}/postgres",
            self.port
        )
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its first process, while it runs: the others are children of it.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// Starts it again after [`Self::stop`].
    pub fn run(&mut self) {
        let server = as_somebody(&self.bin.join("postgres"))
            .arg("-D")
            .arg(self.folder.path().join("data"))
            .args([
                "-p",
                &self.port.to_string(),
                "-c",
                "listen_addresses=127.0.0.1",
            ])
            .args(["-c", "unix_socket_directories=", "-c", "fsync=off"])
            .args(&self.more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.server = Some(server.expect("it starts"));
        let began = std::time::Instant::now();
        while !self.ask("SELECT 1").status.success() {
            assert!(began.elapsed() < PATIENCE, "it does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Stops it; who is connected loses the connection.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // SIGINT: at once, and in order.
            let _ = Command::new("kill")
                .args(["-INT", &server.id().to_string()])
                .status();
            let _ = server.wait();
        }
    }

    /// Ends it as a crash would: whatever was under way is gone, and the next start has to recover.
    pub fn crash(&mut self) {
        if let Some(mut server) = self.server.take() {
            // SIGQUIT: "immediate".
            let _ = Command::new("kill")
                .args(["-QUIT", &server.id().to_string()])
                .status();
            let _ = server.wait();
        }
    }

    /// What a query answers: a line a row, columns separated by `|`.
    pub fn query(&self, sql: &str) -> Vec<String> {
        let answer = self.ask(sql);
        let told = String::from_utf8_lossy(&answer.stderr);
        assert!(answer.status.success(), "{sql}: {told}");
        let text = String::from_utf8_lossy(&answer.stdout);
        text.lines().map(str::to_owned).collect()
    }

    fn ask(&self, sql: &str) -> Output {
        let asked = Command::new(self.bin.join("psql"))
            .env("PGCONNECT_TIMEOUT", "10")
            .args([
                "-X",
                "-A",
                "-t",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                &self.url(),
                "-c",
                sql,
            ])
            .output();
        asked.expect("psql runs")
    }
}

/// PgBouncer in front of a server, which shares connections between transactions. Ends when dropped.
pub struct Pooler {
    running: Child,
    port: u16,
    _folder: TempDir,
}

impl Pooler {
    /// Starts one. `None`, with a line that says so, where it is not installed and this is no build machine.
    pub fn start(postgres: &Postgres) -> Option<Self> {
        let program = Path::new("/usr/sbin/pgbouncer");
        if !program.exists() {
            assert!(
                std::env::var_os("CI").is_none(),
                "PgBouncer is not installed (Debian: pgbouncer)"
            );
            eprintln!("skipped: PgBouncer is not installed");
            return None;
        }
        let (folder, port) = (
            tempfile::tempdir().expect("a folder"),
            free_address().port(),
        );
        let users = folder.path().join("users");
        std::fs::write(&users, format!("\"postgres\" \"{PASSWORD}\"\n")).expect("written");
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\npool_mode = transaction\n",
            postgres.port,
            users.display()
        );
        let file = folder.path().join("pgbouncer.ini");
        std::fs::write(&file, settings).expect("written");
        give_away(folder.path());
        let running = as_somebody(program)
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let pooler = Self {
            running: running.expect("it starts"),
            port,
            _folder: folder,
        };
        let began = std::time::Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < PATIENCE, "it does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(pooler)
    }

    /// Where it is, with the server's password.
    pub fn url(&self) -> String {
        format!(
            "postgresql://postgres:{PASSWORD}@127.0.0.1:{}/postgres",
            self.port
        )
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.running.kill();
        let _ = self.running.wait();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Where its programs are.
fn bin() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    // Debian has them where no shell looks.
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let versions = versions.into_iter().flatten();
    places.extend(versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))));
    let mut whole = places.into_iter().filter(|bin| {
        let mut programs = ["initdb", "postgres", "psql"].iter();
        programs.all(|program| bin.join(program).exists())
    });
    whole.next_back()
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0)
}

/// Gives a folder to whom [`as_somebody`] runs as.
fn give_away(folder: &Path) {
    if is_root() {
        let owned = Command::new("chown")
            .args(["-R", "postgres"])
            .arg(folder)
            .status();
        assert!(owned.is_ok_and(|status| status.success()), "chown");
    }
}

/// A command of somebody who is not root: neither PostgreSQL nor PgBouncer runs as root.
fn as_somebody(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--init-groups"])
        .arg(program);
    command
}

fn expect(outcome: std::io::Result<Output>, what: &str) {
    let outcome = outcome.expect(what);
    let told = String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.success(), "{what}: {told}");
}
