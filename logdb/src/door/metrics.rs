//! Figures for Prometheus, in its text form.

use std::fmt::Write as _;

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// The answer to `GET /metrics`, as far as it is written. Names get the prefix `understudy_`.
#[derive(Clone, Debug, Default)]
pub struct Metrics(String);

impl Metrics {
    /// What only grows; its name ends in `_total`.
    #[must_use]
    pub fn counter(self, name: &str, help: &str, value: u64) -> Self {
        self.told("counter", name, help, &[(String::new(), value)])
    }

    /// What goes up and down.
    #[must_use]
    pub fn gauge(self, name: &str, help: &str, value: u64) -> Self {
        self.told("gauge", name, help, &[(String::new(), value)])
    }

    /// One gauge for each label, written as `{label="value"}`.
    #[must_use]
    pub fn gauges(self, name: &str, help: &str, values: &[(String, u64)]) -> Self {
        self.told("gauge", name, help, values)
    }

    /// What only grows, one for each label, written as `{label="value"}`.
    #[must_use]
    pub fn counters(self, name: &str, help: &str, values: &[(String, u64)]) -> Self {
        self.told("counter", name, help, values)
    }

    fn told(mut self, kind: &str, name: &str, help: &str, values: &[(String, u64)]) -> Self {
        let _ = writeln!(self.0, "# HELP understudy_{name} {help}\n# TYPE understudy_{name} {kind}");
        for (labels, value) in values {
            let _ = writeln!(self.0, "understudy_{name}{labels} {value}");
        }
        self
    }
}

impl IntoResponse for Metrics {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], self.0).into_response()
    }
}
