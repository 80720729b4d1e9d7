//! The configuration: what is taken, what is refused, and in which words.

mod callbacks;
mod policies;
mod store;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use origo_adapter::config::{self, Config, Delivery, Environment, Listen, Login, Scope, WindowKey};
use origo_adapter::telemetry::Format;
use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use crate::certificates::{rsa, self_signed};

const SECRET: &str = "correct horse battery staple";

/// A folder with a secret, and configurations written into it.
struct Site(TempDir);

impl Site {
    fn new() -> Self {
        let site = Self(TempDir::new().unwrap());
        fs::write(site.secret(), format!("{SECRET}\n")).unwrap();
        site
    }

    fn secret(&self) -> PathBuf {
        self.0.path().join("secret")
    }

    fn headers(&self) -> PathBuf {
        let path = self.0.path().join("headers");
        fs::write(&path, "X-Key: sesame\n").unwrap();
        path
    }

    /// A manager with all it needs, to which a case adds.
    fn manager(&self) -> String {
        format!(
            "[credential_managers.hq]\n\
             organization_id = \"7001234\"\n\
             application_id = \"HID-EXAMPLE-ADAPTER\"\n\
             client_id = \"7001234-OSRV900001\"\n\
             client_secret_file = \"{}\"\n",
            self.secret().display()
        )
    }

    fn load(&self, text: &str, environment: &[(&str, &str)]) -> Result<Config, config::Error> {
        let file = self.0.path().join("config.toml");
        fs::write(&file, text).unwrap();
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        config::load(Some(&file), environment)
    }

    /// What is complained of, with the folder's name taken out.
    fn complaints(&self, text: &str, environment: &[(&str, &str)]) -> String {
        let error = self.load(text, environment).unwrap_err();
        let folder = format!("{}/", self.0.path().display());
        error.to_string().replace(&folder, "")
    }
}

#[test]
fn the_head_lies_in_systemds_directory_else_beside_the_database() {
    let head = |environment: &[(&str, &str)]| {
        let pairs = environment.iter();
        let pairs = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        config::load(None, pairs).unwrap().store.head
    };
    let beside = std::path::Path::new("/var/lib/origo-adapter/state.db.head");
    assert_eq!(head(&[]), beside);
    assert_eq!(head(&[("STATE_DIRECTORY", "")]), beside);
    let given = head(&[("STATE_DIRECTORY", "/var/lib/a:/var/lib/b")]);
    assert_eq!(given, std::path::Path::new("/var/lib/a/head"));
}

#[test]
fn the_defaults_alone_are_good() {
    let config = config::load(None, std::iter::empty()).unwrap();
    assert!(config.credential_managers.is_empty());
    assert_eq!(config.api.listen.to_string(), "127.0.0.1:8470");
    assert_eq!(
        config.store.place.to_string(),
        "/var/lib/origo-adapter/state.db"
    );
    assert_eq!(
        config.issuance.retry_schedule,
        [5, 30, 120, 600, 3600].map(Duration::from_secs)
    );
    assert!(!config.webhooks.allow_private);
    assert_eq!(config.log.format, Format::Auto);
    assert_eq!(config.daemon.shutdown_timeout, Duration::from_secs(25));
}

#[test]
fn the_example_is_good() {
    let site = Site::new();
    let text = include_str!("../../config/example.toml");
    let secret = site.secret();
    let config = site
        .load(
            text,
            &[(
                "ORIGO_ADAPTER__CREDENTIAL_MANAGERS__HQ__CLIENT_SECRET_FILE",
                secret.to_str().unwrap(),
            )],
        )
        .unwrap();
    let hq = &config.credential_managers["hq"];
    assert_eq!(hq.organization_id, "7001234");
    assert_eq!(hq.environment, Environment::Production);
    assert_eq!(
        hq.events_url.as_ref().unwrap().as_str(),
        "https://event.api.origo.hidglobal.com/"
    );
    assert!(matches!(&hq.login, Login::Secret(secret) if secret.expose_secret() == SECRET));
    assert_eq!(hq.windows.mobile_identities.requests, 300);
    assert_eq!(hq.windows.window_key, WindowKey::Both);
    assert_eq!(hq.polling.interval, Duration::from_secs(5));
    assert_eq!(hq.invitations.delivery, Delivery::Email);
    assert_eq!(hq.card_profiles[0].facility_code, "9");
    assert_eq!(config.access_systems["hq_doors"].credential_manager, "hq");
    assert_eq!(config.api.keys["ops"].scope, Scope::Write);
    assert!(!format!("{config:?}").contains(SECRET));
}

