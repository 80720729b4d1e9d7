//! Real processes on real sockets: the simulator, the daemon with a configuration made from `config/example.toml`,
//! and what a shell would do with them. Whatever is started here is killed when its test is over.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const ADAPTER: &str = env!("CARGO_BIN_EXE_origo-adapter");
/// Ids of `config/example.toml`.
pub(crate) const MANAGER: &str = "6737e186-8d54-48ce-a7da-a0be4d252172";
pub(crate) const ACCESS_SYSTEM: &str = "8aaa5fa0-9381-4463-a0ed-85f9c1fbcef4";
pub(crate) const POOL: &str = "3fa85f64-5717-4562-b3fc-2c963f66afa6";
pub(crate) const PART_NUMBER: &str = "MID-SUB-EXAMPLE_1";
/// Long enough for any machine, short enough to see a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
/// A person is gone once HID was read twice, half a minute apart.
pub(crate) const PERSON_GONE: Duration = Duration::from_mins(2);
pub(crate) const LOOK: Duration = Duration::from_millis(15);

/// Looks again and again until there is something.
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, look)
}

/// The same for what takes longer by itself.
pub(crate) fn until_within<T>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> Option<T>,
) -> T {
    let looks = patience.as_millis() / LOOK.as_millis();
    for _ in 0..looks {
        if let Some(found) = look() {
            return found;
        }
        thread::sleep(LOOK);
    }
    panic!("waited in vain for {what}");
}

/// A process whose lines on stdout are kept.
pub(crate) struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Process {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_below(&[], arguments)
    }

    /// The same below another program, which is named with its own arguments and becomes this one.
    pub(crate) fn start_below(program: &[&str], arguments: &[&str]) -> Self {
        let line: Vec<&str> = [program, &[ADAPTER], arguments].concat();
        let mut child = Command::new(line[0])
            .args(&line[1..])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        keep(child.stdout.take().unwrap(), &lines);
        keep(child.stderr.take().unwrap(), &lines);
        Self { child, lines }
    }

    /// Every line so far, of whatever kind.
    pub(crate) fn written(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Every line of an event so far.
    pub(crate) fn told(&self, event: &str) -> Vec<Value> {
        let lines = self.lines.lock().unwrap();
        let parsed = lines
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok());
        parsed
            .filter(|line: &Value| line["event"] == event)
            .collect()
    }

    /// The first line of an event, once it is there.
    pub(crate) fn tells(&mut self, event: &str) -> Value {
        until(event, || {
            if self.told(event).is_empty() {
                let ended = self.child.try_wait().unwrap();
                assert!(
                    ended.is_none(),
                    "{event} was not told before {ended:?}: {:?}",
                    self.lines
                );
            }
            self.told(event).into_iter().next()
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success());
    }

    /// Cuts it off without a warning.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        assert_eq!(self.child.wait().unwrap().signal(), Some(9));
    }

    /// How it ended, once it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        until("the end of the process", || self.ended())
    }
}

fn keep(output: impl Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) {
    let kept = Arc::clone(lines);
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            kept.lock().unwrap().push(line);
        }
    });
}

impl Drop for Process {
    fn drop(&mut self) {
        // Most often it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What a request was answered with.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
    /// As it came.
    pub(crate) text: String,
}

/// One request on a connection of its own; `None` where nobody answers.
pub(crate) fn send(
    address: &str,
    verb: &str,
    path: &str,
    head: &str,
    body: &[u8],
) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let request = format!(
        "{verb} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{head}content-length: {length}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).ok()?;
    // Who refuses a body need not read it.
    stream.write_all(body).ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some(Answer {
        status: head.split(' ').nth(1)?.parse().ok()?,
        head: head.to_lowercase(),
        body: serde_json::from_str(body).unwrap_or(Value::Null),
        text: body.to_owned(),
    })
}

/// A simulator at work.
pub(crate) struct Simulator {
    pub(crate) address: String,
    _process: Process,
}

impl Simulator {
    /// HID, but its phones and background work are quick.
    pub(crate) fn start(folder: &Path, listen: &str) -> Self {
        Self::start_with(folder, listen, "")
    }

