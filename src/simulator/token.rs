//! The token endpoint (`origo-api.md` 2): password only; an assertion is an unknown client here.

use serde_json::json;

use super::{
    answer::{Answer, Outcome, Refusal},
    guard::Token,
    hid::Hid,
    routes::Call,
};

const TOKEN_LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl Hid {
    pub(super) fn token(&mut self, call: &Call) -> Outcome {
        let form: Vec<(String, String)> = form_urlencoded::parse(&call.body).into_owned().collect();
        let field = |name: &str| {
            form.iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_str())
        };
        let known = self.settings.organizations.iter().any(|organization| {
            organization.id == call.organization
                && field("client_id") == Some(&organization.client_id)
                && field("client_secret") == Some(&organization.client_secret)
        });
        if field("grant_type") != Some("client_credentials") {
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
