//! The command line: what can be asked, where the configuration is, and how failures are
//! told. Commands are carried out elsewhere.
//!
//! May use `config`, `daemon`, `simulator`, `demo` and `telemetry`.

mod act;
mod adopt;
mod apply;
mod audit;
mod callback;
mod data;
mod hold;
mod invite;
mod list;
mod orphans;
mod refused;
mod remote;
mod show;
mod target;

use std::fmt::{self, Display, Write as _};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use tokio::net::TcpListener;

use self::act::{Act, RemoveOrphan};
use self::apply::Apply;
use self::data::{Backup, Copy, Migrate, Restore};
use self::hold::Hold;
use self::invite::Invite;
use self::list::List;
use self::remote::Asked;
use self::show::Show;
use crate::clock::{Clock as _, SystemClock};
use crate::config::{self, Config};
use crate::lifecycle::{Outcome, Signals};
use crate::simulator::{self, Hid, Server};
use crate::telemetry::{self, SIMULATOR_LISTENING};
use crate::{daemon, demo, emit, store};

/// Threads that read the store and look names up; each has memory of its own.
const BLOCKING: usize = 4;

/// Read when no other file is named, if it exists.
const CONFIG_FILE: &str = "/etc/origo-adapter/config.toml";

/// Puts HID Origo mobile keys on phones, behind Seam's API.
#[derive(Debug, Parser)]
#[command(name = "origo-adapter", version, propagate_version = true)]
pub struct Cli {
    /// The configuration file [default: /etc/origo-adapter/config.toml, if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Run,
    /// Run the HID Origo simulator alone
    Simulate(Simulate),
    /// Show the whole story in one process: simulator, daemon and a scripted app
    Demo(Demo),
    /// Report everything that is wrong with the configuration
    Check(Check),
    /// Tell how things stand: windows, queue, feed
    Status(Asked),
    /// Tell in one paragraph what something waits for, and until when
    Why(Why),
    /// Take over what HID has and the daemon does not know, after its database was lost
    Adopt(adopt::Adopt),
    /// Tell what applying a file of people would cost, and change nothing
    Plan(Apply),
    /// List people, automations, phones or credentials with their states
    List(List),
    /// Show a person with all that is theirs, by any of its ids
    Show(Show),
    /// Tell everything that changed for a person, by any of its ids
    History(Show),
    /// Have an invitation for a further phone
    Invite(Invite),
    /// Try at once whatever failed, is stuck or waits for its own schedule
    Retry(Act),
    /// Read again what HID holds
    Resync(Act),
    /// Take over the user of HID's whose e-mail address is in the way
    AdoptUser(Act),
    /// Remove from HID something that is not ours
    RemoveOrphan(RemoveOrphan),
    /// Make what a file of people says true
    Apply(Apply),
    /// Make and issue nothing new for a person, at a credential manager or at all; withdrawals go on
    Hold(Hold),
    /// Let what was held go on
    Release(Hold),
    /// Copy the database to a new file; the daemon may run
    Backup(Backup),
    /// Put a copy of the database in its place; the daemon must not run
    Restore(Restore),
    /// Bring the database's schema up to date; the daemon must not run, and does the same when it starts
    Migrate(Migrate),
    /// Copy all of a SQLite database into an empty PostgreSQL one; no daemon may run on either
    Copy(Copy),
    /// Look after the journal
    #[command(subcommand)]
    Audit(audit::Command),
    /// Have HID tell of events as they happen, besides being asked
    #[command(subcommand)]
    Callback(callback::Command),
    /// Make keys for the API
    #[command(subcommand)]
    ApiKey(ApiKey),
}

/// How the simulator is run.
#[derive(Args, Clone, Debug)]
pub struct Simulate {
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8480")]
    pub listen: SocketAddr,
    /// Mix of faults to inject
    #[arg(long, value_enum)]
    pub faults: Option<Faults>,
    /// Number from which all randomness follows
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// File with the simulator's settings
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
}

/// A known mix of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Faults {
    /// About one call in twenty goes wrong, in every known way
    Standard,
}

