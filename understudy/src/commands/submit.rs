//! `submit`: a job from words and standard input; prints its id. `run` builds its job here too.

use std::io::{IsTerminal as _, Read as _};
use std::os::fd::AsFd as _;
use std::time::Duration;

use bridge::job;
use clap::Args;
use nix::sys::stat::{SFlag, fstat};
use protocol::limits;
use serde_json::{Map, Value, json};

use crate::api::{self, Ask};
use crate::commands::Client;
use crate::exit::{Exit, Failure, Outcome};
use crate::show;

/// Silence on standard input after which we say what we are waiting for.
const HINT_AFTER: Duration = Duration::from_secs(2);

/// A job in words.
#[derive(Debug, Args)]
pub(crate) struct JobWords {
    /// What kind of work: echo, sleep, burn, hash, sh, python, or a class of your own
    class: String,
    /// The work itself; none or `-`: standard input. With one, piped standard input becomes the job's own
    payload: Option<String>,
    /// Argument of a script (repeatable)
    #[arg(long = "arg", value_name = "TEXT", allow_hyphen_values = true)]
    args: Vec<String>,
    /// Environment of a program (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,
    /// A word to find it by (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
    /// A header its node must carry (repeatable)
    #[arg(long, value_name = "HEADER=VALUE", value_parser = pair)]
    require: Vec<(String, String)>,
    /// Cores to reserve, such as 0.5
    #[arg(long)]
    cpu: Option<String>,
    /// Memory to reserve, such as 512MiB
    #[arg(long)]
    memory: Option<String>,
    /// Countable thing to reserve, such as gpu=1 or licence=0.5 (repeatable)
    #[arg(long, value_name = "NAME=NUMBER", value_parser = pair)]
    resource: Vec<(String, String)>,
    /// 0 to 9, 9 first
    #[arg(long)]
    priority: Option<u8>,
    /// Who asks
    #[arg(long)]
    submitter: Option<String>,
    /// What it shares the two following bounds by, with whichever jobs name the same
    #[arg(long, value_name = "KEY")]
    limit_key: Option<String>,
    /// So many jobs of its key run at once
    #[arg(long, value_name = "N", requires = "limit_key")]
    limit_concurrency: Option<u32>,
    /// So many jobs of its key start in a second, minute or hour, such as 5/s
    #[arg(long, value_name = "RATE", requires = "limit_key")]
    limit_rate: Option<String>,
    /// Longest run of one attempt, such as 30s
    #[arg(long)]
    timeout: Option<String>,
    /// Longest time a program may print nothing, such as 5m
    #[arg(long)]
    quiet_limit: Option<String>,
    /// Failures until it has failed for good
    #[arg(long)]
    max_attempts: Option<u32>,
    /// Failures it is tried again after: exit, signal, timeout, quiet, memory (default: exit,timeout)
    #[arg(long, value_name = "REASON,…", value_delimiter = ',')]
    retry_on: Option<Vec<String>>,
    /// Exit code it is not tried again after (repeatable)
    #[arg(long, value_name = "CODE")]
    no_retry_code: Vec<i64>,
    /// Pause before the first further attempt, such as 1s; doubles with each one
    #[arg(long, value_name = "TIME")]
    retry_base: Option<String>,
    /// Longest pause before a further attempt, such as 5m
    #[arg(long, value_name = "TIME")]
    retry_max: Option<String>,
    /// One attempt, whatever becomes of it: failed (lost) when its worker vanished
    #[arg(long)]
    at_most_once: bool,
    /// Fail at once when no node could ever run it
    #[arg(long)]
    fail_if_unsatisfiable: bool,
    /// Idempotency key: the same key is the same job (default: a new one)
    #[arg(long)]
    key: Option<String>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_string(), value.to_string()))
}

/// Submits and prints the id.
pub(crate) async fn run(client: &Client, words: &JobWords) -> Outcome {
    let job = submit(client, words).await?;
    if client.json {
        show::json(&job)?
    } else {
        show::line(&show::cell(&job, "/id"))?
    }
    Ok(Exit::Ok)
}

/// Submits, and says what the answer warns of. Under a key made before the first try, so that repeats to other nodes stay one job.
pub(crate) async fn submit(client: &Client, words: &JobWords) -> Result<Value, Failure> {
    let body = words.body().await?;
    let key = match &words.key {
        Some(key) => key.clone(),
        None => api::new_key()?,
    };
    let ask = Ask::post("/api/v1/jobs", &key).body(&body).patient(api::PATIENCE);
    let job = client.api.json(ask).await?;
    if let Some(warning) = job["warning"].as_str() {
        show::talk(&format!("warning: {}", show::safe(warning)));
    }
    Ok(job)
}

impl JobWords {
    /// The submission as JSON. Reads standard input where it is meant.
    async fn body(&self) -> Result<Value, Failure> {
        let mut body = self.fields();
        match self.payload.as_deref() {
            None | Some("-") => job::put_payload(&mut body, read_stdin("the payload").await?),
            Some(payload) => {
                body.insert("payload".into(), json!(payload));
                if stdin_is_piped() {
                    put_stdin(&mut body, read_stdin("the job's standard input").await?)?;
                }
            }
        }
        Ok(Value::Object(body))
    }

