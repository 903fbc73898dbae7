//! The values of a script: numbers, histograms, durations.

use crate::{Histogram, STALE};
use std::sync::Arc;

/// What stands for one step.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Number(f64),
    Gap,
    Histogram(Arc<Histogram>),
}

/// The most values that a sequence may stand for.
const MOST: usize = 1_000_000;

/// `1 2+3x4 _ stale {{count:1}}+{{count:2}}x3`.
pub(super) fn values(text: &str) -> Result<Vec<Value>, String> {
    let mut all = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if rest.starts_with("{{") {
            rest = histograms(rest, &mut all)?.trim_start();
            continue;
        }
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let item = &rest[..end];
        all.extend(sequence(item).ok_or_else(|| format!("`{item}` is not a sequence of values"))?);
        rest = rest[end..].trim_start();
    }
    Ok(all)
}

/// `{{…}}`, `{{…}}x3`, `{{…}}+{{…}}x3`; gives what is behind it.
fn histograms<'t>(text: &'t str, into: &mut Vec<Value>) -> Result<&'t str, String> {
    let read = |text: &'t str| Histogram::split_script(text).map_err(|error| error.to_string());
    let (first, rest) = read(text)?;
    let (increase, rest) = match rest.as_bytes() {
        [sign @ (b'+' | b'-'), b'{', ..] => {
            let (mut increase, behind) = read(&rest[1..])?;
            if *sign == b'-' {
                let reset = increase.reset;
                increase.mul(-1.0);
                increase.reset = reset;
            }
            (Some(increase), behind)
        }
        _ => (None, rest),
    };
    let Some(times) = rest.strip_prefix('x') else {
        if increase.is_some() {
            return Err("how often a histogram grows is missing".into());
        }
        into.push(Value::Histogram(first.into()));
        return Ok(rest);
    };
    let digits = times.bytes().take_while(u8::is_ascii_digit).count();
    let count: usize = times[..digits].parse().map_err(|_| "no number behind `x`".to_owned())?;
    if count > MOST {
        return Err("the sequence is too long".into());
    }
    let mut here = first;
    for i in 0..=count {
        if let (Some(increase), true) = (&increase, i > 0) {
            here.add(increase).map_err(|error| error.to_string())?;
        }
        into.push(Value::Histogram(here.clone().into()));
    }
    Ok(&times[digits..])
}

/// `5`, `1+2x3`, `7x4`, `_`, `_x3`, `stale`.
fn sequence(item: &str) -> Option<Vec<Value>> {
    let Some((base, count)) = item.rsplit_once('x').and_then(|(b, n)| Some((b, n.parse::<usize>().ok()?)))
    else {
        return Some(vec![if item == "_" { Value::Gap } else { Value::Number(number(item)?) }]);
    };
    if count > MOST {
        return None;
    }
    if base == "_" {
        return Some(vec![Value::Gap; count]);
    }
    let (first, step) = match number(base) {
        Some(first) => (first, 0.0),
        None => base
            .char_indices()
            .skip(1)
            .filter(|(_, c)| matches!(c, '+' | '-'))
            .find_map(|(at, _)| Some((number(&base[..at])?, number(&base[at..])?)))?,
    };
    let mut value = first;
    let mut values = Vec::new();
    for _ in 0..=count {
        values.push(Value::Number(value));
        value += step;
    }
    Some(values)
}

pub(super) fn number(text: &str) -> Option<f64> {
    if text == "stale" { Some(STALE) } else { text.parse().ok() }
}

/// `_ -30s-1mx2 0 +1m`: how far from each sample its start timestamp is, in
/// milliseconds; none where it is not known.
pub(super) fn start_timestamps(text: &str) -> Result<Vec<Option<i64>>, String> {
    let mut all = Vec::new();
    for item in text.split_whitespace() {
        let wrong = || format!("`{item}` is not a sequence of durations");
        let (base, count) = match item.rsplit_once('x') {
            Some((base, count)) => (base, Some(count.parse::<usize>().map_err(|_| wrong())?)),
            None => (item, None),
        };
        if count.is_some_and(|count| count > MOST) {
            return Err(wrong());
        }
        if base == "_" {
            all.extend(vec![None; count.unwrap_or(1)]);
            continue;
        }
        let split = base.char_indices().skip(1).find(|(_, c)| matches!(c, '+' | '-')).map(|(at, _)| at);
        let (first, step) = base.split_at(split.unwrap_or(base.len()));
        let first = signed_duration(first).ok_or_else(wrong)?;
        let step = if step.is_empty() { 0 } else { signed_duration(step).ok_or_else(wrong)? };
        all.extend((0..=count.unwrap_or(0)).map(|i| Some(first + step * i as i64)));
    }
    Ok(all)
}

fn signed_duration(text: &str) -> Option<i64> {
    match text.as_bytes().first()? {
        b'-' => duration(&text[1..]).map(|ms| -ms),
        b'+' => duration(&text[1..]),
        _ => duration(text),
    }
}

/// `1h30m`, `10s`, `0`, in milliseconds.
pub(super) fn duration(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    let units = [
        ("ms", 1),
        ("s", 1_000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
        ("w", 604_800_000),
        ("y", 31_536_000_000i64),
    ];
    let (mut rest, mut total) = (text, 0i64);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = units.iter().find(|(name, _)| *name == &rest[..letters])?.1;
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[letters..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences() {
        let count = |text: &str| values(text).map(|values| values.len()).ok();
        let cases = [
            ("1 2 3", Some(3)),
            ("1+2x3 _ _x3 stale", Some(9)),
            ("{{}}x9 {{count:1 buckets:[1 2]}}+{{count:1}}x2 5", Some(14)),
            ("{{", None),
            ("{{}}+{{}}", None),
            ("1x99999999999", None),
            ("a", None),
        ];
        for (text, expected) in cases {
            assert_eq!(count(text), expected, "{text}");
        }
    }

    #[test]
    fn starts() {
        let expected = [None, Some(-30_000), Some(-90_000), Some(0), Some(60_000), Some(-1), Some(-1)];
        assert_eq!(start_timestamps("_ -30s-1mx1 0 +1m -1msx1").unwrap(), expected);
        assert!(start_timestamps("-1q").is_err());
    }
}
