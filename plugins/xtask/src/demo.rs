//! `cargo xtask demo`: a gateway and a backend to try, from nothing but Rust.

pub mod calls;
pub mod folder;
pub mod oauth;
pub mod services;

use std::collections::hash_map::RandomState;
use std::env;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::components::{self, Show};
use crate::error::{Error, Result};
use crate::{binaries, http, interrupt, workspace};
use calls::Credential;
use folder::Folder;
use oauth::AuthServer;
use services::Service;

/// The header value that stands for a signed-in user. Good on loopback only, and only for
/// the scopes of the demo's backend; so it may be as simple as the commands we print.
const DEV_TOKEN: &str = "demo";

/// The first of the ports that are tried for `--port 0`.
const ANY_PORT: u16 = 20_000;
/// How many they are.
const ANY_PORTS: u16 = 12_000;

/// `cargo xtask demo`, with `--oauth` or without.
pub fn task(port: u16, release: bool, oauth: bool) -> Result<()> {
    // Before the long build, not after it.
    let wanted = (port != 0).then(|| free_address(port)).transpose()?;
    let installed = oauth.then(oauth::install).transpose()?;
    let held = Folder::take(&workspace::target_dir())?;
    let folder = held.path();
    let plugins = folder.join("plugins.d");
    components::build_showing(&components::DEFAULT, &plugins, Show::Progress)?;
    let duration = if release {
        "about ten minutes"
    } else {
        "about five minutes"
    };
    eprintln!(
        "xtask: building the gateway and the demo backend ({duration} on two cores the first time)"
    );
    let built = binaries::build(&["cortex-gateway", "demo-backend"], release)?;
    let [gateway, backend] = &built[..] else {
        return Err(Error::new("cargo built something else than was asked for"));
    };

    let address = wanted.map_or_else(any_address, Ok)?;
    let technical = random_token();
    let mut auth = installed
        .map(|installed| AuthServer::start(&installed, &calls::url(address), folder))
        .transpose()?;
    let mut backend = start_backend(backend, &technical, auth.as_ref(), address, folder)?;
    let backend_url = backend_url(&mut backend)?;
    let mut gateway = start_gateway(
        gateway,
        address,
        &backend_url,
        &technical,
        auth.as_ref(),
        folder,
    )?;
    wait_until_ready(&mut gateway, address)?;
    let credential = match &mut auth {
        Some(auth) => auth.token()?,
        None => Credential::Dev(DEV_TOKEN.to_owned()),
    };
    let answer = calls::echo(address, &credential)
        .map_err(|error| gateway.explain(&format!("`demo_echo` was not answered: {error}")))?;
    let introduction = match &auth {
        Some(auth) => auth.introduction(address, &answer, &plugins, folder),
        None => calls::introduction(address, &credential, &answer, &plugins, folder),
    };
    println!("{introduction}");
    let mut services = vec![&mut gateway, &mut backend];
    services.extend(auth.as_mut().map(AuthServer::service));
    let outcome = watch(&mut services);
    if outcome.is_ok() {
        println!("stopped");
    }
    outcome
}

