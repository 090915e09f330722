//! One connection to the server, from its beginning to its end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, Consumer, ErrorKind};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::carry::Carrier;
use super::{AmqpError, AmqpSettings};
use crate::limits;
use crate::stop::Stop;

/// How long the server may take to take a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// A connection that takes messages.
pub(super) struct Session {
    connection: Connection,
    channel: Channel,
    consumer: Consumer,
    queue: String,
    /// Messages under way above which no further consumer begins: what earlier ones hold does not count against its room.
    most: usize,
}

/// How it ended.
pub(super) enum End {
    /// Somebody asked for it; so many messages went back.
    Told { left: usize },
    /// The server is gone, or has closed the connection.
    Broken(AmqpError),
}

impl Session {
    pub(super) async fn open(
        settings: &AmqpSettings,
        room: &watch::Receiver<usize>,
    ) -> Result<Self, AmqpError> {
        let mut url = settings.url.clone();
        if let Some(discover) = &settings.discover {
            (url.authority.host, url.authority.port) = discover.find().await?;
        }
        let connected = Connection::connect_uri(url, ConnectionProperties::default());
        let connected =
            timeout(CONNECT, connected).await.map_err(|_| AmqpError::server("no answer in time"))?;
        let connection = connected.map_err(AmqpError::server)?;
        for queue in [Some(&settings.queue), settings.dead.as_ref()].into_iter().flatten() {
            ensure(&connection, queue).await?;
        }
        let channel = connection.create_channel().await.map_err(AmqpError::server)?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(AmqpError::server)?;
        let consumer = consume(&channel, &settings.queue, *room.borrow()).await?;
        let (queue, most) = (settings.queue.clone(), settings.prefetch);
        Ok(Self { connection, channel, consumer, queue, most })
    }

    /// Carries messages until it is told to stop or the connection ends.
    pub(super) async fn serve(
        mut self,
        carrier: &Arc<Carrier>,
        mut room: watch::Receiver<usize>,
        stop: &Stop,
    ) -> End {
        // Dropped with the session: what was not acknowledged comes again, and finds its job by its key.
        let mut under_way = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.told(1) => break,
                Ok(()) = room.changed(), if under_way.len() <= self.most => {
                    let now = *room.borrow_and_update();
                    match self.resize(now).await {
                        Ok(here) => here.into_iter().for_each(|delivery| self.begin(carrier, &mut under_way, delivery)),
                        Err(why) => return End::Broken(why),
                    }
                }
                delivery = self.consumer.next() => match delivery {
                    Some(Ok(delivery)) => self.begin(carrier, &mut under_way, delivery),
                    Some(Err(error)) => return End::Broken(AmqpError::server(error)),
                    None => return End::Broken(AmqpError::server("it takes nothing more from the queue")),
                },
                Some(done) = under_way.join_next() => match done {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return End::Broken(AmqpError::server(error)),
                    // A broken invariant: its message is to come again, not to be held for ever.
                    Err(error) => return End::Broken(AmqpError::server(error)),
                },
            }
        }
        self.finish(under_way, stop).await
    }

    fn begin(&self, carrier: &Arc<Carrier>, under_way: &mut JoinSet<lapin::Result<()>>, delivery: Delivery) {
        under_way.spawn(Arc::clone(carrier).carry(self.channel.clone(), delivery));
    }

    /// Takes nothing new; what is under way may end, for ten seconds or until it is told again.
    async fn finish(self, mut under_way: JoinSet<lapin::Result<()>>, stop: &Stop) -> End {
        let until = Instant::now() + Duration::from_millis(limits::FINISH_MS);
        // Messages on their way here go back when the connection ends. So do all, if this fails.
        let cancelled = self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default()).await;
        while cancelled.is_ok() && !under_way.is_empty() {
            tokio::select! {
                () = stop.told(2) => break,
                () = sleep_until(until) => break,
                Some(done) = under_way.join_next() => if !matches!(done, Ok(Ok(()))) { break },
            }
        }
        let left = under_way.len();
        drop(under_way);
        // If it is gone already there is nobody to say goodbye to.
        let _ = timeout(CONNECT, self.connection.close(200, "told to end".into())).await;
        End::Told { left }
    }

    /// Quorum queues heed the number a consumer begins with only: so it begins anew. What the old one was given already is
    /// ours: the server does not give it to anybody else while the channel is open.
    async fn resize(&mut self, room: usize) -> Result<Vec<Delivery>, AmqpError> {
        let cancelled = self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default()).await;
        cancelled.map_err(AmqpError::server)?;
        let mut here = Vec::new();
        while let Some(delivery) = self.consumer.next().await {
            here.push(delivery.map_err(AmqpError::server)?);
        }
        self.consumer = consume(&self.channel, &self.queue, room).await?;
        Ok(here)
    }
}

async fn consume(channel: &Channel, queue: &str, room: usize) -> Result<Consumer, AmqpError> {
    let room = u16::try_from(room).unwrap_or(u16::MAX);
    channel.basic_qos(room, BasicQosOptions::default()).await.map_err(AmqpError::server)?;
    let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
    channel.basic_consume(queue.into(), "".into(), options, none).await.map_err(AmqpError::server)
}

/// A queue that is there stays as it is; one that is not is declared, durable.
async fn ensure(connection: &Connection, queue: &str) -> Result<(), AmqpError> {
    let look = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    // The server closes the channel of a question it answers no to.
    let channel = connection.create_channel().await.map_err(AmqpError::server)?;
    if channel.queue_declare(queue.into(), look, FieldTable::default()).await.is_ok() {
        return Ok(());
    }
    let channel = connection.create_channel().await.map_err(AmqpError::server)?;
    let make = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let made = channel.queue_declare(queue.into(), make, FieldTable::default()).await;
    made.map(drop).map_err(|error| match error.kind() {
        // Said by the server of this queue, not of the connection.
        ErrorKind::ProtocolError(_) if error.is_amqp_soft_error() => {
            AmqpError::Queue(format!("{queue}: {error}"))
        }
        _ => AmqpError::server(error),
    })
}
