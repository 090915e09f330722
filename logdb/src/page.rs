//! The live page of one container's log: lines rendered here, new ones added as text by a small script.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::record::Record;

/// The script; served by ourselves, because the page's policy allows no inline code.
pub(crate) const LIVE_JS: &str = include_str!("live.js");
/// The style, for the same reason.
pub(crate) const LIVE_CSS: &str = include_str!("live.css");

/// The whole page. Every foreign text is escaped.
pub(crate) fn page(name: &str, incarnation: &str, lines: &[Arc<Record>]) -> String {
    let name = html(name);
    let last = lines.last().map_or(0, |record| record.seq);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Log of {name}</title><link rel=\"stylesheet\" href=\"/logging/live.css\">\
         <script src=\"/logging/live.js\" defer></script></head>\n<body>\
         <header><h1>Log of {name}</h1><p><span id=\"conn\" role=\"status\">not live</span> · \
         <a href=\"/logging?format=text\">plain text</a> · <a href=\"/logging?format=jsonl\">JSON lines</a> · \
         <a href=\"/logging?source=cluster&amp;format=text\">cluster</a></p></header>\n<main>\
         <ol id=\"log\" data-last=\"{last}\" data-incarnation=\"{}\">\n",
        html(incarnation)
    );
    for record in lines {
        let (level, seq) = (record.level.word(), record.seq);
        let _ = writeln!(page, "<li data-seq=\"{seq}\" data-level=\"{level}\">{}</li>", html(&record.text()));
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
