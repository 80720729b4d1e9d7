//! Where webhooks may lead, and the one request that goes there.
//!
//! Promises: unless private addresses are allowed, no connection is made to one, whatever the name in
//! the URL resolves to at that moment; every address of a name must be public, and those that were
//! looked at are those that are connected to. No redirect is followed, nothing is retried, no proxy is
//! taken from the environment.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// From resolving the name to the status line (seam-api.md 6.2).
pub const TIMEOUT: Duration = Duration::from_secs(15);

/// Finds the addresses of a name.
pub type Lookup = Arc<
    dyn Fn(String) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> + Send + Sync,
>;

/// Why an attempt failed, in words that may be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The URL is none, or of a scheme that may not be used.
    Url,
    /// It leads to an address that is not public.
    Private,
    /// The secret can't sign.
    Secret,
    /// No connection.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// No whole answer.
    Broken,
    /// An answer that is no 2xx.
    Status(u16),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url => f.write_str("its URL may not be used"),
            Self::Private => f.write_str("its address is not public"),
            Self::Secret => f.write_str("its secret is unusable"),
            Self::Unreachable => f.write_str("no connection"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Broken => f.write_str("no whole answer"),
            Self::Status(status) => write!(f, "answered with {status}"),
        }
    }
}

/// Says what is wrong with the URL of a webhook, names not looked up.
pub fn check_url(url: &str, allow_private: bool) -> Result<Url, &'static str> {
    let url = Url::parse(url).map_err(|_| "Invalid url")?;
    match url.scheme() {
        "https" => {}
        "http" if allow_private => {}
        _ => return Err("Must begin with https://"),
    }
    let literal = match url.host() {
        Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
        Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
        Some(Host::Domain(_)) => None,
        None => return Err("Invalid url"),
    };
    if !allow_private && literal.is_some_and(|ip| !is_public(ip)) {
        return Err("Must lead to a public address");
    }
    Ok(url)
}

/// Anybody on the internet might have this address.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

/// By IANA's registry of special addresses.
fn is_public_v4(ip: Ipv4Addr) -> bool {
    let special = match ip.octets() {
        // This network, shared with carriers, IETF, 6to4 relays, benchmarks, reserved.
        [0 | 240..=255, ..] | [192, 0, 0, _] | [192, 88, 99, _] | [198, 18 | 19, ..] => true,
        [100, second, ..] => (64..128).contains(&second),
        _ => false,
    };
    !(special
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation())
}

/// Only global unicast, and of that nothing that leads elsewhere by what is embedded.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    if let Some(mapped) = ip.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    match ip.segments() {
        // NAT64, 6to4.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            is_public_v4(joined(high, low))
        }
        // Protocol assignments with Teredo; documentation.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

fn joined(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

/// Posts to webhooks.
pub struct Sender {
    client: reqwest::Client,
    allow_private: bool,
}

impl Sender {
    /// With the machine's own resolver; `ca` holds certificates in PEM that are trusted besides the system's.
    pub fn new(allow_private: bool, ca: Option<&[u8]>) -> Result<Self, reqwest::Error> {
        let lookup = |name: String| -> Pin<Box<dyn Future<Output = _> + Send>> {
            Box::pin(async move {
                let found = tokio::net::lookup_host((name, 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            })
        };
        Self::resolving(allow_private, ca, Arc::new(lookup))
    }

    /// With another resolver.
    pub fn resolving(
        allow_private: bool,
        ca: Option<&[u8]>,
        lookup: Lookup,
    ) -> Result<Self, reqwest::Error> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one client that talks to others than HID: it resolves by itself and never retries or redirects"
        )]
        let builder = reqwest::Client::builder();
        let trusted = ca.map(reqwest::Certificate::from_pem_bundle).transpose()?;
        let client = builder
            .tls_certs_merge(trusted.unwrap_or_default())
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .http1_only()
            .pool_idle_timeout(Duration::from_secs(20))
            .dns_resolver(Resolver {
                lookup,
                allow_private,
            })
            .user_agent(concat!("origo-adapter/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            client,
            allow_private,
        })
    }

    /// Posts once. Fine is a 2xx within the time; its body is not read.
    pub async fn post(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<(), Failure> {
        let url = check_url(url, self.allow_private).map_err(|_| Failure::Url)?;
        let mut request = self
            .client
            .post(url)
            .header("content-type", "application/json")
            .body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        // The client's own time-out does not cover all of resolving.
        let answer = tokio::time::timeout(TIMEOUT, request.send()).await;
        let answer = answer.map_err(|_| Failure::TimedOut)?.map_err(classify)?;
        let status = answer.status();
        if status.is_success() {
            Ok(())
        } else {
            Err(Failure::Status(status.as_u16()))
        }
    }
}

fn classify(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let first: &(dyn std::error::Error + 'static) = &error;
    let mut causes = std::iter::successors(Some(first), |cause| cause.source());
    if causes.any(<dyn std::error::Error>::is::<NotPublic>) {
        Failure::Private
    } else if error.is_timeout() {
        Failure::TimedOut
    } else if error.is_connect() {
        Failure::Unreachable
    } else {
        Failure::Broken
    }
}

/// A name leads to an address that is not public.
#[derive(Debug, thiserror::Error)]
#[error("an address is not public")]
struct NotPublic;

/// Asked at connection time, for each new connection: what it returns is what is connected to, so no
/// name can be public when it is looked at and private when it is used.
struct Resolver {
    lookup: Lookup,
    allow_private: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let found = (self.lookup)(name.as_str().to_owned());
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = found.await?;
            if !allow_private && !found.iter().copied().all(is_public) {
                return Err(NotPublic.into());
            }
            // Port 0 becomes the URL's.
            let addresses = found.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_not_public() {
        for ip in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.32.0.1",
            "93.184.215.14",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2606:4700::1111",
            "2a00:1450:4001::1",
        ] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn a_url_must_be_https_and_public() {
        for (url, public, private) in [
            ("https://example.com/hook", true, true),
            ("https://1.1.1.1:8443/hook", true, true),
            ("http://example.com/hook", false, true),
            ("https://127.0.0.1/hook", false, true),
            ("https://2130706433/hook", false, true),
            ("https://0x7f.1/hook", false, true),
            ("https://[::ffff:10.0.0.1]/hook", false, true),
            ("https://[::1]/hook", false, true),
            ("ftp://example.com/", false, false),
            ("file:///etc/passwd", false, false),
            ("example.com", false, false),
            ("", false, false),
        ] {
            assert_eq!(check_url(url, false).is_ok(), public, "{url}");
            assert_eq!(check_url(url, true).is_ok(), private, "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_is_refused_for_any_address_that_is_not_public() {
        for found in [["1.1.1.1", "10.0.0.1"], ["::ffff:127.0.0.1", "1.1.1.1"]] {
            let lookup: Lookup = Arc::new(move |_| {
                let found = found.map(|ip| ip.parse().unwrap()).to_vec();
                Box::pin(std::future::ready(Ok(found)))
            });
            let sender = Sender::resolving(false, None, lookup).unwrap();
            let posted = sender.post("https://rebinding.example/", &[], Bytes::new());
            assert_eq!(posted.await, Err(Failure::Private));
        }
    }
}
