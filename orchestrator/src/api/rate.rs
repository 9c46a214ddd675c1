//! How many requests a client may make. Pure: time is an argument.

use std::{collections::BTreeMap, time::Duration};

/// For a moment a client may make as many requests as in so many seconds.
const BURST_SECONDS: f64 = 4.0;
/// How many clients are remembered. Those that have not made requests for a while are forgotten first.
const CLIENTS: usize = 10_000;

/// Counts the requests of each client.
#[derive(Debug, Default)]
pub struct Rates {
    clients: BTreeMap<String, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Duration,
}

impl Rates {
    /// A request of a client at this time.
    ///
    /// # Errors
    /// It has made too many; the next one is possible after this time.
    pub fn take(&mut self, client: &str, per_second: f64, now: Duration) -> Result<(), Duration> {
        let most = (per_second * BURST_SECONDS).max(1.0);
        if !self.clients.contains_key(client) {
            self.make_room(now);
            self.clients.insert(client.to_owned(), Bucket { left: most, at: now });
        }
        let Some(bucket) = self.clients.get_mut(client) else { return Ok(()) };
        let passed = now.saturating_sub(bucket.at).as_secs_f64();
        bucket.left = (bucket.left + passed * per_second).min(most);
        bucket.at = now;
        if bucket.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.left) / per_second));
        }
        bucket.left -= 1.0;
        Ok(())
    }

    fn make_room(&mut self, now: Duration) {
        if self.clients.len() < CLIENTS {
            return;
        }
        let full = Duration::from_secs_f64(BURST_SECONDS);
        self.clients.retain(|_, bucket| now.saturating_sub(bucket.at) < full);
        if self.clients.len() >= CLIENTS {
            // Everybody is busy: all begin anew.
            self.clients.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_asks_too_often_waits_and_others_do_not() {
        let mut rates = Rates::default();
        let at = Duration::from_secs(100);
        for _ in 0..8 {
            rates.take("mia", 2.0, at).unwrap();
        }
        assert_eq!(rates.take("mia", 2.0, at), Err(Duration::from_millis(500)));
        rates.take("leo", 2.0, at).unwrap();
        rates.take("mia", 2.0, at + Duration::from_millis(500)).unwrap();
        assert!(rates.take("mia", 2.0, at + Duration::from_millis(500)).is_err());
    }

    #[test]
    fn many_clients_do_not_fill_the_memory() {
        let mut rates = Rates::default();
        for number in 0..3 * CLIENTS {
            let _ = rates.take(&number.to_string(), 1.0, Duration::from_secs(1));
        }
        assert!(rates.clients.len() <= CLIENTS);
    }
}
