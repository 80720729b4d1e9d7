//! What this machine lets a test do, and how a run is made longer.

use std::io::Write as _;
use std::process::{Command, Stdio};

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
