use super::*;
use crate::health::{BACK_OFF_MAX_MS, FAILURES_TO_TAKE_OUT};
use crate::settings::{HealthCheck, Server};
use base::Millis;

/// A pool with a server for each weight.
fn settings(policy: Policy, weights: &[u16], checks: bool) -> settings::Pool {
    let server = |(i, weight): (usize, &u16)| Server {
        name: format!("app/{}", i + 1),
        address: Address::Ip(([127, 0, 0, 1], 8_001 + i as u16).into()),
        weight: *weight,
    };
    let health = HealthCheck {
        method: "GET".into(),
        path: "/healthz".into(),
        interval: Millis(2_000),
        timeout: Millis(1_000),
        rise: 2,
        fall: 2,
    };
    settings::Pool {
        name: "app".into(),
        servers: weights.iter().enumerate().map(server).collect(),
        policy,
        health: checks.then_some(health),
        idle_connections: 8,
        max_in_flight: 0,
    }
}

fn pool(policy: Policy, weights: &[u16]) -> Pool {
    Pool::new(settings(policy, weights, false), 0)
}

/// SplitMix64: the tests' chance, from a printed seed.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

#[test]
fn turns_are_smooth() {
    let pool = pool(Policy::RoundRobin, &[5, 1, 1]);
    let order: Vec<usize> = (0..14).map(|_| pool.choose(0, &[]).unwrap().index()).collect();
    // The sequence nginx documents for weights 5, 1, 1: a a b a c a a.
    assert_eq!(order, [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn every_cycle_gives_each_its_weight() {
    for weights in [&[1u16, 1][..], &[3, 2, 1], &[256, 1, 7, 7], &[1]] {
        for policy in [Policy::RoundRobin, Policy::LeastRequests] {
            let pool = pool(policy, weights);
            let cycle: usize = weights.iter().map(|w| usize::from(*w)).sum();
            for round in 0..3 {
                let mut counts = vec![0u16; weights.len()];
                for _ in 0..cycle {
                    counts[pool.choose(0, &[]).unwrap().index()] += 1;
                }
                assert_eq!(counts, weights, "{policy:?} round {round}");
            }
        }
    }
}

#[test]
fn least_requests_levels_by_weight() {
    let pool = pool(Policy::LeastRequests, &[1, 2, 1]);
    let mut leases: Vec<Lease> = (0..40).map(|_| pool.choose(0, &[]).unwrap()).collect();
    let counts = |pool: &Pool| pool.status().iter().map(|s| s.in_flight).collect::<Vec<_>>();
    assert_eq!(counts(&pool), [10, 20, 10]);
    // One server's requests end: the next ones go there until it is level again.
    leases.retain(|lease| lease.index() != 2);
    for _ in 0..10 {
        leases.push(pool.choose(0, &[]).unwrap());
        assert_eq!(leases.last().map(Lease::index), Some(2));
    }
    assert_eq!(counts(&pool), [10, 20, 10]);
    drop(leases);
    assert_eq!(counts(&pool), [0, 0, 0]);
}

#[test]
fn a_full_pool_says_why_it_is_full() {
    let mut told = settings(Policy::LeastRequests, &[1, 1], true);
    told.max_in_flight = 1;
    let pool = Pool::new(told, 0);
    let refused = |exclude: &[usize], now| pool.choose(now, exclude).unwrap_err();
    assert_eq!(refused(&[0, 1], 0), NoServer { reason: "all_tried", trial_at_ms: None });
    let (first, second) = (pool.choose(0, &[]).unwrap(), pool.choose(0, &[]).unwrap());
    assert_eq!(refused(&[], 0), NoServer { reason: "all_busy", trial_at_ms: None });
    assert_eq!(refused(&[0], 0).reason, "all_busy");
    drop(second);
    let mut again = pool.choose(0, &[]).unwrap();
    for _ in 0..FAILURES_TO_TAKE_OUT {
        again.report(Outcome::Broken, 100);
    }
    drop(again);
    drop(first);
    pool.checked(0, Err("status 500"), 100);
    assert_eq!(refused(&[], 100), NoServer { reason: "all_down", trial_at_ms: Some(600) });
    assert_eq!(
        Pool::new(settings(Policy::RoundRobin, &[], false), 0).choose(0, &[]).unwrap_err().reason,
        "empty"
    );
}

#[test]
fn servers_not_checked_yet_are_the_last_resort() {
    let pool = Pool::new(settings(Policy::LeastRequests, &[1, 1, 1], true), 0);
    assert!(pool.choose(0, &[]).is_ok());
    let change = pool.checked(1, Ok(()), 5).unwrap();
    assert_eq!((change.server.as_str(), change.up), ("app/2", true));
    assert_eq!(pool.checked(1, Ok(()), 6), None);
    for _ in 0..10 {
        assert_eq!(pool.choose(10, &[]).unwrap().index(), 1);
    }
    assert_ne!(pool.choose(10, &[1]).unwrap().index(), 1);
}

#[test]
fn one_trial_at_a_time() {
    let pool = pool(Policy::LeastRequests, &[1]);
    let mut news = Vec::new();
    for _ in 0..FAILURES_TO_TAKE_OUT {
        news.extend(pool.choose(0, &[]).unwrap().end(Outcome::Unreachable, 0));
    }
    assert_eq!(news.len(), 1);
    assert!(!news[0].up && news[0].why.contains("3 requests"), "{news:?}");
    assert_eq!(pool.choose(499, &[]).unwrap_err().trial_at_ms, Some(500));

    let trial = pool.choose(500, &[]).unwrap();
    assert!(trial.is_trial());
    assert!(pool.choose(500, &[]).is_err());
    // An abandoned trial proves nothing and lets the next one try.
    drop(trial);
    assert_eq!(pool.choose(501, &[]).unwrap().end(Outcome::TimedOut, 502), None);
    assert!(pool.choose(1_000, &[]).is_err());
    let mut trial = pool.choose(1_502, &[]).unwrap();
    let change = trial.report(Outcome::Answered, 1_510).unwrap();
    assert!(change.up, "{change:?}");
    // The trial's body is still on its way, and the server is in.
    assert_eq!(pool.status()[0].in_flight, 1);
    assert!(!pool.choose(1_511, &[]).unwrap().is_trial());
}

#[test]
fn rebuilding_keeps_what_is_known() {
    let old = Pool::new(settings(Policy::LeastRequests, &[1, 1, 1], true), 0);
    old.checked(0, Err("refused"), 1);
    old.checked(1, Ok(()), 1);
    old.drain(2, true, 1);
    let lease = old.choose(2, &[]).unwrap();
    assert_eq!(lease.index(), 1);

    let mut told = settings(Policy::RoundRobin, &[4, 4, 4, 4], true);
    told.servers.remove(0);
    told.servers[2].address = Address::Ip(([127, 0, 0, 1], 9_999).into());
    let new = old.rebuild(told.clone(), 10);
    let seen: Vec<(String, State, u32)> =
        new.status().into_iter().map(|s| (s.name, s.health, s.in_flight)).collect();
    let expected = [("app/2", State::In, 1), ("app/3", State::Drained, 0), ("app/4", State::Unchecked, 0)];
    assert_eq!(seen, expected.map(|(name, state, n)| (name.to_owned(), state, n)));
    drop(lease);
    assert_eq!(new.status()[0].in_flight, 0);

    // Without checks nothing would bring back what they took out.
    old.drain(2, false, 11);
    let unchecked = old.rebuild(settings(Policy::RoundRobin, &[1, 1, 1], false), 12);
    assert!(unchecked.status().iter().all(|s| s.health == State::In));
}

#[test]
fn threads_share_a_pool() {
    let mut told = settings(Policy::LeastRequests, &[1, 2, 3], false);
    told.max_in_flight = 2;
    let pool = Arc::new(Pool::new(told, 0));
    let worker = |seed: u64| {
        let pool = Arc::clone(&pool);
        std::thread::spawn(move || {
            let mut chance = Chance(seed);
            let mut held: Vec<Lease> = Vec::new();
            for now in 0..20_000 {
                if let Ok(lease) = pool.choose(now, &[]) {
                    held.push(lease);
                }
                if !held.is_empty() && chance.below(3) > 0 {
                    held.swap_remove(chance.below(held.len())).end(Outcome::Answered, now);
                }
                assert!(pool.status().iter().all(|s| s.in_flight <= 2), "seed {seed}");
            }
        })
    };
    let workers: Vec<_> = (1..=4).map(worker).collect();
    workers.into_iter().for_each(|w| w.join().unwrap());
    assert!(pool.status().iter().all(|s| s.in_flight == 0 && s.up));
}

/// An adversary kills, revives, drains and checks servers at random while
/// requests come and go; what must hold is checked at each step.
#[test]
fn adversary() {
    for seed in 0..400 {
        simulate(seed);
    }
}

struct Truth {
    alive: bool,
    drained: bool,
    trial_at_ms: Option<u64>,
}

fn simulate(seed: u64) {
    let mut chance = Chance(seed);
    let policy = [Policy::RoundRobin, Policy::LeastRequests][chance.below(2)];
    let weights: Vec<u16> = (0..1 + chance.below(6)).map(|_| 1 + chance.below(4) as u16).collect();
    let checks = chance.below(2) == 0;
    let mut told = settings(policy, &weights, checks);
    told.max_in_flight = chance.below(4) as u32;
    let limit = told.max_in_flight;
    let pool = Pool::new(told, 0);
    let mut truths: Vec<Truth> =
        weights.iter().map(|_| Truth { alive: true, drained: false, trial_at_ms: None }).collect();
    let mut held: Vec<Lease> = Vec::new();
    let mut now = 0;
    for step in 0..600 {
        now += chance.below(400) as u64;
        let target = chance.below(weights.len());
        match chance.below(12) {
            0 => truths[target].alive = !truths[target].alive,
            1 => {
                truths[target].drained = chance.below(3) == 0;
                pool.drain(target, truths[target].drained, now);
            }
            2 | 3 if checks => {
                pool.checked(target, if truths[target].alive { Ok(()) } else { Err("refused") }, now);
            }
            4..=6 if !held.is_empty() => {
                let lease = held.swap_remove(chance.below(held.len()));
                let alive = truths[lease.index()].alive;
                lease.end(if alive { Outcome::Answered } else { Outcome::Unreachable }, now);
            }
            7 => drop(held.pop()),
            _ => {
                let exclude: Vec<usize> = (0..weights.len()).filter(|_| chance.below(4) == 0).collect();
                let before = pool.status();
                let context = format!("seed {seed} step {step} {exclude:?} {before:?}");
                match pool.choose(now, &exclude) {
                    Ok(lease) => {
                        check_choice(&before, &lease, &exclude, &truths, limit, now, &context);
                        held.push(lease);
                    }
                    Err(_) => check_refusal(&before, &held, &exclude, limit, now, &context),
                }
            }
        }
        for (truth, status) in truths.iter_mut().zip(pool.status()) {
            truth.trial_at_ms = match status.health {
                State::BackingOff { trial_at_ms } => Some(trial_at_ms),
                _ => None,
            };
            let due = truth.trial_at_ms.unwrap_or(now);
            assert!(due <= now + BACK_OFF_MAX_MS, "seed {seed} step {step}");
        }
    }
    drop(held);
    recovers(&pool, &weights, checks, now, seed);
}

fn check_choice(
    before: &[ServerStatus],
    lease: &Lease,
    exclude: &[usize],
    truths: &[Truth],
    limit: u32,
    now: u64,
    context: &str,
) {
    let chosen = &before[lease.index()];
    assert!(!exclude.contains(&lease.index()), "excluded: {context}");
    assert!(!truths[lease.index()].drained, "drained: {context}");
    assert!(limit == 0 || chosen.in_flight < limit, "over the limit: {context}");
    match chosen.health {
        State::In => {}
        State::BackingOff { trial_at_ms } => assert!(trial_at_ms <= now && lease.is_trial(), "{context}"),
        State::Unchecked => {
            let better = |(i, s): (usize, &ServerStatus)| {
                s.health == State::In && !exclude.contains(&i) && (limit == 0 || s.in_flight < limit)
            };
            assert!(!before.iter().enumerate().any(better), "a better one was free: {context}");
        }
        other => panic!("chose {other:?}: {context}"),
    }
}

fn check_refusal(
    before: &[ServerStatus],
    held: &[Lease],
    exclude: &[usize],
    limit: u32,
    now: u64,
    context: &str,
) {
    for (i, status) in before.iter().enumerate().filter(|(i, _)| !exclude.contains(i)) {
        let full = limit != 0 && status.in_flight >= limit;
        let on_trial = held.iter().any(|l| l.index() == i && l.is_trial());
        let out = match status.health {
            State::In | State::Unchecked => false,
            State::BackingOff { trial_at_ms } => trial_at_ms > now || on_trial,
            State::FailedChecks | State::Drained => true,
        };
        assert!(full || out, "refused although server {i} was free: {context}");
    }
}

/// All servers are well again: within the longest back-off of traffic and a few
/// checks, every one is in.
fn recovers(pool: &Pool, weights: &[u16], checks: bool, mut now: u64, seed: u64) {
    let until = now + BACK_OFF_MAX_MS + 10_000;
    (0..weights.len()).for_each(|i| drop(pool.drain(i, false, now)));
    while now < until {
        now += 100;
        if checks {
            (0..weights.len()).for_each(|i| drop(pool.checked(i, Ok(()), now)));
        }
        for _ in 0..weights.iter().sum::<u16>() {
            if let Ok(lease) = pool.choose(now, &[]) {
                lease.end(Outcome::Answered, now);
            }
        }
    }
    let status = pool.status();
    assert!(status.iter().all(|s| s.up && s.in_flight == 0), "seed {seed}: {status:?}");
}
