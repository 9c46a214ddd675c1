//! The events of a service: numbered, kept for a while, and read by any number of subscribers.
//!
//! A subscriber reads at its own speed, and nobody waits for it. One that was too slow, or that comes back with the id of an
//! event that is not kept any more, is told so ([`Next::Reset`]): it reads the state of what it shows again. So nothing is
//! missed without notice, and memory is bounded.

use std::{
    collections::VecDeque,
    fmt,
    path::Path,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tokio::sync::watch;

use super::happening::{Happening, What};
use crate::{clock, coordinate::owner};
use amore_model::Proposal;

/// How many events are kept for subscribers that come back.
const KEPT: usize = 20_000;

/// Identifies an event: the life of the service, and the number of the event in it. Written as `9f86d081-42`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventId {
    /// A service that is started again has another life, and begins with 1.
    pub life: Arc<str>,
    pub number: u64,
}

/// Text that is not the id of an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the id of an event: expected what the `id` of an earlier event says, like 9f86d081-42")]
pub struct NotAnEventId(String);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.life, self.number)
    }
}

impl FromStr for EventId {
    type Err = NotAnEventId;

    fn from_str(text: &str) -> Result<Self, NotAnEventId> {
        let parsed = || {
            let (life, number) = text.rsplit_once('-')?;
            let is_life = !life.is_empty() && life.len() <= 64 && life.bytes().all(|b| b.is_ascii_hexdigit());
            let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            (is_life && is_number).then_some(())?;
            Some(EventId { life: life.into(), number: number.parse().ok()? })
        };
        parsed().ok_or_else(|| NotAnEventId(text.chars().take(80).collect()))
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The events that are kept. Pure.
#[derive(Debug)]
struct Kept<T> {
    room: usize,
    /// The number of the first event that is kept, or will be.
    first: u64,
    events: VecDeque<T>,
}

/// What is at a place in the stream.
#[derive(Debug, PartialEq, Eq)]
enum Found<'a, T> {
    Event(&'a T),
    /// It is not kept any more.
    Gone,
    /// It has not happened yet.
    NotYet,
}

impl<T> Kept<T> {
    fn new(room: usize) -> Self {
        Kept { room, first: 1, events: VecDeque::new() }
    }

    /// The number that the next event gets.
    fn next(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    fn add(&mut self, event: T) {
        self.events.push_back(event);
        while self.events.len() > self.room {
            self.events.pop_front();
            self.first += 1;
        }
    }

    fn at(&self, number: u64) -> Found<'_, T> {
        let Some(index) = number.checked_sub(self.first) else { return Found::Gone };
        match usize::try_from(index).ok().and_then(|index| self.events.get(index)) {
            Some(event) => Found::Event(event),
            None => Found::NotYet,
        }
    }
}

#[derive(Debug)]
struct Inner {
    life: Arc<str>,
    /// Who the tasks here are executed by, for events that do not say.
    host: String,
    user: String,
    kept: Mutex<Kept<Arc<Happening>>>,
    /// The number that the next event gets: wakes subscribers.
    next: watch::Sender<u64>,
}

/// The events of a service. Clones are the same stream.
#[derive(Clone, Debug)]
pub struct EventStream(Arc<Inner>);

/// Where a subscriber begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// With what happens from now on.
    Now,
    /// After this event, which it has had.
    After(EventId),
}

/// What a subscriber gets.
#[derive(Clone, Debug)]
pub enum Next {
    Event(Arc<Happening>),
    /// Events may have been missed: the state is to be read again. The next event is the one after this id.
    Reset(EventId),
}

impl EventStream {
    /// The stream of a new life of the service.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut life = [0; 8];
        getrandom::fill(&mut life)?;
        let by = owner::this_process();
        Ok(EventStream::of_life(&hex::encode(life), KEPT, by.host, by.user))
    }

    fn of_life(life: &str, room: usize, host: String, user: String) -> Self {
        let (next, _) = watch::channel(1);
        EventStream(Arc::new(Inner {
            life: life.into(),
            host,
            user,
            kept: Mutex::new(Kept::new(room)),
            next,
        }))
    }

    /// Adds an event. `of`: the directory that it is about, with its proposal.
    pub fn publish(&self, of: Option<(&Path, Proposal)>, mut what: What) {
        let inner = &*self.0;
        what.complete(&inner.host, &inner.user);
        let mut kept = inner.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let id = EventId { life: inner.life.clone(), number: kept.next() };
        kept.add(Arc::new(Happening::new(id, clock::now(), of, what)));
        inner.next.send_replace(kept.next());
    }

    /// The id of the last event: whoever reads the state now continues after it.
    pub fn last(&self) -> EventId {
        let next = *self.0.next.borrow();
        EventId { life: self.0.life.clone(), number: next - 1 }
    }

