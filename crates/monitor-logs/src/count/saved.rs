//! Counts as bytes: `docs/formats/logs.md`, "Counts".

use super::varint::{From, put};
use super::{Counts, Damaged, Durations, Limits, METHODS, OTHER_HOST, Slot};

const VERSION: u64 = 1;

impl Counts {
    /// All numbers, for [`Counts::load`].
    pub fn save(&self, out: &mut Vec<u8>) {
        put(out, VERSION);
        let codes: Vec<(u16, u64)> = self.codes().collect();
        put(out, codes.len() as u64);
        for (code, count) in codes {
            put(out, u64::from(code));
            put(out, count);
        }
        for number in [self.bytes, self.unparsed, self.overflow_hosts, self.overflow_routes] {
            put(out, number);
        }
        put_durations(out, &self.durations);
        put(out, self.hosts.len() as u64);
        for host in &self.hosts {
            put_text(out, host);
        }
        put(out, self.routes as u64);
        put(out, self.slots.len() as u64);
        for slot in &self.slots {
            put(out, u64::from(slot.host));
            put(out, u64::from(slot.method));
            put_text(out, &slot.route);
            slot.classes.iter().for_each(|count| put(out, *count));
            put(out, slot.bytes);
            put(out, u64::from(slot.durations.is_some()));
            if let Some(durations) = &slot.durations {
                put_durations(out, durations);
            }
        }
    }

    /// From what [`Counts::save`] wrote.
    pub fn load(saved: &[u8], limits: Limits, seed: u64) -> Result<Self, Damaged> {
        let mut from = From(saved);
        let mut counts = Self::new(limits, seed);
        if from.number()? != VERSION {
            return Err(Damaged);
        }
        for _ in 0..from.number()? {
            let code = from.number()?.checked_sub(100).and_then(|at| usize::try_from(at).ok());
            *code.and_then(|at| counts.codes.get_mut(at)).ok_or(Damaged)? = from.number()?;
        }
        counts.bytes = from.number()?;
        counts.unparsed = from.number()?;
        counts.overflow_hosts = from.number()?;
        counts.overflow_routes = from.number()?;
        counts.durations = from.durations()?;
        for _ in 0..from.number()? {
            counts.hosts.push(from.text()?.into());
        }
        let routes = from.number()?;
        for _ in 0..from.number()? {
            let host = u16::try_from(from.number()?).map_err(|_| Damaged)?;
            let method = u8::try_from(from.number()?).map_err(|_| Damaged)?;
            let route = from.text()?.to_owned();
            if (usize::from(host) >= counts.hosts.len() && host != OTHER_HOST)
                || usize::from(method) > METHODS.len()
            {
                return Err(Damaged);
            }
            let at = counts.make(host, method, &route);
            let mut slot = Slot { classes: [0; 5], ..counts.slots[at].clone() };
            for class in &mut slot.classes {
                *class = from.number()?;
            }
            slot.bytes = from.number()?;
            if from.number()? != 0 {
                slot.durations = Some(Box::new(from.durations()?));
            }
            counts.slots[at] = slot;
        }
        counts.routes = usize::try_from(routes).map_err(|_| Damaged)?;
        if from.0.is_empty() { Ok(counts) } else { Err(Damaged) }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Numbers that are zero are stepped over: how many, then the next that is not.
fn put_durations(out: &mut Vec<u8>, durations: &Durations) {
    let numbers: Vec<u64> = durations.numbers().collect();
    let filled: Vec<usize> = (0..numbers.len()).filter(|at| numbers[*at] != 0).collect();
    put(out, filled.len() as u64);
    let mut last = 0;
    for at in filled {
        put(out, (at - last) as u64);
        put(out, numbers[at]);
        last = at;
    }
}

impl<'a> From<'a> {
    fn text(&mut self) -> Result<&'a str, Damaged> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damaged)
    }

    fn durations(&mut self) -> Result<Durations, Damaged> {
        let mut numbers = vec![0; Durations::NUMBERS];
        let mut at = 0_usize;
        for _ in 0..self.number()? {
            at = at.checked_add(usize::try_from(self.number()?).map_err(|_| Damaged)?).ok_or(Damaged)?;
            *numbers.get_mut(at).ok_or(Damaged)? = self.number()?;
        }
        Durations::from_numbers(&numbers).ok_or(Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Entry;

    fn some() -> Counts {
        let mut counts = Counts::new(Limits { hosts: 2, routes: 5 }, 1);
        for n in 0..200_u64 {
            let target = format!("/r{}/{n}", char::from(b'a' + (n % 7) as u8));
            counts.add(&Entry {
                host: [&b"a"[..], b"b", b"c"][n as usize % 3],
                method: b"GET",
                target: target.as_bytes(),
                status: 200 + (n % 4) as u16 * 100,
                bytes: n << 40,
                duration_us: (n % 2 == 0).then_some(n * 997),
                ..Entry::default()
            });
        }
        counts.add_unparsed();
        counts
    }

    #[test]
    fn what_was_saved_goes_on() {
        let counts = some();
        let mut saved = Vec::new();
        counts.save(&mut saved);
        let mut loaded = Counts::load(&saved, Limits { hosts: 2, routes: 5 }, 99).unwrap();
        assert_eq!(loaded.slots(), counts.slots());
        assert_eq!(loaded.durations(), counts.durations());
        let mut again = Vec::new();
        loaded.save(&mut again);
        assert_eq!(again, saved);
        let slots = loaded.slots().len();
        loaded.add(&Entry { host: b"a", method: b"GET", target: b"/ra/5", status: 200, ..Entry::default() });
        assert_eq!(loaded.slots().len(), slots, "the same route is found again");
    }

    #[test]
    fn damage_is_found() {
        let mut saved = Vec::new();
        some().save(&mut saved);
        for cut in 0..saved.len() {
            assert!(Counts::load(&saved[..cut], Limits::default(), 1).is_err(), "cut at {cut}");
        }
        let mut longer = saved.clone();
        longer.push(0);
        assert!(Counts::load(&longer, Limits::default(), 1).is_err());
        // Whatever the bytes are, reading them ends.
        for at in 0..saved.len() {
            for value in [0, 0x7F, 0x80, 0xFF] {
                let mut wrong = saved.clone();
                wrong[at] = value;
                let _ = Counts::load(&wrong, Limits::default(), 1);
            }
        }
    }
}
