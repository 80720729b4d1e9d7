//! A daemon with a host of its own, as far as one machine can have several.

use std::fs;
use std::path::PathBuf;

use super::link::Link;
use crate::process_support::{Process, Site};
use crate::support::cluster::Database;

/// Its configuration, and its ways to others.
pub(super) struct Host {
    pub(super) file: PathBuf,
    pub(super) hid: Link,
    pub(super) database: Link,
    pub(super) process: Option<Process>,
    pub(super) api: String,
}

impl Host {
    /// From the site's configuration, with ways of its own.
    pub(super) fn new(site: &Site, database: &Database, name: &str) -> Self {
        let folder = site.file(name);
        fs::create_dir(&folder).unwrap();
        let (hid, address) = Link::to(&site.hid.address);
        let (cluster, port) = (database.cluster().folder(), database.cluster().port());
        let socket = format!(".s.PGSQL.{port}");
        let way = Link::between(&folder.join(&socket), &cluster.join(&socket));
        let text = fs::read_to_string(site.file("config.toml")).unwrap();
        let text = text.replace(&site.hid.address, &address);
        let sqlite = format!("sqlite://{}", site.file("state.db").display());
        assert_eq!(text.matches(&sqlite).count(), 1);
        let (kept_in, own) = (&database.name, folder.display());
        let url = format!(
            "postgres:///{kept_in}?user=postgres&host={own}&port={port}\"\nhead_file = \"{own}/head"
        );
        let file = folder.join("config.toml");
        fs::write(&file, text.replace(&sqlite, &url)).unwrap();
        Self {
            file,
            hid,
            database: way,
            process: None,
            api: String::new(),
        }
    }

    pub(super) fn started(mut self) -> Self {
        self.start();
        self
    }

    pub(super) fn start(&mut self) {
        let mut process = Process::start(&["run", "--config", self.file.to_str().unwrap()]);
        let address = process.tells("daemon.ready")["address"].clone();
        address.as_str().unwrap().clone_into(&mut self.api);
        self.process = Some(process);
    }

    pub(super) fn signal(&self, name: &str) {
        self.process.as_ref().unwrap().signal(name);
    }

    /// One that a supervisor would start anew.
    pub(super) fn restart_where_ended(&mut self) {
        let ended = self.process.as_mut().and_then(Process::ended);
        if ended.is_some() {
            self.start();
        }
    }
}
