//! Where the truth is kept.

use std::fs;

use origo_adapter::config::{Place, Postgres};
use secrecy::ExposeSecret as _;

use super::Site;

fn postgres(site: &Site, url: &str) -> Postgres {
    let config = site.load(&format!("[store]\nurl = {url:?}"), &[]);
    match config.map(|config| config.store.place) {
        Ok(Place::Postgres(place)) => place,
        other => panic!("{url}: {other:?}"),
    }
}

#[test]
fn a_database_is_named_in_each_usual_way() {
    let site = Site::new();
    let roots = site.0.path().join("roots.pem");
    fs::write(&roots, "").unwrap();
    let over_tls = format!(
        "postgresql://me%40here@db.example:5433/a%20b?sslrootcert={0}&sslcert={0}&sslkey={0}",
        roots.display()
    );
    let place = postgres(&site, &over_tls);
    assert_eq!(place.to_string(), "a b on db.example:5433 as me@here");
    let tls = place.tls.unwrap();
    assert_eq!(tls.roots, Some(roots.clone()));
    assert_eq!(tls.client, Some((roots.clone(), roots)));

    let believing = postgres(&site, "postgres://me@[::1]/adapter?sslmode=require");
    assert_eq!(believing.to_string(), "adapter on [::1]:5432 as me");
    assert!(believing.tls.unwrap().roots.is_none());
    let bare = postgres(&site, "postgres://me@db/adapter?sslmode=disable");
    assert_eq!(bare.tls, None);

    for url in [
        "postgres:///adapter?user=me&host=/run/postgresql",
        "postgres://me@%2Frun%2Fpostgresql/adapter",
        "postgres://me@localhost/?dbname=adapter&host=/run/postgresql&port=5432&sslmode=disable",
    ] {
        let place = postgres(&site, url);
        assert_eq!(place.to_string(), "adapter on /run/postgresql:5432 as me");
        assert_eq!(place.tls, None, "{url}");
    }
}

#[test]
fn its_password_is_a_file_and_is_never_shown() {
    let site = Site::new();
    let text = format!(
        "[store]\nurl = \"postgres:///adapter?user=me&host=/run\"\npassword_file = {:?}",
        site.secret().to_str().unwrap()
    );
    let config = site.load(&text, &[]).unwrap();
    assert!(!format!("{config:?}").contains(super::SECRET));
    let Place::Postgres(place) = config.store.place else {
        panic!("it is PostgreSQL's");
    };
    assert_eq!(place.password.unwrap().expose_secret(), super::SECRET);
}

#[test]
fn the_head_lies_where_it_is_said_to() {
    let site = Site::new();
    let head = |more: &str, environment: &[(&str, &str)]| {
        let url = "url = \"postgres:///adapter?user=me&host=/run\"";
        let config = site.load(&format!("[store]\n{url}\n{more}"), environment);
        config.unwrap().store.head.to_str().unwrap().to_owned()
    };
    let systemd = [("STATE_DIRECTORY", "/var/lib/a")];
    assert_eq!(head("", &[]), "/var/lib/origo-adapter/head");
    assert_eq!(head("", &systemd), "/var/lib/a/head");
    assert_eq!(head("head_file = \"/srv/h\"", &systemd), "/srv/h");
}

#[test]
fn what_is_wrong_with_a_database_is_said_and_no_password_with_it() {
    let site = Site::new();
    for (url, wanted) in [
        (
            "postgres://me:hunter2@db/adapter?sslmode=disable",
            "must not hold a password; password_file is for it",
        ),
        (
            "postgres://me@db/adapter?sslmode=disable&password=hunter2",
            "must not hold a password; password_file is for it",
        ),
        ("postgres://db/adapter?sslmode=disable", "names no user"),
        ("postgres://me@db/?sslmode=disable", "names no database"),
        (
            "postgres:///adapter?user=me",
            "names no host: a name, or host=/run/postgresql",
        ),
        (
            "postgres://me@db/adapter",
            "must name sslrootcert, who vouches for the host; or sslmode=require to believe whoever answers, \
             or sslmode=disable",
        ),
        (
            "postgres://me@db/adapter?sslmode=prefer",
            "must have sslmode disable, require or verify-full",
        ),
        (
            "postgres:///adapter?user=me&host=/run&sslmode=require",
            "asks for TLS on a socket file, which has none",
        ),
        (
            "postgres://me@db/adapter?sslmode=require&sslcert=/no/where",
            "names one of sslcert and sslkey without the other",
        ),
        (
            "postgres://me@db/adapter?sslrootcert=/no/where",
            "sslrootcert: \"/no/where\" is no file that can be read",
        ),
        (
            "postgres://me@db/adapter?sslmode=disable&options=-c",
            "has an unknown parameter \"options\"",
        ),
        (
            "postgres://me@db/adapter?user=me&user=you",
            "names \"user\" twice",
        ),
    ] {
        let said = site.complaints(&format!("[store]\nurl = {url:?}"), &[]);
        assert_eq!(
            said,
            format!("store.url: {wanted} (in config.toml)"),
            "{url}"
        );
    }
    let text = format!(
        "[store]\npassword_file = {:?}",
        site.secret().to_str().unwrap()
    );
    assert_eq!(
        site.complaints(&text, &[]),
        "store.password_file: a file has no password (in config.toml)"
    );
}
