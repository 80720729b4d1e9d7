//! An access system as a site has one: a real HTTP server, or somebody who fetches files.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::process_support::{ACCESS_SYSTEM, Site, until};

/// What the server was asked, and what it holds.
#[derive(Default)]
struct Book {
    /// Verb, path and the key it was asked with.
    requests: Vec<(String, String, String)>,
    records: BTreeMap<String, Value>,
    /// So many requests are answered with this instead.
    trouble: Vec<u16>,
    /// Happens before the next answer.
    meanwhile: Option<Box<dyn FnOnce() + Send>>,
}

/// A server that holds records below `/api/credentials/`.
#[derive(Clone)]
pub(crate) struct Doors(Arc<Mutex<Book>>);

impl Doors {
    pub(crate) fn open() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let doors = Self(Arc::default());
        let serving = doors.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let serving = serving.clone();
                thread::spawn(move || while serving.answer(stream.as_ref().unwrap()).is_some() {});
            }
        });
        (doors, address)
    }

    fn answer(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            (reader.read_line(&mut head).ok()? > 0).then_some(())?;
        }
        let field = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            let mut lines = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
            lines.next().map(|(_, value)| value.to_owned())
        };
        let length = field("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let mut words = head.split(' ').map(str::to_owned);
        let (verb, path) = (words.next()?, words.next()?);
        let mut book = self.0.lock().unwrap();
        let key = field("x-doors-key").unwrap_or_default();
        book.requests.push((verb.clone(), path.clone(), key));
        let status = if book.trouble.is_empty() {
            match verb.as_str() {
                "PUT" => {
                    book.records
                        .insert(path, serde_json::from_slice(&body).unwrap());
                    204
                }
                _ if book.records.remove(&path).is_some() => 204,
                _ => 404,
            }
        } else {
            book.trouble.remove(0)
        };
        let meanwhile = book.meanwhile.take();
        drop(book);
        if let Some(happens) = meanwhile {
            happens();
        }
        let mut stream = stream;
        write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n").ok()
    }

    fn records(&self) -> BTreeMap<String, Value> {
        self.0.lock().unwrap().records.clone()
    }

    pub(crate) fn meanwhile(&self, happens: impl FnOnce() + Send + 'static) {
        self.0.lock().unwrap().meanwhile = Some(Box::new(happens));
    }

    pub(crate) fn requests(&self) -> Vec<(String, String, String)> {
        self.0.lock().unwrap().requests.clone()
    }
}

/// A site whose access system takes records so; its daemon is at work.
fn site(import: &str) -> Site {
    let mut site = Site::without_daemon();
    takes_records(&site, import);
    site.start_daemon();
    site
}

/// So the site's access system takes them, from the daemon's next start on.
pub(crate) fn takes_records(site: &Site, import: &str) {
    let manager = "credential_manager = \"hq\"";
    let with_import = format!("{manager}\n[access_systems.hq_doors.import]\n{import}");
    site.configure(manager, &with_import);
}

pub(crate) fn http(site_key: &std::path::Path, address: &str) -> String {
    let key = site_key.display();
    format!(
        "kind = \"http\"\nurl = \"http://{address}/api/credentials/{{child.id}}\"\n\
         headers_file = \"{key}\"\n\
         body = '{{\"card_number\":\"{{key.card_number}}\",\"facility_code\":\"{{parent.facility_code}}\",\
         \"cardholder\":\"{{acs_user.id}}\",\"ends_at\":\"{{child.ends_at}}\"}}'\n"
    )
}

/// The one child of a parent, once there is one.
fn child_of(site: &Site, parent: &str) -> String {
    until("a child", || {
        let listed = site.call(
            "/acs/credentials/list",
            &json!({"acs_system_id": ACCESS_SYSTEM}),
        );
        let all = listed["acs_credentials"].as_array()?.clone();
        let child = all
            .into_iter()
            .find(|one| one["parent_acs_credential_id"] == parent)?;
        child["acs_credential_id"].as_str().map(str::to_owned)
    })
}

