//! Real HTTP against small listeners on loopback: what counts as sent, and what as an answer.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use origo_adapter::core::ids::{ContainerId, PartNumber};
use origo_adapter::core::{Effect, Fault};
use origo_adapter::origo::{
    BodyCeiling, Client, HttpTransport, Options, Proxy, Transport, TransportError, Trouble,
    Unlimited,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wiremock::matchers::{body_string_contains, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::origo_stub::{START, settings};

fn transport(request_timeout: Duration) -> HttpTransport {
    HttpTransport::new(&Options {
        request_timeout,
        proxy: None,
        ca_certificates: None,
    })
    .expect("a transport")
}

fn post(url: &str, ceiling: usize) -> http::Request<Bytes> {
    http::Request::post(url)
        .extension(BodyCeiling(ceiling))
        .body(Bytes::from_static(b"{}"))
        .expect("a request")
}

/// Serves every connection with `serve` once its request has arrived.
async fn listener<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/x", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 1024];
            if matches!(stream.read(&mut head).await, Ok(read) if read > 0) {
                tokio::spawn(serve(stream));
            }
        }
    });
    url
}

async fn say(mut stream: TcpStream, text: &'static str) {
    stream.write_all(text.as_bytes()).await.expect("a peer");
    stream.shutdown().await.expect("a peer");
}

async fn outcome(url: &str) -> Result<(u16, Bytes), TransportError> {
    let answer = transport(Duration::from_millis(400))
        .send(post(url, 64))
        .await?;
    Ok((answer.status().as_u16(), answer.into_body()))
}

fn is_unanswered(outcome: &Result<(u16, Bytes), TransportError>) -> bool {
    matches!(outcome, Err(TransportError::Unanswered(_)))
}

#[tokio::test]
async fn a_refused_connection_has_sent_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}/secret-path", listener.local_addr().unwrap());
    drop(listener);
    for url in [closed.as_str(), "http://no-such-host.invalid/secret-path"] {
        let Err(TransportError::Unsent(text)) = outcome(url).await else {
            panic!("{url} was not found unsent");
        };
        assert!(!text.contains("secret-path"), "{text}");
    }
}

