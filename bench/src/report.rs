//! What is printed: a JSON line for each measurement, and a table of all.

use std::io::Write as _;

use serde::Serialize;

/// On what machine, and how durable an acknowledgement is: without these a figure says nothing.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Setting {
    /// Which system.
    pub system: String,
    /// What an acknowledgement means.
    pub durability: String,
    /// Nodes of it, all on this machine.
    pub nodes: usize,
    /// Cores, memory, kernel.
    pub machine: String,
    /// Syncs a second of 4 KiB each, on the disk of the scratch folder, just before.
    pub syncs_per_second: u64,
}

/// One measurement.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// What was done.
    pub work: &'static str,
    /// Bytes of one payload.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes: usize,
    /// Things in flight at once.
    #[serde(skip_serializing_if = "is_zero")]
    pub outstanding: usize,
    /// Which version of HTTP, where both are measured.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub http: &'static str,
    /// What the figures count.
    pub unit: &'static str,
    /// The median of the runs.
    pub median: u64,
    /// Every run.
    pub runs: Vec<u64>,
    /// Microseconds of one thing in flight, of the median run: the median, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_us: Option<u64>,
    /// What 99 of 100 stay under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_us: Option<u64>,
    /// Anything else worth knowing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Row {
    /// A row of these runs.
    #[must_use]
    pub fn of(work: &'static str, unit: &'static str, runs: Vec<u64>) -> Self {
        let median = median(&runs);
        Self { work, unit, median, runs, ..Self::default() }
    }
}

/// The middle one; of an even number the upper.
#[must_use]
pub fn median(figures: &[u64]) -> u64 {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

#[derive(Serialize)]
struct Printed<'a> {
    bench: &'static str,
    #[serde(flatten)]
    setting: &'a Setting,
    #[serde(flatten)]
    row: &'a Row,
}

/// Takes the measurements as they come.
#[derive(Debug)]
pub struct Report {
    setting: Setting,
    rows: Vec<Row>,
}

impl Report {
    /// An empty one.
    #[must_use]
    pub fn new(setting: Setting) -> Self {
        Self { setting, rows: Vec::new() }
    }

    /// Prints a measurement and keeps it for the table.
    pub fn add(&mut self, row: Row) {
        let printed = Printed { bench: "http", setting: &self.setting, row: &row };
        if let Ok(line) = serde_json::to_string(&printed) {
            // A reader that has gone away ends the program by itself.
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        }
        self.rows.push(row);
    }

    /// All of it, for people.
    #[must_use]
    pub fn table(&self) -> Vec<Vec<String>> {
        let heads = ["work", "bytes", "outstanding", "http", "median", "unit", "p50 us", "p99 us", "note"];
        let mut table = vec![heads.map(String::from).to_vec()];
        let number = |number: usize| if number == 0 { String::new() } else { number.to_string() };
        let time = |time: Option<u64>| time.map_or_else(String::new, |us| us.to_string());
        table.extend(self.rows.iter().map(|row| {
            vec![
                row.work.to_owned(),
                number(row.bytes),
                number(row.outstanding),
                row.http.to_owned(),
                row.median.to_string(),
                row.unit.to_owned(),
                time(row.p50_us),
                time(row.p99_us),
                row.note.clone(),
            ]
        }));
        table
    }
}
