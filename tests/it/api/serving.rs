//! The listener: deadlines, the ceiling, and a drain, over real sockets.

use std::time::Duration;

use origo_adapter::api::{Limits, serve_with};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::support::*;

const ASK: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";

struct Server {
    address: std::net::SocketAddr,
    soft: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let soft = CancellationToken::new();
        let router = World::new().router;
        let task = tokio::spawn(serve_with(listener, router, soft.clone(), limits));
        Self {
            address,
            soft,
            task,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let read = stream.read_to_string(&mut text);
    tokio::time::timeout(Duration::from_secs(10), read)
        .await
        .unwrap()
        .unwrap();
    text
}

async fn answered(stream: &mut TcpStream) -> String {
    stream.write_all(ASK).await.unwrap();
    let mut buffer = vec![0; 4096];
    let read = stream.read(&mut buffer).await.unwrap();
    String::from_utf8(buffer[..read].to_vec()).unwrap()
}

#[tokio::test]
async fn a_slow_header_is_told() {
    let server = Server::start(Limits {
        header_deadline: Duration::from_millis(100),
        ..Limits::default()
    })
    .await;
    let mut slow = server.connect().await;
    slow.write_all(b"GET /healthz HT").await.unwrap();
    let text = rest(&mut slow).await;
    assert!(
        text.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
        "{text}"
    );
    assert!(
        text.contains("application/json") && text.contains("request_timeout"),
        "{text}"
    );
    let mut idle = server.connect().await;
    assert_eq!(rest(&mut idle).await, "");
}

#[tokio::test]
async fn one_too_many_is_told() {
    let server = Server::start(Limits {
        connections: 1,
        ..Limits::default()
    })
    .await;
    let mut first = server.connect().await;
    assert!(answered(&mut first).await.starts_with("HTTP/1.1 200"));
    let mut second = server.connect().await;
    second.write_all(ASK).await.unwrap();
    let text = rest(&mut second).await;
    assert!(text.starts_with("HTTP/1.1 503"), "{text}");
    assert!(
        text.contains("too many connections") && text.contains("seam-request-id"),
        "{text}"
    );
    assert!(
        answered(&mut first).await.starts_with("HTTP/1.1 200"),
        "the first one stays"
    );
    drop(first);
    loop {
        let mut next = server.connect().await;
        if answered(&mut next).await.starts_with("HTTP/1.1 200") {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_drain_closes_what_is_idle_and_ends() {
    let server = Server::start(Limits::default()).await;
    let mut idle = server.connect().await;
    assert!(answered(&mut idle).await.starts_with("HTTP/1.1 200"));
    server.soft.cancel();
    tokio::time::timeout(Duration::from_secs(5), server.task)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(rest(&mut idle).await, "");
    assert!(TcpStream::connect(server.address).await.is_err());
}