#[tokio::test]
async fn a_failed_tls_handshake_has_sent_nothing() {
    let url = listener(|stream| say(stream, "HTTP/1.1 400 Bad Request\r\n\r\n")).await;
    let outcome = outcome(&url.replace("http:", "https:")).await;
    assert!(
        matches!(outcome, Err(TransportError::Unsent(_))),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn whatever_breaks_after_the_request_is_unanswered() {
    let reset = listener(|stream| async move {
        stream.set_zero_linger().expect("a socket");
        drop(stream);
    })
    .await;
    let hang = listener(|stream| async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(stream);
    })
    .await;
    let truncated =
        listener(|s| say(s, "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"id\":")).await;
    let drip = listener(|mut stream| async move {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n";
        let mut next = stream.write_all(head.as_bytes()).await;
        while next.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            next = stream.write_all(b" ").await;
        }
    })
    .await;
    let garbage = listener(|s| say(s, "what?\r\n\r\n")).await;
    for url in [reset, hang, truncated, drip, garbage] {
        let outcome = outcome(&url).await;
        assert!(is_unanswered(&outcome), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_request_lost_on_a_kept_connection_is_not_repeated() {
    let requests = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&requests);
    let url = listener(move |mut stream| {
        let requests = Arc::clone(&counted);
        async move {
            requests.fetch_add(1, Ordering::SeqCst);
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.expect("a peer");
            let mut head = [0; 1024];
            if matches!(stream.read(&mut head).await, Ok(read) if read > 0) {
                requests.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    let transport = transport(Duration::from_secs(5));
    let first = transport.send(post(&url, 64)).await;
    assert!(first.is_ok(), "{first:?}");
    let second = transport.send(post(&url, 64)).await;
    assert!(
        matches!(second, Err(TransportError::Unanswered(_))),
        "{second:?}"
    );
    assert_eq!(requests.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_answer_has_a_ceiling() {
    let server = MockServer::start().await;
    Mock::given(path("/fits"))
        .respond_with(ResponseTemplate::new(200).set_body_string("x".repeat(64)))
        .mount(&server)
        .await;
    Mock::given(path("/over"))
        .respond_with(ResponseTemplate::new(200).set_body_string("x".repeat(65)))
        .mount(&server)
        .await;
    let fits = outcome(&format!("{}/fits", server.uri())).await;
    assert_eq!(fits.unwrap().1.len(), 64);
    let over = outcome(&format!("{}/over", server.uri())).await;
    let error = over.unwrap_err();
    assert!(matches!(error, TransportError::Oversized(_)), "{error}");
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_an_error_not_repeated() {
    let server = MockServer::start().await;
    Mock::given(path("/from"))
        .respond_with(ResponseTemplate::new(307).insert_header("location", "/to"))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(path("/to"))
        .respond_with(ResponseTemplate::new(200))
        .expect(0)
        .mount(&server)
        .await;
    Mock::given(path("/busy"))
        .respond_with(ResponseTemplate::new(503).insert_header("retry-after", "0"))
        .expect(1)
        .mount(&server)
        .await;
    let from = outcome(&format!("{}/from", server.uri())).await;
    assert_eq!(from.unwrap().0, 307);
    let busy = outcome(&format!("{}/busy", server.uri())).await;
    assert_eq!(busy.unwrap().0, 503);
}

#[tokio::test]
async fn an_issue_over_the_wire() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/idp/authentication/customer/7001234/token"))
        .and(body_string_contains("grant_type=client_credentials"))
        .respond_with(ResponseTemplate::new(200).set_body_raw(
            r#"{"access_token":"opaque","id_token":"eyJx","token_type":"Bearer","expires_in":3600}"#,
            "application/json; charset=UTF-8",
        ))
        .expect(1)
        .mount(&server)
        .await;
    let issue = "/credential-management/customer/7001234/credential-container/61001/credential";
    Mock::given(method("POST"))
        .and(path(issue))
        .respond_with(ResponseTemplate::new(500))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path(issue))
        .respond_with(
            ResponseTemplate::new(412)
                .set_body_string(r#"{"status":412,"detail":"Already delivered"}"#),
        )
        .mount(&server)
        .await;
    let client = Client::new(
        settings(&server.uri()),
        Arc::new(transport(Duration::from_secs(5))),
        Arc::new(Unlimited),
        Arc::new(|| START),
    );
    let effect = Effect::Issue {
        container: ContainerId::parse("61001").unwrap(),
        part_number: PartNumber("MID-SUB-EXAMPLE_1".into()),
    };
    let error = client.perform(&effect, &|| true).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unanswered);
    assert_eq!(error.trouble, Some(Trouble::ServerError));
    let error = client.perform(&effect, &|| true).await.unwrap_err();
    assert_eq!((error.fault, error.trouble), (Fault::Already, None));
}

#[test]
fn options_do_not_show_a_proxy_password() {
    let options = Options {
        request_timeout: Duration::from_secs(1),
        proxy: Some(Proxy {
            url: "http://proxy.example".parse().unwrap(),
            credentials: Some("me:hidden".to_owned().into()),
        }),
        ca_certificates: None,
    };
    assert!(!format!("{options:?}").contains("hidden"));
}

#[tokio::test]
async fn a_proxy_is_asked_for_everything_and_shown_its_password() {
    let proxy = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(204))
        .mount(&proxy)
        .await;
    let transport = HttpTransport::new(&Options {
        request_timeout: Duration::from_secs(5),
        proxy: Some(Proxy {
            url: proxy.uri().parse().unwrap(),
            credentials: Some("me:hidden:word".to_owned().into()),
        }),
        ca_certificates: None,
    })
    .unwrap();
    // A name that nobody can resolve: only the proxy is spoken to.
    let answer = transport.send(post("http://hid.invalid/x", 1024)).await;
    assert_eq!(answer.unwrap().status(), 204);
    let seen = proxy.received_requests().await.unwrap();
    assert_eq!(seen[0].headers["host"], "hid.invalid");
    assert_eq!(
        seen[0].headers["proxy-authorization"],
        "Basic bWU6aGlkZGVuOndvcmQ="
    );
}

#[tokio::test]
async fn an_own_authority_is_trusted_where_it_is_named() {
    let pair = crate::certificates::self_signed();
    let port = secure_listener(&pair).await;
    let mut options = Options {
        request_timeout: Duration::from_secs(5),
        proxy: None,
        ca_certificates: None,
    };
    let url = format!("https://localhost:{port}/x");
    let strange = HttpTransport::new(&options).unwrap();
    let outcome = strange.send(post(&url, 1024)).await;
    assert!(
        matches!(outcome, Err(TransportError::Unsent(_))),
        "nothing was sent to a stranger: {outcome:?}"
    );
    options.ca_certificates = Some(pair.certificate.into_bytes());
    let known = HttpTransport::new(&options).unwrap();
    let answer = known.send(post(&url, 1024)).await;
    assert_eq!(answer.unwrap().status(), 204);
}

/// Answers every request with 204, over TLS.
async fn secure_listener(pair: &crate::certificates::Pair) -> u16 {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut head = [0; 1024];
            let read = stream.read(&mut head).await;
            if matches!(read, Ok(read) if read > 0) {
                let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
                stream.write_all(answer).await.expect("a peer");
                stream.shutdown().await.expect("a peer");
            }
        }
    });
    port
}
