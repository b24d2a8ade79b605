//! Tokens by which an engine knows its driver: JWT with HMAC-SHA256 over the time of issue.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::EngineError;

/// The secret that driver and engine share.
#[derive(Clone, PartialEq, Eq)]
pub struct JwtSecret([u8; 32]);

impl JwtSecret {
    /// Takes 32 bytes in hexadecimal, with or without `0x`, as `openssl rand -hex 32` writes them.
    ///
    /// # Errors
    /// [`EngineError::Secret`] if it is something else.
    pub fn parse(hex: &str) -> Result<Self, EngineError> {
        let mut secret = [0; 32];
        alloy::hex::decode_to_slice(hex.trim(), &mut secret)
            .map_err(|error| EngineError::Secret(format!("must be 32 bytes in hexadecimal: {error}")))?;
        Ok(Self(secret))
    }

    /// Reads the secret's file.
    ///
    /// # Errors
    /// [`EngineError::Secret`] with the file's name.
    pub fn read(path: &Path) -> Result<Self, EngineError> {
        let wrong = |cause: String| EngineError::Secret(format!("{}: {cause}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        Self::parse(&text).map_err(|error| wrong(error.to_string()))
    }

    /// A token issued at a time, in seconds since 1970.
    pub fn token(&self, issued_at_s: u64) -> String {
        sign(&self.0, &format!("{{\"iat\":{issued_at_s}}}"))
    }
}

impl std::fmt::Debug for JwtSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JwtSecret(..)")
    }
}

fn sign(secret: &[u8], claims: &str) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let message = format!("{}.{}", encode(br#"{"alg":"HS256","typ":"JWT"}"#), encode(claims.as_bytes()));
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return message };
    mac.update(message.as_bytes());
    format!("{message}.{}", encode(&mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_signed_as_everybody_does() {
        // The example of jwt.io.
        let claims = r#"{"sub":"1234567890","name":"John Doe","iat":1516239022}"#;
        let token = sign(b"your-256-bit-secret", claims);
        assert!(token.ends_with(".SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"), "{token}");
    }

    #[test]
    fn only_32_bytes_of_hexadecimal_are_a_secret() {
        let hex = "ab".repeat(32);
        assert_eq!(JwtSecret::parse(&format!("0x{hex}\n")).unwrap(), JwtSecret::parse(&hex).unwrap());
        for bad in ["", "0x12", &"zz".repeat(32), &"ab".repeat(33)] {
            assert!(JwtSecret::parse(bad).is_err(), "{bad}");
        }
        assert!(JwtSecret::read(Path::new("/nowhere/jwt.hex")).unwrap_err().to_string().contains("/nowhere"));
        assert!(!format!("{:?}", JwtSecret::parse(&hex).unwrap()).contains("ab"));
    }
}
