//! What components import, offered under the name of each line: one implementation for all of them,
//! because what is offered changes its name with the line and not its shape.

use wasmtime::component::{Linker, LinkerInstance, Resource, ResourceType};

use super::incoming::Incoming;
use super::instance::State;
use super::lines::Line;
use super::memory::Slot;
use super::v0_2::adapter::cortex::gateway::{
    client, client_log, http, kv, log, memory, metrics, postgres, progress, settings,
};

/// A function that answers at once.
macro_rules! function {
    ($to:ident . $name:literal = $host:path: ($($argument:ident),*)) => {
        $to.func_wrap($name, |mut store, ($($argument,)*)| {
            Ok(($host(store.data_mut(), $($argument),*),))
        })?;
    };
    ($to:ident . $name:literal = $host:path: ($($argument:ident),*), nothing) => {
        $to.func_wrap($name, |mut store, ($($argument,)*)| {
            $host(store.data_mut(), $($argument),*);
            Ok(())
        })?;
    };
}

/// A function that the guest waits for.
macro_rules! waiting {
    ($to:ident . $name:literal = $host:path: ($($argument:ident),*)) => {
        $to.func_wrap_async($name, |mut store, ($($argument,)*)| {
            Box::new(async move { Ok(($host(store.data_mut(), $($argument),*).await,)) })
        })?;
    };
}

type Offered<'a> = LinkerInstance<'a, State>;

/// Offers what every plugin may import.
pub(super) fn offer_all(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    for line in Line::ALL {
        linker.instance(&name("types", line))?;
        log(&mut linker.instance(&name("log", line))?)?;
        settings(&mut linker.instance(&name("settings", line))?)?;
        if line >= Line::V0_2 {
            metrics(&mut linker.instance(&name("metrics", line))?)?;
        }
    }
    Ok(())
}

/// Offers what exporters may import besides.
pub(super) fn offer_exporters(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let line = Line::V0_2;
    http(&mut linker.instance(&name("http", line))?)?;
    kv(&mut linker.instance(&name("kv", line))?)?;
    postgres(&mut linker.instance(&name("postgres", line))?)
}

/// Offers what adapters may import besides.
pub(super) fn offer_adapters(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    for line in Line::ALL {
        http(&mut linker.instance(&name("http", line))?)?;
        progress(&mut linker.instance(&name("progress", line))?)?;
        client(&mut linker.instance(&name("client", line))?)?;
        client_log(&mut linker.instance(&name("client-log", line))?)?;
        memory(&mut linker.instance(&name("memory", line))?)?;
        if line >= Line::V0_2 {
            kv(&mut linker.instance(&name("kv", line))?)?;
            postgres(&mut linker.instance(&name("postgres", line))?)?;
        }
    }
    Ok(())
}

fn name(interface: &str, line: Line) -> String {
    format!("cortex:gateway/{interface}@{}", line.version())
}

fn log(to: &mut Offered<'_>) -> wasmtime::Result<()> {
    function!(to."write" = log::Host::write: (level, message), nothing);
    Ok(())
}

fn settings(to: &mut Offered<'_>) -> wasmtime::Result<()> {
    function!(to."get" = settings::Host::get: ());
    Ok(())
}

fn metrics(to: &mut Offered<'_>) -> wasmtime::Result<()> {
    function!(to."add" = metrics::Host::add: (name, by), nothing);
    function!(to."set" = metrics::Host::set: (name, value), nothing);
    Ok(())
}

fn progress(to: &mut Offered<'_>) -> wasmtime::Result<()> {
    function!(to."report" = progress::Host::report: (progress, total, message), nothing);
    Ok(())
}

fn client_log(to: &mut Offered<'_>) -> wasmtime::Result<()> {
    function!(to."write" = client_log::Host::write: (level, logger, data), nothing);
    Ok(())
}

fn client(to: &mut Offered<'_>) -> wasmtime::Result<()> {
    waiting!(to."ask" = client::Host::ask: (method, params));
    Ok(())
}

fn http(to: &mut Offered<'_>) -> wasmtime::Result<()> {
    to.resource(
        "incoming",
        ResourceType::host::<Incoming>(),
        |mut store, number| http::HostIncoming::drop(store.data_mut(), Resource::new_own(number)),
    )?;
    function!(to."[method]incoming.status" = http::HostIncoming::status: (response));
    function!(to."[method]incoming.headers" = http::HostIncoming::headers: (response));
    waiting!(to."[method]incoming.read" = http::HostIncoming::read: (response, timeout_ms));
    waiting!(to."send" = http::Host::send: (request));
    waiting!(to."open" = http::Host::open: (request));
    waiting!(to."ready" = http::Host::ready: (responses));
    function!(to."farewell" = http::Host::farewell: (request));
    Ok(())
}

fn memory(to: &mut Offered<'_>) -> wasmtime::Result<()> {
    to.resource("slot", ResourceType::host::<Slot>(), |mut store, number| {
        memory::HostSlot::drop(store.data_mut(), Resource::new_own(number))
    })?;
    function!(to."[method]slot.get" = memory::HostSlot::get: (slot));
    function!(to."[method]slot.set" = memory::HostSlot::set: (slot, value), nothing);
    waiting!(to."hold" = memory::Host::hold: (name));
    Ok(())
}

fn postgres(to: &mut Offered<'_>) -> wasmtime::Result<()> {
    waiting!(to."transaction" = postgres::Host::transaction: (database, statements));
    Ok(())
}

fn kv(to: &mut Offered<'_>) -> wasmtime::Result<()> {
    waiting!(to."get" = kv::Host::get: (key));
    waiting!(to."set" = kv::Host::set: (key, value));
    waiting!(to."swap" = kv::Host::swap: (key, expected, value));
    waiting!(to."keys" = kv::Host::keys: (prefix, after, limit));
    Ok(())
}
