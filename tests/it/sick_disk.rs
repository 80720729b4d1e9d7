//! A disk that takes nothing more, and gets well again (contract.md sections 2 and 9): no lie, no crash, no call
//! that is not written down first; then everything goes on by itself.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::process_support::{PART_NUMBER, Person, Process, Site, until};
use crate::support::alerts::raises;
use crate::support::machine::{not_run, untraceable};

/// A small file system of its own, gone with the test.
struct Mount(TempDir);

impl Mount {
    fn new() -> Result<Self, String> {
        let mount = Self(TempDir::new().unwrap());
        mount.call("mount", &["-t", "tmpfs", "-o", "size=3m", "tmpfs"])?;
        Ok(mount)
    }

    fn remount(&self, how: &str) {
        let options = format!("remount,{how}");
        self.call("mount", &["-o", &options]).unwrap();
    }

    fn call(&self, program: &str, arguments: &[&str]) -> Result<(), String> {
        let done = Command::new(program)
            .args(arguments)
            .arg(self.0.path())
            .output();
        let done = done.map_err(|error| format!("{program}: {error}"))?;
        let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
        done.status.success().then_some(()).ok_or(said)
    }

    fn ballast(&self) -> PathBuf {
        self.0.path().join("ballast")
    }

    /// Writes until nothing more goes in.
    fn fill(&self) {
        let mut ballast = fs::File::create(self.ballast()).unwrap();
        while ballast.write_all(&[7; 4096]).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Where nothing is mounted, there is nothing to undo.
        self.call("umount", &["--lazy"]).ok();
    }
}

/// Lets every `call` on the log fail with `error` while it lives.
struct Injection(Child);

