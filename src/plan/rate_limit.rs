//! How many messages in how much time: a person who gets a hundred reads none.

use crate::domain::time::{Ms, SECOND};

/// So many messages may go out at once.
const AT_ONCE: i64 = 10;

/// After those, one in so long.
const ONE_IN_MS: i64 = 30 * SECOND;

/// What may still go out: ten at once, then one each half a minute.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    /// What is left, in milliseconds of [`ONE_IN_MS`] a message.
    left: i64,
    seen: Ms,
}

impl TokenBucket {
    /// All of it is left. `now` is on any clock that the later calls use too; best on a monotonic one.
    #[must_use]
    pub fn new(now: Ms) -> Self {
        Self { left: AT_ONCE * ONE_IN_MS, seen: now }
    }

    /// Takes one: 0 where it may go out now, else milliseconds until one may, and none is taken.
    pub fn take(&mut self, now: Ms) -> i64 {
        let passed = now.since(self.seen).max(0);
        self.seen = now;
        self.left = self.left.saturating_add(passed).min(AT_ONCE * ONE_IN_MS);
        if self.left >= ONE_IN_MS {
            self.left -= ONE_IN_MS;
            0
        } else {
            ONE_IN_MS - self.left
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_at_once_then_one_each_half_minute() {
        let mut pace = TokenBucket::new(Ms(5));
        for _ in 0..10 {
            assert_eq!(pace.take(Ms(5)), 0);
        }
        assert_eq!(pace.take(Ms(5)), 30_000);
        assert_eq!(pace.take(Ms(20_005)), 10_000);
        assert_eq!(pace.take(Ms(30_005)), 0);
        assert_eq!(pace.take(Ms(30_005)), 30_000);
        // A clock that goes back takes and gives nothing.
        assert_eq!(pace.take(Ms(0)), 30_000);
        let mut sent = 0;
        for second in 0..3600 {
            sent += i32::from(pace.take(Ms(second * 1000)) == 0);
        }
        assert_eq!(sent, 119);
    }
}