    /// The same, and what else it is to be.
    pub(crate) fn start_with(folder: &Path, listen: &str, more: &str) -> Self {
        let settings = folder.join("simulator.toml");
        let quick = "container_ready_ms = 30\nissuing_delay_ms = 20\nissue_confirm_ms = 50\n\
                     revoking_delay_ms = 20\nrevoke_confirm_ms = 50\ncancel_delay_ms = 20\n";
        fs::write(&settings, format!("{quick}{more}")).unwrap();
        let settings = settings.to_str().unwrap();
        let mut process = Process::start(&["simulate", "--listen", listen, "--settings", settings]);
        let address = process.tells("simulator.listening")["address"].clone();
        Self {
            address: address.as_str().unwrap().to_owned(),
            _process: process,
        }
    }

    pub(crate) fn control(&self, path: &str, body: &Value) -> Value {
        let verb = if body.is_null() { "GET" } else { "POST" };
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let path = format!("/control/{path}");
        let answer = send(&self.address, verb, &path, "", body.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }

    pub(crate) fn look(&self, path: &str) -> Value {
        self.control(path, &Value::Null)
    }

    /// How many requests of a class ended so.
    pub(crate) fn requests(&self, class: &str, outcome: &str) -> u64 {
        let ledger = self.look("ledger");
        let counts = ledger["requests_by_class"].as_array().unwrap().clone();
        let counts = counts
            .iter()
            .filter(|count| count["class"] == class && count["outcome"] == outcome);
        counts.map(|count| count["count"].as_u64().unwrap()).sum()
    }

    /// Classes and outcomes of all calls of the Mobile Identities API, in their order.
    pub(crate) fn identity_calls(&self) -> Vec<(String, String)> {
        let ledger = self.look("ledger");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let calls = ledger["requests"].as_array().unwrap().iter();
        calls
            .filter(|call| call["service"] == "mobile_identities")
            // What is left of part numbers is asked for beside all stories.
            .filter(|call| {
                let class = call["class"].as_str().unwrap();
                class != "organization" && !class.starts_with("part_number")
            })
            .map(|call| (text(&call["class"]), text(&call["outcome"])))
            .collect()
    }

    /// How often something took effect.
    pub(crate) fn effects(&self, name: &str) -> usize {
        let ledger = self.look("ledger");
        let effects = ledger["effects"].as_array().unwrap().iter();
        effects
            .filter(|entry| entry["effect"].get(name).is_some())
            .count()
    }

    /// Live keys: container and part number of each, in order.
    pub(crate) fn live(&self) -> Vec<(u64, String)> {
        let state = self.look("state");
        let mut live: Vec<_> = state["live_credentials"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| {
                let container = key["container"].as_u64().unwrap();
                (container, key["part_number"].as_str().unwrap().to_owned())
            })
            .collect();
        live.sort();
        live
    }

    /// A phone redeems the person's newest code, once HID has made one.
    pub(crate) fn redeem(&self, identity: &str) -> u64 {
        let asked = json!({ "external_id": identity }).to_string();
        until("a code to redeem", || {
            let answer = send(
                &self.address,
                "POST",
                "/control/redeem",
                "",
                asked.as_bytes(),
            );
            answer.unwrap().body["container_id"].as_u64()
        })
    }
}

/// One person, by the ids that the API gave.
pub(crate) struct Person {
    pub(crate) identity: String,
    pub(crate) acs_user: String,
    pub(crate) automation: String,
}

/// A site: a folder with its configuration, a simulator, and the daemon while it runs.
pub(crate) struct Site {
    pub(crate) folder: TempDir,
    pub(crate) hid: Simulator,
    pub(crate) daemon: Option<Process>,
    api: String,
    key: String,
    written: Vec<String>,
}

impl Site {
    /// Everything at work.
    pub(crate) fn start() -> Self {
        let mut site = Self::without_daemon();
        site.start_daemon();
        site
    }

    pub(crate) fn without_daemon() -> Self {
        let folder = TempDir::new().unwrap();
        let hid = Simulator::start(folder.path(), "127.0.0.1:0");
        let key = configure(folder.path(), &hid.address);
        Self {
            folder,
            hid,
            daemon: None,
            api: String::new(),
            key,
            written: Vec::new(),
        }
    }

