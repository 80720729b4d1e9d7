//! Lines in systemd's journal: what a real daemon sends there, and the catalog that explains it. The journal's socket is
//! the test's own, in a mount namespace of the daemon's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use origo_adapter::telemetry::{DAEMON_READY, DAEMON_STARTING, EVENTS, Event};
use tempfile::TempDir;

use crate::process_support::{PATIENCE, Process, Site};

/// What the journal is sent: fields by name.
type Entry = BTreeMap<String, String>;

/// Shows `$0` as the journal's folder to what follows.
const MOVE_IN: &str = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && \
     mount --bind \"$0\" /run/systemd/journal";
/// As systemd does for what it starts.
const NAME_STDOUT: &str =
    "exec 3>&1; export JOURNAL_STREAM=$(stat -Lc %d:%i /proc/$$/fd/3); exec 3>&-";

/// A folder that processes below it see as the journal's.
struct Journal {
    folder: TempDir,
    socket: Option<UnixDatagram>,
    flag: &'static str,
}

impl Journal {
    /// `None`: this machine does not let us move mounts.
    fn new(listens: bool) -> Option<Self> {
        let may = |flag: &&str| {
            let mut command = Command::new("unshare");
            let tried = command.args([flag, "mount", "-t", "tmpfs", "none", "/run"]);
            tried.output().is_ok_and(|tried| tried.status.success())
        };
        let Some(flag) = ["-m", "-rm"].into_iter().find(may) else {
            println!("!!!! NOT RUN: the journal's lines: no mount namespace may be made here");
            return None;
        };
        let folder = TempDir::new().unwrap();
        let socket = listens.then(|| UnixDatagram::bind(folder.path().join("socket")).unwrap());
        if let Some(socket) = &socket {
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        Some(Self {
            folder,
            socket,
            flag,
        })
    }

    /// Starts the adapter there, after `also` was done in its shell.
    fn start(&self, also: &str, arguments: &[&str]) -> Process {
        let script = format!("{MOVE_IN} && {also} && exec \"$@\"");
        let folder = self.folder.path().to_str().unwrap();
        let shell = ["unshare", self.flag, "/bin/sh", "-c", &script, folder];
        Process::start_below(&shell, arguments)
    }

    fn entry(&self) -> Entry {
        let mut datagram = vec![0; 1 << 16];
        loop {
            let length = self.socket.as_ref().unwrap().recv(&mut datagram).unwrap();
            // An empty one asks whether somebody listens.
            if length > 0 {
                return parse(&datagram[..length]);
            }
        }
    }

    /// All up to the first of an event.
    fn entries_until(&self, event: &str) -> Vec<Entry> {
        let mut entries = Vec::new();
        loop {
            entries.push(self.entry());
            if entries[entries.len() - 1].get("EVENT").map(String::as_str) == Some(event) {
                return entries;
            }
        }
    }
}

/// `systemd.io/JOURNAL_NATIVE_PROTOCOL`: `NAME=value`, or a name, a length and so many bytes.
fn parse(mut datagram: &[u8]) -> Entry {
    let mut entry = Entry::new();
    while !datagram.is_empty() {
        let end = datagram.iter().position(|byte| *byte == b'\n').unwrap();
        let line = std::str::from_utf8(&datagram[..end]).unwrap();
        datagram = &datagram[end + 1..];
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => {
                let (length, rest) = datagram.split_at(8);
                let length = u64::from_le_bytes(length.try_into().unwrap());
                let (value, rest) = rest.split_at(usize::try_from(length).unwrap());
                datagram = rest.strip_prefix(b"\n").unwrap();
                (line, String::from_utf8(value.to_vec()).unwrap())
            }
        };
        let other = entry.insert(name.to_owned(), value);
        assert_eq!(other, None, "{name} twice in {entry:?}");
    }
    entry
}

/// A site whose lines look so.
fn site(format: &str) -> Site {
    let site = Site::without_daemon();
    let file = site.file("config.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\n[log]\nformat = \"{format}\"\n")).unwrap();
    site
}

fn run(journal: &Journal, also: &str, site: &Site) -> Process {
    let arguments = site.arguments();
    journal.start(also, &arguments.each_ref().map(String::as_str))
}

#[test]
fn each_line_is_an_entry_with_the_fields_of_its_event() {
    let Some(journal) = Journal::new(true) else {
        return;
    };
    let site = site("journald");
    let mut daemon = run(&journal, "true", &site);
    let entries = journal.entries_until("daemon.ready");
    for (entry, event) in [
        (&entries[0], DAEMON_STARTING),
        (&entries[entries.len() - 1], DAEMON_READY),
    ] {
        for (name, value) in [
            ("EVENT", event.name()),
            ("ID", event.id()),
            ("MESSAGE_ID", &event.message_id().simple().to_string()),
            ("PRIORITY", "6"),
            ("SYSLOG_IDENTIFIER", "origo-adapter"),
        ] {
            assert_eq!(
                entry.get(name).map(String::as_str),
                Some(value),
                "{entry:?}"
            );
        }
    }
    assert_eq!(entries[0]["VERSION"], env!("CARGO_PKG_VERSION"));
    let address = &entries[entries.len() - 1]["ADDRESS"];
    assert_eq!(
        entries[entries.len() - 1]["MESSAGE"],
        format!("serving on {address}")
    );
    let known = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    for name in entries.iter().flat_map(Entry::keys) {
        assert!(name.chars().all(known) && !name.starts_with('_'), "{name}");
    }
    daemon.signal("TERM");
    let last = journal.entries_until("daemon.stopped");
    assert!(last[last.len() - 1].contains_key("JOURNAL_HEADS"));
    assert_eq!(daemon.end().code(), Some(0));
    assert_eq!(daemon.written(), [""; 0], "nothing is said twice");
}

