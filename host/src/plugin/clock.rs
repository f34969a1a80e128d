//! The clock that interrupts guests. It ticks while one of them may be computing, and stands still otherwise: a gateway
//! that nobody uses wakes no processor for it.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use wasmtime::{Engine, EngineWeak};

use super::limits::TICK;

/// For so many ticks nobody must run until it stands still, half a second: to start it again costs a system call.
const IDLE: u32 = 250;

/// One for all engines of a process. A thread and not a task, so that guests that keep every worker busy are
/// still interrupted.
pub(super) struct Clock {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// Calls of guests that are under way.
    running: AtomicUsize,
    stands: AtomicBool,
    is_over: AtomicBool,
    engines: Mutex<Vec<EngineWeak>>,
    #[cfg(test)]
    ticks: AtomicUsize,
}

/// While this lives a guest may be computing.
#[must_use = "dropped, nobody runs"]
pub(super) struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Release);
    }
}

impl Clock {
    /// Starts it.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub(super) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ticking = Arc::clone(&shared);
        let thread = Builder::new().name("epoch-clock".to_owned());
        let thread = thread.spawn(move || ticking.tick())?;
        Ok(Self { shared, thread })
    }

    /// Moves the epoch of this engine on from now on, too.
    pub(super) fn drive(&self, engine: &Engine) {
        self.shared.engines().push(engine.weak());
    }

    /// Somebody begins to run.
    pub(super) fn running(&self) -> Running<'_> {
        // In this order, and the clock the other way round: one of both sees the other.
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.stands.load(Ordering::SeqCst) {
            self.thread.thread().unpark();
        }
        Running(&self.shared)
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.thread.thread().unpark();
    }
}

impl Shared {
    fn engines(&self) -> std::sync::MutexGuard<'_, Vec<EngineWeak>> {
        self.engines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) {
        let mut idle = 0;
        while !self.is_over.load(Ordering::SeqCst) {
            std::thread::sleep(TICK);
            for engine in self.engines().iter().filter_map(EngineWeak::upgrade) {
                engine.increment_epoch();
            }
            #[cfg(test)]
            self.ticks.fetch_add(1, Ordering::Relaxed);
            if self.running.load(Ordering::Relaxed) > 0 {
                idle = 0;
                continue;
            }
            idle += 1;
            if idle >= IDLE {
                self.stand();
                idle = 0;
            }
        }
    }

    /// Stands still until somebody runs. May return before.
    fn stand(&self) {
        self.stands.store(true, Ordering::SeqCst);
        if self.running.load(Ordering::SeqCst) == 0 && !self.is_over.load(Ordering::SeqCst) {
            std::thread::park();
        }
        self.stands.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// `(module (func (export "f") (loop (br 0))))`
    const ENDLESS: &[u8] =
        b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x05\x01\x01f\0\0\
        \x0a\x09\x01\x07\0\x03\x40\x0c\0\x0b\x0b";

    fn until(what: impl Fn() -> bool) {
        let began = Instant::now();
        while !what() {
            assert!(began.elapsed() < Duration::from_secs(60), "never");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn it_ticks_while_somebody_runs_and_stands_still_otherwise() {
        let clock = Clock::start().expect("a thread");
        let ticks = || clock.shared.ticks.load(Ordering::Relaxed);
        let stands = || clock.shared.stands.load(Ordering::SeqCst);
        for _ in 0..2 {
            until(stands);
            let (one, other) = (clock.running(), clock.running());
            drop(one);
            let before = ticks();
            // Longer than it would tick by itself.
            until(|| ticks() > before + 2 * IDLE as usize);
            assert!(!stands());
            drop(other);
        }
    }

    #[test]
    fn it_moves_the_epoch_of_all_engines_and_ends_with_its_owner() {
        let clock = Clock::start().expect("a thread");
        let mut config = wasmtime::Config::new();
        let config = config.epoch_interruption(true);
        let engines = [(); 2].map(|()| Engine::new(config).expect("an engine"));
        let running = clock.running();
        for engine in &engines {
            clock.drive(engine);
            let endless = wasmtime::Module::new(engine, ENDLESS);
            let mut store = wasmtime::Store::new(engine, ());
            store.set_epoch_deadline(2);
            let instance = wasmtime::Instance::new(&mut store, &endless.expect("valid"), &[]);
            let instance = instance.expect("imports nothing");
            let f = instance.get_typed_func::<(), ()>(&mut store, "f");
            let ended = f
                .expect("exported")
                .call(&mut store, ())
                .expect_err("ended");
            assert_eq!(ended.downcast_ref(), Some(&wasmtime::Trap::Interrupt));
        }
        drop(running);
        let shared = Arc::downgrade(&clock.shared);
        until(|| clock.shared.stands.load(Ordering::SeqCst));
        drop(clock);
        until(|| shared.strong_count() == 0);
    }
}