    /// The daemon of its next start gives up a call after 2 s.
    pub(crate) fn give_up_soon(&self) {
        let environment = "environment = \"simulator\"";
        self.configure(
            environment,
            &format!("{environment}\nrequest_timeout = \"2s\""),
        );
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What this site's daemon is started with.
    pub(crate) fn arguments(&self) -> [String; 3] {
        let file = self.file("config.toml").to_str().unwrap().to_owned();
        ["run".to_owned(), "--config".to_owned(), file]
    }

    pub(crate) fn start_daemon(&mut self) {
        self.start_daemon_below(&[]);
    }

    pub(crate) fn start_daemon_below(&mut self, program: &[&str]) {
        let arguments = self.arguments();
        let arguments = arguments.each_ref().map(String::as_str);
        let mut daemon = Process::start_below(program, &arguments);
        let address = daemon.tells("daemon.ready")["address"].clone();
        address.as_str().unwrap().clone_into(&mut self.api);
        self.daemon = Some(daemon);
    }

    pub(crate) fn daemon(&mut self) -> &mut Process {
        self.daemon.as_mut().unwrap()
    }

    /// Ends the daemon in the middle of whatever it does.
    pub(crate) fn kill_daemon(&mut self) {
        self.daemon.take().unwrap().kill();
    }

    /// Ends the daemon the way systemd does.
    pub(crate) fn stop_daemon(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.signal("TERM");
        assert_eq!(daemon.end().code(), Some(0));
    }

    /// The same, and keeps what it wrote.
    pub(crate) fn stop_and_keep(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.signal("TERM");
        daemon.end();
        self.written.extend(daemon.written());
    }

    /// What daemons that were stopped so have written.
    pub(crate) fn written(&self) -> Vec<String> {
        self.written.clone()
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// A request to the API as it is.
    pub(crate) fn send(&self, verb: &str, path: &str, head: &str, body: &[u8]) -> Answer {
        send(&self.api, verb, path, head, body).unwrap()
    }

    /// The head of a call with the key.
    pub(crate) fn head(&self) -> String {
        let key = &self.key;
        format!("authorization: Bearer {key}\r\ncontent-type: application/json\r\n")
    }

    /// A call of the API with the key.
    pub(crate) fn ask(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &self.head(), body.to_string().as_bytes())
    }

    /// The same; `None` where nobody answers, or not to the end.
    pub(crate) fn try_ask(&self, path: &str, body: &Value) -> Option<Answer> {
        let body = body.to_string();
        let answer = send(&self.api, "POST", path, &self.head(), body.as_bytes())?;
        (!answer.body.is_null()).then_some(answer)
    }

    /// One command with the site's key.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(ADAPTER);
        command.args(arguments).args(["--api", self.api()]);
        command.env("SEAM_API_KEY", self.key()).output().unwrap()
    }

    /// What one that succeeds says.
    pub(crate) fn said(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Whom calls go to from now on.
    pub(crate) fn speak_to(&mut self, api: &str) {
        api.clone_into(&mut self.api);
    }

    pub(crate) fn api(&self) -> &str {
        &self.api
    }

    /// Changes a line of the configuration of the daemon's next start.
    pub(crate) fn configure(&self, old: &str, new: &str) {
        let file = self.file("config.toml");
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text.matches(old).count(), 1, "{old} in config.toml");
        fs::write(&file, text.replace(old, new)).unwrap();
    }

