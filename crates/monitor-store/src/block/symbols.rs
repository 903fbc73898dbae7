//! What a block's writer gathers about labels: symbols, postings, label sets.

use super::PAGE;
use crate::bytes::put_varint;
use monitor_model::Labels;
use rustc_hash::FxHashMap;

/// Labels of a block that is being written. Symbols are numbered as they come
/// and get their final numbers, which are in the order of the texts, at the end.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    symbols: FxHashMap<Box<str>, u32>,
    /// By name and value.
    lists: FxHashMap<(u32, u32), List>,
    /// Each series: labels shared with the one before, others, then two symbols each.
    labels: Vec<u32>,
    before: Option<Labels>,
    /// The symbols of the series before.
    pairs: Vec<(u32, u32)>,
    pub(super) series: u32,
}

/// A postings list that grows.
#[derive(Debug, Default)]
struct List {
    count: u32,
    /// Where the last whole run ends, and the run that grows.
    end: u32,
    first: u32,
    length: u32,
    bytes: Vec<u8>,
}

impl List {
    fn push(&mut self, series: u32) {
        self.count += 1;
        if self.length > 0 && self.first + self.length == series {
            self.length += 1;
            return;
        }
        self.close();
        (self.first, self.length) = (series, 1);
    }

    fn close(&mut self) {
        if self.length > 0 {
            put_varint(&mut self.bytes, u64::from(self.first - self.end));
            put_varint(&mut self.bytes, u64::from(self.length - 1));
            self.end = self.first + self.length;
        }
    }
}

/// The tables, ready to be written.
#[derive(Debug, Default)]
pub(super) struct Finished {
    pub(super) symbol_ends: Vec<u8>,
    pub(super) symbol_text: Vec<u8>,
    pub(super) names: Vec<u8>,
    pub(super) values: Vec<u8>,
    pub(super) postings: Vec<u8>,
    pub(super) label_pages: Vec<u8>,
    pub(super) label_text: Vec<u8>,
}

impl Gathered {
    /// The next series; its labels are larger than those before.
    pub(super) fn add(&mut self, labels: &Labels) {
        let series = self.series;
        self.series += 1;
        let shared = match &self.before {
            Some(before) => before.iter().zip(labels).take_while(|(a, b)| a == b).count(),
            None => 0,
        };
        self.pairs.truncate(shared);
        for (name, value) in labels.iter().skip(shared) {
            let pair = (self.symbol(name), self.symbol(value));
            self.pairs.push(pair);
        }
        // The first of a page stands alone.
        let kept = if (series as usize).is_multiple_of(PAGE) { 0 } else { shared };
        self.labels.extend([kept as u32, (self.pairs.len() - kept) as u32]);
        self.labels.extend(self.pairs[kept..].iter().flat_map(|(name, value)| [*name, *value]));
        for pair in &self.pairs {
            self.lists.entry(*pair).or_default().push(series);
        }
        self.before = Some(labels.clone());
    }

    fn symbol(&mut self, text: &str) -> u32 {
        if let Some(number) = self.symbols.get(text) {
            return *number;
        }
        let number = self.symbols.len() as u32;
        self.symbols.insert(text.into(), number);
        number
    }

    pub(super) fn finish(self) -> Finished {
        let mut done = Finished::default();
        let mut symbols: Vec<(Box<str>, u32)> = self.symbols.into_iter().collect();
        symbols.sort_unstable();
        let mut number_of = vec![0u32; symbols.len()];
        for (number, (text, gathered)) in symbols.iter().enumerate() {
            number_of[*gathered as usize] = number as u32;
            done.symbol_text.extend_from_slice(text.as_bytes());
            put(&mut done.symbol_ends, done.symbol_text.len());
        }
        put_labels(&self.labels, &number_of, &mut done);
        put_lists(self.lists, &number_of, &mut done);
        done
    }
}

fn put(into: &mut Vec<u8>, n: usize) {
    into.extend_from_slice(&(n as u32).to_le_bytes());
}

fn put_labels(labels: &[u32], number_of: &[u32], done: &mut Finished) {
    let mut rest = labels;
    let mut series = 0usize;
    while let [shared, others, after @ ..] = rest {
        if series.is_multiple_of(PAGE) {
            put(&mut done.label_pages, done.label_text.len());
        }
        series += 1;
        put_varint(&mut done.label_text, u64::from(*shared));
        put_varint(&mut done.label_text, u64::from(*others));
        let (pairs, after) = after.split_at(*others as usize * 2);
        for symbol in pairs {
            put_varint(&mut done.label_text, u64::from(number_of[*symbol as usize]));
        }
        rest = after;
    }
}

fn put_lists(lists: FxHashMap<(u32, u32), List>, number_of: &[u32], done: &mut Finished) {
    let numbered = |((name, value), list)| ((number_of[name as usize], number_of[value as usize]), list);
    let mut lists: Vec<((u32, u32), List)> = lists.into_iter().map(numbered).collect();
    lists.sort_unstable_by_key(|(pair, _)| *pair);
    let mut last_name = None;
    for (i, ((name, value), mut list)) in lists.into_iter().enumerate() {
        if last_name != Some(name) {
            put(&mut done.names, name as usize);
            put(&mut done.names, i);
            last_name = Some(name);
        }
        put(&mut done.values, value as usize);
        put(&mut done.values, done.postings.len());
        list.close();
        put_varint(&mut done.postings, u64::from(list.count));
        done.postings.append(&mut list.bytes);
    }
    let values = done.values.len() / 8;
    put(&mut done.names, 0);
    put(&mut done.names, values);
}
