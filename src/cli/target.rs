//! Which daemon a command asks, and how it knows that it is that one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};

use crate::config::Listen;

/// Where a daemon's API listens.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// Over the network; with a certificate, it must show just that one.
    Url(String, Option<CertificateDer<'static>>),
    /// A socket file.
    Unix(PathBuf),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        if text.starts_with("https://") || text.starts_with("http://") {
            let url = url::Url::parse(text).map_err(|error| error.to_string())?;
            return Ok(Self::Url(
                url.as_str().trim_end_matches('/').to_owned(),
                None,
            ));
        }
        let address: Result<SocketAddr, _> = text.parse();
        address
            .map(|address| Self::Url(format!("http://{address}"), None))
            .map_err(|_| "an address and port, a URL, or unix: and a path is wanted".to_owned())
    }
}

impl Target {
    /// The daemon that has this configuration.
    pub(super) fn of(listen: &Listen) -> Self {
        match listen {
            Listen::Tcp(address, None) => {
                Self::Url(format!("http://{}", reachable(*address)), None)
            }
            Listen::Tcp(address, Some(tls)) => Self::Url(
                format!("https://{}", reachable(*address)),
                Some(tls.certificate.clone()),
            ),
            Listen::Unix(socket) => Self::Unix(socket.path.clone()),
        }
    }

    /// The address of a route.
    pub(super) fn url(&self, path: &str) -> String {
        match self {
            Self::Url(base, _) => format!("{base}{path}"),
            Self::Unix(_) => format!("http://localhost{path}"),
        }
    }

    /// Lets a client find the daemon, and know it.
    pub(super) fn reach(
        &self,
        client: reqwest::ClientBuilder,
    ) -> Result<reqwest::ClientBuilder, rustls::Error> {
        Ok(match self {
            Self::Url(_, None) => client,
            Self::Url(_, Some(certificate)) => {
                client.tls_backend_preconfigured(trusting(certificate.clone())?)
            }
            Self::Unix(path) => client.unix_socket(path.clone()),
        })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url(base, _) => f.write_str(base.strip_prefix("http://").unwrap_or(base)),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Who listens everywhere listens here as well.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn trusting(certificate: CertificateDer<'static>) -> Result<rustls::ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let only = Only {
        certificate,
        provider: Arc::clone(&provider),
    };
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(only))
        .with_no_client_auth();
    Ok(config)
}

/// Trusts the certificate that stands in the configuration, and no other: its names and dates say nothing more.
#[derive(Debug)]
struct Only {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