#[test]
fn auto_is_the_journal_where_systemd_leads_stdout_there() {
    let Some(journal) = Journal::new(true) else {
        return;
    };
    let site = site("auto");
    let mut daemon = run(&journal, NAME_STDOUT, &site);
    journal.entries_until("daemon.ready");
    daemon.signal("TERM");
    assert_eq!(daemon.end().code(), Some(0));
    assert_eq!(daemon.written(), [""; 0]);
    // Somebody has led stdout elsewhere since.
    for stream in [
        "export JOURNAL_STREAM=8:1",
        "export JOURNAL_STREAM=",
        "true",
    ] {
        let mut daemon = run(&journal, stream, &site);
        daemon.tells("daemon.ready");
    }
}

#[test]
fn without_a_journal_lines_are_json_and_the_first_says_so() {
    let Some(journal) = Journal::new(false) else {
        return;
    };
    let site = site("journald");
    let mut daemon = run(&journal, "true", &site);
    let first = daemon.tells("log.elsewhere");
    assert_eq!(first["level"], "WARN");
    daemon.tells("daemon.ready");
    let lines = daemon.written();
    assert!(lines[0].contains("log.elsewhere"), "{lines:?}");
}

#[test]
fn what_is_wrong_with_the_configuration_is_an_entry_for_each_complaint() {
    let Some(journal) = Journal::new(true) else {
        return;
    };
    let site = site("telegraph");
    site.configure("\"400ms\"", "\"soon\"");
    let file = site.file("config.toml");
    let file = file.to_str().unwrap();
    // As the unit does it: first a check, then the daemon.
    for command in ["check", "run"] {
        let mut process = journal.start(NAME_STDOUT, &[command, "--config", file]);
        for key in ["issuance.settle_delay", "log.format"] {
            let entry = journal.entry();
            assert_eq!(entry["EVENT"], "config.refused");
            assert_eq!(entry["PRIORITY"], "3");
            assert_eq!(entry["CONFIG_KEY"], key);
        }
        assert_eq!(process.end().code(), Some(78));
    }
}

#[test]
fn message_ids_stay_as_they_are() {
    let id = DAEMON_STARTING.message_id().simple().to_string();
    assert_eq!(id, "a0a89b001fea5c29ad30af35f41fac99");
    let mut ids: Vec<_> = EVENTS.iter().map(Event::message_id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), EVENTS.len());
}

const CATALOG: &str = "systemd/origo-adapter.catalog";

/// Meaning and advice of each row of the document.
fn explained() -> BTreeMap<&'static str, (&'static str, &'static str)> {
    let rows = include_str!("../../docs/log-events.md").lines();
    let rows = rows.filter(|line| line.starts_with("| OA-"));
    let cells = rows.map(|line| line.trim_matches('|').split('|').map(str::trim));
    let cells = cells.map(Iterator::collect::<Vec<_>>);
    cells.map(|row| (row[0], (row[3], row[4]))).collect()
}

/// Lines of at most 78 characters.
fn wrapped(text: &str) -> String {
    let mut out = String::new();
    let mut width = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > 78 {
            out.push('\n');
            width = 0;
        } else if width > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += length;
    }
    out
}

fn catalog() -> String {
    let explained = explained();
    let mut text = "# What `journalctl -x` says of our lines. Made from docs/log-events.md:\n\
                    # UPDATE_CATALOG=1 cargo test --test it journal::\n"
        .to_owned();
    for event in EVENTS {
        let (id, name) = (event.id(), event.name());
        let (meaning, advice) = explained[id];
        let (meaning, advice) = (wrapped(meaning), wrapped(&format!("At 3 a.m.: {advice}")));
        let message_id = event.message_id().simple();
        write!(
            text,
            "\n-- {message_id}\nSubject: {name} ({id})\nDefined-By: origo-adapter\n\
             Support: file:///usr/share/doc/origo-adapter/README.md\n\
             Documentation: file:///usr/share/doc/origo-adapter/docs/log-events.md\n\n{meaning}\n\n{advice}\n"
        )
        .unwrap();
    }
    text
}

#[test]
fn the_catalog_is_made_from_the_document() {
    let made = catalog();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(CATALOG);
    if std::env::var_os("UPDATE_CATALOG").is_some() {
        fs::write(&file, &made).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert!(written == made, "{CATALOG}: UPDATE_CATALOG=1 rewrites it");
}

#[test]
fn systemd_takes_the_catalog() {
    let root = TempDir::new().unwrap();
    let folder = root.path().join("usr/lib/systemd/catalog");
    fs::create_dir_all(&folder).unwrap();
    fs::create_dir_all(root.path().join("var/lib/systemd/catalog")).unwrap();
    fs::write(folder.join("origo-adapter.catalog"), catalog()).unwrap();
    let journalctl = |what: &str| {
        let root = format!("--root={}", root.path().display());
        Command::new("journalctl").args([&root, what]).output()
    };
    let Ok(updated) = journalctl("--update-catalog") else {
        println!("!!!! NOT RUN: the journal's catalog: journalctl is not installed");
        return;
    };
    let said = String::from_utf8(updated.stderr).unwrap();
    assert!(updated.status.success() && said.is_empty(), "{said}");
    let dumped = String::from_utf8(journalctl("--dump-catalog").unwrap().stdout).unwrap();
    for event in EVENTS {
        let head = format!("-- {}\n", event.message_id().simple());
        let (_, entry) = dumped.split_once(&head).unwrap();
        let subject = format!("Subject: {} ({})\n", event.name(), event.id());
        assert!(entry.starts_with(&subject), "{entry}");
    }
}
