use super::super::config::Route;
use super::super::matcher::{MatcherText, parse};
use super::super::silence::Silence;
use super::*;
use base::Secret;

const MIN: u64 = 60_000;

fn active(server: &str, state: State, at_ms: u64) -> ActiveAlert {
    ActiveAlert {
        labels: vec![("alertname".into(), "down".into()), ("server".into(), server.into())],
        annotations: Vec::new(),
        state,
        active_at_ms: at_ms,
        fired_at_ms: Some(at_ms),
        resolved_at_ms: (state == State::Resolved).then_some(at_ms),
        kept_since_ms: None,
        value: 1.0,
    }
}

fn receiver(name: &str) -> Receiver {
    let kind = Kind::Webhook { url: Secret::new("http://h/"), max_alerts: 0 };
    Receiver { name: name.into(), integrations: vec![Integration::new(kind)], repeat: Millis(60 * MIN) }
}

/// One route: by alertname, wait 30 s, interval 5 min, repeat 1 h.
fn config() -> Config {
    let route = Route {
        receiver: "ops".into(),
        group_by: super::super::config::GroupBy::Labels(vec!["alertname".into()]),
        repeat_interval: Millis(60 * MIN),
        ..Route::default()
    };
    Config {
        route: Some(route),
        receivers: vec![receiver("ops")],
        resolve_timeout: Millis(5 * MIN),
        ..Config::default()
    }
}

fn manager(config: Config) -> Manager {
    let mut manager = Manager::default();
    manager.follow(config, 0).unwrap();
    manager
}

fn sync(manager: &mut Manager, alerts: &[ActiveAlert], now_ms: u64) {
    manager.sync(alerts.iter().map(|a| (a, &[][..], "http://g/")), true, now_ms);
}

/// What is due, as `receiver: a b | c` with resolved ones behind the bar; taken at once.
fn told(manager: &mut Manager, now_ms: u64) -> String {
    let messages = manager.due(now_ms);
    let mut lines = Vec::new();
    for message in messages {
        manager.delivered(&message.group_key, message.integration, now_ms);
        let names = |fires: bool| {
            let of = message.alerts.iter().filter(|a| a.fires() == fires);
            of.map(|a| a.labels[1].1.clone()).collect::<Vec<_>>().join(" ")
        };
        lines.push(format!("{}: {} | {}", message.receiver, names(true), names(false)));
    }
    lines.join("; ")
}

#[test]
fn wait_join_repeat_resolve() {
    let mut m = manager(config());
    let (a, b) = (active("a", State::Firing, 1_000), active("b", State::Firing, 40_000));
    sync(&mut m, std::slice::from_ref(&a), 1_000);
    assert_eq!(told(&mut m, 30_999), "");
    assert_eq!(told(&mut m, 31_000), "ops: a | ");
    sync(&mut m, &[a.clone(), b.clone()], 40_000);
    assert_eq!(told(&mut m, 40_000), "");
    assert_eq!(told(&mut m, 31_000 + 5 * MIN), "ops: a b | ");
    // Every five minutes nothing is new, until the hour is over.
    let t0 = 31_000 + 5 * MIN;
    for i in 1..12 {
        assert_eq!(told(&mut m, t0 + i * 5 * MIN), "");
    }
    assert_eq!(told(&mut m, t0 + 60 * MIN), "ops: a b | ");
    sync(&mut m, &[active("a", State::Resolved, t0 + 61 * MIN), b.clone()], t0 + 61 * MIN);
    assert_eq!(told(&mut m, t0 + 64 * MIN), "");
    assert_eq!(told(&mut m, t0 + 65 * MIN), "ops: b | a");
    // It fires again, and another's rule is gone.
    sync(&mut m, &[active("a", State::Firing, t0 + 66 * MIN)], t0 + 66 * MIN);
    assert_eq!(told(&mut m, t0 + 70 * MIN), "ops: a | b");
    sync(&mut m, &[], t0 + 71 * MIN);
    assert_eq!(told(&mut m, t0 + 75 * MIN), "ops:  | a");
    assert_eq!(told(&mut m, t0 + 500 * MIN), "");
    assert_eq!(m.memory, Memory::default(), "nothing is remembered of what is over");
}