    /// A call of the API that succeeds.
    pub(crate) fn call(&self, path: &str, body: &Value) -> Value {
        let answer = self.ask(path, body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }

    /// Identity, ACS user and the launch of the seeds.
    pub(crate) fn enroll(&self, name: &str) -> Person {
        let email = format!("{}@tenant.example", name.replace(' ', "."));
        let made = self.call(
            "/user_identities/create",
            &json!({ "full_name": name, "email_address": email }),
        );
        let identity = id(&made["user_identity"], "user_identity_id");
        let made = self.call(
            "/acs/users/create",
            &json!({ "acs_system_id": ACCESS_SYSTEM, "full_name": name, "user_identity_id": identity }),
        );
        let acs_user = id(&made["acs_user"], "acs_user_id");
        let made = self.call(
            "/user_identities/enrollment_automations/launch",
            &json!({
                "user_identity_id": identity,
                "credential_manager_acs_system_id": MANAGER,
                "acs_credential_pool_id": POOL,
                "create_credential_manager_user": true,
            }),
        );
        let launched = &made["enrollment_automation"];
        assert_eq!(launched["is_running"], true, "{made}");
        Person {
            automation: id(launched, "enrollment_automation_id"),
            identity,
            acs_user,
        }
    }

    /// The seeds' other call: a parent; returns its id.
    pub(crate) fn credential(&self, person: &Person) -> String {
        let made = self.call(
            "/acs/credentials/create",
            &json!({
                "acs_user_id": person.acs_user,
                "is_multi_phone_sync_credential": true,
                "card_format": "rfid48",
                "facility_code": "9",
                "access_method": "mobile_key",
            }),
        );
        assert_eq!(
            made["acs_credential"]["is_multi_phone_sync_credential"],
            true
        );
        id(&made["acs_credential"], "acs_credential_id")
    }

    /// A further phone: the code that the app asks for, redeemed.
    pub(crate) fn invite(&self, person: &Person) -> String {
        let asked = json!({ "enrollment_automation_id": person.automation });
        until("an invitation code", || {
            let path = "/enrollment_automations/invitations/get_or_create";
            let code = self.call(path, &asked)["invitation"]["invitation_code"].clone();
            code.as_str().map(str::to_owned)
        })
    }

    /// The children that the API shows as issued.
    pub(crate) fn issued(&self, person: &Person) -> Vec<Value> {
        let asked =
            json!({ "acs_user_id": person.acs_user, "is_multi_phone_sync_credential": false });
        let listed = self.call("/acs/credentials/list", &asked);
        let children = listed["acs_credentials"].as_array().unwrap();
        let issued = children.iter().filter(|child| child["is_issued"] == true);
        issued.cloned().collect()
    }

    /// The person's phones as the API shows them.
    pub(crate) fn phones(&self, person: &Person) -> Vec<Value> {
        let asked = json!({ "owner_user_identity_id": person.identity });
        let listed = self.call("/phones/list", &asked);
        listed["phones"].as_array().unwrap().clone()
    }

    /// HID holds nothing against us.
    pub(crate) fn assert_blameless(&self) {
        assert_eq!(self.hid.look("violations"), json!([]));
    }
}

pub(crate) fn id(of: &Value, field: &str) -> String {
    let id = of[field].as_str();
    id.unwrap_or_else(|| panic!("no {field} in {of}"))
        .to_owned()
}

/// Writes the configuration of a site, as an operator makes it from the example; returns the key of its API.
pub(crate) fn configure(folder: &Path, hid: &str) -> String {
    let made = Command::new(ADAPTER)
        .args(["api-key", "new", "--name", "ops", "--scope", "write"])
        .output()
        .unwrap();
    let made = String::from_utf8(made.stdout).unwrap();
    let (key, rest) = made.split_once('\n').unwrap();
    let hash = rest.lines().find(|line| line.starts_with("hash")).unwrap();
    let secret = folder.join("origo-secret");
    fs::write(&secret, "simulator-secret\n").unwrap();

    let mut text = fs::read_to_string("config/example.toml").unwrap();
    for (old, new) in [
        (
            "environment = \"production\"",
            format!(
                "environment = \"simulator\"\ncontrol_url = \"http://{hid}\"\ntoken_url = \"http://{hid}\"\n\
                 mobile_identities_url = \"http://{hid}/credential-management\"\nevents_url = \"http://{hid}\""
            ),
        ),
        (
            "/run/credentials/origo-adapter.service/origo-secret",
            secret.to_str().unwrap().to_owned(),
        ),
        (
            "hash = \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"",
            hash.to_owned(),
        ),
    ] {
        assert_eq!(text.matches(old).count(), 1, "{old} in config/example.toml");
        text = text.replace(old, &new);
    }
    // Shorter than a site wants them, so that a test sees what follows.
    let database = folder.join("state.db");
    let shorter = format!(
        r#"
[api]
listen = "127.0.0.1:0"
[store]
url = "sqlite://{}"
[credential_managers.hq.polling]
interval = "1s"
[issuance]
retry_schedule = ["200ms", "1s"]
settle_delay = "400ms"
late_effect_bound = "1500ms"
"#,
        database.display()
    );
    fs::write(folder.join("config.toml"), text + &shorter).unwrap();
    key.to_owned()
}
