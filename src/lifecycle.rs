//! The life of the process: signals, draining, supervision of loops, word to systemd.
//!
//! May use `telemetry` only. The first SIGTERM or SIGINT cancels the *soft* token: loops
//! take on nothing more and finish what they hold. A second one, or the time-out, cancels
//! the *hard* token, which drops whatever still runs; its claims expire. A loop that ends
//! before the soft token is cancelled ends the process. WATCHDOG is sent only while every
//! loop has turned lately, so a hang is caught as well.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::emit;
use crate::telemetry::{DAEMON_DRAINING, LOOP_DIED, LOOP_STALLED};

/// How often the age of the beats is looked at when systemd asks for nothing shorter.
pub(crate) const LOOK: Duration = Duration::from_secs(15);
/// How long dropped loops may take to be gone.
const CUT: Duration = Duration::from_secs(1);

/// How the process came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything ended by itself after a signal.
    Clean,
    /// The named loop ended although nobody had asked it to.
    LoopDied(String),
    /// Something still ran at the second signal or the time-out, and was dropped.
    Cut,
}

/// What the outside asks of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
}

/// Where signals come from.
#[derive(Debug)]
pub struct Signals(Source);

#[derive(Debug)]
enum Source {
    System {
        terminate: Stream,
        interrupt: Stream,
        hangup: Stream,
    },
    Channel(mpsc::UnboundedReceiver<Signal>),
}

impl Signals {
    /// Takes the process's signals over; from here on they wait for [`Lifecycle::run`].
    pub fn install() -> io::Result<Self> {
        Ok(Self(Source::System {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        }))
    }

    /// Waits for the signal to stop; others are passed over.
    pub async fn stopped(&mut self) {
        while self.next().await != Signal::Stop {}
    }

    /// Makes signals that are sent by hand, for a daemon inside another program or a test.
    pub fn by_hand() -> (mpsc::UnboundedSender<Signal>, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (sender, Self(Source::Channel(receiver)))
    }

    async fn next(&mut self) -> Signal {
        match &mut self.0 {
            Source::System {
                terminate,
                interrupt,
                hangup,
            } => tokio::select! {
                _ = terminate.recv() => Signal::Stop,
                _ = interrupt.recv() => Signal::Stop,
                _ = hangup.recv() => Signal::Reload,
            },
            Source::Channel(receiver) => match receiver.recv().await {
                Some(signal) => signal,
                None => std::future::pending().await,
            },
        }
    }
}

/// Starts loops, watches them and brings them to an end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lifecycle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    soft: CancellationToken,
    hard: CancellationToken,
    tracker: TaskTracker,
    reload: Arc<Notify>,
    shutdown_timeout: Duration,
    died: Mutex<Option<String>>,
    beats: Mutex<BTreeMap<u64, Arc<Pulse>>>,
    next_beat: AtomicU64,
    begun: Instant,
}

/// How many there were in so long.
fn looks(time: Duration) -> u32 {
    u32::try_from(time.as_millis() / LOOK.as_millis()).unwrap_or(u32::MAX - 1)
}

#[derive(Debug)]
struct Pulse {
    name: String,
    bound: Duration,
    /// Age of the last turn, counted in the looks of [`Lifecycle::run`] and not read off a
    /// clock: time in which the whole process stood still makes no loop look hung.
    age_ms: AtomicU64,
    stalled: AtomicBool,
}

impl Pulse {
    fn late(&self) -> bool {
        u128::from(self.age_ms.load(Ordering::Relaxed)) > self.bound.as_millis()
    }
}

/// The sign of life of one loop; dropping it ends the watch.
#[derive(Debug)]
pub struct Beat {
    id: u64,
    pulse: Arc<Pulse>,
    of: Arc<Inner>,
}

impl Beat {
    /// Says that the loop has turned.
    pub fn turn(&self) {
        self.pulse.age_ms.store(0, Ordering::Relaxed);
    }

    /// The next of the moments, 15 s apart, at which all that has nothing to do looks up: at once, so that the processor
    /// is woken once for all of them. Later than now.
    #[must_use]
    pub fn next_look(&self) -> Instant {
        let since = self.of.begun.elapsed();
        self.of.begun + LOOK * (looks(since) + 1)
    }

