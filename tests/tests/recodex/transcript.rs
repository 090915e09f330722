//! A whole conversation, frame by frame, as it was with the original.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tests::recodex::{Backend, Call, Frames, FrontEnd, Worker};

const TABLE: &str = include_str!("transcript.txt");
/// How long the next thing may take: it comes within milliseconds, or within five seconds when a worker falls silent.
const PATIENCE: Duration = Duration::from_secs(50);
/// What comes after the last line would have come by then.
const AFTERWARDS: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(20);

/// What a line of the table wants.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wants {
    Say(Frames),
    Hear(Frames),
    Nothing(Duration),
    Silence,
}

/// `PEER`, and what of it; none: the line is none of these.
fn read(line: &str) -> Option<(&str, Wants)> {
    let (peer, rest) = line.split_once(' ')?;
    let frames = |text: &str| text.split(" / ").map(|frame| frame.trim_matches('\'').to_string()).collect();
    let wants = match rest.split_once(' ')? {
        ("<", silence) if silence.starts_with("nothing ") => {
            Wants::Nothing(Duration::from_millis(silence.strip_prefix("nothing ")?.parse().ok()?))
        }
        (">", text) => Wants::Say(frames(text)),
        ("<", text) => Wants::Hear(frames(text)),
        ("!", "silent") => Wants::Silence,
        _ => return None,
    };
    Some((peer, wants))
}

/// Whether this was said, where the wanted text may leave a name of ZeroMQ's open.
fn is_said(wanted: &str, said: &str) -> bool {
    let Some((before, after)) = wanted.split_once("{hex}") else { return wanted == said };
    let name = said.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    name.is_some_and(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The peers, and how far each of them was read.
struct Stage {
    backend: Backend,
    client: FrontEnd,
    workers: BTreeMap<String, Worker>,
    heard: usize,
    called: usize,
}

impl Stage {
    fn worker(&mut self, name: &str) -> &mut Worker {
        let url = self.backend.workers(1);
        self.workers.entry(name.to_string()).or_insert_with(|| Worker::new(&url))
    }

    fn say(&mut self, peer: &str, frames: &Frames) {
        if peer == "client" {
            return self.client.say(frames);
        }
        let worker = self.worker(peer);
        worker.say(frames);
        if frames[0] == "init" {
            worker.pings(true);
        }
    }

    /// What was said to this one next, when it is there by now. That the broker answers a worker's pings is only of interest where
    /// the table asks for it.
    fn look(&mut self, peer: &str, wants_pong: bool) -> Option<Frames> {
        match peer {
            "client" => self.client.hears(Duration::ZERO),
            "monitor" => {
                // What showed that the broker has found the monitor is no part of the table.
                let heard = self.backend.monitor.heard();
                let told = heard.iter().filter(|frames| !frames[0].starts_with("warm")).nth(self.heard)?;
                self.heard += 1;
                Some(told.clone())
            }
            "notifier" => {
                let call = self.backend.notifier.calls().get(self.called)?.clone();
                self.called += 1;
                let Call { version, method, path, authorization, kind, body, .. } = call;
                Some(vec![version, method, path, authorization, kind, body])
            }
            worker => loop {
                let said = self.worker(worker).hears_anything(Duration::ZERO)?;
                if wants_pong || said != ["pong"] {
                    return Some(said);
                }
            },
        }
    }

    fn next(&mut self, peer: &str, wants_pong: bool, within: Duration) -> Option<Frames> {
        let deadline = Instant::now() + within;
        loop {
            self.workers.values_mut().for_each(Worker::keep_alive);
            if let Some(said) = self.look(peer, wants_pong) {
                return Some(said);
            }
            if Instant::now() >= deadline {
                return None;
            }
            std::thread::sleep(LOOK);
        }
    }

    fn play(&mut self, line: &str) {
        let (peer, wants) = read(line).unwrap_or_else(|| panic!("{line:?} is no line of the table"));
        match wants {
            Wants::Say(frames) => self.say(peer, &frames),
            Wants::Silence => self.worker(peer).pings(false),
            Wants::Nothing(time) => {
                let said = self.next(peer, false, time);
                assert_eq!(said, None, "{line}");
            }
            Wants::Hear(frames) => {
                let began = Instant::now();
                let said = self.next(peer, frames == ["pong"], PATIENCE);
                let said = said.unwrap_or_else(|| panic!("{line}: nothing for {PATIENCE:?}"));
                let fits = said.len() == frames.len()
                    && frames.iter().zip(&said).all(|(wanted, said)| is_said(wanted, said));
                assert!(fits, "{line}\nwas said as {said:?}");
                if began.elapsed() > Duration::from_secs(1) {
                    println!("after {:?}: {line}", began.elapsed());
                }
            }
        }
    }

    /// Nobody may have heard more than the table says.
    fn nothing_is_left(&mut self, step: &str, within: Duration) {
        let mut peers = vec!["client".to_string(), "monitor".to_string(), "notifier".to_string()];
        peers.extend(self.workers.keys().cloned());
        let deadline = Instant::now() + within;
        for peer in peers {
            let left = deadline.saturating_duration_since(Instant::now());
            let said = self.next(&peer, false, left);
            assert_eq!(said, None, "{step}: {peer} heard more than the table says");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_transcript_of_the_original_is_ours_frame_by_frame() {
    let backend = Backend::start(1).await;
    let client = FrontEnd::new(&backend.clients(1));
    tests::eventually("the broker has found the monitor", async || {
        let refused = FrontEnd::eval(&backend.clients(1), "warm", &["env=warm"]);
        assert!(refused.rejected.is_some());
        (!backend.monitor.of("warm").is_empty()).then_some(())
    })
    .await;
    let mut stage = Stage { backend, client, workers: BTreeMap::new(), heard: 0, called: 0 };
    let mut step = "";
    let mut steps = 0;
    for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(title) = line.strip_prefix("== ") {
            stage.nothing_is_left(step, Duration::ZERO);
            (step, steps) = (title, steps + 1);
            println!("{step}");
        } else {
            stage.play(line);
        }
    }
    stage.nothing_is_left("at the end", AFTERWARDS);
    assert_eq!(steps, 13, "the table has all steps");
}

#[test]
fn the_table_is_read_as_it_is_meant() {
    let frames = |frames: &[&str]| frames.iter().map(ToString::to_string).collect::<Frames>();
    let table = [
        ("w > done / j / OK / ''", Wants::Say(frames(&["done", "j", "OK", ""]))),
        ("w < reject / 'env=c; '", Wants::Hear(frames(&["reject", "env=c; "]))),
        ("w < nothing 300", Wants::Nothing(Duration::from_millis(300))),
        ("w ! silent", Wants::Silence),
    ];
    for (line, wants) in table {
        assert_eq!(read(line), Some(("w", wants)), "{line}");
    }
    assert_eq!(read("w = x"), None);
    assert!(is_said("a ({hex} (w))", "a (00ff12ab9e (w))") && !is_said("a ({hex} (w))", "a (w1 (w))"));
    let unread = |line: &&str| {
        !line.is_empty() && !line.starts_with('#') && !line.starts_with("== ") && read(line).is_none()
    };
    assert_eq!(TABLE.lines().find(unread), None, "every line of the table is read");
}
