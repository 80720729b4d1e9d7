//! The binary under `kill -9` and SIGSTOP at moments that dice choose, while HID suffers faults and the API is
//! asked for things. A story is a site of its own; at its end faults cease, and all must come to what is wanted.
//!
//! More kills: `KILLS=2000 cargo test kills`; one story: `KILL_SEED=17`. Moments are chosen by the seed, but two
//! real processes meet them a little differently each time.

mod story;
mod verdict;

use std::thread;
use std::time::Duration;

pub(crate) use self::story::faults;
use self::story::{Story, Struck};
use crate::support::machine::{asked, at_once, tell};

/// In CI; more by environment.
const KILLS: u64 = 50;
const KILLS_A_STORY: u64 = 10;
/// Stories at once: they wait more than they work.
const AT_ONCE: usize = 4;
/// Beyond the lease of a call with a request timeout of 2 s, 39 s.
const BEYOND_THE_LEASE: Duration = Duration::from_secs(42);

/// Tells a story on a thread of its own, so that a panic ends it alone.
fn told(tale: impl FnOnce() -> Result<Struck, String> + Send) -> Result<Struck, String> {
    let result = thread::scope(|scope| scope.spawn(tale).join());
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.unwrap_or_else(|| "a panic".to_owned()))
    })
}

#[test]
fn random_kills_break_no_guarantee() {
    if let Some(seed) = asked("KILL_SEED") {
        Story::tell(seed, KILLS_A_STORY).unwrap();
        return;
    }
    let stories = asked("KILLS").unwrap_or(KILLS).div_ceil(KILLS_A_STORY);
    let seeds: Vec<u64> = (0..stories).collect();
    let outcomes = at_once(AT_ONCE, &seeds, |seed| {
        told(|| Story::tell(*seed, KILLS_A_STORY))
    });
    let mut struck = Struck::default();
    let mut wrong = Vec::new();
    for (seed, outcome) in seeds.into_iter().zip(outcomes) {
        match outcome {
            Ok(of_this) => struck.add(&of_this),
            Err(error) => wrong.push(format!("seed {seed}: {error}")),
        }
    }
    let bad = wrong.len();
    assert!(
        wrong.is_empty(),
        "{bad} of {stories} stories\n{}",
        wrong.join("\n\n")
    );
    tell(&format!("kills: {struck}, seeds 0 to {}", stories - 1));
}

#[test]
fn frozen_beyond_its_lease_a_daemon_does_nothing_twice() {
    Story::freeze(1, BEYOND_THE_LEASE).unwrap();
}
