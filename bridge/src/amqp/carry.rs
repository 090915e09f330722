//! One message, from its delivery to its acknowledgement.

use std::sync::Arc;

use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicPublishOptions, BasicRejectOptions};
use lapin::types::{AMQPValue, LongString, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::AmqpSettings;
use crate::api;
use crate::errand::{Errands, Refusal};
use crate::job;

/// Bytes of a text in a header.
const HEADER_BYTES: usize = 1_024;
/// The server keeps such a message on its disk.
const PERSISTENT: u8 = 2;

/// All that messages have in common.
pub(super) struct Carrier {
    errands: Arc<Errands>,
    queue: String,
    class: String,
    dead: Option<String>,
    replies: bool,
}

/// What became of a message's job, as its reply or its dead letter names it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verdict {
    state: String,
    job: Option<String>,
    reason: Option<String>,
    exit_code: Option<i64>,
    error: Option<String>,
}

impl Carrier {
    pub(super) fn new(settings: &AmqpSettings, errands: Arc<Errands>) -> Self {
        let AmqpSettings { queue, class, dead, replies, .. } = settings.clone();
        Self { errands, queue, class, dead, replies }
    }

    /// An error is one of the connection: the message comes again.
    pub(super) async fn carry(self: Arc<Self>, channel: Channel, delivery: Delivery) -> lapin::Result<()> {
        let (verdict, output) = self.job_of(&delivery).await;
        if let Some(to) = delivery.properties.reply_to().clone().filter(|_| self.replies) {
            self.reply(&channel, &delivery, to, &verdict, &output).await?;
        }
        if verdict.state == "succeeded" {
            return delivery.ack(BasicAckOptions::default()).await.map(drop);
        }
        let Some(dead) = &self.dead else {
            // To the queue's own dead letters, where it has such.
            let options = BasicRejectOptions { requeue: false };
            return delivery.reject(options).await.map(drop);
        };
        let properties = verdict.on(delivery.properties.clone());
        publish(&channel, dead.as_str().into(), &delivery.data, properties, true).await?;
        delivery.ack(BasicAckOptions::default()).await.map(drop)
    }

    async fn job_of(&self, delivery: &Delivery) -> (Verdict, Vec<u8>) {
        let id =
            delivery.properties.message_id().as_ref().map(ShortString::as_str).filter(|id| !id.is_empty());
        let key = match id {
            Some(id) => key_of(&self.queue, id),
            None => match api::new_key() {
                Ok(key) => key,
                Err(error) => return (Verdict::refused("key", &error.to_string()), Vec::new()),
            },
        };
        let mut body = Map::new();
        body.insert("class".into(), json!(self.class));
        let mut labels = json!({"queue": self.queue});
        if let Some(id) = id.filter(|id| !id.contains('\0')) {
            labels["message"] = json!(id);
        }
        body.insert("labels".into(), labels);
        job::put_payload(&mut body, delivery.data.clone());
        match self.errands.ended(&key, &Value::Object(body)).await {
            Ok(job) => (Verdict::of(&job), job::output_of(&job).unwrap_or_default()),
            Err(Refusal { name, text }) => (Verdict::refused(&name, &text), Vec::new()),
        }
    }

    async fn reply(
        &self,
        channel: &Channel,
        delivery: &Delivery,
        to: ShortString,
        verdict: &Verdict,
        output: &[u8],
    ) -> lapin::Result<()> {
        let mut properties = verdict.on(BasicProperties::default());
        if let Some(id) =
            delivery.properties.correlation_id().clone().or(delivery.properties.message_id().clone())
        {
            properties = properties.with_correlation_id(id);
        }
        // Whoever wanted the reply may be gone.
        publish(channel, to, output, properties, false).await
    }
}

