//! What a soak has seen, and whether that is as it should be.

use std::fmt;

/// How a gateway was at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Seconds since the beginning.
    pub(crate) seconds: u64,
    /// Calls that had been answered.
    pub(crate) calls: u64,
    /// Its resident memory.
    pub(crate) memory_kib: u64,
    /// Its open files and connections.
    pub(crate) descriptors: u64,
    /// Its threads.
    pub(crate) threads: u64,
    /// Its asynchronous tasks.
    pub(crate) tasks: u64,
    /// Instances of components.
    pub(crate) instances: u64,
}

/// Memory that may come on top whatever is called: what allocators and swaps keep for later.
const MEMORY_KIB: u64 = 16 * 1024;
/// Bytes for each call that may come on top: a leak has hundreds of them at least.
const BYTES_OF_A_CALL: u64 = 64;
/// Descriptors that may come on top: connections come and go.
const DESCRIPTORS: u64 = 12;
/// Threads that may: those that block are made when they are needed.
const THREADS: u64 = 8;
/// Tasks that may: a connection has one, too.
const TASKS: u64 = 12;

/// What grew, in words; nothing when all is well. The first third of the samples is warming up; of the
/// rest, the medians of both halves are compared, so that no single moment decides.
pub(crate) fn growth(samples: &[Sample]) -> Vec<String> {
    let rest = &samples[samples.len() / 3..];
    let (early, late) = rest.split_at(rest.len() / 2);
    if early.is_empty() || late.is_empty() {
        return vec![format!("too few samples: {}", samples.len())];
    }
    let calls = median(late, |s| s.calls) - median(early, |s| s.calls);
    let memory = MEMORY_KIB + calls * BYTES_OF_A_CALL / 1024;
    type Field = fn(&Sample) -> u64;
    let fields: [(&str, Field, u64); 4] = [
        ("KiB of memory", |s| s.memory_kib, memory),
        ("descriptors", |s| s.descriptors, DESCRIPTORS),
        ("threads", |s| s.threads, THREADS),
        ("tasks", |s| s.tasks, TASKS),
    ];
    let mut grown = Vec::new();
    for (name, field, allowed) in fields {
        let (before, after) = (median(early, field), median(late, field));
        if after > before + allowed {
            grown.push(format!(
                "{name}: from {before} to {after} during {calls} calls; {allowed} more would do"
            ));
        }
    }
    grown
}

fn median(samples: &[Sample], field: impl Fn(&Sample) -> u64) -> u64 {
    let mut values: Vec<u64> = samples.iter().map(field).collect();
    values.sort_unstable();
    values[values.len() / 2]
}

/// The samples as a table, at most so many lines.
pub(crate) struct Table<'a>(pub(crate) &'a [Sample], pub(crate) usize);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| seconds | calls | memory MiB | descriptors | threads | tasks | instances |\n\
             | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
        )?;
        let step = self.0.len().div_ceil(self.1.max(1)).max(1);
        for sample in self.0.iter().step_by(step).chain(self.0.last()) {
            let Sample {
                seconds,
                calls,
                memory_kib,
                descriptors,
                threads,
                tasks,
                instances,
            } = sample;
            let memory = *memory_kib as f64 / 1024.0;
            writeln!(
                f,
                "| {seconds} | {calls} | {memory:.1} | {descriptors} | {threads} | {tasks} | {instances} |"
            )?;
        }
        Ok(())
    }
}

/// A steady gateway to which something is added over time.
fn steady(n: u64, add: impl Fn(u64, &mut Sample)) -> Vec<Sample> {
    let one = |second| {
        let mut sample = Sample {
            seconds: second,
            calls: second * 200,
            memory_kib: 90_000 + (second % 5) * 1_000,
            descriptors: 60 + second % 7,
            threads: 20 + second % 3,
            tasks: 40 + second % 5,
            instances: 8,
        };
        // Warming up.
        sample.memory_kib -= 40_000 / (second + 1);
        add(second, &mut sample);
        sample
    };
    (0..n).map(one).collect()
}

#[test]
fn what_only_warms_up_and_breathes_does_not_grow() {
    for n in [20, 3_600] {
        assert_eq!(growth(&steady(n, |_, _| {})), Vec::<String>::new());
    }
}

#[test]
fn a_leak_of_every_kind_is_told() {
    let check = |n, add: fn(u64, &mut Sample), told: &str| {
        let grown = growth(&steady(n, add));
        assert_eq!(grown.len(), 1, "{grown:?}");
        assert!(grown[0].starts_with(told), "{grown:?}");
    };
    // 15 KiB a call for seconds, half a KiB a call for an hour.
    check(20, |_, s| s.memory_kib += s.calls * 15, "KiB of memory");
    check(3_600, |_, s| s.memory_kib += s.calls / 2, "KiB of memory");
    check(20, |t, s| s.descriptors += 3 * t, "descriptors");
    check(3_600, |t, s| s.threads += t / 60, "threads");
    check(20, |t, s| s.tasks += 3 * t, "tasks");
    assert_eq!(growth(&[]), ["too few samples: 0"]);
}