/// Takes the # off the keys that have no default, so that a key which is no longer known,
/// or whose example is no longer taken, is seen.
/// How lines begin that do not go with a password.
const BY_KEY: [&str; 3] = ["#private_key_file", "#audience", "#client_assertion_type"];

#[test]
fn every_key_that_the_defaults_only_mention_is_taken_as_written() {
    for by_key in [false, true] {
        every_key_is_taken(by_key);
    }
}

fn every_key_is_taken(by_key: bool) {
    let site = Site::new();
    let secret = "/run/credentials/origo-adapter.service/origo-secret";
    let callback = "/run/credentials/origo-adapter.service/callback-secret";
    let headers = "/run/credentials/origo-adapter.service/acs-headers";
    let pair = self_signed();
    let (certificate, key) = pair.write(site.0.path());
    let rsa_key = site.0.path().join("rsa-key");
    fs::write(&rsa_key, rsa().0).unwrap();
    let credentials = site.0.path().join("proxy");
    fs::write(&credentials, "me:hidden\n").unwrap();
    let of_systemd = "/run/credentials/origo-adapter.service";
    let lines: Vec<_> = include_str!("../../config/default.toml")
        .lines()
        // An account has the one or the other.
        .filter(|line| !(by_key && line.contains("client_secret_file")))
        .filter(|line| by_key || !BY_KEY.iter().any(|key| line.starts_with(key)))
        .map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()) => key,
            _ => line,
        })
        .collect();
    let text = lines
        .join("\n")
        .replace(secret, site.secret().to_str().unwrap())
        // A file has no password.
        .replace(
            "sqlite:///var/lib/origo-adapter/state.db",
            "postgres:///adapter?user=adapter&host=/run/postgresql",
        )
        .replace(
            &format!("{of_systemd}/database"),
            site.secret().to_str().unwrap(),
        )
        .replace(callback, site.secret().to_str().unwrap())
        .replace(headers, site.headers().to_str().unwrap())
        .replace(
            "/etc/origo-adapter/tls-cert.pem",
            certificate.to_str().unwrap(),
        )
        .replace(&format!("{of_systemd}/tls-key"), key.to_str().unwrap())
        .replace(
            &format!("{of_systemd}/private-key"),
            rsa_key.to_str().unwrap(),
        )
        .replace(
            &format!("{of_systemd}/proxy"),
            credentials.to_str().unwrap(),
        )
        .replace(
            "/etc/ssl/certs/ca-certificates.crt",
            certificate.to_str().unwrap(),
        );
    let config = site.load(&text, &[]).unwrap();
    assert_eq!(config.credential_managers.len(), 1);
    let login = &config.credential_managers["hq"].login;
    assert_eq!(matches!(login, Login::Key { .. }), by_key);
    assert_eq!(config.access_systems.len(), 2);
    assert_eq!(config.api.keys.len(), 1);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_is_wrong_is_said_in_one_line_each() {
    let site = Site::new();
    let manager = site.manager();
    for (case, text, wanted) in [
        (
            "unknown keys, all of them",
            "pollling = 1\n[api]\nlisen = \"127.0.0.1:1\"\n[log]\ncolour = true",
            "api.lisen: unknown key (in config.toml)\n\
             log.colour: unknown key (in config.toml)\n\
             pollling: unknown key (in config.toml)",
        ),
        (
            "an unknown table is named once",
            "[metrics]\nlisten = \"x\"\npath = \"y\"",
            "metrics: unknown key (in config.toml)",
        ),
        (
            "promised values",
            "desired_state_dir = \"/etc/people.d\"\n\
             [issuance]\nmass_change_guard = { issues = -1, per = \"0s\" }\n\
             [store]\nurl = \"postgres://me:hunter2@db/adapter\"\n\
             [log]\nformat = \"syslog\"",
            "desired_state_dir: \"/etc/people.d\" is no directory (in config.toml)\n\
             issuance.mass_change_guard.issues: must be a whole number from 0 to 4294967295, not -1, or \"off\" (in config.toml)\n\
             issuance.mass_change_guard.per: must be at least 1s, not \"0s\" (in config.toml)\n\
             log.format: must be \"auto\" or \"journald\" or \"json\" or \"text\", not \"syslog\" (in config.toml)\n\
             store.url: must not hold a password; password_file is for it (in config.toml)",
        ),
        (
            "connectors of access systems",
            &format!(
                "{manager}[access_systems.a]\ncredential_manager = \"hq\"\n\
                 import = {{ kind = \"http\", url = \"https://x.example/c\", body = \"{{\" }}\n\
                 [access_systems.b]\ncredential_manager = \"hq\"\n\
                 [access_systems.b.import]\nkind = \"http\"\nmethod = \"GET\"\n\
                 url = \"https://x.example/{{child.id}}/{{key.card_number}}\"\n\
                 body = '{{\"a\":\"{{key.colour}}\"}}'\nheaders_file = \"{secret}\"\n\
                 [access_systems.c]\ncredential_manager = \"hq\"\n\
                 import = {{ kind = \"files\", directory = \"here\", fields = [\"phone.id\"], body = \"x\" }}\n\
                 [access_systems.d]\ncredential_manager = \"hq\"\nimport = {{ kind = \"fax\" }}",
                secret = site.secret().display()
            ),
            "access_systems.a.import.body: must be JSON: EOF while parsing an object at line 1 column 1 (in config.toml)\n\
             access_systems.a.import.url: must have a place for {child.id}, so that each record has its own address (in config.toml)\n\
             access_systems.b.import.body: there is no {key.colour}; known are child.id, child.starts_at, child.ends_at, parent.id, parent.card_format, parent.facility_code, key.card_number, key.part_number, phone.id, acs_user.id, acs_user.full_name, acs_user.email_address, user_identity.id, user_identity.key (in config.toml)\n\
             access_systems.b.import.headers_file: \"secret\": line 1 is no `Name: value` (in config.toml)\n\
             access_systems.b.import.method: must be \"PUT\" or \"POST\" or \"PATCH\", not \"GET\" (in config.toml)\n\
             access_systems.b.import.url: must not hold {key.card_number}, which may change: put it into the body (in config.toml)\n\
             access_systems.c.import.body: unknown key (in config.toml)\n\
             access_systems.c.import.directory: must be an absolute path, not \"here\" (in config.toml)\n\
             access_systems.c.import.fields: must name child.id, by which a record is known again (in config.toml)\n\
             access_systems.d.import.kind: must be \"http\" or \"files\", not \"fax\" (in config.toml)",
        ),
        (
            "durations",
            &format!(
                "{manager}request_timeout = \"20\"\npolling.interval = \"500ms\"\n\
                 [issuance]\nretry_schedule = [\"5s\", \"soon\"]\nsettle_delay = 30"
            ),
            "credential_managers.hq.polling.interval: must be at least 1s, not \"500ms\" (in config.toml)\n\
             credential_managers.hq.request_timeout: must be a duration such as \"30s\", \"5m\" or \"1h30m\", not \"20\" (in config.toml)\n\
             issuance.retry_schedule: must be a duration such as \"30s\", \"5m\" or \"1h30m\", not \"soon\" (in config.toml)\n\
             issuance.settle_delay: must be a duration such as \"30s\", \"5m\" or \"1h30m\", not 30 (in config.toml)",
        ),
        (
            "durations that contradict each other",
            "[issuance]\nretry_schedule = []\nsettle_delay = \"3m\"\ngive_up_after = \"1m\"",
            "issuance.give_up_after: must not be below issuance.late_effect_bound (in config.toml)\n\
             issuance.retry_schedule: must not be empty (in config.toml)\n\
             issuance.settle_delay: must not exceed issuance.late_effect_bound (in config.toml)",
        ),
        (
            "a manager that says nothing",
            "[credential_managers.hq]\nenvironment = \"production\"",
            "credential_managers.hq.application_id: missing\n\
             credential_managers.hq.client_id: missing\n\
             credential_managers.hq.client_secret_file: missing\n\
             credential_managers.hq.organization_id: missing",
        ),
        (
            "types",
            &format!(
                "{manager}polling = 5\nwindows.token.requests = \"many\"\n\
                 windows.events.share = 2\ninvitations.renew = \"yes\"\ncard_profiles = \"rfid48\"\n\
                 [[api]]\n[issuance]\nretry_schedule = \"5s\"\n[log]\nlevel = \"loud\""
            ),
            "api: must be a table, not a list (in config.toml)\n\
             credential_managers.hq.card_profiles: must be a list of tables, not \"rfid48\" (in config.toml)\n\
             credential_managers.hq.invitations.renew: must be true or false, not \"yes\" (in config.toml)\n\
             credential_managers.hq.polling: must be a table, not 5 (in config.toml)\n\
             credential_managers.hq.windows.events.share: must be a number above 0 and at most 1, not 2 (in config.toml)\n\
             credential_managers.hq.windows.token.requests: must be a whole number from 1 to 4294967295, not \"many\" (in config.toml)\n\
             issuance.retry_schedule: must be a list of durations, not \"5s\" (in config.toml)\n\
             log.level: must be \"error\" or \"warn\" or \"info\" or \"debug\" or \"trace\", not \"loud\" (in config.toml)",
        ),
        (
            "lists of tables",
            &format!(
                "{manager}\
                 [[credential_managers.hq.card_profiles]]\n\
                 card_format = \"rfid48\"\nfacility_code = 9\npart_number = \"\"\n\
                 [[credential_managers.hq.card_profiles]]\n\
                 card_format = \"rfid48\"\nfacility_code = \"8\"\npart_number = \"A\"\n\
                 [[credential_managers.hq.card_profiles]]\n\
                 card_format = \"rfid48\"\nfacility_code = \"8\"\npart_number = \"B\"\nsite = 1\n\
                 [[credential_managers.hq.part_numbers]]\npart_number = \"A\"\n\
                 [[credential_managers.hq.part_numbers]]\npart_number = \"A\""
            ),
            "credential_managers.hq.card_profiles.0.facility_code: must be text in quotes, not 9 (in config.toml)\n\
             credential_managers.hq.card_profiles.0.part_number: must not be empty (in config.toml)\n\
             credential_managers.hq.card_profiles.2.facility_code: the same card_format and facility_code as credential_managers.hq.card_profiles.1.facility_code (in config.toml)\n\
             credential_managers.hq.card_profiles.2.site: unknown key (in config.toml)\n\
             credential_managers.hq.part_numbers.1.part_number: \"A\" is taken by credential_managers.hq.part_numbers.0.part_number (in config.toml)",
        ),
        (
            "ids and references",
            &format!(
                "workspace_id = \"mine\"\n{manager}\
                 acs_system_id = \"6737e186-8d54-48ce-a7da-a0be4d252172\"\n\
                 [access_systems.doors]\n\
                 acs_system_id = \"6737e186-8d54-48ce-a7da-a0be4d252172\"\n\
                 credential_manager = \"branch\"\n\
                 [access_systems.Gates]\ncredential_manager = \"hq\""
            ),
            "access_systems.Gates: a name has lower-case letters, digits and _ only (in config.toml)\n\
             access_systems.doors.acs_system_id: 6737e186-8d54-48ce-a7da-a0be4d252172 is taken by credential_managers.hq.acs_system_id (in config.toml)\n\
             access_systems.doors.credential_manager: there is no credential_managers.branch (in config.toml)\n\
             workspace_id: must be a UUID, not \"mine\" (in config.toml)",
        ),
        (
            "a manager that is wrong is still known to be there",
            "[credential_managers.hq]\n[access_systems.doors]\ncredential_manager = \"hq\"",
            "credential_managers.hq.application_id: missing\n\
             credential_managers.hq.client_id: missing\n\
             credential_managers.hq.client_secret_file: missing\n\
             credential_managers.hq.organization_id: missing",
        ),
        (
            "organization and services",
            &format!(
                "{}token_url = \"http://api.example\"\n\
                 mobile_identities_url = \"ma.example\"\n\
                 events_url = \"https://me:hunter2@event.example\"",
                manager.replace("\"7001234\"", "\"7001234-OSRV\"")
            ),
            "credential_managers.hq.events_url: must not hold a user or password (in config.toml)\n\
             credential_managers.hq.mobile_identities_url: must be a whole URL: relative URL without a base (in config.toml)\n\
             credential_managers.hq.organization_id: must be digits in quotes, not \"7001234-OSRV\" (in config.toml)\n\
             credential_managers.hq.token_url: must begin with https:// unless the host is this machine, not \"http://api.example\" (in config.toml)",
        ),
        (
            "a simulator has no usual place",
            &format!(
                "{manager}environment = \"simulator\"\nevents_url = \"http://127.0.0.1:8480\""
            ),
            "credential_managers.hq.mobile_identities_url: missing: this environment has no default for it\n\
             credential_managers.hq.token_url: missing: this environment has no default for it",
        ),
        (
            "nobody knows the events API of certification",
            &format!("{manager}environment = \"certification\""),
            "credential_managers.hq.events_url: missing: this environment has no default for it",
        ),
        (
            "an environment that does not exist blames no URL",
            &format!("{manager}environment = \"staging\""),
            "credential_managers.hq.environment: must be \"production\" or \"certification\" or \"simulator\", not \"staging\" (in config.toml)",
        ),
        (
            "a mistake in the defaults is told once, and where it is",
            &format!(
                "{manager}{}[credential_manager_defaults]\nrequest_timeout = \"long\"\ntimeout = 1",
                manager.replace("hq", "branch")
            ),
            "credential_manager_defaults.request_timeout: must be a duration such as \"30s\", \"5m\" or \"1h30m\", not \"long\" (in config.toml)\n\
             credential_manager_defaults.timeout: unknown key (in config.toml)",
        ),
        (
            "keys of the API",
            "[api.keys.a]\nscope = \"admin\"\nhash = \"sha256:abc\"\n\
             [api.keys.b]\nscope = \"read\"\n\
             hash = \"sha256:00000000000000000000000000000000000000000000000000000000000000AA\"\n\
             [api.keys.c]\nscope = \"read\"\n\
             hash = \"sha256:00000000000000000000000000000000000000000000000000000000000000aa\"",
            "api.keys.a.hash: must be sha256: and 64 hexadecimal digits (in config.toml)\n\
             api.keys.a.scope: must be \"read\" or \"invite\" or \"write\", not \"admin\" (in config.toml)\n\
             api.keys.c.hash: the same key as api.keys.b (in config.toml)",
        ),
        (
            "where to listen",
            "[api]\nlisten = \"0.0.0.0:8470\"\n[store]\nurl = \"sqlite://state.db\"",
            "api.listen: beyond loopback, \"0.0.0.0:8470\" needs tls_cert_file and tls_key_file (in config.toml)\n\
             store.url: must be sqlite:// and the absolute path of a file, or postgres:// and a database (in config.toml)",
        ),
        (
            "a listener without a port",
            "[api]\nlisten = \"localhost\"",
            "api.listen: must be an address and port, not \"localhost\" (in config.toml)",
        ),
        (
            "a socket file",
            "[api]\nlisten = \"unix:api.sock\"\nsocket_mode = \"rw\"\nsocket_group = \"no such group\"",
            "api.listen: must be unix: and an absolute path, not \"unix:api.sock\" (in config.toml)\n\
             api.socket_group: there is no group \"no such group\" (in config.toml)\n\
             api.socket_mode: must be octal digits such as \"0660\", not \"rw\" (in config.toml)",
        ),
        (
            "a certificate without its key",
            "[api]\nlisten = \"0.0.0.0:8470\"\ntls_cert_file = \"/absent\"",
            "api.tls_cert_file: \"/absent\" cannot be read: No such file or directory (os error 2) (in config.toml)",
        ),
        (
            "how others are reached",
            "[http]\nproxy = \"http://me:hidden@proxy.example\"\nca_file = \"/dev/null\"",
            "http.ca_file: \"/dev/null\" holds no certificate in PEM (in config.toml)\n\
             http.proxy: must not hold a user or password; proxy_credentials_file is for them (in config.toml)",
        ),
        (
            "an audience without a key",
            &format!("{manager}audience = \"https://idp.example\""),
            "credential_managers.hq.audience: goes with private_key_file (in config.toml)",
        ),
        (
            "a secret beside a key that is none",
            &format!(
                "{manager}private_key_file = \"{}\"",
                site.secret().display()
            ),
            "credential_managers.hq.private_key_file: \"secret\" holds no RSA key in PEM (PKCS#8), or an encrypted one (in config.toml)\n\
             credential_managers.hq.private_key_file: beside client_secret_file: there can be only one (in config.toml)",
        ),
    ] {
        assert_eq!(site.complaints(text, &[]), wanted, "{case}");
    }
}