/// How large and how fast the demonstration is.
#[derive(Args, Clone, Debug)]
pub struct Demo {
    /// People
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub identities: u32,
    /// Phones of each person
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=5))]
    pub phones: u32,
    /// Inject the standard mix of faults
    #[arg(long)]
    pub faults: bool,
    /// How many times faster than life
    #[arg(long, value_name = "X", default_value_t = 60.0, value_parser = speed)]
    pub speed: f64,
    /// Number from which the simulator's randomness follows
    #[arg(long, value_name = "N", default_value_t = 1, hide = true)]
    pub seed: u64,
}

fn speed(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|speed: &f64| speed.is_finite() && *speed > 0.0)
        .ok_or_else(|| "a number above 0 is wanted".into())
}

#[derive(Args, Debug)]
struct Check {
    /// Ask HID as well: token, organization, part numbers, events; and the database
    #[arg(long)]
    online: bool,
    /// Print JSON: a list of complaints
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Why {
    /// Of an identity, automation, phone, credential or ACS user
    id: String,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Subcommand)]
enum ApiKey {
    /// Print a new key, once, and the configuration lines that let it in
    New(NewKey),
}

#[derive(Args, Debug)]
struct NewKey {
    /// Who will use it: lower-case letters, digits and _
    #[arg(long, value_parser = name)]
    name: String,
    /// What it may do
    #[arg(long, value_enum, default_value_t = Scope::Read)]
    scope: Scope,
}

fn name(text: &str) -> Result<String, String> {
    if config::is_name(text) {
        Ok(text.into())
    } else {
        Err("a name has lower-case letters, digits and _ only".into())
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Scope {
    /// Read everything but invitation codes
    Read,
    /// Read invitation codes as well
    Invite,
    /// Change things as well
    Write,
}

impl Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Invite => "invite",
            Self::Write => "write",
        })
    }
}

/// A failure that has an exit code of its own; put it into the chain of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 69.
    #[error("unavailable")]
    Unavailable,
    /// 77.
    #[error("not permitted")]
    NotPermitted,
}

/// The definition of the command line, for manual pages and completions.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Reads the command line, does what it says, and returns how it went.
pub fn main() -> ExitCode {
    // Wrong usage ends the process here, with 2.
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Run => run(cli.config),
        Command::Simulate(options) => simulate(&options),
        Command::Demo(options) => demo(&options),
        Command::Check(options) => check(cli.config.as_deref(), &options),
        Command::Status(asked) => asked.ask(
            cli.config.as_deref(),
            "/adapter/status",
            &[],
            remote::status,
        ),
        Command::Why(Why { id, asked }) => {
            let query = [("id", id.as_str())];
            asked.ask(cli.config.as_deref(), "/adapter/why", &query, remote::why)
        }
        Command::Adopt(options) => adopt::adopt(cli.config.as_deref(), &options),
        Command::Plan(options) => apply::apply(cli.config.as_deref(), &options, apply::Mode::Plan),
        Command::Apply(options) => {
            apply::apply(cli.config.as_deref(), &options, apply::Mode::Apply)
        }
        Command::List(options) => list::list(cli.config.as_deref(), &options),
        Command::Show(options) => show::show(cli.config.as_deref(), &options),
        Command::History(options) => show::history(cli.config.as_deref(), &options),
        Command::Invite(options) => invite::invite(cli.config.as_deref(), &options),
        Command::Hold(options) => hold::hold(cli.config.as_deref(), &options),
        Command::Release(options) => hold::release(cli.config.as_deref(), &options),
        Command::Backup(options) => data::backup(cli.config.as_deref(), &options),
        Command::Restore(options) => data::restore(cli.config.as_deref(), &options),
        Command::Migrate(options) => data::migrate(cli.config.as_deref(), &options),
        Command::Copy(options) => data::copy(cli.config.as_deref(), &options),
        Command::Audit(audit::Command::Verify(options)) => {
            audit::verify(cli.config.as_deref(), &options)
        }
        Command::Retry(options) => act::act(cli.config.as_deref(), "/adapter/retry", &options),
        Command::Resync(options) => act::act(cli.config.as_deref(), "/adapter/resync", &options),
        Command::AdoptUser(options) => {
            act::act(cli.config.as_deref(), "/adapter/adopt_user", &options)
        }
        Command::RemoveOrphan(options) => act::remove_orphan(cli.config.as_deref(), &options),
        Command::Callback(command) => callback::callback(cli.config.as_deref(), &command),
        Command::ApiKey(ApiKey::New(options)) => new_key(&options),
    }
}