    fn fields(&self) -> Map<String, Value> {
        let mut body = Map::new();
        let mut put = |name: &str, value: Value| {
            let empty = value.is_null()
                || value.as_array().is_some_and(Vec::is_empty)
                || value.as_object().is_some_and(Map::is_empty);
            if !empty {
                body.insert(name.to_string(), value);
            }
        };
        let object = |pairs: &[(String, String)]| {
            Value::Object(pairs.iter().map(|(name, value)| (name.clone(), json!(value))).collect())
        };
        put("class", json!(self.class));
        put("args", json!(self.args));
        put("env", object(&self.env));
        put("labels", object(&self.label));
        put("requires", object(&self.require));
        put("cpu", json!(self.cpu));
        put("memory", json!(self.memory));
        put("resources", object(&self.resource));
        put("priority", json!(self.priority));
        put("submitter", json!(self.submitter));
        if let Some(key) = &self.limit_key {
            put(
                "limits",
                json!({"key": key, "concurrency": self.limit_concurrency, "rate": self.limit_rate}),
            );
        }
        put("timeout", json!(self.timeout));
        put("quiet_limit", json!(self.quiet_limit));
        put("max_attempts", json!(self.max_attempts));
        put("retry", self.retry());
        put("at_most_once", if self.at_most_once { json!(true) } else { Value::Null });
        put("if_unsatisfiable", if self.fail_if_unsatisfiable { json!("fail") } else { Value::Null });
        body
    }
}

impl JobWords {
    fn retry(&self) -> Value {
        let codes = (!self.no_retry_code.is_empty()).then_some(&self.no_retry_code);
        let members = [
            ("on", json!(self.retry_on)),
            ("not_exit_codes", json!(codes)),
            ("base", json!(self.retry_base)),
            ("max", json!(self.retry_max)),
        ];
        let given = members.into_iter().filter(|(_, value)| !value.is_null());
        Value::Object(given.map(|(name, value)| (name.to_string(), value)).collect())
    }
}

fn put_stdin(body: &mut Map<String, Value>, bytes: Vec<u8>) -> Result<(), Failure> {
    let not_text =
        |_| Failure::error("standard input for a job must be UTF-8 text (send other bytes as payload)");
    let text = String::from_utf8(bytes).map_err(not_text)?;
    if !text.is_empty() {
        body.insert("stdin".into(), json!(text));
    }
    Ok(())
}

/// A pipe, a file or a socket: something that was put there on purpose. Not a terminal, not `/dev/null`.
fn stdin_is_piped() -> bool {
    let kind =
        fstat(std::io::stdin().as_fd()).map(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT);
    matches!(kind, Ok(SFlag::S_IFIFO | SFlag::S_IFREG | SFlag::S_IFSOCK))
}

/// Reads standard input to its end, at most what a payload may be.
async fn read_stdin(what: &str) -> Result<Vec<u8>, Failure> {
    if std::io::stdin().is_terminal() {
        show::talk(&format!("reading {what} from the terminal; end it with Ctrl-D"));
    }
    let most = limits::PAYLOAD_BYTES as u64;
    let mut reading = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        std::io::stdin().lock().take(most + 1).read_to_end(&mut bytes).map(|_| bytes)
    });
    let read = match tokio::time::timeout(HINT_AFTER, &mut reading).await {
        Ok(read) => read,
        Err(_) => {
            show::talk(&format!("reading {what} from standard input until it ends (</dev/null for none)"));
            reading.await
        }
    };
    let read = read.map_err(|cause| Failure::error(format!("reading standard input: {cause}")))?;
    let bytes = read.map_err(|cause| Failure::error(format!("reading standard input: {cause}")))?;
    if bytes.len() as u64 > most {
        return Err(Failure::error(format!("{what} from standard input is over the limit of {most} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        words: JobWords,
    }

    #[test]
    fn words_become_the_fields_of_the_contract_and_nothing_else() {
        let line = Line::parse_from([
            "x",
            "sh",
            "echo hi",
            "--arg",
            "-n",
            "--env",
            "A=b=c",
            "--priority",
            "9",
            "--limit-key",
            "k",
            "--limit-rate",
            "5/s",
            "--timeout",
            "3s",
            "--quiet-limit",
            "1s",
            "--resource",
            "gpu=0.5",
        ]);
        let fields = Value::Object(line.words.fields());
        let expected = json!({"class":"sh","args":["-n"],"env":{"A":"b=c"},"priority":9,
            "limits":{"key":"k","concurrency":null,"rate":"5/s"},"timeout":"3s","quiet_limit":"1s","resources":{"gpu":"0.5"}});
        assert_eq!(fields, expected);
        assert!(Line::try_parse_from(["x", "sh", "--env", "A"]).is_err());
        assert!(Line::try_parse_from(["x", "sh", "--limit-rate", "5/s"]).is_err());
    }

    #[test]
    fn standard_input_for_a_job_is_text() {
        assert!(put_stdin(&mut Map::new(), vec![0xff]).is_err());
    }
}
