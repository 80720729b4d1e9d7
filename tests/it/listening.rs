//! Where a daemon's API listens: socket files and TLS, asked by our own commands and by a plain client.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::process::{Command, Output};

use reqwest::Certificate;
use serde_json::Value;

use crate::certificates::self_signed;
use crate::process_support::{ADAPTER, Site, until};

const LISTEN: &str = "listen = \"127.0.0.1:0\"";

/// A command that finds the daemon by the site's own configuration.
fn status(site: &Site) -> Output {
    let file = site.file("config.toml");
    Command::new(ADAPTER)
        .args(["--config", file.to_str().unwrap(), "status", "--json"])
        .env("SEAM_API_KEY", site.key())
        .output()
        .unwrap()
}

fn assert_told(output: &Output) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["identities"], 0);
}

/// A port that nobody has: the configuration must name one for a command to find the daemon by it.
fn port() -> u16 {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    taken.local_addr().unwrap().port()
}

#[test]
fn a_socket_file_has_its_mode_replaces_a_stale_one_and_goes_with_the_daemon() {
    let mut site = Site::without_daemon();
    let socket = site.file("api.sock");
    site.configure(
        LISTEN,
        &format!(
            "listen = \"unix:{}\"\nsocket_mode = \"0620\"",
            socket.display()
        ),
    );
    site.start_daemon();
    assert_eq!(site.api(), format!("unix:{}", socket.display()));
    let file = fs::metadata(&socket).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o7777, 0o620);
    assert_told(&status(&site));
    assert_told(&site.run(&["status", "--json"]));

    site.kill_daemon();
    assert!(socket.exists(), "a killed daemon leaves its file");
    let output = status(&site);
    assert_eq!(output.status.code(), Some(69));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("asking the daemon at unix:/"), "{errors}");
    site.start_daemon();
    assert_told(&status(&site));
    site.stop_daemon();
    assert!(!socket.exists());
    assert_eq!(
        fs::read_dir(site.folder.path())
            .unwrap()
            .filter(|entry| {
                entry
                    .as_ref()
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .starts_with(".api.sock")
            })
            .count(),
        0
    );
}

/// With TLS and the certificate of `pair`; returns the port.
fn secure(site: &Site, pair: &crate::certificates::Pair) -> u16 {
    let (certificate, key) = pair.write(site.folder.path());
    let port = port();
    let tls = format!(
        "listen = \"127.0.0.1:{port}\"\ntls_cert_file = \"{}\"\ntls_key_file = \"{}\"",
        certificate.display(),
        key.display()
    );
    site.configure(LISTEN, &tls);
    port
}

#[expect(
    clippy::disallowed_methods,
    reason = "a client of somebody's, who trusts one certificate"
)]
async fn get(port: u16, trusted: &str) -> Result<u16, reqwest::Error> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([Certificate::from_pem(trusted.as_bytes())?])
        .build()?;
    let answer = client.get(format!("https://localhost:{port}/readyz"));
    Ok(answer.send().await?.status().as_u16())
}

#[tokio::test]
async fn tls_shows_the_configured_certificate_and_a_reload_another() {
    let mut site = Site::without_daemon();
    let first = self_signed();
    let port = secure(&site, &first);
    site.start_daemon();
    assert_eq!(get(port, &first.certificate).await.unwrap(), 200);
    assert_told(&status(&site));

    // Plain HTTP is hung up on, and costs nothing.
    let plain = crate::process_support::send(site.api(), "GET", "/healthz", "", b"");
    assert!(plain.is_none());

    let second = self_signed();
    second.write(site.folder.path());
    // The command reads the new file, and the daemon still has the old one.
    let refused = status(&site);
    assert_eq!(refused.status.code(), Some(69));

    site.daemon().signal("HUP");
    site.daemon().tells("config.reloaded");
    assert_eq!(get(port, &second.certificate).await.unwrap(), 200);
    assert!(get(port, &first.certificate).await.is_err());
    assert_told(&status(&site));
    site.stop_daemon();
}

#[tokio::test]
async fn who_connects_and_says_nothing_holds_nobody_up() {
    let mut site = Site::without_daemon();
    let pair = self_signed();
    let port = secure(&site, &pair);
    site.start_daemon();
    let silent: Vec<_> = (0..20)
        .map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap())
        .collect();
    assert_eq!(get(port, &pair.certificate).await.unwrap(), 200);
    let path = site.file("ca.pem");
    fs::write(&path, &pair.certificate).unwrap();
    let url = format!("https://localhost:{port}");
    let asked = Command::new(ADAPTER)
        .args(["status", "--json", "--api", &url])
        .args(["--api-ca-file", path.to_str().unwrap()])
        .env("SEAM_API_KEY", site.key())
        .output()
        .unwrap();
    assert_told(&asked);
    site.stop_daemon();
    drop(silent);
}

#[test]
fn a_group_that_is_given_owns_the_socket() {
    use std::os::unix::fs::MetadataExt as _;
    if !rustix_root() {
        println!("!!!! NOT RUN: a socket's group: only root may give files away");
        return;
    }
    let mut site = Site::without_daemon();
    let socket = site.file("api.sock");
    let group = "daemon";
    site.configure(
        LISTEN,
        &format!(
            "listen = \"unix:{}\"\nsocket_group = \"{group}\"",
            socket.display()
        ),
    );
    site.start_daemon();
    let file = until("the socket file", || fs::metadata(&socket).ok());
    let groups = fs::read_to_string("/etc/group").unwrap();
    let line = groups.lines().find(|line| line.starts_with("daemon:"));
    let id: u32 = line.unwrap().split(':').nth(2).unwrap().parse().unwrap();
    assert_eq!(file.gid(), id);
    assert_eq!(file.permissions().mode() & 0o7777, 0o660);
    site.stop_daemon();
}

fn rustix_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}
