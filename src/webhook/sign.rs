//! The signature that Seam's SDKs verify (seam-api.md 6.2): HMAC-SHA256 over id, time and body.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::fill;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};

const PREFIX: &str = "whsec_";

/// A new secret; `None` where the machine has no randomness.
#[must_use]
pub fn new_secret() -> Option<SecretString> {
    let mut bytes = [0; 24];
    fill(&mut bytes).ok()?;
    Some(format!("{PREFIX}{}", STANDARD.encode(bytes)).into())
}

/// The header's value; `None` where the secret is none.
#[must_use]
pub fn signature(secret: &SecretString, id: &str, seconds: i64, body: &[u8]) -> Option<String> {
    let text = secret.expose_secret();
    let key = STANDARD
        .decode(text.strip_prefix(PREFIX).unwrap_or(text))
        .ok()?;
    let mut signing = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &key));
    signing.update(format!("{id}.{seconds}.").as_bytes());
    signing.update(body);
    Some(format!("v1,{}", STANDARD.encode(signing.sign())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use standardwebhooks::Webhook;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_one_of_the_reference(
            key in prop::collection::vec(any::<u8>(), 1..64),
            id in "[a-zA-Z0-9_]{1,40}",
            seconds in 0..4_000_000_000_i64,
            body in ".*",
        ) {
            let secret = format!("{PREFIX}{}", STANDARD.encode(key));
            let theirs = Webhook::new(&secret).unwrap().sign(&id, seconds, body.as_bytes()).unwrap();
            let ours = signature(&secret.into(), &id, seconds, body.as_bytes());
            prop_assert_eq!(ours, Some(theirs));
        }
    }

    #[test]
    fn secrets_are_new_each_time_and_of_24_bytes() {
        let secrets = [new_secret().unwrap(), new_secret().unwrap()];
        let [one, two] = secrets.each_ref().map(SecretString::expose_secret);
        assert_ne!(one, two);
        assert_eq!(STANDARD.decode(&one[PREFIX.len()..]).unwrap().len(), 24);
        assert!(!format!("{secrets:?}").contains(one));
    }

    #[test]
    fn what_is_no_secret_signs_nothing() {
        let secret = "whsec_not base64".to_owned().into();
        assert_eq!(signature(&secret, "msg_1", 0, b"{}"), None);
    }
}