#[test]
fn a_clock_that_jumps_repeats_nothing_and_brings_nothing_back() {
    const DAY: u64 = 1_440 * MIN;
    let mut m = manager(config());
    let a = active("a", State::Firing, DAY);
    sync(&mut m, std::slice::from_ref(&a), DAY);
    assert_eq!(told(&mut m, DAY + MIN), "ops: a | ");
    // Ahead: no time has passed, so that nothing is due before the hour is over.
    m.shift(DAY as i64);
    let ahead = 2 * DAY + MIN;
    assert_eq!(told(&mut m, ahead), "");
    assert_eq!(told(&mut m, ahead + 6 * MIN), "");
    // One that resolves by the wrong clock has resolved also by the right one.
    let b = active("b", State::Firing, ahead + 6 * MIN);
    sync(&mut m, &[a.clone(), b], ahead + 6 * MIN);
    assert_eq!(told(&mut m, ahead + 12 * MIN), "ops: a b | ");
    sync(&mut m, &[a.clone(), active("b", State::Resolved, ahead + 13 * MIN)], ahead + 13 * MIN);
    assert_eq!(told(&mut m, ahead + 18 * MIN), "ops: a | b");
    // Also where nobody noticed that the clock went back.
    let mut unaware = Manager::restore(&m.save().unwrap()).unwrap();
    unaware.follow(config(), ahead - DAY).unwrap();
    for (mut m, now_ms) in [(unaware, ahead - DAY + 20 * MIN), {
        m.shift(-(DAY as i64));
        (m, ahead - DAY + 20 * MIN)
    }] {
        sync(&mut m, std::slice::from_ref(&a), now_ms);
        let names: Vec<&str> = m.alerts(now_ms).iter().map(|(_, a, ..)| a.labels[1].1.as_str()).collect();
        assert_eq!(names, ["a"]);
        assert!(!told(&mut m, now_ms + 6 * MIN).contains('b'));
        sync(&mut m, &[active("a", State::Resolved, now_ms + 7 * MIN)], now_ms + 7 * MIN);
        assert_eq!(told(&mut m, now_ms + 13 * MIN), "ops:  | a");
    }
}

#[test]
fn a_message_not_taken_stays_due_with_what_is_true_then() {
    let mut m = manager(config());
    sync(&mut m, &[active("a", State::Firing, 0)], 0);
    let key = m.due(30_000)[0].group_key.clone();
    assert_eq!(key, "{}/{}:{alertname=\"down\"}");
    m.failed(&key, 0, Failure::default(), 30_000);
    assert!(m.due(30_999).is_empty());
    assert_eq!(m.due(31_000).len(), 1);
    m.failed(&key, 0, Failure { retry_after_ms: Some(90_000), ..Failure::default() }, 31_000);
    assert!(m.due(120_999).is_empty());
    assert_eq!(m.due(121_000).len(), 1);
    // The process ends while the message is in flight: it is sent again.
    let mut again = Manager::restore(&m.save().unwrap()).unwrap();
    again.follow(config(), 122_000).unwrap();
    assert_eq!(told(&mut again, 122_000), "ops: a | ");
    assert_eq!(told(&mut again, 130_000), "");
    // It resolved before anyone heard of it: nobody is told.
    m.failed(&key, 0, Failure { permanent: true, ..Failure::default() }, 121_000);
    sync(&mut m, &[active("a", State::Resolved, 122_000)], 122_000);
    assert_eq!(told(&mut m, 10 * MIN), "");
    assert_eq!(m.memory.groups.len(), 0);
}

#[test]
fn silences_and_inhibitions_keep_quiet_and_forget_nothing() {
    let mut config = config();
    config.inhibit = vec![super::super::inhibit::InhibitRule {
        source: parse("alertname=cluster").unwrap(),
        target: parse("alertname=down").unwrap(),
        equal: Vec::new(),
    }];
    let mut m = manager(config);
    let silence = Silence {
        id: String::new(),
        matchers: vec![MatcherText::equal("server", "a")],
        starts_at_ms: 0,
        ends_at_ms: 20 * MIN,
        updated_at_ms: 0,
        created_by: "me".into(),
        comment: "c".into(),
    };
    m.silences_mut().set(silence, "s", 0).unwrap();
    let both = [active("a", State::Firing, 0), active("b", State::Firing, 0)];
    sync(&mut m, &both, 0);
    assert_eq!(told(&mut m, MIN), "ops: b | ");
    assert_eq!(m.alerts(MIN)[0].2.suppressed(), m.alerts(MIN)[0].1.labels[1].1 == "a");
    assert_eq!(told(&mut m, 6 * MIN), "");
    // The silence is over: a is told at the next flush.
    assert_eq!(told(&mut m, 21 * MIN), "ops: a b | ");
    // The whole cluster is away: its servers are not told of, and resolve unheard until it is back.
    let mut cluster = active("x", State::Firing, 22 * MIN);
    cluster.labels = vec![("alertname".into(), "cluster".into()), ("server".into(), "x".into())];
    sync(&mut m, &[cluster.clone(), both[1].clone()], 22 * MIN);
    assert_eq!(told(&mut m, 23 * MIN), "ops: x | ");
    assert_eq!(told(&mut m, 26 * MIN), "");
    sync(&mut m, &[both[1].clone()], 27 * MIN);
    assert_eq!(told(&mut m, 31 * MIN), "ops:  | x; ops: b | a");
}

