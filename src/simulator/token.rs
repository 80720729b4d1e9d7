//! The token endpoint (`origo-api.md` 2): by password, or by assertion where the account has a public key.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    answer::{Answer, Outcome, Refusal},
    assertion,
    guard::Token,
    hid::Hid,
    routes::Call,
};

const TOKEN_LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl Hid {
    pub(super) fn token(&mut self, call: &Call) -> Outcome {
        let form: Vec<(String, String)> = form_urlencoded::parse(&call.body).into_owned().collect();
        let form: BTreeMap<&str, &str> = form
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let organization = self
            .settings
            .organizations
            .iter()
            .find(|organization| organization.id == call.organization);
        let known = organization.is_some_and(|organization| {
            if form.contains_key("client_assertion") {
                let seen = &mut self.assertions;
                return assertion::holds(&self.settings, organization, &form, seen, call.at);
            }
            form.get("client_id") == Some(&organization.client_id.as_str())
                && form.get("client_secret") == Some(&organization.client_secret.as_str())
        });
        if form.get("grant_type") != Some(&"client_credentials") {
            return Err(Refusal::plain(400, "unsupported_grant_type"));
        }
        if !known {
            return Err(Refusal::plain(401, "invalid_client"));
        }
        self.tokens.retain(|_, token| token.expires > call.at);
        let access_token = format!("{}+/=", self.names.text(TOKEN_LETTERS, 40));
        let id_token = format!(
            "eyJ{}",
            self.names.text(TOKEN_LETTERS, 20).replace(['+', '/'], "-")
        );
        let lifetime_ms = self.settings.token_lifetime_s.saturating_mul(1_000);
        self.tokens.insert(
            access_token.clone(),
            Token {
                organization: call.organization.clone(),
                expires: call.at.saturating_add_unsigned(lifetime_ms),
                used: call.at,
            },
        );
        Ok(Answer::ok(json!({
            "access_token": access_token,
            "id_token": id_token,
            "token_type": "Bearer",
            "expires_in": self.settings.token_lifetime_s,
        })))
    }
}
