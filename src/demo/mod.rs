//! The whole story in one process: HID's simulator, the daemon and a scripted app, on a temporary database.
//!
//! May use everything. The app speaks our HTTP API and nothing else; phones redeem their codes at the simulator,
//! over which the daemon is told what real HID would tell it. The verdict is the simulator's ledger's, not ours.
//! Nothing here waits for time to pass: each wait is for a condition, and has a bound.
//!
//! - `stage`: folder, configuration, simulator, daemon; `pace`: what `--speed` does
//! - `story`: the acts; `app`: the calls of our API
//! - `show`: lines and progress; `verdict`: timeline, table, and what is wrong

mod app;
mod pace;
mod show;
mod stage;
mod story;
mod verdict;

use std::process::ExitCode;

use anyhow::Context as _;
use tracing::Level;

use self::app::App;
use self::pace::Pace;
use self::show::Show;
use self::stage::{Folder, Stage};
use self::story::{Cast, Story};
use crate::cli::Demo;
use crate::clock::{Clock as _, SystemClock};
use crate::lifecycle::Signals;
use crate::telemetry;

/// Plays the story; success only if HID's ledger holds nothing against us and each wanted key is live exactly once.
pub async fn run(options: &Demo) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::install().context("taking over the signals")?;
    let mut folder = Folder::new()?;
    telemetry::init_file(folder.new_log()?, Level::WARN).context("starting the log")?;
    let show = Show::begin();
    let log = folder.log();
    let good = tokio::select! {
        played = play(options, &folder, &show) => played,
        () = signals.stopped() => Err(anyhow::anyhow!("interrupted")),
    };
    show.end();
    if !matches!(good, Ok(true)) {
        folder.keep();
        show.say(&format!("database: {}/state.db", folder.path().display()))?;
    }
    show.say(&format!(
        "log of the daemon, warnings and above: {}",
        log.display()
    ))?;
    Ok(ExitCode::from(u8::from(!good?)))
}

async fn play(options: &Demo, folder: &Folder, show: &Show) -> anyhow::Result<bool> {
    let pace = Pace::new(options.speed, options.faults);
    introduce(options, pace, show)?;
    let began = SystemClock.now();
    let mut stage = Stage::build(folder, pace, options.seed).await?;
    let address = stage.start_daemon().await?;
    show.tell(&format!(
        "the daemon serves on {address}, the simulator beside it"
    ))?;
    let app = App::new(address, stage.key())?;
    let manager = stage.manager();
    let mut story = Story {
        stage: &mut stage,
        app,
        show,
        pace,
        cast: Cast::default(),
    };
    let played = story.play(options.identities, options.phones).await;
    let cast = story.cast;
    let hid = stage.clear().await;
    show.end();
    played?;
    let hid = hid?;
    let hid = hid
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let verdict = verdict::judge(&hid, &cast, manager, began);
    for line in &verdict.lines {
        show.say(line)?;
    }
    for wrong in &verdict.wrong {
        show.say(&format!("WRONG: {wrong}"))?;
    }
    let took = show.elapsed().as_secs_f64();
    let word = if verdict.wrong.is_empty() {
        "every invariant held"
    } else {
        "not every invariant held"
    };
    show.say(&format!("{word}, after {took:.1} s"))?;
    Ok(verdict.wrong.is_empty())
}

fn introduce(options: &Demo, pace: Pace, show: &Show) -> anyhow::Result<()> {
    let Demo {
        identities,
        phones,
        faults,
        speed,
        seed,
    } = options;
    show.say(&format!(
        "origo-adapter demo: {identities} identities with {phones} phones each, {} (seed {seed}).",
        if *faults {
            "HID failing in the standard mix"
        } else {
            "one answer of HID lost"
        }
    ))?;
    show.say(&format!(
        "Simulated: HID Origo and the phones. Real: the daemon, its database, its API, HTTP on the loopback.\n\
         {speed} times faster than life: HID's and the phones' delays, HID's rate windows (300 calls in {} s),\n\
         settle_delay {:?}, late_effect_bound {:?}; the feed is polled every {:?}.\n",
        pace.window().as_secs(),
        pace.settle_delay(),
        pace.late_effect_bound(),
        pace.interval()
    ))?;
    Ok(())
}
