//! Other processes that wait for their requests. Their event files are written in the background, in order.

use std::collections::HashMap;

use amore_core::{
    Effect,
    events::Event,
    request::{Listener, Request},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
};

use super::hand_over::Taken;

#[derive(Debug)]
enum Order {
    Add(u64, Box<Waiting>),
    Tell(u64, Event),
}

/// Who waits for events.
#[derive(Debug)]
enum Waiting {
    /// Another process, which reads a file.
    Process(Taken),
    /// Another part of this process.
    Here(UnboundedSender<Event>),
}

impl Waiting {
    fn tell(&mut self, event: Event) {
        match self {
            Waiting::Process(taken) => taken.tell(&event),
            Waiting::Here(events) => {
                let _ = events.send(event);
            }
        }
    }
}

/// The waiting processes.
#[derive(Debug)]
pub(super) struct Listeners {
    orders: UnboundedSender<Order>,
    writer: JoinHandle<()>,
    next: u64,
}

impl Listeners {
    /// Starts without any.
    pub(super) fn start() -> Self {
        let (orders, inbox) = unbounded_channel();
        let writer = tokio::task::spawn_blocking(|| write(inbox));
        Listeners { orders, writer, next: 0 }
    }

    /// Adds the process that waits for this request.
    pub(super) fn add(&mut self, taken: Taken) -> (Listener, Request) {
        let request = taken.request.clone();
        (self.add_waiting(Waiting::Process(taken)), request)
    }

    /// Adds another part of this process.
    pub(super) fn add_here(&mut self, events: UnboundedSender<Event>) -> Listener {
        self.add_waiting(Waiting::Here(events))
    }

    fn add_waiting(&mut self, waiting: Waiting) -> Listener {
        let id = self.next;
        self.next += 1;
        let _ = self.orders.send(Order::Add(id, Box::new(waiting)));
        Listener::Elsewhere(id)
    }

    /// Passes an event to one of them.
    pub(super) fn tell(&self, id: u64, event: Event) {
        // The writer has been stopped if it is gone.
        let _ = self.orders.send(Order::Tell(id, event));
    }

    /// Passes the last events, and waits until they are written.
    pub(super) async fn stop(self, last: Vec<Effect>) {
        for effect in last {
            if let Effect::Tell { listener: Listener::Elsewhere(id), event } = effect {
                self.tell(id, event);
            }
        }
        drop(self.orders);
        let _ = self.writer.await;
    }
}

fn write(mut inbox: UnboundedReceiver<Order>) {
    let mut waiting: HashMap<u64, Box<Waiting>> = HashMap::new();
    while let Some(order) = inbox.blocking_recv() {
        match order {
            Order::Add(id, listener) => {
                waiting.insert(id, listener);
            }
            Order::Tell(id, event) => {
                let Some(listener) = waiting.get_mut(&id) else { continue };
                let is_last = matches!(event, Event::Finished(_) | Event::Refused { .. });
                listener.tell(event);
                if is_last {
                    waiting.remove(&id);
                }
            }
        }
    }
}
