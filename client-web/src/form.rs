//! Proof that a form was sent from a page of ours: the page carries the same secret as a cookie that other sites can neither read
//! nor send. Nothing is kept here, so any node may get the form, also after a restart.

use axum::Form;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::limits::FORM_BYTES;
use crate::model::Problem;

const COOKIE: &str = "understudy-form";
/// Hexadecimal digits of a secret: 128 bits.
const DIGITS: usize = 32;

/// The secret this browser bears already, or a fresh one.
pub(crate) struct Token {
    pub(crate) text: String,
    is_fresh: bool,
}

impl Token {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        match cookie(headers) {
            Some(text) => Self { text, is_fresh: false },
            None => Self { text: random(), is_fresh: true },
        }
    }

    /// The cookie to set, when the browser has none.
    pub(crate) fn cookie(&self) -> Option<HeaderValue> {
        let cookie = format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Lax", self.text);
        self.is_fresh.then(|| HeaderValue::try_from(cookie).ok()).flatten()
    }
}

/// Whether a form bears the secret of the browser that sent it.
pub(crate) fn is_ours(headers: &HeaderMap, token: &str) -> bool {
    cookie(headers).is_some_and(|secret| secret == token)
}

/// Reads a form of at most [`FORM_BYTES`]; else the status and the words for it.
pub(crate) async fn read<T: DeserializeOwned>(request: Request) -> Result<T, (StatusCode, String)> {
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, FORM_BYTES).await.map_err(|_| {
        let most = protocol::limits::PAYLOAD_BYTES;
        (StatusCode::PAYLOAD_TOO_LARGE, format!("The form is too large: a payload has at most {most} bytes."))
    })?;
    let Form(sent) = Form::from_request(Request::from_parts(parts, Body::from(bytes)), &())
        .await
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("The form could not be read: {error}.")))?;
    Ok(sent)
}

/// A form that is nothing but a button.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Button {
    token: String,
}

/// Whether a button of a page of ours was pressed; else what to say instead.
pub(crate) async fn pressed(request: Request) -> Result<(), Problem> {
    let headers = request.headers().clone();
    let refused =
        |status: StatusCode, detail| Err(Problem { status: status.as_u16(), detail, ..Problem::default() });
    match read::<Button>(request).await {
        Ok(button) if is_ours(&headers, &button.token) => Ok(()),
        Ok(_) => {
            let detail = "This form did not come from a page of this cluster.".to_string();
            refused(StatusCode::FORBIDDEN, detail)
        }
        Err((status, detail)) => refused(status, detail),
    }
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
        .find(|secret| secret.len() == DIGITS && secret.bytes().all(|b| b.is_ascii_hexdigit()))
        .map(str::to_string)
}

/// 128 random bits as text; also the idempotency key of a form, made before the first try.
pub(crate) fn random() -> String {
    let mut bytes = [0_u8; DIGITS / 2];
    if let Err(error) = getrandom::fill(&mut bytes) {
        // Without randomness no form can be told from a forged one: none is then accepted (see `is_ours`).
        tracing::error!(%error, "making a form token");
        return String::new();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_ours_only_with_the_secret_of_its_cookie() {
        let mut headers = HeaderMap::new();
        assert!(!is_ours(&headers, ""));
        let token = Token::of(&headers);
        assert!(token.cookie().is_some());
        headers.insert(header::COOKIE, format!("a=b; {COOKIE}={}", token.text).parse().unwrap());
        assert!(is_ours(&headers, &token.text));
        assert!(!is_ours(&headers, &random()) && !is_ours(&headers, ""));
        assert!(Token::of(&headers).cookie().is_none(), "it has one already");
        headers.insert(header::COOKIE, format!("{COOKIE}=").parse().unwrap());
        assert!(!is_ours(&headers, ""), "an empty secret is none");
    }
}
