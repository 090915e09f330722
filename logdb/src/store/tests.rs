//! Numbering, repeats, restarts and search on a real SQLite file.

use super::*;

fn line(source: &str, seq: u64, message: &str) -> Arrived {
    let record = Record::new(source, seq, 1_000 + seq, Level::Info, "test", None, "n", message);
    Arrived { record, number: Some(1) }
}

fn texts(lines: &[Kept]) -> Vec<String> {
    lines.iter().map(Kept::text).collect()
}

fn all() -> Wanted {
    Wanted { limit: 10_000, ..Wanted::default() }
}

#[tokio::test]
async fn a_restart_keeps_lines_and_goes_on_with_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/logs.sqlite");
    let store = Store::open(&path).await.unwrap();
    assert_eq!(store.bounds().await.unwrap(), (0, 0));
    store.append(vec![line("a/1", 1, "one"), Arrived::read(b"plain").unwrap()]).await.unwrap();
    let id = store.id().to_string();
    store.close().await;
    let store = Store::open(&path).await.unwrap();
    assert_eq!(store.id(), id);
    store.append(vec![line("a/1", 2, "two"), Arrived::read(b"plain").unwrap()]).await.unwrap();
    assert_eq!(
        texts(&store.find(&all()).await.unwrap()),
        [
            "<Log 1, Container 1: one>",
            "<Log 2, Container -: plain>",
            "<Log 3, Container 1: two>",
            "<Log 4, Container -: plain>",
        ]
    );
}

#[tokio::test]
async fn a_repeated_record_is_kept_once_and_makes_no_hole() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("logs.sqlite")).await.unwrap();
    store.append(vec![line("a/1", 1, "x"), line("a/1", 3, "z")]).await.unwrap();
    let again = vec![line("a/1", 1, "x"), line("a/1", 2, "y"), line("a/1", 2, "y"), line("b/1", 1, "b")];
    let kept = store.append(again).await.unwrap();
    assert_eq!(texts(&kept), ["<Log 3, Container 1: y>", "<Log 4, Container 1: b>"]);
    let many: Vec<Arrived> = (1..=3_000).map(|seq| line("a/1", seq, "m")).collect();
    assert_eq!(store.append(many.clone()).await.unwrap().len(), 2_997);
    assert!(store.append(many).await.unwrap().is_empty());
    assert_eq!(store.bounds().await.unwrap(), (1, 3_001));
}

#[tokio::test]
async fn only_so_many_lines_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("logs.sqlite")).await.unwrap();
    store.append((1..=50).map(|seq| line("a/1", seq, "m")).collect()).await.unwrap();
    store.shorten(10).await.unwrap();
    assert_eq!(store.bounds().await.unwrap(), (41, 50));
    let kept = store.append(vec![line("a/1", 51, "m")]).await.unwrap();
    assert_eq!(kept[0].n, 51);
}

#[tokio::test]
async fn lines_are_found_by_job_node_level_and_place() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("logs.sqlite")).await.unwrap();
    let job: JobId = "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap();
    let mut lines: Vec<Arrived> = (1..=9).map(|seq| line("a/1", seq, "m")).collect();
    lines[1].record.job = Some(job);
    lines[4].record.job = Some(job);
    lines[4].record.level = Level::Warn;
    lines[6].record.node = Arc::from("other");
    store.append(lines).await.unwrap();
    let numbers = async |wanted: Wanted| -> Vec<u64> {
        store.find(&wanted).await.unwrap().iter().map(|kept| kept.n).collect()
    };
    assert_eq!(numbers(Wanted { job: Some(job), ..all() }).await, [2, 5]);
    assert_eq!(numbers(Wanted { job: Some(job), level: Some(Level::Warn), ..all() }).await, [5]);
    assert_eq!(numbers(Wanted { node: Some("other".to_string()), ..all() }).await, [7]);
    assert_eq!(numbers(Wanted { limit: 2, ..Wanted::default() }).await, [8, 9]);
    assert_eq!(numbers(Wanted { limit: 2, before: Some(8), ..Wanted::default() }).await, [6, 7]);
    assert_eq!(numbers(Wanted { limit: 2, after: Some(3), ..Wanted::default() }).await, [4, 5]);
    let found = store.find(&Wanted { job: Some(job), limit: 1, ..Wanted::default() }).await.unwrap();
    assert_eq!((found[0].record.job, found[0].record.level), (Some(job), Level::Warn));
}
