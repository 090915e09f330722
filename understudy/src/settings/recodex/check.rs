//! What makes no sense is refused, what is missing has the original's default.

use std::net::{IpAddr, Ipv6Addr};

use node::settings::{
    CLIENTS_PORT, FileLevel, LogFile, MONITOR_PORT, Notifier, Password, RecodexSettings, WORKERS_PORT,
    is_loopback,
};
use protocol::{duration, limits, submit};

use super::table::{LoggerTable, NotifierTable, PlaceTable, RecodexTable};
use crate::exit::Failure;
use crate::nearest;
use crate::settings::check::bad;

/// Pings that a worker may miss, where none are said; and at most.
const MAX_LIVENESS: (u32, u32) = (4, 1_000_000);
/// Time between two pings, where none is said; and its bounds.
const PING_INTERVAL_MS: (u64, std::ops::RangeInclusive<u64>) = (1_000, 10..=3_600_000);
/// Failures after which a job is given up, where none are said.
const MAX_REQUEST_FAILURES: u32 = 3;
/// The log file, where one is wanted and its name not said.
const LOG_FILE: &str = "/var/log/recodex/broker";
/// Bytes of one log file, where none are said.
const LOG_FILE_BYTES: u64 = 1 << 20;
/// Older log files, where their number is not said; and at most.
const ROTATIONS: (u32, u32) = (3, 1_000);

impl RecodexTable {
    /// The settings; none where nothing of ReCodEx is served. `listen_host` is the node's own.
    pub(in crate::settings) fn build(self, listen_host: &str) -> Result<Option<RecodexSettings>, Failure> {
        if self.is_off() {
            return Ok(None);
        }
        let mut warnings = Vec::new();
        let workers = self.workers.unwrap_or_default();
        let place = PlaceTable { address: workers.address, port: workers.port };
        let clients = self.clients.unwrap_or_default();
        let mut bind = |part, place, port| bound(part, place, port, listen_host, &mut warnings);
        let clients = bind("clients", clients, CLIENTS_PORT)?;
        let workers_at = bind("workers", place, WORKERS_PORT)?;
        let max_liveness = workers.max_liveness.unwrap_or(MAX_LIVENESS.0);
        within("workers.max_liveness", max_liveness, 1..=MAX_LIVENESS.1)?;
        let max_request_failures = workers.max_request_failures.unwrap_or(MAX_REQUEST_FAILURES);
        within("workers.max_request_failures", max_request_failures, 0..=limits::MAX_ATTEMPTS)?;
        Ok(Some(RecodexSettings {
            clients,
            workers: workers_at,
            max_liveness,
            ping_interval_ms: ping_interval(workers.ping_interval.as_deref())?,
            max_request_failures,
            monitor: monitor(self.monitor.unwrap_or_default())?,
            notifier: self.notifier.map(|table| notifier(table, &mut warnings)).transpose()?.flatten(),
            logger: self.logger.map(|table| log_file(table, &mut warnings)).transpose()?,
            warnings,
        }))
    }
}

fn key(part: &str) -> String {
    format!("recodex.{part}")
}

fn within(part: &str, number: u32, range: std::ops::RangeInclusive<u32>) -> Result<(), Failure> {
    if range.contains(&number) {
        return Ok(());
    }
    let (least, most) = range.into_inner();
    Err(bad(&key(part), format!("must be from {least} to {most}, this is {number}")))
}

/// A host as it stands in an address: an IPv6 one has brackets.
fn host(part: &str, text: &str) -> Result<String, Failure> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok(format!("[{text}]"));
    }
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_good = match inner {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        None => !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)),
    };
    let rule =
        || bad(&key(&format!("{part}.address")), format!("must be a host or * for any, this is {text:?}"));
    is_good.then(|| text.to_string()).ok_or_else(rule)
}

