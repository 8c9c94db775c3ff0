//! Who is asking: what `docker login` stored and the client sends along.

use std::fmt;

use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{Deserialize, de::DeserializeOwned};

/// Longest header that is looked at. Identity tokens of cloud registries reach a few KiB.
const MAX_HEADER: usize = 64 << 10;

/// Base64 as any client writes it: padded or not.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a user shows to a registry. All empty means anonymous.
#[derive(Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default)]
pub struct Credentials {
    /// The user's name.
    pub username: String,
    /// The password, or an access token in its place.
    pub password: String,
    /// An OAuth2 refresh token, as [`Registries::login`](crate::Registries::login) returns.
    #[serde(alias = "identitytoken")]
    pub identity_token: String,
    /// A bearer token that the registry takes as it is.
    #[serde(alias = "registrytoken")]
    pub registry_token: String,
    /// The registry the client stored them for. Not used: a client sends the right ones.
    #[serde(alias = "serveraddress")]
    pub server_address: String,
}

impl Credentials {
    /// Reads the header `X-Registry-Auth`. What cannot be read is anonymous, as in Docker.
    #[must_use]
    pub fn from_header(text: &str) -> Self {
        decode_header(text).unwrap_or_default()
    }

    /// Whether there is nothing to show.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.username.is_empty()
            && self.password.is_empty()
            && self.identity_token.is_empty()
            && self.registry_token.is_empty()
    }
}

/// Reads a header that is JSON in base64; `None` for what cannot be read.
#[must_use]
pub fn decode_header<T: DeserializeOwned>(text: &str) -> Option<T> {
    let text = text.trim().replace('+', "-").replace('/', "_");
    if text.len() > MAX_HEADER {
        return None;
    }
    serde_json::from_slice(&LENIENT.decode(text).ok()?).ok()
}

/// Names the user and hides the secrets.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |secret: &str| if secret.is_empty() { "none" } else { "…" };
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("password", &hidden(&self.password))
            .field("identity_token", &hidden(&self.identity_token))
            .field("registry_token", &hidden(&self.registry_token))
            .field("server_address", &self.server_address)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose};

    use super::Credentials;

    const JSON: &str = r#"{"username":"ann?>","password":"p?>~","serveraddress":"r:5000"}"#;

    #[test]
    fn every_spelling_of_the_header_is_read() {
        for text in [
            general_purpose::URL_SAFE.encode(JSON),
            general_purpose::URL_SAFE_NO_PAD.encode(JSON),
            general_purpose::STANDARD.encode(JSON),
            general_purpose::STANDARD_NO_PAD.encode(JSON),
        ] {
            let credentials = Credentials::from_header(&text);
            assert_eq!((&*credentials.username, &*credentials.password), ("ann?>", "p?>~"));
            assert_eq!(credentials.server_address, "r:5000");
            assert!(!credentials.is_anonymous());
        }
    }

    #[test]
    fn tokens_are_read_under_the_names_of_the_wire() {
        let json = r#"{"identitytoken":"i","registrytoken":"r","auth":"ignored"}"#;
        let credentials = Credentials::from_header(&general_purpose::URL_SAFE.encode(json));
        assert_eq!((&*credentials.identity_token, &*credentials.registry_token), ("i", "r"));
    }

    #[test]
    fn what_cannot_be_read_is_anonymous() {
        let long = "A".repeat(1 << 20);
        for text in ["", "e30=", "e30", "null", "!", "bm90IGpzb24=", "W10=", &long] {
            assert!(Credentials::from_header(text).is_anonymous(), "{}", text.len());
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let header = general_purpose::URL_SAFE.encode(JSON);
        let shown = format!("{:?}", Credentials::from_header(&header));
        assert!(!shown.contains("p?>~"), "{shown}");
    }
}
