//! A daemon with a host of its own, as far as one machine can have several.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use super::link::Link;
use super::net::Net;
use crate::process_support::{Process, Site};
use crate::support::cluster::Database;

/// Where a daemon serves in a network of its own.
const OWN: &str = "127.0.0.1:8470";

/// Its configuration, its network, and its ways to others, which are all that lead out of it.
pub(super) struct Host {
    net: Net,
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
        let net = Net::new();
        let bound = net.within(|| TcpListener::bind("127.0.0.1:0").unwrap());
        let address = bound.local_addr().unwrap().to_string();
        let target = site.hid.address.clone();
        let hid = Link::from(bound, move || TcpStream::connect(&target).ok());
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
        let mut text = text.replace(&sqlite, &url);
        let mut api = String::new();
        if net.is_own() {
            text = text.replace("127.0.0.1:0", OWN);
            let bound = TcpListener::bind("127.0.0.1:0").unwrap();
            api = bound.local_addr().unwrap().to_string();
            let net = net.clone();
            Link::from(bound, move || net.within(|| TcpStream::connect(OWN).ok()));
        }
        let file = folder.join("config.toml");
        fs::write(&file, text).unwrap();
        Self {
            net,
            file,
            hid,
            database: way,
            process: None,
            api,
        }
    }

    pub(super) fn started(mut self) -> Self {
        self.start();
        self
    }

    pub(super) fn start(&mut self) {
        let arguments = ["run", "--config", self.file.to_str().unwrap()];
        let mut process = self.net.within(|| Process::start(&arguments));
        let address = process.tells("daemon.ready")["address"].clone();
        if !self.net.is_own() {
            address.as_str().unwrap().clone_into(&mut self.api);
        }
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