impl Injection {
    fn into(site: &Site, log: &Path, call: &str, error: &str) -> Self {
        let child = Command::new("strace")
            .args(["-f", "-q", "-o", "/dev/null"])
            .args(["-p", &site.daemon.as_ref().unwrap().id().to_string()])
            .args(["-P", log.to_str().unwrap()])
            .args(["-e", &format!("trace={call}")])
            .args(["-e", &format!("inject={call}:error={error}")])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    fn end(mut self) {
        let id = self.0.id().to_string();
        let asked = Command::new("kill").args(["-s", "INT", &id]).status();
        assert!(asked.unwrap().success());
        let ended = self.0.wait().unwrap();
        assert!(
            ended.code().is_some() || ended.signal() == Some(2),
            "{ended:?}"
        );
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        // Most often it has ended already; killed, it lets the daemon go.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A site whose database lies at `place`, and one person with a key on a phone.
struct Scene {
    site: Site,
    ada: Person,
}

impl Scene {
    fn new(mut site: Site, place: &Path) -> Self {
        let url = |path: &Path| format!("url = \"sqlite://{}\"", path.display());
        let old = url(&site.file("state.db"));
        site.configure(&old, &url(&place.join("state.db")));
        site.give_up_soon();
        site.start_daemon();
        let ada = site.enroll("Ada Example");
        site.credential(&ada);
        site.hid.redeem(&ada.identity);
        let scene = Self { site, ada };
        scene.issued(&scene.ada, 1);
        scene
    }

    fn issued(&self, person: &Person, wanted: usize) {
        until("keys on the phones", || {
            (self.site.issued(person).len() == wanted).then_some(())
        });
    }

    fn people(&self) -> usize {
        let listed = self.site.call("/user_identities/list", &json!({}));
        listed["user_identities"].as_array().unwrap().len()
    }

    /// While `begin` holds nothing is written and nobody is told otherwise; after `end` all goes on by itself.
    fn live_through<T>(&mut self, begin: impl FnOnce(&Site) -> T, end: impl FnOnce(T)) {
        let second = self.site.invite(&self.ada);
        let bob = self.site.enroll("Bob Example");
        let third = self.site.hid.redeem(&bob.identity);
        until("Bob's phone", || {
            (self.site.phones(&bob).len() == 1).then_some(())
        });
        // A call is under way, and its outcome cannot be written down.
        let hang = json!({ "next": [{ "class": "issue", "fault": "hang_with_effect" }] });
        self.site.hid.control("faults", &hang);
        self.site.credential(&bob);
        until("an issue that hangs", || {
            (self.site.hid.requests("issue", "hang_with_effect") == 1).then_some(())
        });
        let trouble = begin(&self.site);
        let mut guests = 0;
        until("a refusal", || {
            guests += 1;
            let guest = json!({ "full_name": format!("Guest No{guests}") });
            let answer = self.site.ask("/user_identities/create", &guest);
            (answer.status != 200).then(|| {
                assert_eq!(answer.status, 503, "{}", answer.body);
                assert_eq!(answer.body["error"]["type"], "service_unavailable");
                assert_eq!(answer.body["ok"], false);
                assert!(answer.head.contains("retry-after: "), "{}", answer.head);
            })
        });
        let calls = self.site.hid.identity_calls();
        let failures = self.site.daemon().told("store.failed").len();
        self.site.hid.control("redeem", &json!({ "code": second }));
        until("several tries", || {
            let failed = self.site.daemon.as_ref().unwrap().told("store.failed");
            (failed.len() >= failures + 8).then_some(())
        });
        let failed = self.site.daemon().told("store.failed");
        raises("OrigoStoreFailed", &failed[failures]);
        // All that was acknowledged, and nothing that was refused.
        assert_eq!(self.people(), 2 + guests - 1);
        assert_eq!(self.site.send("GET", "/healthz", "", b"").status, 200);
        assert_eq!(self.site.hid.identity_calls(), calls, "not written down");

        end(trouble);
        self.issued(&bob, 1);
        self.issued(&self.ada, 2);
        let live = self.site.hid.live();
        assert_eq!(live.len(), 3);
        assert!(live.contains(&(third, PART_NUMBER.to_owned())));
        assert_eq!(self.site.hid.effects("credential_accepted"), 3);
        assert_eq!(self.site.hid.effects("user_created"), 2);
        assert_eq!(self.people(), 2 + guests - 1);
        self.site.enroll("Eve Example");
        self.site.assert_blameless();
    }
}

#[test]
fn a_full_disk_is_waited_for() {
    let site = Site::without_daemon();
    let mount = match Mount::new() {
        Ok(mount) => mount,
        Err(why) => return not_run("a full disk", &why),
    };
    let mut scene = Scene::new(site, mount.0.path());
    scene.live_through(|_| mount.fill(), |()| mount.free());

    // A daemon that finds it full serves, where some room was left in the log, or says so and ends.
    mount.fill();
    scene.site.kill_daemon();
    serves_or_ends(&scene.site);
    mount.free();
    scene.site.start_daemon();
    scene.issued(&scene.ada, 2);
    scene.site.stop_daemon();
}

#[test]
fn a_read_only_disk_is_refused_at_the_start() {
    let site = Site::without_daemon();
    let mount = match Mount::new() {
        Ok(mount) => mount,
        Err(why) => return not_run("a read-only disk", &why),
    };
    let mut scene = Scene::new(site, mount.0.path());
    scene.site.kill_daemon();
    mount.remount("ro");
    assert!(!serves_or_ends(&scene.site));
    mount.remount("rw");
    scene.site.start_daemon();
    scene.issued(&scene.ada, 1);
    scene.site.stop_daemon();
}

/// No file system turns read-only under a writer because somebody asks for it; it does so by itself after an error
/// of its disk. So the error is injected into the writes.
#[test]
fn a_disk_that_turns_read_only_is_waited_for() {
    with_injected("pwrite64", "EROFS");
}

#[test]
fn a_disk_that_cannot_sync_is_waited_for() {
    with_injected("fdatasync", "EIO");
}

fn with_injected(call: &str, error: &str) {
    if let Some(why) = untraceable() {
        return not_run(&format!("{call} that fails with {error}"), &why);
    }
    let site = Site::without_daemon();
    let place = site.folder.path().canonicalize().unwrap();
    let mut scene = Scene::new(site, &place);
    let log = place.join("state.db-wal");
    scene.live_through(
        |site| Injection::into(site, &log, call, error),
        Injection::end,
    );
    scene.site.stop_daemon();
}

/// Starts the daemon; tells whether it served.
fn serves_or_ends(site: &Site) -> bool {
    let arguments = site.arguments();
    let mut daemon = Process::start(&arguments.each_ref().map(String::as_str));
    let ended = until("a start or an end", || match daemon.ended() {
        Some(status) => Some(Some(status)),
        None if daemon.told("daemon.ready").is_empty() => None,
        None => Some(None),
    });
    let Some(status) = ended else {
        return true;
    };
    let said = until("a reason", || {
        let said = daemon.written().join("\n");
        said.contains("state.db").then_some(said)
    });
    assert_eq!(status.code(), Some(69), "{said}");
    false
}
