//! What this machine lets a test do, and how a run is made longer.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Says past the capture of output that a test did not run; `scripts/test` repeats it at its end.
pub(crate) fn not_run(what: &str, why: &str) {
    writeln!(std::io::stderr(), "!!!! NOT RUN: {what}: {why}").unwrap();
}

/// What a test did, shown even where it passes.
pub(crate) fn tell(what: &str) {
    writeln!(std::io::stderr(), "{what}").unwrap();
}

/// A count that the environment gives.
pub(crate) fn asked(name: &str) -> Option<u64> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the count is a matter of the test run, not of the product"
    )]
    std::env::var(name).ok().map(|n| n.parse().unwrap())
}

/// Whether the environment has this value.
pub(crate) fn is_set(name: &str, value: &str) -> bool {
    #[expect(
        clippy::disallowed_methods,
        reason = "what is run is a matter of the test run, not of the product"
    )]
    std::env::var(name).is_ok_and(|set| set == value)
}

/// How many threads this machine serves at once.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// Does `work` for each of `items` on so many threads; what it returned, in their order.
pub(crate) fn at_once<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let turn = || {
            let mut mine = Vec::new();
            while let index = next.fetch_add(1, Ordering::Relaxed)
                && let Some(item) = items.get(index)
            {
                mine.push((index, work(item)));
            }
            mine
        };
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(turn)).collect();
        let results = handles.into_iter().map(|handle| handle.join().unwrap());
        results.flatten().collect()
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Why nothing can be traced here.
pub(crate) fn untraceable() -> Option<String> {
    let tried = Command::new("strace")
        .args(["-f", "--seccomp-bpf", "-o", "/dev/null", "true"])
        .stdin(Stdio::null())
        .output();
    match tried {
        Err(error) => Some(format!("strace does not start: {error}")),
        Ok(tried) if tried.status.success() => None,
        Ok(tried) => Some(String::from_utf8_lossy(&tried.stderr).trim().to_owned()),
    }
}
