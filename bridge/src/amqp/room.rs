//! How many messages may be under way: as many as the nodes that serve the class have slots. More would lie here while
//! another bridge on the same queue has room for them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::AmqpSettings;
use crate::api::Ask;
use crate::errand::Errands;

/// Between two looks at the nodes. Slots change when nodes come and go, not with every job.
const LOOK: Duration = Duration::from_secs(2);

/// Looks at the nodes until it is aborted; the room there is now.
pub(super) fn watch(
    errands: Arc<Errands>,
    settings: &AmqpSettings,
) -> (JoinHandle<()>, watch::Receiver<usize>) {
    let (class, most) = (settings.class.clone(), settings.prefetch);
    // Until the cluster has answered: enough to find out whether it does.
    let (tell, room) = watch::channel(1);
    let looks = async move {
        loop {
            if let Ok(status) = errands.api().json(Ask::get("/api/v1/status")).await {
                let now = room_in(&status, &class).clamp(1, most);
                tell.send_if_modified(|room| std::mem::replace(room, now) != now);
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    (tokio::spawn(looks), room)
}

/// Slots of the nodes that take jobs of this class.
fn room_in(status: &Value, class: &str) -> usize {
    let nodes = status["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let takes = |node: &&Value| {
        let classes = node["classes"].as_array().map(Vec::as_slice).unwrap_or_default();
        node["alive"] == true && node["draining"] != true && classes.iter().any(|served| served == class)
    };
    nodes.iter().filter(takes).filter_map(|node| node["slots"].as_u64()).sum::<u64>() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_slots_of_nodes_that_take_the_class_count() {
        let node = |alive: bool, draining: bool, class: &str, slots: u64| json!({"alive": alive, "draining": draining, "classes": ["echo", class], "slots": slots});
        let nodes = [
            node(true, false, "C", 4),
            node(true, false, "D", 8),
            node(false, false, "C", 16),
            node(true, true, "C", 32),
            node(true, false, "C", 64),
        ];
        assert_eq!(room_in(&json!({"nodes": nodes}), "C"), 68);
        assert_eq!(room_in(&json!({}), "C"), 0);
    }
}
