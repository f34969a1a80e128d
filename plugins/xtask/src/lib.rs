//! Builds what cargo alone does not: components, and machines that can build them.
//!
//! Also a library: the `tests` crate calls [`components::build`].
//!
//! | module | job |
//! | --- | --- |
//! | [`cli`] | the words on the command line |
//! | [`wasm_target`] | gets the target wasm32-wasip2, by `wasm-target.sh` where it must |
//! | [`components`] | packages → `<name>.wasm` |
//! | [`binaries`] | executables of this machine |
//! | [`demo`] | a gateway and a backend to try, in [`demo::services`], [`demo::calls`] and [`http`]; [`demo::oauth`] adds an authorization server |
//! | [`checks`] | tests, lints, and the peers that tests talk to |
//! | [`measures`] | benchmarks, and the soak |
//! | [`production`] | a release build arranged by what serving makes the gateway do |
//! | [`fuzz`] | the fuzz targets |
//! | [`process`], [`interrupt`] | running programs, and stopping them |
//! | [`workspace`], [`messages`], [`error`] | where things are, what cargo says, what went wrong |

pub mod binaries;
pub mod checks;
pub mod cli;
pub mod components;
pub mod demo;
pub mod error;
pub mod fuzz;
pub mod http;
pub mod interrupt;
pub mod measures;
pub mod messages;
pub mod process;
pub mod production;
pub mod wasm_target;
pub mod workspace;

use cli::Task;
use error::Result;

/// Does one task.
pub fn run(task: Task) -> Result<()> {
    interrupt::watch()?;
    match task {
        Task::Components { packages, out } => components::task(&packages, out.as_deref()),
        Task::Demo {
            port,
            release,
            oauth,
        } => demo::task(port, release, oauth),
        Task::Test { args } => checks::test(&args),
        Task::Bench { args } => measures::bench(&args),
        Task::Micro { args } => measures::micro(&args),
        Task::Soak { minutes } => measures::soak(minutes),
        Task::Production { out } => production::task(out.as_deref()),
        Task::Lint => checks::lint(),
        Task::Fuzz { targets, bound } => fuzz::task(&targets, bound),
        Task::Help => {
            print!("{}", cli::USAGE);
            Ok(())
        }
    }
}
