//! `kill -9` at random moments while samples come: what was acknowledged must be
//! there afterwards, with its value.

use crate::store::contender::Contender;
use crate::store::data::{self, Data, STEP_MS, next};
use crate::store::{compress, escape, now_ms};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SERIES: usize = 1_000;
const PER_REQUEST: usize = 500;
/// Rounds of ticks that one life of the contender may take at most.
const MOST_TICKS: usize = 3_000;

/// What a campaign found.
#[derive(Default)]
pub(crate) struct Found {
    /// Acknowledged samples that are not there.
    pub(crate) lost: u64,
    /// Samples that have another value than was sent.
    pub(crate) wrong: u64,
}

/// A sample that was acknowledged or may have been written.
struct Sent {
    value: f64,
    acknowledged: bool,
}

/// Kills `contender` again and again, and looks after each time.
pub(crate) fn campaign(contender: &mut Contender<'_>, kills: u32, seed: u64) -> Result<Found, String> {
    let mut chance = seed;
    // Room for all lives, so that time never runs backwards.
    let start_ms = now_ms() - (kills as i64 + 1) * MOST_TICKS as i64 * STEP_MS;
    let mut data = Data::new(SERIES, start_ms);
    let mut found = Found::default();
    let mut acknowledged = 0u64;
    contender.start()?;
    for round in 0..kills {
        let delay = Duration::from_millis(20 + next(&mut chance) % 1_500);
        let sent = live(contender, &mut data, delay)?;
        contender.start().map_err(|why| format!("kill {round} of seed {seed}: {why}"))?;
        acknowledged += sent.values().filter(|s| s.acknowledged).count() as u64;
        let (lost, wrong) = compare(contender, &sent)?;
        if lost + wrong > 0 {
            eprintln!("  seed {seed}, kill {round} after {delay:?}: {lost} lost, {wrong} wrong");
        }
        found.lost += lost;
        found.wrong += wrong;
    }
    eprintln!("  {kills} kills, {acknowledged} samples acknowledged, seed {seed}");
    Ok(found)
}

/// Sends until the contender is killed, which another thread does after `delay`.
fn live(
    contender: &mut Contender<'_>,
    data: &mut Data,
    delay: Duration,
) -> Result<HashMap<(Vec<u8>, i64), Sent>, String> {
    let mut sent = HashMap::new();
    let mut client = contender.client();
    let killed = AtomicBool::new(false);
    let (killed, deadline) = (&killed, Instant::now() + delay);
    std::thread::scope(|scope| {
        let killer = scope.spawn(move || {
            std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
            let done = contender.kill();
            killed.store(true, Ordering::SeqCst);
            done
        });
        for _ in 0..MOST_TICKS {
            let mut rows = Vec::new();
            data.tick(|labels, at_ms, value| rows.push((labels.to_vec(), at_ms, value)));
            for part in rows.chunks(PER_REQUEST) {
                let mut request = Vec::new();
                for (labels, at_ms, value) in part {
                    data::put_series(&mut request, labels, *at_ms, *value);
                }
                let acknowledged = client.write(&compress(&request)).is_ok();
                for (labels, at_ms, value) in part {
                    sent.insert((labels.clone(), *at_ms), Sent { value: *value, acknowledged });
                }
                if !acknowledged {
                    return;
                }
            }
            if killed.load(Ordering::SeqCst) {
                return;
            }
        }
        let _ = killer.join();
    });
    Ok(sent)
}

/// Asks for all that was sent and counts what is lost and what is wrong.
fn compare(contender: &Contender<'_>, sent: &HashMap<(Vec<u8>, i64), Sent>) -> Result<(u64, u64), String> {
    let Some(first) = sent.keys().map(|(_, at)| *at).min() else { return Ok((0, 0)) };
    let last = sent.keys().map(|(_, at)| *at).max().unwrap_or(first);
    let seconds = (last - first) / 1_000 + 2;
    let at = last as f64 / 1_000.0 + 0.5;
    let mut client = contender.client();
    // VictoriaMetrics shows what it was just given after a flush only.
    let _ = client.get("/internal/force_flush");
    let query = escape(&format!("{{job=\"bench\"}}[{seconds}s]"));
    let answer = client.get(&format!("/api/v1/query?query={query}&time={at}&nocache=1"))?;
    let answer: serde_json::Value = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
    let mut there: HashMap<(Vec<u8>, i64), f64> = HashMap::new();
    for series in answer["data"]["result"].as_array().ok_or("no result")? {
        let labels = series["metric"].as_object().ok_or("a series without labels")?;
        let mut pairs: Vec<(&str, &str)> =
            labels.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default())).collect();
        pairs.sort_unstable();
        let name = data::labels(&pairs);
        for point in series["values"].as_array().into_iter().flatten() {
            let at_ms = (point[0].as_f64().unwrap_or_default() * 1_000.0).round() as i64;
            let value = point[1].as_str().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
            there.insert((name.clone(), at_ms), value);
        }
    }
    let mut counts = (0, 0);
    for (key, sample) in sent {
        match there.get(key) {
            Some(value) if value.to_bits() != sample.value.to_bits() => counts.1 += 1,
            None if sample.acknowledged => counts.0 += 1,
            _ => {}
        }
    }
    Ok(counts)
}