fn run(file: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let config = refused::told(load(file.as_deref()), true)?;
    let stream = config::journal_stream();
    telemetry::init(config.log.format, config.log.level, stream.as_deref())
        .context("starting the log")?;
    runtime(1)?.block_on(async {
        // Before anything else, so that a signal during the start is not lost.
        let signals = Signals::install().context("taking over the signals")?;
        let read = Box::new(move || load(file.as_deref()));
        let outcome = daemon::run(&config, read, signals)
            .await
            .map_err(unavailable)?;
        Ok(match outcome {
            Outcome::Clean => ExitCode::SUCCESS,
            Outcome::LoopDied(_) | Outcome::Cut => ExitCode::from(FAILED),
        })
    })
}

fn simulate(options: &Simulate) -> anyhow::Result<ExitCode> {
    let settings = match &options.settings {
        None => simulator::Settings::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("reading {}", path.display()))?;
            toml::from_str(&text).with_context(|| format!("understanding {}", path.display()))?
        }
    };
    telemetry::init(telemetry::Format::Auto, tracing::Level::INFO, None)
        .context("starting the log")?;
    let mut hid = Hid::new(settings, options.seed);
    if let Some(Faults::Standard) = options.faults {
        *hid.faults_mut() = simulator::Faults::standard();
    }
    runtime(2)?.block_on(async {
        let listener = TcpListener::bind(options.listen)
            .await
            .with_context(|| format!("listening on {} (--listen)", options.listen))?;
        let address = listener.local_addr()?;
        emit!(SIMULATOR_LISTENING, address = %address; "simulating HID Origo on http://{address}, control API below /control/");
        let server = Server {
            hid: Arc::new(Mutex::new(hid)),
            clock: Arc::new(|| SystemClock.now()),
            control: true,
            latency: Duration::ZERO,
        };
        let mut signals = Signals::install().context("taking over the signals")?;
        server.serve(listener, async move { signals.stopped().await }).await?;
        Ok(ExitCode::SUCCESS)
    })
}

fn demo(options: &Demo) -> anyhow::Result<ExitCode> {
    runtime(2)?.block_on(demo::run(options))
}

/// The daemon has one worker: it waits nearly all the time, the store has threads of its own, and each further worker is
/// woken with it.
fn runtime(workers: usize) -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(workers)
        .max_blocking_threads(BLOCKING)
        .enable_all()
        .build()
        .context("starting the runtime")
}

/// What keeps the daemon from starting is, bad configuration aside, the database or the address.
fn unavailable(error: anyhow::Error) -> anyhow::Error {
    let store = error
        .chain()
        .any(|cause| cause.downcast_ref::<store::Error>().is_some());
    if store {
        error.context(Refusal::Unavailable)
    } else {
        error
    }
}

/// Asks HID and the database; prints what was found, one line each.
fn check_online(config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    let findings = runtime(1)?.block_on(daemon::check_online(config));
    let failed = findings.iter().any(|finding| finding.error.is_some());
    if json {
        say(&serde_json::to_string_pretty(&findings)?)?;
    } else {
        for finding in &findings {
            let said = finding.error.as_deref().unwrap_or(&finding.found);
            say(&format!("{}: {said}", finding.subject))?;
        }
    }
    Ok(ExitCode::from(if failed { UNAVAILABLE } else { 0 }))
}

fn load(named: Option<&Path>) -> Result<Config, config::Error> {
    config::load(file(named), config::environment())
}

fn load_store(named: Option<&Path>) -> Result<config::Store, config::Error> {
    config::load_store(file(named), config::environment())
}

fn load_listen(named: Option<&Path>) -> Result<config::Listen, config::Error> {
    config::load_listen(file(named), config::environment())
}