#[test]
fn a_secret_is_read_without_its_line_end_and_never_shown() {
    let site = Site::new();
    for (content, complaint) in [
        (
            None,
            "cannot be read: No such file or directory (os error 2)",
        ),
        (Some(&b"\n"[..]), "is empty"),
        (Some(&b"hunter2\xff"[..]), "cannot be read: not UTF-8 text"),
    ] {
        match content {
            Some(content) => fs::write(site.secret(), content).unwrap(),
            None => fs::remove_file(site.secret()).unwrap(),
        }
        let said = site.complaints(&site.manager(), &[]);
        assert_eq!(
            said,
            format!(
                "credential_managers.hq.client_secret_file: \"secret\" {complaint} (in config.toml)"
            )
        );
    }
    fs::write(site.secret(), "two words \r\n").unwrap();
    let config = site.load(&site.manager(), &[]).unwrap();
    let login = &config.credential_managers["hq"].login;
    assert!(matches!(login, Login::Secret(secret) if secret.expose_secret() == "two words "));
}

#[test]
fn the_environment_goes_over_the_file_and_the_file_over_the_defaults() {
    let site = Site::new();
    let text = format!(
        "{}polling.interval = \"7s\"\npolling.overlap = \"3m\"\n\
         [credential_manager_defaults.polling]\noverlap = \"9m\"\nsweep_share = 0.2\n\
         [issuance]\nretry_schedule = [\"1s\"]",
        site.manager()
    );
    let config = site
        .load(
            &text,
            &[
                (
                    "ORIGO_ADAPTER__CREDENTIAL_MANAGERS__HQ__POLLING__INTERVAL",
                    "9s",
                ),
                (
                    "ORIGO_ADAPTER__CREDENTIAL_MANAGERS__HQ__WINDOWS__EVENTS__REQUESTS",
                    "120",
                ),
                (
                    "ORIGO_ADAPTER__CREDENTIAL_MANAGERS__HQ__WINDOWS__EVENTS__SHARE",
                    "0.5",
                ),
                (
                    "ORIGO_ADAPTER__CREDENTIAL_MANAGERS__HQ__INVITATIONS__RENEW",
                    "false",
                ),
                (
                    "ORIGO_ADAPTER__CREDENTIAL_MANAGERS__HQ__ORGANIZATION_ID",
                    "0012",
                ),
                ("ORIGO_ADAPTER_LOG", "not one of ours"),
            ],
        )
        .unwrap();
    let hq = &config.credential_managers["hq"];
    assert_eq!(hq.polling.interval, Duration::from_secs(9));
    assert_eq!(hq.polling.overlap, Duration::from_mins(3));
    assert!((hq.polling.sweep_share - 0.2).abs() < f64::EPSILON);
    assert!(hq.polling.events);
    assert_eq!(hq.windows.events.requests, 120);
    assert!((hq.windows.events.share - 0.5).abs() < f64::EPSILON);
    assert!(!hq.invitations.renew);
    assert_eq!(
        hq.organization_id, "0012",
        "digits are not taken for a number"
    );
    assert_eq!(
        config.issuance.retry_schedule,
        [Duration::from_secs(1)],
        "a list replaces the one below it"
    );
}