    /// The look that is nearest to `until`; `until` itself where that is soon.
    #[must_use]
    pub fn nearest_look(&self, until: Instant) -> Instant {
        let nearest = self.of.begun + LOOK * looks(until.duration_since(self.of.begun) + LOOK / 2);
        if nearest > Instant::now() {
            nearest
        } else {
            until
        }
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        locked(&self.of.beats).remove(&self.id);
    }
}

impl Lifecycle {
    /// Makes a life that gives its loops `shutdown_timeout` to finish.
    pub fn new(shutdown_timeout: Duration) -> Self {
        Self(Arc::new(Inner {
            soft: CancellationToken::new(),
            hard: CancellationToken::new(),
            tracker: TaskTracker::new(),
            reload: Arc::new(Notify::new()),
            shutdown_timeout,
            died: Mutex::new(None),
            beats: Mutex::new(BTreeMap::new()),
            next_beat: AtomicU64::new(0),
            begun: Instant::now(),
        }))
    }

    /// Returns the token that asks loops to take on nothing more.
    pub fn soft(&self) -> CancellationToken {
        self.0.soft.clone()
    }

    /// Returns the token under which everything is dropped.
    pub fn hard(&self) -> CancellationToken {
        self.0.hard.clone()
    }

    /// Returns what is notified at each SIGHUP.
    pub fn reload(&self) -> Arc<Notify> {
        Arc::clone(&self.0.reload)
    }

    /// Tells whether the first signal has come, or a loop has died.
    pub fn draining(&self) -> bool {
        self.0.soft.is_cancelled()
    }

    /// Asks for the end from within, as the first signal does.
    pub fn stop(&self) {
        self.0.soft.cancel();
    }

    /// Starts a loop that must run until the soft token is cancelled, and is dropped when
    /// the hard one is. If it returns or panics before that, the process ends with
    /// [`Outcome::LoopDied`].
    pub fn spawn<F>(&self, name: impl Into<String>, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let guard = Guard {
            name: name.into(),
            of: Arc::clone(&self.0),
        };
        let hard = self.hard();
        self.0.tracker.spawn(async move {
            let _guard = guard;
            hard.run_until_cancelled(work).await;
        });
    }

    /// Registers a loop that must call [`Beat::turn`] at least once in `bound`.
    pub fn beat(&self, name: impl Into<String>, bound: Duration) -> Beat {
        let id = self.0.next_beat.fetch_add(1, Ordering::Relaxed);
        let pulse = Arc::new(Pulse {
            name: name.into(),
            bound,
            age_ms: AtomicU64::new(0),
            stalled: AtomicBool::new(false),
        });
        locked(&self.0.beats).insert(id, Arc::clone(&pulse));
        Beat {
            id,
            pulse,
            of: Arc::clone(&self.0),
        }
    }

    /// Returns the names of the loops that have not turned within their bounds.
    pub fn stalled(&self) -> Vec<String> {
        locked(&self.0.beats)
            .values()
            .filter(|pulse| pulse.late())
            .map(|pulse| pulse.name.clone())
            .collect()
    }

    /// Tells systemd that the daemon serves.
    pub fn ready(&self, status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// Tells systemd that the configuration is being read again.
    pub fn reloading(&self) {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            tell(&[NotifyState::Reloading, now]);
        }
    }