#[test]
fn an_access_system_is_told_of_keys_and_of_their_end() {
    let (doors, address) = Doors::open();
    let keys = tempfile::TempDir::new().unwrap();
    let file = keys.path().join("headers");
    std::fs::write(&file, "X-Doors-Key: open-sesame\n").unwrap();
    // Down twice, then the record itself is refused once.
    doors.0.lock().unwrap().trouble = vec![503, 400];
    let mut site = site(&http(&file, &address));
    let person = site.enroll("ada");
    site.hid.redeem(&person.identity);
    let parent = site.credential(&person);
    let child = child_of(&site, &parent);
    let path = format!("/api/credentials/{child}");
    let record = until("the record", || doors.records().get(&path).cloned());
    assert_eq!(record["cardholder"], person.acs_user);
    assert_eq!(record["facility_code"], "9");
    assert_eq!(record["ends_at"], Value::Null);
    assert!(!record["card_number"].as_str().unwrap().is_empty());
    assert!(
        doors
            .requests()
            .iter()
            .all(|(_, asked, key)| *asked == path && key == "open-sesame")
    );

    site.call(
        "/acs/credentials/delete",
        &json!({ "acs_credential_id": parent }),
    );
    until("the end of the record", || {
        doors.records().is_empty().then_some(())
    });
    until("the end of the key", || {
        site.hid.live().is_empty().then_some(())
    });
    until("the end of the parent", || {
        let asked = site.ask(
            "/acs/credentials/get",
            &json!({ "acs_credential_id": parent }),
        );
        (asked.status == 404).then_some(())
    });
    site.stop_and_keep();
    let written = site.written().join("\n");
    assert!(
        !written.contains("open-sesame"),
        "a header's value is logged"
    );
}

#[test]
fn files_come_whole_and_each_row_once() {
    let folder = tempfile::TempDir::new().unwrap();
    let directory = folder.path().display();
    for format in ["ndjson", "csv"] {
        let mut site = site(&format!(
            "kind = \"files\"\ndirectory = \"{directory}\"\nformat = \"{format}\"\nevery = \"1s\"\n"
        ));
        let people: Vec<_> = ["ada", "bob", "cleo"].map(|name| site.enroll(name)).into();
        for person in &people {
            site.hid.redeem(&person.identity);
        }
        let parents: Vec<_> = people
            .iter()
            .map(|person| site.credential(person))
            .collect();
        let fetched = Arc::new(Mutex::new(Vec::new()));
        let fetch = || {
            for entry in std::fs::read_dir(folder.path()).unwrap() {
                let path = entry.unwrap().path();
                if path
                    .extension()
                    .is_some_and(|extension| extension == format)
                {
                    let text = std::fs::read_to_string(&path).unwrap();
                    assert!(text.ends_with('\n'), "a half row in {text}");
                    let header = usize::from(format == "csv");
                    let rows = text.lines().skip(header).map(str::to_owned);
                    fetched.lock().unwrap().extend(rows);
                    std::fs::remove_file(path).unwrap();
                }
            }
            fetched.lock().unwrap().clone()
        };
        let acts = |rows: &[String], act: &str| rows.iter().filter(|row| row.contains(act)).count();
        until("three rows", || (acts(&fetch(), "put") == 3).then_some(()));
        // Killed between marks and rows, or at any other moment: each row comes once.
        for parent in &parents {
            site.call(
                "/acs/credentials/delete",
                &json!({ "acs_credential_id": parent }),
            );
        }
        site.kill_daemon();
        site.start_daemon();
        until("three more rows", || {
            (acts(&fetch(), "remove") >= 3).then_some(())
        });
        until("no parent", || {
            let asked = json!({"acs_system_id": ACCESS_SYSTEM});
            let listed = site.call("/acs/credentials/list", &asked);
            fetch();
            (listed["acs_credentials"] == json!([])).then_some(())
        });
        let rows = fetch();
        assert_eq!(
            (acts(&rows, "put"), acts(&rows, "remove")),
            (3, 3),
            "{rows:#?}"
        );
        site.stop_daemon();
    }
}