#[test]
fn intervals_mute_and_limit() {
    let interval = |text: &str| {
        let documents = yaml_tree::parse(text, "f").unwrap();
        super::super::interval::TimeInterval::read(&mut yaml_tree::Reader::new("f"), &documents[0])
    };
    // 1 January 1970 was a Thursday; the second hour of the day is quiet.
    for (mute, first) in [(true, 120), (false, 60)] {
        let mut config = config();
        let hour = interval("{weekdays: [thursday], times: [{start_time: '01:00', end_time: '02:00'}]}");
        config.intervals.insert("hour".into(), vec![hour]);
        let route = config.route.as_mut().unwrap();
        if mute {
            route.mute.push("hour".into())
        } else {
            route.active.push("hour".into())
        }
        let mut m = manager(config);
        let start = if mute { 60 * MIN } else { 0 };
        sync(&mut m, &[active("a", State::Firing, start)], start);
        let when = (0..200).find(|i| !told(&mut m, start + i * MIN).is_empty()).unwrap();
        assert!((first..first + 5).contains(&(start / MIN + when)), "{mute} {when}");
    }
}

#[test]
fn pushed_alerts_end_by_themselves() {
    let mut m = manager(config());
    let pushed = |labels: &[(&str, &str)], end: Option<u64>| Pushed {
        labels: labels.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect(),
        ends_at_ms: end,
        ..Pushed::default()
    };
    m.push(pushed(&[("server", "p"), ("alertname", "down"), ("x", "")], None), 0).unwrap();
    assert_eq!(told(&mut m, 30_000), "ops: p | ");
    m.push(pushed(&[("server", "p"), ("alertname", "down")], None), 4 * MIN).unwrap();
    assert_eq!(told(&mut m, 6 * MIN), "", "it goes on");
    assert_eq!(told(&mut m, 11 * MIN), "ops:  | p");
    assert!(m.push(pushed(&[], None), 0).unwrap_err().contains("without labels"));
    m.push(pushed(&[("a", "b")], Some(5)), 12 * MIN).unwrap();
    assert_eq!(m.alerts(12 * MIN).len(), 0, "over before anyone heard of it");
    sync(&mut m, &[active("a", State::Firing, 12 * MIN)], 12 * MIN);
    assert!(m.push(pushed(&[("alertname", "down"), ("server", "a")], Some(20 * MIN)), 13 * MIN).is_err());
}

#[test]
fn a_clock_that_steps_back_silences_nobody() {
    let day = 86_400_000;
    let mut m = manager(config());
    sync(&mut m, &[active("a", State::Firing, 2 * day)], 2 * day);
    assert_eq!(told(&mut m, 2 * day + 30_000), "ops: a | ");
    sync(&mut m, &[active("a", State::Firing, 2 * day), active("b", State::Firing, day)], day);
    assert_eq!(told(&mut m, day), "");
    assert_eq!(told(&mut m, day + 5 * MIN), "ops: a b | ");
}

#[test]
fn two_rules_with_one_alert() {
    let mut m = manager(config());
    let (firing, over) = (active("a", State::Firing, 0), active("a", State::Resolved, MIN));
    sync(&mut m, std::slice::from_ref(&firing), 0);
    assert_eq!(told(&mut m, 30_000), "ops: a | ");
    for both in [[firing.clone(), over.clone()], [over, firing]] {
        sync(&mut m, &both, MIN);
        assert_eq!(m.alerts(MIN).len(), 1, "one of them still fires");
    }
    assert_eq!(told(&mut m, 6 * MIN), "");
}

#[test]
fn without_resolved() {
    let mut config = config();
    config.receivers[0].integrations[0].send_resolved = false;
    let mut m = manager(config);
    sync(&mut m, &[active("a", State::Firing, 0)], 0);
    assert_eq!(told(&mut m, 30_000), "ops: a | ");
    sync(&mut m, &[], MIN);
    assert_eq!(told(&mut m, 6 * MIN), "");
    sync(&mut m, &[active("a", State::Firing, 7 * MIN)], 7 * MIN);
    assert_eq!(told(&mut m, 8 * MIN), "ops: a | ");
}

#[test]
fn what_is_not_defined_is_refused() {
    let mut missing = config();
    missing.receivers.clear();
    assert!(Manager::default().follow(missing, 0).unwrap_err().contains("undefined receiver \"ops\""));
    let mut interval = config();
    interval.route.as_mut().unwrap().mute.push("x".into());
    assert!(interval.check().unwrap_err().contains("undefined time interval"));
}
