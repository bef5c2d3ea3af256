//! What is known of established connections until they end, by socket cookie.
//!
//! The kernel's record of an end says who connected and when; what that process ran then, and why, is kept here. A
//! connection that is not (any more) is told all the same: its process is looked up anew.

use super::recent::Recent;

/// Connections kept. A busy proxy has tens of thousands open; an entry is about 200 bytes beside what it shares.
pub const LIVE_CONNECTIONS: usize = 16_384;
/// Ends remembered, so that an update that was on its way is not told after the end.
const ENDED_CONNECTIONS: usize = 1_024;

/// Established connections.
pub struct Live<T> {
    kept: Recent<T>,
    ended: Recent<()>,
    evicted: u64,
}

impl<T> Default for Live<T> {
    fn default() -> Self {
        Self::with_capacity(LIVE_CONNECTIONS)
    }
}

impl<T> Live<T> {
    /// A table of another size than [`LIVE_CONNECTIONS`].
    pub fn with_capacity(capacity: usize) -> Self {
        Self { kept: Recent::new(capacity), ended: Recent::new(ENDED_CONNECTIONS), evicted: 0 }
    }

    /// A connection was established; where there is no room, the oldest goes.
    pub fn established(&mut self, cookie: u64, known: T) {
        self.ended.remove(cookie);
        self.evicted += u64::from(self.kept.insert(cookie, known).is_some());
    }

    /// What is known of one that lasts.
    pub fn get(&self, cookie: u64) -> Option<&T> {
        self.kept.get(cookie)
    }

    /// The same, to add to it.
    pub fn get_mut(&mut self, cookie: u64) -> Option<&mut T> {
        self.kept.get_mut(cookie)
    }

    /// What is known of one that ends.
    pub fn end(&mut self, cookie: u64) -> Option<T> {
        self.ended.insert(cookie, ());
        self.kept.remove(cookie)
    }

    /// Whether its end was told a short while ago.
    pub fn has_ended(&self, cookie: u64) -> bool {
        self.ended.get(cookie).is_some()
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.kept.len() == 0
    }

    /// How many had to go for want of room.
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_and_is_counted() {
        let mut live = Live::with_capacity(2);
        for cookie in 1..=3 {
            live.established(cookie, cookie * 10);
        }
        assert_eq!((live.len(), live.evicted(), live.get(1)), (2, 1, None));
        assert_eq!((live.end(3), live.end(3)), (Some(30), None));
    }

    #[test]
    fn a_socket_that_connects_again_has_not_ended() {
        let mut live = Live::default();
        live.established(7, ());
        assert!(!live.has_ended(7));
        live.end(7);
        assert!(live.has_ended(7));
        live.established(7, ());
        assert!(!live.has_ended(7) && !live.is_empty());
    }
}
