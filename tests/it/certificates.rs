//! Certificates and keys that a test makes for itself.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{CertifiedKey, KeyPair, PKCS_RSA_SHA256, RsaKeySize};

/// A certificate that signed itself, for this machine, and its key: in PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

pub(crate) fn self_signed() -> Pair {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
    Pair {
        certificate: cert.pem(),
        key: signing_key.serialize_pem(),
    }
}

impl Pair {
    /// Writes both into files of `folder`.
    pub(crate) fn write(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let (certificate, key) = (folder.join("api-cert.pem"), folder.join("api-key.pem"));
        fs::write(&certificate, &self.certificate).unwrap();
        fs::write(&key, &self.key).unwrap();
        (certificate, key)
    }
}

/// An RSA key and its public half, in PEM.
pub(crate) fn rsa() -> (String, String) {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    (key.serialize_pem(), key.public_key_pem())
}
