//! `callback`: whom HID tells of events. Asks HID itself, with a credential manager's account; no daemon need run.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Refusal, load, runtime, say};
use crate::config::{self, Complaint, Config, CredentialManager, Environment};
use crate::daemon::{Added, Register};
use crate::origo::{self, CallbackId, Trouble};
use crate::webhook::target::check_url;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Have HID post events to an address that leads to callbacks.listen
    Register(New),
    /// List all that HID posts to
    List(List),
    /// Have HID post to one of them no more
    Remove(Remove),
}

#[derive(Args, Debug)]
pub(super) struct New {
    /// What HID posts to: https, and from the internet it must lead to callbacks.listen
    #[arg(long, value_name = "URL")]
    url: String,
    /// HID's id of the filter that events must pass [default: one for phones and keys, made where there is none]
    #[arg(long, value_name = "ID")]
    filter: Option<String>,
    #[command(flatten)]
    of: Of,
}

#[derive(Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    of: Of,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct Remove {
    /// As `list` shows it
    #[arg(value_parser = id)]
    id: CallbackId,
    #[command(flatten)]
    of: Of,
}

/// Which organization's.
#[derive(Args, Debug)]
struct Of {
    /// Name of the credential manager, where several are configured
    #[arg(long, value_name = "NAME")]
    credential_manager: Option<String>,
}

fn id(text: &str) -> Result<CallbackId, String> {
    CallbackId::parse(text).ok_or_else(|| "this is no id of HID's".into())
}

pub(super) fn callback(path: Option<&Path>, command: &Command) -> anyhow::Result<ExitCode> {
    let config = load(path)?;
    match command {
        Command::Register(options) => register(&config, options)?,
        Command::List(options) => list(&config, options)?,
        Command::Remove(options) => remove(&config, options)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn register(config: &Config, options: &New) -> anyhow::Result<()> {
    let (name, settings) = options.of.one(config)?;
    let callbacks = config.callbacks.as_ref();
    let callbacks = callbacks.ok_or_else(|| missing("callbacks.listen".into()))?;
    let is_simulator = settings.environment == Environment::Simulator;
    let url =
        check_url(&options.url, is_simulator).map_err(|why| anyhow::anyhow!("--url: {why}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        bail!("--url: Must not hold a user or password");
    }
    let asked = open(config, name, settings)?;
    let (url, filter) = (url.as_str(), options.filter.as_deref());
    let added = runtime(1)?.block_on(asked.add(url, filter, callbacks));
    say(&match added.map_err(|error| told(name, error))? {
        Added::Now(Some(id)) => format!("{name}: registered as {}", id.as_str()),
        Added::Now(None) => format!("{name}: registered; HID's list does not show it yet"),
        Added::Before(id) => format!(
            "{name}: registered before as {}; if header or secret changed, remove it first",
            id.as_str()
        ),
    })?;
    Ok(())
}

fn list(config: &Config, options: &List) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    let runtime = runtime(1)?;
    for (name, settings) in options.of.all(config)? {
        let found = runtime.block_on(open(config, name, settings)?.list());
        for callback in found.map_err(|error| told(name, error))? {
            if options.json {
                rows.push(json!({
                    "credential_manager": name,
                    "id": callback.id.as_str(),
                    "url": callback.url,
                    "filter_id": callback.filter,
                }));
            } else {
                let id = callback.id.as_str();
                let url = callback.url.as_deref().unwrap_or("-");
                let filter = callback.filter.as_deref().unwrap_or("-");
                say(&format!("{id}  {name}  {url}  filter {filter}"))?;
            }
        }
    }
    if options.json {
        say(&serde_json::to_string_pretty(&rows)?)?;
    }
    Ok(())
}

fn remove(config: &Config, options: &Remove) -> anyhow::Result<()> {
    let (name, settings) = options.of.one(config)?;
    let removed = runtime(1)?.block_on(open(config, name, settings)?.remove(&options.id));
    removed.map_err(|error| told(name, error))?;
    say(&format!("{name}: {} removed", options.id.as_str()))?;
    Ok(())
}

impl Of {
    /// The one that is named, or all.
    fn all<'a>(&self, config: &'a Config) -> anyhow::Result<Vec<(&'a str, &'a CredentialManager)>> {
        let managers = config.credential_managers.iter();
        let all = managers.map(|(name, settings)| (name.as_str(), settings));
        let Some(wanted) = &self.credential_manager else {
            return Ok(all.collect());
        };
        let named: Vec<_> = all.filter(|(name, _)| name == wanted).collect();
        if named.is_empty() {
            bail!("there is no credential_managers.{wanted}");
        }
        Ok(named)
    }

    /// The one that is named, or the only one.
    fn one<'a>(&self, config: &'a Config) -> anyhow::Result<(&'a str, &'a CredentialManager)> {
        match self.all(config)?.as_slice() {
            [one] => Ok(*one),
            [] => bail!("no credential manager is configured"),
            several => {
                let names: Vec<_> = several.iter().map(|(name, _)| *name).collect();
                bail!("which --credential-manager? {}", names.join(" or "))
            }
        }
    }
}

/// A client, where it is known whom to ask.
fn open(config: &Config, name: &str, settings: &CredentialManager) -> anyhow::Result<Register> {
    if settings.callback_url.is_none() {
        return Err(missing(format!("credential_managers.{name}.callback_url")).into());
    }
    Register::open(&config.http, settings).with_context(|| format!("credential_managers.{name}"))
}

fn missing(key: String) -> config::Error {
    config::Error {
        complaints: vec![Complaint {
            key,
            origin: None,
            message: "missing: this command needs it".into(),
        }],
    }
}

/// What HID did not do, with the exit code that says whose turn it is.
fn told(name: &str, error: origo::Error) -> anyhow::Error {
    let trouble = error.trouble;
    let error = anyhow::Error::new(error).context(format!("credential_managers.{name}"));
    match trouble {
        Some(Trouble::Credentials | Trouble::Unauthorized) => error.context(Refusal::NotPermitted),
        Some(_) => error.context(Refusal::Unavailable),
        None => error,
    }
}
