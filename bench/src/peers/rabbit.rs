//! A RabbitMQ quorum queue: a publisher confirm stands for an accepted job, a direct reply for its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};
use tokio::task::JoinHandle;

use super::Peer;
use crate::lab::BenchError;
use crate::limits::{DRAIN_PATIENCE, LOOK};
use crate::load::Slot;
use crate::works::payload;

/// Connections that all slots share; each slot has a channel of its own.
const CONNECTIONS: usize = 4;
/// Deliveries a worker may have in hand.
const PREFETCH: u16 = 64;
/// How often an empty queue is asked for,
const EMPTY_TRIES: u32 = 10;
/// and the pause in between.
const EMPTY_PAUSE: Duration = Duration::from_secs(1);
const QUEUE: &str = "bench";
const REPLIES: &str = "amq.rabbitmq.reply-to";

fn failed(why: impl std::fmt::Display) -> BenchError {
    BenchError::new("asking RabbitMQ", why)
}

/// Connections to one system.
#[derive(Debug)]
pub struct Rabbit {
    connections: Vec<Connection>,
}

impl Rabbit {
    /// Connects to the nodes in turn; the queue's leader is the first, where it is declared.
    ///
    /// # Errors
    /// [`BenchError`].
    pub async fn connect(peer: &Peer) -> Result<Self, BenchError> {
        let mut connections = Vec::new();
        for address in peer.addresses.iter().cycle().take(CONNECTIONS) {
            let url = format!("amqp://guest:guest@{address}/%2f");
            connections
                .push(Connection::connect(&url, ConnectionProperties::default()).await.map_err(failed)?);
        }
        Ok(Self { connections })
    }

    /// Connects, to an empty queue. One that goes leaves its name taken for a moment, and then ends the connection that asks for it.
    ///
    /// # Errors
    /// [`BenchError`].
    pub async fn emptied(peer: &Peer) -> Result<Self, BenchError> {
        let mut tries = 1;
        loop {
            let rabbit = Self::connect(peer).await?;
            match rabbit.empty().await {
                Ok(()) => return Ok(rabbit),
                Err(error) if tries == EMPTY_TRIES => return Err(error),
                Err(_) => tokio::time::sleep(EMPTY_PAUSE).await,
            }
            tries += 1;
        }
    }

    async fn channel(&self, slot: usize) -> Result<Channel, BenchError> {
        let connection = self.connections.get(slot % CONNECTIONS).ok_or_else(|| failed("no connection"))?;
        connection.create_channel().await.map_err(failed)
    }

    /// An empty queue.
    ///
    /// # Errors
    /// [`BenchError`].
    pub async fn empty(&self) -> Result<(), BenchError> {
        let channel = self.channel(0).await?;
        channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await.map_err(failed)?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(QUEUE.into(), options, arguments).await.map_err(failed)?;
        Ok(())
    }

    /// Slots that publish and wait for the confirm.
    ///
    /// # Errors
    /// [`BenchError`].
    pub async fn publishers(&self, count: usize, bytes: usize) -> Result<Vec<Publishes>, BenchError> {
        let (mut slots, payload) = (Vec::new(), payload(bytes));
        for slot in 0..count {
            let channel = self.channel(slot).await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(failed)?;
            slots.push(Publishes { channel, payload: payload.clone() });
        }
        Ok(slots)
    }

    /// Slots that publish and wait for a worker's reply.
    ///
    /// # Errors
    /// [`BenchError`].
    pub async fn askers(&self, count: usize) -> Result<Vec<Asks>, BenchError> {
        let mut slots = Vec::new();
        for Publishes { channel, payload } in self.publishers(count, 100).await? {
            let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
            let replies =
                channel.basic_consume(REPLIES.into(), "".into(), options, FieldTable::default()).await;
            slots.push(Asks { publish: Publishes { channel, payload }, replies: replies.map_err(failed)? });
        }
        Ok(slots)
    }

    /// Starts workers; each reply, or each job where nobody asked for one, is counted.
    ///
    /// # Errors
    /// [`BenchError`].
    pub async fn workers(
        &self,
        count: usize,
        done: &Arc<AtomicU64>,
    ) -> Result<Vec<JoinHandle<()>>, BenchError> {
        let mut workers = Vec::new();
        for slot in 0..count {
            let channel = self.channel(slot).await?;
            channel.basic_qos(PREFETCH, BasicQosOptions::default()).await.map_err(failed)?;
            let options = BasicConsumeOptions::default();
            let jobs = channel.basic_consume(QUEUE.into(), "".into(), options, FieldTable::default()).await;
            workers.push(tokio::spawn(work(channel, jobs.map_err(failed)?, Arc::clone(done))));
        }
        Ok(workers)
    }

    /// Jobs a second that workers take from a queue of so many.
    ///
    /// # Errors
    /// [`BenchError`].
    pub async fn drained(&self, jobs: u64, workers: usize) -> Result<u64, BenchError> {
        let (done, began) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let workers = self.workers(workers, &done).await?;
        while done.load(Ordering::Relaxed) < jobs {
            if began.elapsed() > DRAIN_PATIENCE {
                return Err(failed("its queue is not empty in time"));
            }
            tokio::time::sleep(LOOK / 50).await;
        }
        let elapsed_us = began.elapsed().as_micros().max(1);
        workers.iter().for_each(JoinHandle::abort);
        Ok((u128::from(jobs) * 1_000_000 / elapsed_us) as u64)
    }
}

/// Takes jobs and replies at once. An error means that the measurement is over.
async fn work(channel: Channel, mut jobs: Consumer, done: Arc<AtomicU64>) {
    while let Some(Ok(job)) = jobs.next().await {
        if let Some(to) = job.properties.reply_to().clone() {
            let reply = channel.basic_publish(
                "".into(),
                to,
                BasicPublishOptions::default(),
                &job.data,
                BasicProperties::default(),
            );
            if reply.await.is_err() {
                return;
            }
        }
        if job.ack(BasicAckOptions::default()).await.is_err() {
            return;
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// One slot that publishes.
#[derive(Debug)]
pub struct Publishes {
    channel: Channel,
    payload: Bytes,
}

impl Publishes {
    async fn publish(&self, properties: BasicProperties) -> Result<(), BenchError> {
        let options = BasicPublishOptions::default();
        let sent = self.channel.basic_publish("".into(), QUEUE.into(), options, &self.payload, properties);
        match sent.await.map_err(failed)?.await.map_err(failed)? {
            Confirmation::Ack(_) => Ok(()),
            other => Err(failed(format!("it did not confirm: {other:?}"))),
        }
    }
}

impl Slot for Publishes {
    async fn once(&mut self) -> Result<u64, BenchError> {
        self.publish(BasicProperties::default().with_delivery_mode(2)).await?;
        Ok(1)
    }
}

/// One slot that publishes and waits for the reply.
#[derive(Debug)]
pub struct Asks {
    publish: Publishes,
    replies: Consumer,
}

impl Slot for Asks {
    async fn once(&mut self) -> Result<u64, BenchError> {
        let properties = BasicProperties::default().with_delivery_mode(2).with_reply_to(REPLIES.into());
        self.publish.publish(properties).await?;
        match tokio::time::timeout(Duration::from_secs(30), self.replies.next()).await {
            Ok(Some(Ok(_))) => Ok(1),
            _ => Err(failed("no reply came")),
        }
    }
}