/// Where a port is bound. `*` is every address of a node that has others than loopback; of one that has not, it is that loopback.
fn bound(
    part: &str,
    place: PlaceTable,
    usual_port: u16,
    listen_host: &str,
    warnings: &mut Vec<String>,
) -> Result<(String, u16), Failure> {
    let port = place.port.filter(|port| *port != 0).unwrap_or(usual_port);
    let host = match place.address.as_deref() {
        Some(text) if text != "*" => host(part, text)?,
        _ if is_loopback(listen_host) => {
            warnings.push(format!(
                "recodex.{part}.address is *, and this node listens on {listen_host} alone: so does its port {port} \
                 (--listen opens both, an address opens that one)"
            ));
            listen_host.to_string()
        }
        _ if listen_host.trim_matches(['[', ']']).parse().is_ok_and(|ip: IpAddr| ip.is_ipv6()) => {
            "[::]".to_string()
        }
        _ => "0.0.0.0".to_string(),
    };
    Ok((host, port))
}

fn ping_interval(told: Option<&str>) -> Result<u64, Failure> {
    let Some(text) = told else { return Ok(PING_INTERVAL_MS.0) };
    let key = key("workers.ping_interval");
    let ms = duration::parse_ms(text).map_err(|error| bad(&key, error))?;
    match PING_INTERVAL_MS.1.contains(&ms) {
        true => Ok(ms),
        false => Err(bad(&key, format!("must be from 10ms to 1h, this is {text:?}"))),
    }
}

/// The original's default unless an empty address says that there is none.
fn monitor(place: PlaceTable) -> Result<Option<(String, u16)>, Failure> {
    let address = place.address.unwrap_or_else(|| "127.0.0.1".to_string());
    if address.is_empty() {
        return Ok(None);
    }
    let port = place.port.filter(|port| *port != 0).unwrap_or(MONITOR_PORT);
    Ok(Some((host("monitor", &address)?, port)))
}

fn notifier(table: NotifierTable, warnings: &mut Vec<String>) -> Result<Option<Notifier>, Failure> {
    let Some(address) = table.address.filter(|address| !address.is_empty()) else {
        warnings.push("recodex.notifier has no address: no front end is told how its jobs end".to_string());
        return Ok(None);
    };
    let bad = |why: String| bad(&key("notifier.address"), why);
    if let Some((scheme, _)) = address.split_once("://").filter(|(scheme, _)| *scheme != "http") {
        return Err(bad(format!("must be http, {scheme} is not supported by this version")));
    }
    let notifier = Notifier {
        address,
        port: table.port.unwrap_or(0),
        username: table.username.unwrap_or_default(),
        password: Password::new(table.password.unwrap_or_default()),
    };
    node::notifier::check(&notifier).map_err(|why| bad(format!("{why}, this is {:?}", notifier.address)))?;
    Ok(Some(notifier))
}

fn log_file(table: LoggerTable, warnings: &mut Vec<String>) -> Result<LogFile, Failure> {
    let level = table.level.unwrap_or_else(|| "debug".to_string());
    if FileLevel::named(&level) == FileLevel::Trace && level != "trace" {
        let hint = nearest::hint(&level, FileLevel::words());
        warnings.push(format!("recodex.logger.level {level:?} is no level, every line is written: {hint}"));
    }
    let max_bytes = match table.max_size.as_deref() {
        None => LOG_FILE_BYTES,
        Some(text) => submit::parse_bytes(text).filter(|bytes| *bytes > 0).ok_or_else(|| {
            bad(
                &key("logger.max_size"),
                format!("must be bytes, with a unit if you like: 1MiB; this is {text:?}"),
            )
        })?,
    };
    let rotations = table.rotations.unwrap_or(ROTATIONS.0);
    within("logger.rotations", rotations, 0..=ROTATIONS.1)?;
    let file = table.file.unwrap_or_else(|| LOG_FILE.into());
    if file.file_name().is_none() {
        return Err(bad(&key("logger.file"), format!("must name a file, this is {:?}", file.display())));
    }
    Ok(LogFile { file, level: FileLevel::named(&level), max_bytes, rotations })
}