#[test]
fn complaints_about_the_environment_name_the_variable() {
    let site = Site::new();
    let said = site.complaints(
        "[log]\nheartbeat = \"often\"",
        &[
            ("ORIGO_ADAPTER__DAEMON__SHUTDOWN_TIMEOUT", "soon"),
            ("ORIGO_ADAPTER__DEAMON__SHUTDOWN_TIMEOUT", "25s"),
            ("ORIGO_ADAPTER__ISSUANCE__RETRY_SCHEDULE", "5s,10s"),
        ],
    );
    assert_eq!(
        said,
        "daemon.shutdown_timeout: must be a duration such as \"30s\", \"5m\" or \"1h30m\", not \"soon\" (in ORIGO_ADAPTER__DAEMON__SHUTDOWN_TIMEOUT)\n\
         deamon: unknown key (in ORIGO_ADAPTER__DEAMON__SHUTDOWN_TIMEOUT)\n\
         issuance.retry_schedule: must be a list of durations, not \"5s,10s\" (in ORIGO_ADAPTER__ISSUANCE__RETRY_SCHEDULE)\n\
         log.heartbeat: must be a duration such as \"30s\", \"5m\" or \"1h30m\", not \"often\" (in config.toml)"
    );
}

#[test]
fn absent_ids_are_derived_and_stay_the_same() {
    let site = Site::new();
    let text = format!(
        "{}[[credential_managers.hq.part_numbers]]\npart_number = \"MID-SUB-EXAMPLE_1\"\n\
         [access_systems.doors]\ncredential_manager = \"hq\"",
        site.manager()
    );
    let config = site.load(&text, &[]).unwrap();
    let hq = &config.credential_managers["hq"];
    let ids = [
        config.workspace_id,
        hq.acs_system_id,
        hq.part_numbers[0].acs_credential_pool_id,
        config.access_systems["doors"].acs_system_id,
    ];
    // Sites have these in their apps: they must never change.
    assert_eq!(
        ids.map(|id| id.to_string()),
        [
            "5a0f6f8e-3c1d-4b7a-9e42-8d1c60b3f5a7",
            "e14b850c-9e49-5bc6-a3b0-f8fb787d1e3a",
            "e077393d-6406-5d61-96bd-176769611335",
            "42f9b99d-678f-51bc-a1e2-42c87ba18081",
        ]
    );
}

