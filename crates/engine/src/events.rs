//! Events: what happened, for those who listen, and for a while for those who come late.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Mutex,
};

use tokio::sync::broadcast;

use crate::Time;

/// Events kept for `since`, as many as Docker keeps.
const KEPT: usize = 256;
/// Events a listener may lag behind before it misses some.
const LAG: usize = 1024;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Kind of thing it happened to: `container`, `image`, `network` ...
    pub kind: &'static str,
    /// What happened: `start`, `die` ...
    pub action: String,
    /// Id of the thing.
    pub id: String,
    /// What is known of it.
    pub attributes: BTreeMap<String, String>,
    /// When.
    pub time: Time,
}

/// Keeps and spreads events.
pub(crate) struct Events {
    kept: Mutex<VecDeque<Event>>,
    sender: broadcast::Sender<Event>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self { kept: Mutex::new(VecDeque::new()), sender: broadcast::channel(LAG).0 }
    }

    pub(crate) fn emit(&self, event: Event) {
        let mut kept = self.kept.lock().expect("no panic while events are kept");
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(event.clone());
        // Sent under the lock, so that a listener sees each event once: kept or sent. That nobody
        // listens is no failure.
        let _ = self.sender.send(event);
    }

    /// Events so far, oldest first, and those to come.
    pub(crate) fn listen(&self) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let kept = self.kept.lock().expect("no panic while events are kept");
        (kept.iter().cloned().collect(), self.sender.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: i64) -> Event {
        Event {
            kind: "container",
            action: "start".to_owned(),
            id: String::new(),
            attributes: BTreeMap::new(),
            time: Time(number),
        }
    }

    #[test]
    fn the_latest_events_are_kept() {
        let events = Events::new();
        for number in 0..300 {
            events.emit(event(number));
        }
        let (kept, mut coming) = events.listen();
        assert_eq!((kept.len(), kept[0].time), (KEPT, Time(44)));
        events.emit(event(300));
        assert_eq!(coming.try_recv().unwrap().time, Time(300));
    }
}
