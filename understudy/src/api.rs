//! The HTTP API as the command line uses it, and the exit codes its failures have.

pub(crate) use bridge::api::{Api, Ask, PATIENCE, new_key};

use bridge::api::{ApiError, KeyError, ServerError};
use bridge::job::OutputError;

use std::path::Path;

use logdb::door::Token;

use crate::exit::{Exit, Failure};

/// These servers, and the token in this file for them.
pub(crate) fn of(servers: Vec<String>, token_file: Option<&Path>) -> Result<Api, Failure> {
    let token = token_file.map(|file| token("--token-file", file)).transpose()?;
    Ok(Api::new(servers)?.named(token.map(|token| token.bearer())))
}

/// The token in a file, which a setting names.
pub(crate) fn token(setting: &str, file: &Path) -> Result<Token, Failure> {
    Token::read(file).map_err(|error| Failure::usage(format!("{setting}: {}: {error}", file.display())))
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let exit = match &error {
            ApiError::Refused(problem) if problem.is_for_now() => Exit::NoQuorum,
            _ => Exit::Error,
        };
        Self { exit, message: error.to_string() }
    }
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Self {
        match error {
            ServerError::None | ServerError::NotHttp { .. } => Self::usage(error.to_string()),
            ServerError::Client { .. } => Self::error(error.to_string()),
        }
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::error(error.to_string())
    }
}

impl From<OutputError> for Failure {
    fn from(error: OutputError) -> Self {
        Self::error(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::any;

    use super::*;

    async fn server(status: u16, body: &'static str) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = format!("http://{}", listener.local_addr().unwrap());
        let answer = async move || (StatusCode::from_u16(status).unwrap(), body);
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(any(answer))).await });
        at
    }

    #[tokio::test]
    async fn each_kind_of_failure_has_its_exit_code() {
        let no_quorum = r#"{"type":"/problems/no-quorum","status":503,"detail":"no leader"}"#;
        let invalid = r#"{"type":"/problems/invalid","status":422,"detail":"bad"}"#;
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        for (at, exit) in [
            (server(503, no_quorum).await, Exit::NoQuorum),
            (server(422, invalid).await, Exit::Error),
            (format!("http://{gone}"), Exit::Error),
        ] {
            let error = Api::new(vec![at]).unwrap().json(Ask::get("/x")).await.unwrap_err();
            let failure = Failure::from(error);
            assert_eq!(failure.exit, exit, "{}", failure.message);
        }
        let wrong = Api::new(vec!["ftp://x".into()]).map_err(Failure::from);
        assert_eq!(wrong.err().map(|failure| failure.exit), Some(Exit::Usage));
    }
}