#[test]
fn an_organization_without_the_events_api_needs_no_url_for_it() {
    let site = Site::new();
    let text = format!(
        "{}environment = \"certification\"\npolling.events = \"off\"",
        site.manager()
    );
    let config = site.load(&text, &[]).unwrap();
    let hq = &config.credential_managers["hq"];
    assert!(hq.events_url.is_none());
    assert_eq!(
        hq.token_url.as_str(),
        "https://api.cert.origo.hidglobal.com/"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_one_complaint() {
    let site = Site::new();
    let missing = site.0.path().join("none.toml");
    let error = config::load(Some(&missing), std::iter::empty()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}: cannot be read: No such file or directory (os error 2)",
            missing.display()
        )
    );
    assert_eq!(
        site.complaints("[api\nlisten = 1", &[]),
        "config.toml: TOML parse error at line 1, column 5: unclosed table, expected `]`"
    );
}

#[test]
fn a_certificate_goes_with_its_key_and_lets_the_api_beyond_loopback() {
    let site = Site::new();
    let (certificate, key) = self_signed().write(site.0.path());
    let text = format!(
        "[api]\nlisten = \"0.0.0.0:8470\"\ntls_cert_file = \"{}\"\ntls_key_file = \"{}\"",
        certificate.display(),
        key.display()
    );
    let config = site.load(&text, &[]).unwrap();
    assert!(matches!(config.api.listen, Listen::Tcp(_, Some(_))));
    let socket = text.replace("0.0.0.0:8470", "unix:/run/api.sock");
    assert_eq!(
        site.complaints(&socket, &[]),
        "api.tls_cert_file: for an address and port, not for a socket (in config.toml)"
    );
    // The key of another certificate.
    fs::write(&key, self_signed().key).unwrap();
    let said = site.complaints(&text, &[]);
    assert!(
        said.starts_with("api.tls_cert_file: does not go with its key: "),
        "{said}"
    );
    fs::write(&key, "no key").unwrap();
    assert!(site.complaints(&text, &[]).starts_with(
        "api.tls_key_file: holds no private key in PEM, or an encrypted one (in config.toml)"
    ));
}
