//! How often a client may ask: a token bucket for each key, in the form of the
//! generic cell rate algorithm (ITU-T I.371, annex A), which keeps one number a
//! key: when its bucket will be full again.
//!
//! Memory is bounded. Keys live in two generations: a key that is used moves to
//! the young one; when the young one is full, or every bucket in the old one
//! must have filled up meanwhile, the old one is forgotten. So only clients that
//! were quiet are forgotten, unless more than [`CAPACITY`] ask at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Keys in a generation: with two of them about 5 MB a limit at the very most.
pub const CAPACITY: usize = 65_536;

/// Independent parts, so that workers seldom wait for one another.
const SHARDS: usize = 8;

/// One route's limit, shared by all workers.
#[derive(Debug)]
pub struct Limiter {
    /// Microseconds that one request costs.
    cost_us: u64,
    /// How far ahead of now a bucket may be: burst minus one requests.
    tolerance_us: u64,
    shards: [Mutex<Generations>; SHARDS],
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<u128, u64>,
    old: HashMap<u128, u64>,
    turned_us: u64,
}

impl Limiter {
    /// `per_second` requests, and `burst` at once before that applies.
    pub fn new(per_second: f64, burst: u32) -> Self {
        // At most one a microsecond; at least one in 11 days.
        let cost_us = (1e6 / per_second.max(1e-6)).clamp(1.0, 1e12) as u64;
        let tolerance_us = cost_us.saturating_mul(u64::from(burst.max(1)) - 1);
        Self { cost_us, tolerance_us, shards: Default::default() }
    }

    /// Whether a request may pass, at `now_us` of a clock that never jumps. The
    /// error is in how many microseconds to come again.
    pub fn check(&self, key: u128, now_us: u64) -> Result<(), u64> {
        // Multiplication spreads neighbouring addresses over the shards.
        let spread = (key as u64 ^ (key >> 64) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let shard = &self.shards[(spread >> 61) as usize];
        let mut generations = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = generations.take(&key).unwrap_or(0).max(now_us);
        let ahead = full_at - now_us;
        if ahead > self.tolerance_us {
            generations.put(key, full_at, now_us, self.fill_us());
            return Err(ahead - self.tolerance_us);
        }
        generations.put(key, full_at.saturating_add(self.cost_us), now_us, self.fill_us());
        Ok(())
    }

    /// How long an empty bucket takes to fill.
    fn fill_us(&self) -> u64 {
        self.tolerance_us.saturating_add(self.cost_us)
    }
}

impl Generations {
    fn take(&mut self, key: &u128) -> Option<u64> {
        self.young.get(key).copied().or_else(|| self.old.remove(key))
    }

    fn put(&mut self, key: u128, full_at: u64, now_us: u64, fill_us: u64) {
        let full = self.young.len() >= CAPACITY / SHARDS;
        // What is old when this passes was not used for as long as a bucket takes to fill.
        let aged = now_us.saturating_sub(self.turned_us) > fill_us;
        if full || aged {
            self.old = std::mem::take(&mut self.young);
            self.turned_us = now_us;
        }
        self.young.insert(key, full_at);
    }
}

/// The key of a client: an IPv4 address, or an IPv6 network of 64 bits, which is
/// what one customer gets (RFC 6177).
pub fn client_key(ip: IpAddr) -> u128 {
    match base::net::canonical(ip) {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => (u128::from(ip) >> 64 << 64) | 1 << 32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn bursts_then_the_rate() {
        let limiter = Limiter::new(2.0, 3);
        let now = 1_000 * SECOND;
        for _ in 0..3 {
            assert_eq!(limiter.check(1, now), Ok(()));
        }
        assert_eq!(limiter.check(1, now), Err(SECOND / 2));
        assert_eq!(limiter.check(2, now), Ok(()), "another client");
        assert_eq!(limiter.check(1, now + SECOND / 4), Err(SECOND / 4));
        assert_eq!(limiter.check(1, now + SECOND / 2), Ok(()));
        assert!(limiter.check(1, now + SECOND / 2).is_err());
        for _ in 0..3 {
            assert_eq!(limiter.check(1, now + 60 * SECOND), Ok(()));
        }
        assert!(limiter.check(1, now + 60 * SECOND).is_err());
    }

    /// Against a plain token bucket, at random times.
    #[test]
    fn it_is_a_token_bucket() {
        for seed in 1..200u64 {
            let (rate, burst) = (1.0 + (seed % 7) as f64, 1 + (seed % 5) as u32);
            let limiter = Limiter::new(rate, burst);
            let (mut tokens, mut now, mut x) = (f64::from(burst), SECOND, seed);
            for step in 0..500 {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let wait = (x >> 33) % (2 * SECOND / burst as u64);
                now += wait;
                tokens = (tokens + wait as f64 * rate / 1e6).min(f64::from(burst));
                // Rounding of the cost to microseconds must not decide.
                if (tokens - tokens.round()).abs() < 0.01 {
                    now += SECOND / 50;
                    tokens = (tokens + rate / 50.0).min(f64::from(burst));
                }
                let passed = limiter.check(9, now).is_ok();
                assert_eq!(passed, tokens >= 1.0, "seed {seed}, step {step}, {tokens} tokens");
                if passed {
                    tokens -= 1.0;
                }
            }
        }
    }

    #[test]
    fn memory_is_bounded_and_the_busy_are_not_forgotten() {
        let limiter = Limiter::new(0.001, 1);
        assert_eq!(limiter.check(0, SECOND), Ok(()));
        for key in 1..3 * CAPACITY as u128 {
            let _ = limiter.check(key << 64, SECOND);
            if key % 1_000 == 0 {
                assert!(limiter.check(0, SECOND).is_err(), "forgotten after {key}");
            }
        }
        let keys = |g: &Mutex<Generations>| {
            let g = g.lock().unwrap();
            g.young.len() + g.old.len()
        };
        assert!(limiter.shards.iter().map(keys).sum::<usize>() <= 2 * CAPACITY);
    }

    #[test]
    fn keys() {
        let key = |text: &str| client_key(text.parse().unwrap());
        assert_eq!(key("::ffff:1.2.3.4"), key("1.2.3.4"));
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::9"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_ne!(key("::"), key("0.0.0.0"));
    }
}