/// To a queue by its name, kept on the server's disk before this ends. `must_arrive`: it is an error when there is no such queue
/// (any more).
async fn publish(
    channel: &Channel,
    queue: ShortString,
    body: &[u8],
    properties: BasicProperties,
    must_arrive: bool,
) -> lapin::Result<()> {
    let properties = properties.with_delivery_mode(PERSISTENT);
    let options = BasicPublishOptions { mandatory: must_arrive, ..BasicPublishOptions::default() };
    let sent = channel.basic_publish("".into(), queue, options, body, properties).await?;
    match sent.await? {
        Confirmation::Ack(None) | Confirmation::NotRequested => Ok(()),
        Confirmation::Ack(Some(_)) => Err(lost("the server has no such queue")),
        Confirmation::Nack(_) => Err(lost("the server did not keep a message")),
    }
}

fn lost(why: &'static str) -> lapin::Error {
    lapin::ErrorKind::IOError(Arc::new(std::io::Error::other(why))).into()
}

/// The key of a message's job: the same for each delivery of the message, and for every bridge on its queue.
fn key_of(queue: &str, id: &str) -> String {
    let mut hash = Sha256::new();
    hash.update((queue.len() as u64).to_be_bytes());
    hash.update(queue);
    hash.update(id);
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("amqp-{hex}")
}

impl Verdict {
    fn of(job: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(ToString::to_string);
        Self {
            state: text(&job["state"]).unwrap_or_default(),
            job: text(&job["id"]),
            reason: text(&job["reason"]),
            exit_code: job["result"]["exit_code"].as_i64(),
            error: text(&job["result"]["error"]),
        }
    }

    fn refused(name: &str, text: &str) -> Self {
        let (reason, error) = (Some(name.to_string()), Some(text.to_string()));
        Self { state: "refused".to_string(), reason, error, ..Self::default() }
    }

    /// The message's own properties and headers, with what became of its job.
    fn on(&self, properties: BasicProperties) -> BasicProperties {
        let mut headers = properties.headers().clone().unwrap_or_default();
        let texts = [
            ("state", Some(&self.state)),
            ("job", self.job.as_ref()),
            ("reason", self.reason.as_ref()),
            ("error", self.error.as_ref()),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                let text = AMQPValue::LongString(LongString::from(cut(text).as_bytes()));
                headers.insert(format!("x-understudy-{name}").into(), text);
            }
        }
        if let Some(code) = self.exit_code {
            headers.insert("x-understudy-exit-code".into(), AMQPValue::LongLongInt(code));
        }
        properties.with_headers(headers)
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(HEADER_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::types::FieldTable;

    #[test]
    fn a_message_has_the_same_key_each_time_and_no_other_has_it() {
        let key = key_of("orders", "17");
        assert_eq!(key, key_of("orders", "17"));
        assert!(protocol::submit::check_key(key.as_bytes()).is_ok(), "{key}");
        for (queue, id) in [("orders", "18"), ("order", "s17"), ("orders1", "7")] {
            assert_ne!(key, key_of(queue, id));
        }
    }

    #[test]
    fn a_dead_letter_says_why_and_keeps_what_the_message_had() {
        let job = json!({"id": "J", "state": "failed", "reason": "exit", "result": {"exit_code": 3, "error": "ä".repeat(600)}});
        let mut own = FieldTable::default();
        own.insert("mine".into(), AMQPValue::Boolean(true));
        let properties = BasicProperties::default().with_headers(own).with_message_id("17".into());
        let marked = Verdict::of(&job).on(properties);
        assert_eq!(marked.message_id().as_ref().map(ShortString::as_str), Some("17"));
        let headers = marked.headers().clone().unwrap();
        let text = |name: &str| match headers.inner().get(name) {
            Some(AMQPValue::LongString(text)) => String::from_utf8(text.as_bytes().to_vec()).unwrap(),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(
            (text("x-understudy-job"), text("x-understudy-reason")),
            ("J".to_string(), "exit".to_string())
        );
        assert_eq!(text("x-understudy-error").len(), 1_024);
        assert_eq!(headers.inner().get("x-understudy-exit-code"), Some(&AMQPValue::LongLongInt(3)));
        assert_eq!(headers.inner().get("mine"), Some(&AMQPValue::Boolean(true)));
    }
}
