//! The live page of one container's log: lines rendered here, new ones added as text by a small script.

use std::fmt::Write as _;

use axum::Router;
use axum::http::header;
use axum::routing::get;

use crate::record::Level;
use crate::shown::guarded;

/// The script; served by ourselves, because the page's policy allows no inline code.
pub(crate) const LIVE_JS: &str = include_str!("live.js");
/// The style, for the same reason.
const LIVE_CSS: &str = include_str!("live.css");

/// `/logging/live.js` and `/logging/live.css`.
pub(crate) fn assets() -> Router {
    let script = ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], LIVE_JS);
    let style = ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], LIVE_CSS);
    Router::new()
        .route("/logging/live.js", get(async move || guarded(script)))
        .route("/logging/live.css", get(async move || guarded(style)))
}

/// One line of the page.
pub(crate) struct Line {
    /// Its number.
    pub(crate) seq: u64,
    pub(crate) level: Level,
    /// As people read it.
    pub(crate) text: String,
}

/// The whole page; with a link to the facts of the ledger where there is one. Every foreign text is escaped.
pub(crate) fn page(name: &str, incarnation: &str, lines: &[Line], has_ledger: bool) -> String {
    let name = html(name);
    let last = lines.last().map_or(0, |line| line.seq);
    let cluster =
        if has_ledger { " · <a href=\"/logging?source=cluster&amp;format=text\">cluster</a>" } else { "" };
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Log of {name}</title><link rel=\"stylesheet\" href=\"/logging/live.css\">\
         <script src=\"/logging/live.js\" defer></script></head>\n<body>\
         <header><h1>Log of {name}</h1><p><span id=\"conn\" role=\"status\">not live</span> · \
         <a href=\"/logging?format=text\">plain text</a> · \
         <a href=\"/logging?format=jsonl\">JSON lines</a>{cluster}</p></header>\n<main>\
         <ol id=\"log\" data-last=\"{last}\" data-incarnation=\"{}\">\n",
        html(incarnation)
    );
    for Line { seq, level, text } in lines {
        let level = level.word();
        let _ = writeln!(page, "<li data-seq=\"{seq}\" data-level=\"{level}\">{}</li>", html(text));
    }
    page.push_str("</ol></main></body></html>\n");
    page
}

fn html(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}
