//! One story of a site, told by a daemon under strace: all that it wrote, synced and sent.

use std::fs;

use origo_adapter::config;
use origo_adapter::core::policy::Policy;
use origo_adapter::daemon;
use serde_json::json;

use super::trace::{self, Done};
use crate::process_support::{Person, Site, until};

/// What was recorded.
pub(super) struct Recording {
    pub(super) done: Vec<Done>,
    /// Where HID listened.
    pub(super) hid: String,
    /// Where the daemon listened, once a start.
    pub(super) api: Vec<String>,
    /// That of the site.
    pub(super) policy: Policy,
}

/// Enough people that the log is folded into the database, and begun anew, while the daemon runs.
const CROWD: usize = 170;

/// The daemon is started three times: its first end is clean, its second is `kill -9`.
pub(super) fn record() -> Recording {
    let mut stage = Stage {
        site: Site::without_daemon(),
        texts: Vec::new(),
        api: Vec::new(),
    };
    stage.start();
    let ada = stage.site.enroll("Ada Example");
    let parent = stage.site.credential(&ada);
    stage.site.hid.redeem(&ada.identity);
    stage.issued(&ada, 1);
    stage.second_phone(&ada);
    stage.site.call(
        "/acs/credentials/delete",
        &json!({ "acs_credential_id": parent }),
    );
    until("the keys to be gone", || {
        stage.site.hid.live().is_empty().then_some(())
    });
    stage.site.stop_daemon();
    stage.keep();

    stage.start();
    let bob = stage.site.enroll("Bob Example");
    stage.site.credential(&bob);
    stage.site.hid.redeem(&bob.identity);
    let hang = json!({ "next": [{ "class": "issue", "fault": "hang_with_effect" }] });
    stage.site.hid.control("faults", &hang);
    until("an issue that hangs", || {
        (stage.site.hid.requests("issue", "hang_with_effect") == 1).then_some(())
    });
    stage.site.kill_daemon();
    stage.keep();

    stage.start();
    stage.issued(&bob, 1);
    for n in 0..CROWD {
        let guest = json!({ "full_name": format!("Guest {n}") });
        stage.site.call("/user_identities/create", &guest);
    }
    stage.second_phone(&bob);
    stage.site.assert_blameless();
    stage.site.stop_daemon();
    stage.keep();
    stage.recording()
}

struct Stage {
    site: Site,
    texts: Vec<String>,
    api: Vec<String>,
}

impl Stage {
    fn start(&mut self) {
        let trace = self.site.file("trace");
        let strace = ["strace", "-D", "-f", "--seccomp-bpf", "-yy", "-xx", "-s"];
        let output = ["99999999", "-e", trace::CALLS, "-o"];
        let file = [trace.to_str().unwrap()];
        let line = [&strace[..], &output, &file].concat();
        self.site.start_daemon_below(&line);
        self.api.push(self.site.api().to_owned());
    }

    /// Takes in the trace of a daemon that has ended.
    fn keep(&mut self) {
        let file = self.site.file("trace");
        let text = until("the end of the trace", || {
            let text = fs::read_to_string(&file).ok()?;
            let (first, last) = (text.split(' ').next()?, text.lines().last()?);
            let ended = last.starts_with(first) && last.contains(" +++ ");
            ended.then_some(text)
        });
        fs::remove_file(file).unwrap();
        self.texts.push(text);
    }

    fn issued(&self, person: &Person, wanted: usize) {
        until("keys on the phones", || {
            (self.site.issued(person).len() == wanted).then_some(())
        });
    }

    fn second_phone(&self, person: &Person) {
        let code = self.site.invite(person);
        self.site.hid.control("redeem", &json!({ "code": code }));
        self.issued(person, 2);
    }

    fn recording(self) -> Recording {
        let folder = self.site.folder.path().canonicalize().unwrap();
        let done = self
            .texts
            .iter()
            .flat_map(|text| trace::read(text, &folder));
        let file = self.site.file("config.toml");
        let config = config::load(Some(&file), std::iter::empty()).unwrap();
        Recording {
            done: done.collect(),
            hid: self.site.hid.address.clone(),
            policy: daemon::policy(&config),
            api: self.api,
        }
    }
}
