//! Logging in by a signed assertion (origo-api.md 2.4): its printed form, and what the simulator makes of it.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use origo_adapter::origo::{Client, Login, Settings, Signer, Unlimited};
use origo_adapter::simulator::{self, Hid, Reply};
use serde_json::Value;

use crate::certificates::rsa;
use crate::origo_simulator::InProcess;
use crate::origo_stub::{START, Stub, body, settings};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn signer(key: &str, audience: Option<&str>, kind: Option<&str>) -> Signer {
    let text = |text: &str| text.to_owned();
    Signer::new(key.as_bytes(), audience.map(text), kind.map(text)).unwrap()
}

fn account(login: Signer) -> Settings {
    Settings {
        login: Login::Key(login),
        ..settings("https://hid.example")
    }
}

/// The form of one login, and the claims of its assertion, whose signature holds.
async fn login(signer: Signer, public: &str) -> (BTreeMap<String, String>, Value) {
    let stub = Arc::new(Stub::default());
    let client = Client::new(
        account(signer),
        Arc::<Stub>::clone(&stub),
        Arc::new(Unlimited),
        Arc::new(|| START),
    );
    client.token().await.unwrap();
    let (logins, _) = stub.take();
    let form: BTreeMap<String, String> = form_urlencoded::parse(body(&logins[0]).as_bytes())
        .into_owned()
        .collect();
    let mut rules = Validation::new(Algorithm::RS256);
    rules.validate_exp = false;
    rules.validate_aud = false;
    let key = DecodingKey::from_rsa_pem(public.as_bytes()).unwrap();
    let token = jsonwebtoken::decode::<Value>(&form["client_assertion"], &key, &rules).unwrap();
    assert_eq!(token.header.kid, None);
    (form, token.claims)
}

#[tokio::test]
async fn a_signed_login_is_the_printed_form() {
    let (key, public) = rsa();
    let (form, claims) = login(signer(&key, None, None), &public).await;
    let names: Vec<&str> = form.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["client_assertion", "grant_type"],
        "and nothing else"
    );
    assert_eq!(form["grant_type"], "client_credentials");
    assert_eq!(claims["iss"], "7001234-OSRV900001");
    assert_eq!(claims["sub"], claims["iss"]);
    assert_eq!(
        claims["aud"],
        "https://hid.example/idp/authentication/customer/7001234/token"
    );
    let second = |name: &str| claims[name].as_i64().unwrap();
    assert!(second("iat") < START / 1000, "a little back");
    assert_eq!(second("nbf"), second("iat"));
    assert_eq!(second("exp") - second("iat"), 3600);
    let (_, again) = login(signer(&key, None, None), &public).await;
    assert_ne!(claims["jti"], again["jti"], "no assertion serves twice");
}

#[tokio::test]
async fn audience_and_type_are_what_a_site_says() {
    let (key, public) = rsa();
    let told = signer(&key, Some("https://idp.example/token"), Some(JWT_BEARER));
    let (form, claims) = login(told, &public).await;
    assert_eq!(claims["aud"], "https://idp.example/token");
    assert_eq!(form["client_assertion_type"], JWT_BEARER);
}

/// Whether the simulator lets the account in.
async fn admitted(hid: simulator::Settings, signer: Signer) -> bool {
    let client = Client::new(
        Settings {
            token_url: "https://hid.example".parse().unwrap(),
            ..account(signer)
        },
        Arc::new(InProcess {
            hid: Mutex::new(Hid::new(hid, 1)),
            now: Arc::new(AtomicI64::new(START)),
        }),
        Arc::new(Unlimited),
        Arc::new(|| START),
    );
    client.token().await.is_ok()
}

fn hid(public: Option<String>) -> simulator::Settings {
    let mut settings = simulator::Settings::default();
    settings.organizations[0].public_key = public;
    settings
}

#[tokio::test]
async fn hid_takes_only_what_the_right_key_has_signed() {
    let (key, public) = rsa();
    let (other, _) = rsa();
    let told = || signer(&key, None, None);
    assert!(admitted(hid(Some(public.clone())), told()).await);
    assert!(!admitted(hid(Some(public.clone())), signer(&other, None, None)).await);
    assert!(!admitted(hid(None), told()).await, "no key is known");

    let mut strict = hid(Some(public.clone()));
    strict.assertion_audience = Some("https://idp.example/token".into());
    assert!(!admitted(strict.clone(), told()).await);
    let right = signer(&key, Some("https://idp.example/token"), None);
    assert!(admitted(strict, right).await);

    for sent in [true, false] {
        let mut typed = hid(Some(public.clone()));
        typed.assertion_type_sent = Some(sent);
        let kind = sent.then_some(JWT_BEARER);
        assert!(admitted(typed.clone(), signer(&key, None, kind)).await);
        let kind = (!sent).then_some(JWT_BEARER);
        assert!(!admitted(typed, signer(&key, None, kind)).await);
    }
}

#[tokio::test]
async fn hid_takes_no_assertion_twice_and_none_that_is_over() {
    let (key, public) = rsa();
    let (form, _) = login(signer(&key, None, None), &public).await;
    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(&form)
        .finish();
    let mut hid = Hid::new(hid(Some(public)), 1);
    let mut status = |at: i64| {
        let path = "https://hid.example/authentication/customer/7001234/token";
        let request = http::Request::post(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.clone().into());
        match hid.handle(at, request.unwrap()) {
            Reply::Answer(answer) => answer.status().as_u16(),
            Reply::Reset | Reply::Hang => 0,
        }
    };
    assert_eq!(status(START), 200);
    assert_eq!(status(START + 1_000), 401, "a second time");
    assert_eq!(status(START + 7_200_000), 401, "two hours later");
}
