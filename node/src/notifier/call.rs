//! One call: where it goes and what it says, to the byte as the original broker does it.

use std::time::Duration;

use protocol::recodex::{Call, Said};
use reqwest::redirect::Policy;
use reqwest::{Client, Url, header};

use crate::settings::Notifier;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a call may take as a whole.
const WHOLE: Duration = Duration::from_secs(30);
/// Redirects that are followed.
const REDIRECTS: usize = 10;

/// Whether calls can be made there.
///
/// # Errors
/// What is wrong with the address, in words.
pub fn check(front_end: &Notifier) -> Result<(), String> {
    base(front_end).map(drop)
}

/// The address with its port and without a slash at its end.
fn base(front_end: &Notifier) -> Result<Url, String> {
    let address = front_end.address.trim();
    let text = if address.contains("://") { address.to_string() } else { format!("http://{address}") };
    let wrong = || "must be a host, a path behind it if you like".to_string();
    let mut url = Url::parse(&text).map_err(|error| format!("{}: {error}", wrong()))?;
    if url.scheme() != "http" || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong());
    }
    if front_end.port != 0 {
        url.set_port(Some(front_end.port)).map_err(|()| wrong())?;
    }
    url.path_segments_mut().map_err(|()| wrong())?.pop_if_empty();
    Ok(url)
}

/// The front end.
#[derive(Clone, Debug)]
pub(super) struct Target {
    client: Client,
    base: Url,
    login: Option<(String, crate::settings::Password)>,
}

impl Target {
    pub(super) fn new(front_end: &Notifier) -> Result<Self, String> {
        let client = Client::builder()
            .http1_only()
            .no_proxy()
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .redirect(Policy::limited(REDIRECTS))
            .build()
            .map_err(|error| error.to_string())?;
        let Notifier { username, password, .. } = front_end;
        let has_login = !username.is_empty() || !password.reveal().is_empty();
        let login = has_login.then(|| (username.clone(), password.clone()));
        Ok(Self { client, base: base(front_end)?, login })
    }

    /// Where it is, for people.
    pub(super) fn place(&self) -> String {
        let port = self.base.port().map_or(String::new(), |port| format!(":{port}"));
        format!("{}{port}", self.base.host_str().unwrap_or_default())
    }

    /// Makes the call once.
    pub(super) async fn make(&self, call: &Call) -> Result<(), String> {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            match &call.what {
                Said::Status { id, .. } => path.extend(["job-status", id]),
                Said::Error { .. } => path.push("error"),
            };
        }
        let mut request = self.client.post(url).body(body(&call.what));
        request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some((username, password)) = &self.login {
            request = request.basic_auth(username, Some(password.reveal()));
        }
        let answer = request.send().await.map_err(|error| chain(&error.without_url()))?;
        let status = answer.status();
        if status.as_u16() >= 400 { Err(format!("it answered {status}")) } else { Ok(()) }
    }
}

/// An error with its causes: the outermost alone says little.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// The form, its keys sorted, without percent-encoding: the front end knows it so.
pub(super) fn body(what: &Said) -> String {
    match what {
        Said::Status { failed: None, .. } => "status=OK".to_string(),
        Said::Status { failed: Some(why), .. } => format!("message={}&status=FAILED", line(why)),
        Said::Error { message } => format!("message={}", line(message)),
    }
}

/// Line breaks and other control characters become spaces.
fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