/// The file that was named, else the usual one if it is there.
fn file(named: Option<&Path>) -> Option<&Path> {
    let usual = Path::new(CONFIG_FILE);
    named.or_else(|| usual.exists().then_some(usual))
}

fn check(path: Option<&Path>, options: &Check) -> anyhow::Result<ExitCode> {
    let config = match refused::told(load(path), false) {
        Ok(config) => config,
        Err(error) if options.json => {
            say(&serde_json::to_string_pretty(&error.complaints)?)?;
            return Ok(ExitCode::from(BAD_CONFIGURATION));
        }
        Err(error) => return Err(error.into()),
    };
    if options.online {
        return check_online(&config, options.json);
    }
    say(if options.json {
        "[]"
    } else {
        "the configuration is good"
    })?;
    Ok(ExitCode::SUCCESS)
}

fn new_key(options: &NewKey) -> anyhow::Result<ExitCode> {
    let key = random_key()?;
    let mut hash = String::new();
    for byte in digest(&SHA256, key.as_bytes()).as_ref() {
        write!(hash, "{byte:02x}")?;
    }
    let NewKey { name, scope } = options;
    say(&format!(
        "{key}\n\
         \n\
         # The key above is not shown again. These lines of the configuration let it in:\n\
         [api.keys.{name}]\n\
         scope = \"{scope}\"\n\
         hash = \"sha256:{hash}\""
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Seam's SDKs take these beginnings for other sorts of tokens, and refuse to send them.
const TAKEN: [&str; 3] = ["seam_at", "seam_cst", "seam_pk"];

fn random_key() -> anyhow::Result<String> {
    loop {
        let mut bytes = [0; 24];
        getrandom::fill(&mut bytes)
            .map_err(|error| anyhow::anyhow!("the machine gives no randomness: {error}"))?;
        let key = format!("seam_{}", URL_SAFE_NO_PAD.encode(bytes));
        if !TAKEN.iter().any(|taken| key.starts_with(taken)) {
            return Ok(key);
        }
    }
}

const FAILED: u8 = 1;
const UNAVAILABLE: u8 = 69;
const NOT_PERMITTED: u8 = 77;
const BAD_CONFIGURATION: u8 = 78;

fn exit_code(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<config::Error>().is_some() {
        return BAD_CONFIGURATION;
    }
    match error.downcast_ref::<Refusal>() {
        Some(Refusal::Unavailable) => UNAVAILABLE,
        Some(Refusal::NotPermitted) => NOT_PERMITTED,
        None => FAILED,
    }
}

/// Writes to stdout; a closed pipe is a failure and not a panic.
fn say(text: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// Writes an error to stderr, one line a cause.
fn complain(error: &anyhow::Error) {
    let mut text = String::new();
    for cause in error.chain() {
        for line in cause.to_string().lines() {
            text.push_str("origo-adapter: ");
            text.push_str(line);
            text.push('\n');
        }
    }
    // Nobody is left to tell when stderr is closed; the exit code still speaks.
    io::stderr()
        .lock()
        .write_all(text.as_bytes())
        .unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        command().debug_assert();
    }

    #[test]
    fn keys_are_long_and_taken_by_the_sdks() {
        for _ in 0..1000 {
            let key = random_key().unwrap();
            assert_eq!(key.len(), "seam_".len() + 32);
            assert!(key.starts_with("seam_"));
            assert!(!TAKEN.iter().any(|taken| key.starts_with(taken)), "{key}");
        }
    }

    #[test]
    fn every_failure_has_its_code() {
        let config = config::Error { complaints: vec![] };
        for (error, code) in [
            (anyhow::anyhow!("anything"), 1),
            (
                anyhow::Error::new(Refusal::Unavailable).context("opening the store"),
                69,
            ),
            (
                anyhow::anyhow!("the key is read-only").context(Refusal::NotPermitted),
                77,
            ),
            (anyhow::Error::new(config).context("loading"), 78),
        ] {
            assert_eq!(exit_code(&error), code, "{error}");
        }
    }
}