    /// Begins to read.
    pub fn subscribe(&self, from: From) -> Subscription {
        let news = self.0.next.subscribe();
        let (at, is_lost) = match from {
            From::After(EventId { life, number }) if life == self.0.life && number < *news.borrow() => {
                (number.saturating_add(1), false)
            }
            From::After(_) => (*news.borrow(), true),
            From::Now => (*news.borrow(), false),
        };
        Subscription { stream: self.clone(), news, at, is_lost }
    }
}

/// A subscriber's place in the stream.
#[derive(Debug)]
pub struct Subscription {
    stream: EventStream,
    news: watch::Receiver<u64>,
    /// The number of the next event that it gets.
    at: u64,
    /// It does not know this life of the service.
    is_lost: bool,
}

impl Subscription {
    /// Waits for what comes next. Cancel-safe.
    pub async fn next(&mut self) -> Next {
        loop {
            if let Some(next) = self.take() {
                return next;
            }
            let at = self.at;
            // The sender is in the stream, which this subscription holds.
            let _ = self.news.wait_for(|next| *next > at).await;
        }
    }

    /// What has come already.
    fn take(&mut self) -> Option<Next> {
        let inner = &*self.stream.0;
        let kept = inner.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = if self.is_lost { Found::Gone } else { kept.at(self.at) };
        match found {
            Found::Event(event) => {
                self.at += 1;
                Some(Next::Event(Arc::clone(event)))
            }
            Found::Gone => {
                self.is_lost = false;
                self.at = kept.next();
                Some(Next::Reset(EventId { life: inner.life.clone(), number: self.at - 1 }))
            }
            Found::NotYet => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::happening::ServiceEvent;

    fn stream(room: usize) -> EventStream {
        EventStream::of_life("ab12", room, "host".to_owned(), "user".to_owned())
    }

    fn publish(stream: &EventStream, words: &str) {
        let (source, why) = ("kafka".to_owned(), words.to_owned());
        stream.publish(None, What::Service(ServiceEvent::NotUnderstood { source, why }));
    }

    /// What a subscriber has to read now: numbers of events; the id after `reset`.
    fn read(subscription: &mut Subscription) -> Vec<String> {
        let next = std::iter::from_fn(|| subscription.take());
        next.map(|next| match next {
            Next::Event(event) => event.id.number.to_string(),
            Next::Reset(id) => format!("reset {id}"),
        })
        .collect()
    }

    fn after(text: &str) -> From {
        From::After(text.parse().unwrap())
    }

    #[test]
    fn each_subscriber_gets_each_event_once_from_where_it_begins() {
        let stream = stream(10);
        publish(&stream, "a");
        let mut early = stream.subscribe(From::Now);
        publish(&stream, "b");
        publish(&stream, "c");
        assert_eq!(read(&mut early), ["2", "3"]);
        assert!(read(&mut early).is_empty());
        assert_eq!(read(&mut stream.subscribe(after("ab12-1"))), ["2", "3"]);
        assert_eq!(read(&mut stream.subscribe(after("ab12-0"))), ["1", "2", "3"]);
        assert!(read(&mut stream.subscribe(after("ab12-3"))).is_empty());
        assert_eq!(stream.last().to_string(), "ab12-3");
    }

    #[test]
    fn whoever_may_have_missed_something_is_told_so_and_continues() {
        let stream = stream(2);
        let mut slow = stream.subscribe(From::Now);
        for words in ["a", "b", "c"] {
            publish(&stream, words);
        }
        assert_eq!(read(&mut stream.subscribe(after("ab12-1"))), ["2", "3"]);
        assert_eq!(read(&mut stream.subscribe(after("ab12-0"))), ["reset ab12-3"], "event 1 is not kept");
        assert_eq!(read(&mut stream.subscribe(after("ffff-1"))), ["reset ab12-3"], "of another life");
        assert_eq!(read(&mut stream.subscribe(after("ab12-9"))), ["reset ab12-3"], "it has never happened");
        assert_eq!(read(&mut slow), ["reset ab12-3"]);
        publish(&stream, "d");
        assert_eq!(read(&mut slow), ["4"]);
    }

    #[tokio::test]
    async fn a_subscriber_that_waits_is_woken() {
        let stream = stream(2);
        let mut subscription = stream.subscribe(From::Now);
        let waiting = tokio::spawn(async move { subscription.next().await });
        tokio::task::yield_now().await;
        publish(&stream, "a");
        let Next::Event(event) = waiting.await.unwrap() else { panic!("a reset") };
        assert_eq!(event.id.to_string(), "ab12-1");
    }

    #[test]
    fn an_id_is_read_back_and_other_text_is_refused() {
        let id: EventId = "ab12-42".parse().unwrap();
        assert_eq!((id.to_string(), id.number), ("ab12-42".to_owned(), 42));
        for text in ["", "-", "ab12", "ab12-", "-1", "xyz-1", "ab12-+1", "ab12-99999999999999999999"] {
            assert!(text.parse::<EventId>().is_err(), "{text}");
        }
    }
}