    /// Tells systemd that this is done, well or not.
    pub fn reloaded(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// Shows one line in `systemctl status`.
    pub fn status(&self, status: &str) {
        tell(&[NotifyState::Status(status)]);
    }

    /// Waits for the signal to stop, before there is anything to drain; a reload is done once there is somebody who can.
    pub async fn interrupted(&self, signals: &mut Signals) {
        while signals.next().await != Signal::Stop {
            self.0.reload.notify_one();
        }
    }

    /// Waits for a reason to end, drains, cuts if need be, and says how it went.
    pub async fn run(&self, mut signals: Signals) -> Outcome {
        let mut watch = Watch::new(self.0.begun);
        loop {
            tokio::select! {
                () = self.0.soft.cancelled() => break,
                () = watch.turn(self) => {}
                signal = signals.next() => match signal {
                    Signal::Stop => break,
                    Signal::Reload => self.0.reload.notify_one(),
                },
            }
        }
        self.0.soft.cancel();
        self.0.tracker.close();
        tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
        emit!(DAEMON_DRAINING, loops = self.0.tracker.len();
            "draining: {} loops still run", self.0.tracker.len());

        let deadline = tokio::time::sleep(self.0.shutdown_timeout);
        tokio::pin!(deadline);
        let drained = loop {
            tokio::select! {
                // A drain that is done wins over a signal that came with it.
                biased;
                () = self.0.tracker.wait() => break true,
                () = &mut deadline => break false,
                signal = signals.next() => if signal == Signal::Stop { break false },
                () = watch.turn(self) => {}
            }
        };
        if !drained {
            self.0.hard.cancel();
            // Dropped tasks end at once; one that never yields must not keep us here.
            let gone = self.0.tracker.wait();
            tokio::time::timeout(CUT, gone).await.unwrap_or_default();
        }
        match locked(&self.0.died).take() {
            Some(name) => Outcome::LoopDied(name),
            None if drained => Outcome::Clean,
            None => Outcome::Cut,
        }
    }
}

/// Ages the beats, and feeds systemd's watchdog while none is late.
struct Watch {
    ticks: tokio::time::Interval,
    every: Duration,
    asked: bool,
}

impl Watch {
    fn new(begun: Instant) -> Self {
        // systemd asks for a sign within the whole period; half of it leaves room.
        let asked = sd_notify::watchdog_enabled().map(|period| period / 2);
        let every = asked.map_or(LOOK, |half| half.min(LOOK));
        let mut ticks = tokio::time::interval_at(begun + every, every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Self {
            ticks,
            every,
            asked: asked.is_some(),
        }
    }

    async fn turn(&mut self, life: &Lifecycle) {
        self.ticks.tick().await;
        let step = u64::try_from(self.every.as_millis()).unwrap_or(u64::MAX);
        let mut healthy = true;
        for pulse in locked(&life.0.beats).values() {
            let late = pulse.late();
            healthy &= !late;
            if late && !pulse.stalled.swap(true, Ordering::Relaxed) {
                emit!(LOOP_STALLED, loop.name = %pulse.name;
                    "loop {} has not turned for {:?}", pulse.name, pulse.bound);
            } else if !late {
                pulse.stalled.store(false, Ordering::Relaxed);
            }
            pulse.age_ms.fetch_add(step, Ordering::Relaxed);
        }
        if healthy && self.asked {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

/// Tells systemd that the start takes longer, for now so long, and why.
pub fn starting(status: &str, longer: Duration) {
    let longer = u32::try_from(longer.as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::ExtendTimeoutUsec(longer),
        NotifyState::Status(status),
    ]);
}

/// Notices the end of a loop, by return or by panic.
struct Guard {
    name: String,
    of: Arc<Inner>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.of.soft.is_cancelled() {
            return;
        }
        emit!(LOOP_DIED, loop.name = %self.name;
            "loop {} ended by itself; the process ends", self.name);
        locked(&self.of.died).get_or_insert_with(|| std::mem::take(&mut self.name));
        self.of.soft.cancel();
    }
}

/// Nothing that is done under these locks can panic midway, so a poisoned one is whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Without a `NOTIFY_SOCKET` this does nothing; with one that does not answer, neither the
/// daemon nor an operator can do anything about it, and the watchdog will speak.
fn tell(states: &[NotifyState<'_>]) {
    sd_notify::notify(states).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(25);

    fn start() -> (Lifecycle, mpsc::UnboundedSender<Signal>, Signals) {
        let (sender, signals) = Signals::by_hand();
        (Lifecycle::new(TIMEOUT), sender, signals)
    }

    /// A loop that, once asked to stop, takes `long` to finish.
    fn obedient(life: &Lifecycle, long: Duration) -> impl Future<Output = ()> + use<> {
        let soft = life.soft();
        async move {
            soft.cancelled().await;
            tokio::time::sleep(long).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_signal_drains() {
        let (life, sender, signals) = start();
        life.spawn("poller", obedient(&life, Duration::from_secs(20)));
        let running = tokio::spawn({
            let life = life.clone();
            async move { life.run(signals).await }
        });
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(!life.draining());
        sender.send(Signal::Stop).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(life.draining());
        assert!(!life.hard().is_cancelled());
        assert_eq!(running.await.unwrap(), Outcome::Clean);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_out_cuts() {
        let (life, sender, signals) = start();
        life.spawn("worker", obedient(&life, Duration::from_hours(1)));
        sender.send(Signal::Stop).unwrap();
        let before = tokio::time::Instant::now();
        assert_eq!(life.run(signals).await, Outcome::Cut);
        assert_eq!(before.elapsed(), TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_signal_cuts() {
        let (life, sender, signals) = start();
        life.spawn("worker", obedient(&life, Duration::from_hours(1)));
        sender.send(Signal::Stop).unwrap();
        sender.send(Signal::Reload).unwrap();
        sender.send(Signal::Stop).unwrap();
        let before = tokio::time::Instant::now();
        assert_eq!(life.run(signals).await, Outcome::Cut);
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_returns_ends_the_process() {
        let (life, _sender, signals) = start();
        life.spawn("worker", obedient(&life, Duration::from_secs(1)));
        life.spawn("poller", tokio::time::sleep(Duration::from_secs(3)));
        assert_eq!(life.run(signals).await, Outcome::LoopDied("poller".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_panics_ends_the_process() {
        let (life, _sender, signals) = start();
        life.spawn("poller", async { panic!("a bug, on purpose") });
        assert_eq!(life.run(signals).await, Outcome::LoopDied("poller".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_from_within_is_clean() {
        let (life, _sender, signals) = start();
        life.spawn("worker", obedient(&life, Duration::from_secs(1)));
        life.stop();
        assert_eq!(life.run(signals).await, Outcome::Clean);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hangup_asks_for_a_reload_and_nothing_else() {
        let (life, sender, signals) = start();
        let reload = life.reload();
        sender.send(Signal::Reload).unwrap();
        let running = tokio::spawn({
            let life = life.clone();
            async move { life.run(signals).await }
        });
        reload.notified().await;
        assert!(!life.draining());
        sender.send(Signal::Stop).unwrap();
        assert_eq!(running.await.unwrap(), Outcome::Clean);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hangup_during_the_start_is_kept_for_whoever_reloads() {
        let (life, sender, mut signals) = start();
        for signal in [Signal::Reload, Signal::Stop] {
            sender.send(signal).unwrap();
        }
        life.interrupted(&mut signals).await;
        life.reload().notified().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_does_not_turn_is_named_until_it_does() {
        let (life, sender, signals) = start();
        let quick = life.beat("quick", Duration::from_secs(30));
        let slow = life.beat("slow", Duration::from_secs(30));
        let running = tokio::spawn({
            let life = life.clone();
            async move { life.run(signals).await }
        });
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(5)).await;
            quick.turn();
        }
        assert_eq!(life.stalled(), ["slow"]);
        slow.turn();
        assert!(life.stalled().is_empty());
        drop(quick);
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(5)).await;
            slow.turn();
        }
        assert!(
            life.stalled().is_empty(),
            "a dropped beat is not waited for"
        );
        sender.send(Signal::Stop).unwrap();
        assert_eq!(running.await.unwrap(), Outcome::Clean);
    }

    #[tokio::test(start_paused = true)]
    async fn all_look_up_at_the_same_moments() {
        let life = Lifecycle::new(Duration::from_secs(1));
        let one = life.beat("one", LOOK);
        tokio::time::sleep(Duration::from_millis(1234)).await;
        let other = life.beat("other", LOOK);
        assert_eq!(one.next_look(), other.next_look());
        for _ in 0..3 {
            let now = Instant::now();
            let look = one.next_look();
            assert!(look > now && look <= now + LOOK);
            tokio::time::sleep_until(look).await;
            assert_eq!(one.next_look(), look + LOOK, "later than now");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let minute = Instant::now() + Duration::from_mins(1);
        let nearest = one.nearest_look(minute);
        assert_eq!(nearest, minute - Duration::from_secs(1));
        let soon = Instant::now() + Duration::from_secs(2);
        assert_eq!(one.nearest_look(soon), soon, "the nearest is over");
    }
}