/// An address on loopback that nobody listens on.
fn free_address(port: u16) -> Result<SocketAddr> {
    let taken = || {
        Error::new(format!(
            "port {port} is taken: another program listens on 127.0.0.1:{port}"
        ))
        .hint(format!(
            "choose another one: `cargo xtask demo --port {}`",
            other_port(port)
        ))
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // Some systems let two programs listen, one on every address and one on loopback.
    if TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_ok() {
        return Err(taken());
    }
    match TcpListener::bind(address) {
        Ok(_) => Ok(address),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(taken()),
        Err(error) => Err(
            Error::new(format!("cannot listen on {address}: {error}")).hint(format!(
                "choose another port: `cargo xtask demo --port {}`",
                other_port(port)
            )),
        ),
    }
}

/// One that nobody listens on (`--port 0`), and that no connection gets by chance until the gateway is
/// there: its port is below those that systems give to connections.
fn any_address() -> Result<SocketAddr> {
    let begin = (RandomState::new().build_hasher().finish() % u64::from(ANY_PORTS)) as u16;
    (0..ANY_PORTS)
        .map(|step| ANY_PORT + (begin + step) % ANY_PORTS)
        .find_map(|port| free_address(port).ok())
        .ok_or_else(|| Error::new("none of 12,000 ports is free").hint("name one: `--port 4213`"))
}

fn other_port(port: u16) -> u16 {
    port.checked_add(1000).unwrap_or(4213).max(1024)
}

fn start_backend(
    program: &Path,
    technical: &str,
    auth: Option<&AuthServer>,
    gateway: SocketAddr,
    folder: &Path,
) -> Result<Service> {
    let mut command = clean(program);
    command
        .env("DEMO_PORT", "0")
        .env("CORTEX_TECHNICAL_TOKEN", technical);
    match auth {
        Some(auth) => command
            .env("DEMO_OAUTH_ISSUER", auth.issuer())
            .env("DEMO_OAUTH_AUDIENCE", calls::url(gateway)),
        None => command.env("DEMO_DEV_TOKEN", DEV_TOKEN),
    };
    Service::start("demo-backend", &mut command, folder)
}

/// The URL that the backend prints once it listens.
fn backend_url(backend: &mut Service) -> Result<String> {
    backend.wait_for(Duration::from_secs(10), |log| {
        log.lines()
            .find_map(|line| line.strip_prefix("demo-backend listening on "))
            .map(str::to_owned)
    })
}

fn start_gateway(
    program: &Path,
    address: SocketAddr,
    backend_url: &str,
    technical: &str,
    auth: Option<&AuthServer>,
    folder: &Path,
) -> Result<Service> {
    let data = folder.join("data");
    fs::create_dir_all(&data)
        .map_err(Error::trying(format!("make the folder {}", data.display())))?;
    let mut command = clean(program);
    command
        .env("CORTEX_LISTEN", address.to_string())
        .env("CORTEX_CANONICAL_URI", calls::url(address))
        .env("CORTEX_BACKENDS", "demo")
        .env("CORTEX_BACKEND_DEMO_URL", backend_url)
        .env("CORTEX_TECHNICAL_TOKEN", technical)
        .env("CORTEX_PLUGIN_DIR", folder.join("plugins.d"))
        .env("CORTEX_DATA_DIR", data);
    match auth {
        Some(auth) => auth.configure(&mut command),
        None => {
            command
                .env("CORTEX_DEV_BYPASS_TOKEN", DEV_TOKEN)
                .env("CORTEX_DEV_BYPASS_SCOPES", "mcp:demo:read mcp:demo:write");
        }
    }
    Service::start("cortex-gateway", &mut command, folder)
}

/// A command that does not inherit settings of another gateway. `DEV_AUTH_*` are passed on: they
/// are meant for the demo's own authorization server.
fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let ours = ["CORTEX_", "OAUTH_", "DEMO_"];
        if ours.iter().any(|prefix| text.starts_with(prefix)) || text == "PORT" {
            command.env_remove(&name);
        }
    }
    command
}

fn wait_until_ready(gateway: &mut Service, address: SocketAddr) -> Result<()> {
    let ask = || http::send(address, "GET", "/readyz", &[], "", Duration::from_secs(5));
    gateway.wait_for(Duration::from_secs(60), |_| {
        ask().is_ok_and(|answer| answer.status == 200).then_some(())
    })
}

/// Waits until we are asked to stop, and sees to it that all services do. A service that
/// ends by itself is an error.
fn watch(services: &mut [&mut Service]) -> Result<()> {
    loop {
        if let Some(request) = interrupt::requested() {
            let until = Instant::now() + Duration::from_secs(30);
            for service in services {
                service.stop(request, until);
            }
            return Ok(());
        }
        for service in &mut *services {
            if service.has_ended() && interrupt::requested().is_none() {
                return Err(service.explain("it has ended"));
            }
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// A token that differs each time. The two programs that share it live as long as this one.
fn random_token() -> String {
    let part = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", part(), part())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_another_one() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = free_address(port).unwrap_err().to_string();
        assert!(error.contains(&format!("port {port} is taken")), "{error}");
        assert!(
            error.contains("hint: choose another one: `cargo xtask demo --port "),
            "{error}"
        );
        drop(listener);
        assert_eq!(free_address(port).unwrap().port(), port);
    }

    #[test]
    fn any_port_is_one_that_connections_do_not_get_by_chance() {
        let ports: Vec<u16> = (0..20).map(|_| any_address().unwrap().port()).collect();
        let given = ANY_PORT..ANY_PORT + ANY_PORTS;
        assert!(ports.iter().all(|port| given.contains(port)), "{ports:?}");
        // Two demos that start together do not try the same first.
        assert!(ports.iter().any(|port| *port != ports[0]), "{ports:?}");
    }

    #[test]
    fn another_port_is_always_one_that_anybody_may_use() {
        for (port, other) in [(3213, 4213), (80, 1080), (1, 1024), (65000, 4213)] {
            assert_eq!(other_port(port), other);
        }
    }

    #[test]
    fn tokens_differ() {
        assert_ne!(random_token(), random_token());
        assert_eq!(random_token().len(), 32);
    }
}
