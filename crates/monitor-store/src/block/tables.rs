//! A block's tables, read in place.
//!
//! Their CRC was right when they were first used; nothing here panics even if
//! they say what cannot be: such places read as empty, and what depends on them
//! is malformed.

use super::{CHUNKS, COLUMN_ROW, COLUMN_TABLE, FIRST_CHUNKS, GROUP_ROW, GROUPS, LABEL_PAGES, LABEL_TEXT};
use super::{NAMES, PAGE, POSTINGS, SYMBOL_ENDS, SYMBOL_TEXT, TABLES, VALUES};
use crate::bytes::{Malformed, Reader, u32_at, u64_at};
use crate::runs::Runs;
use monitor_model::{Labels, Matcher};
use std::cmp::Ordering;
use std::ops::Range;
use sys::map::Map;

/// The tables of a block.
#[derive(Debug)]
pub(crate) struct Tables {
    map: Map,
    /// Where each table is in the map.
    places: [Range<usize>; TABLES],
    pub(crate) series: u32,
}

/// Where a group is in the file, and its first chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupRow {
    pub(super) offset: u64,
    pub(super) first_chunk: u32,
    pub(super) length: u32,
}

/// What the table says of a column of times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ColumnRow {
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
    pub(super) count: u32,
    pub(super) crc: u32,
    pub(super) offset: u64,
    pub(super) length: u32,
}

impl Tables {
    /// `places` lie within the map.
    pub(super) fn new(map: Map, places: [Range<usize>; TABLES], series: u64) -> Result<Self, Malformed> {
        let series = u32::try_from(series).map_err(|_| Malformed)?;
        let tables = Self { map, places, series };
        let whole = |table: usize, row: usize| tables.table(table).len().is_multiple_of(row);
        let count = |table: usize, row: usize| tables.table(table).len() / row;
        let right = whole(SYMBOL_ENDS, 4)
            && whole(NAMES, 8)
            && count(NAMES, 8) > 0
            && whole(VALUES, 8)
            && whole(CHUNKS, 8)
            && whole(GROUPS, GROUP_ROW)
            && whole(COLUMN_TABLE, COLUMN_ROW)
            && tables.table(FIRST_CHUNKS).len() == (series as usize + 1) * 4
            && tables.table(LABEL_PAGES).len() == (series as usize).div_ceil(PAGE) * 4;
        if right { Ok(tables) } else { Err(Malformed) }
    }

    fn table(&self, table: usize) -> &[u8] {
        self.map.get(self.places[table].clone()).unwrap_or_default()
    }

    fn symbol(&self, number: u32) -> &str {
        let ends = self.table(SYMBOL_ENDS);
        let number = number as usize;
        if number >= ends.len() / 4 {
            return "";
        }
        let begin = if number == 0 { 0 } else { u32_at(ends, number - 1) };
        let text = self.table(SYMBOL_TEXT).get(begin as usize..u32_at(ends, number) as usize);
        std::str::from_utf8(text.unwrap_or_default()).unwrap_or_default()
    }

    /// Each label name with the places of its values.
    fn names(&self) -> impl Iterator<Item = (&str, Range<usize>)> {
        let names = self.table(NAMES);
        (0..names.len() / 8 - 1).map(move |i| (self.symbol(u32_at(names, i * 2)), self.value_places(i)))
    }

    fn value_places(&self, name: usize) -> Range<usize> {
        let (names, all) = (self.table(NAMES), self.table(VALUES).len() / 8);
        let place = |i: usize| (u32_at(names, i * 2 + 1) as usize).min(all);
        place(name)..place(name + 1).max(place(name))
    }

    fn values_of(&self, name: &str) -> Range<usize> {
        let names = self.table(NAMES);
        match search(names.len() / 8 - 1, |i| self.symbol(u32_at(names, i * 2)).cmp(name)) {
            Some(i) => self.value_places(i),
            None => 0..0,
        }
    }

    fn value(&self, place: usize) -> &str {
        self.symbol(u32_at(self.table(VALUES), place * 2))
    }

    fn find_value(&self, places: &Range<usize>, value: &str) -> Option<usize> {
        search(places.len(), |i| self.value(places.start + i).cmp(value)).map(|i| places.start + i)
    }

    /// The names of labels, ascending.
    pub(crate) fn label_names(&self) -> impl Iterator<Item = &str> {
        self.names().map(|(name, _)| name)
    }

    /// The values of a label, ascending.
    pub(crate) fn label_values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.values_of(name).map(|place| self.value(place))
    }

    /// Appends the runs of a value's series.
    fn list(&self, place: usize, into: &mut Vec<Range<u32>>) {
        let offset = u32_at(self.table(VALUES), place * 2 + 1) as usize;
        let mut reader = Reader(self.table(POSTINGS).get(offset..).unwrap_or_default());
        let mut left = reader.varint().unwrap_or(0);
        let mut end = 0u32;
        while left > 0 {
            let (Ok(gap), Ok(more)) = (reader.u32_varint(), reader.u32_varint()) else { return };
            let Some(first) = end.checked_add(gap) else { return };
            let Some(after) = first.checked_add(more).and_then(|n| n.checked_add(1)) else { return };
            end = after.min(self.series);
            into.push(first.min(end)..end);
            left = left.saturating_sub(u64::from(more) + 1);
        }
    }

    /// How many series a value has.
    fn list_len(&self, place: usize) -> usize {
        let offset = u32_at(self.table(VALUES), place * 2 + 1) as usize;
        Reader(self.table(POSTINGS).get(offset..).unwrap_or_default()).size().unwrap_or(0)
    }

    /// The series that all conditions select.
    pub(crate) fn matching(&self, matchers: &[Matcher]) -> Runs {
        // What names values is looked up, shortest lists first; what is left is
        // tested on each value of its label, or on each series where they are fewer.
        let mut exact: Vec<(&Matcher, Vec<usize>, usize)> = Vec::new();
        let mut rest: Vec<&Matcher> = Vec::new();
        for matcher in matchers {
            match matcher.exact_values().filter(|_| !matcher.matches_empty()) {
                Some(values) => {
                    let places = self.values_of(&matcher.name);
                    let places: Vec<usize> =
                        values.iter().filter_map(|value| self.find_value(&places, value)).collect();
                    let series = places.iter().map(|place| self.list_len(*place)).sum();
                    exact.push((matcher, places, series));
                }
                None => rest.push(matcher),
            }
        }
        exact.sort_by_key(|(.., series)| *series);
        let mut found = Runs::all(self.series);
        for (matcher, places, series) in exact {
            if found.len() * 8 < series {
                found = self.tested(found, matcher);
                continue;
            }
            let mut runs = Vec::new();
            places.into_iter().for_each(|place| self.list(place, &mut runs));
            found = found.and(&Runs::union(runs));
        }
        for matcher in rest {
            let places = self.values_of(&matcher.name);
            if found.len() < places.len() {
                found = self.tested(found, matcher);
                continue;
            }
            let empty = matcher.matches_empty();
            let mut runs = Vec::new();
            places
                .filter(|place| matcher.is_match(self.value(*place)) != empty)
                .for_each(|place| self.list(place, &mut runs));
            let listed = Runs::union(runs);
            found = if empty { found.without(&listed) } else { found.and(&listed) };
        }
        found
    }

    /// The series whose labels fulfil a condition.
    fn tested(&self, found: Runs, matcher: &Matcher) -> Runs {
        let mut cursor = SeriesCursor::default();
        let kept = found.iter().filter(|series| {
            let value = cursor.seek(self, *series).ok().and_then(|()| cursor.get(self, &matcher.name));
            matcher.is_match(value.unwrap_or_default())
        });
        Runs::union(kept.map(|series| series..series + 1).collect())
    }

    /// The numbers of a series' chunks.
    pub(super) fn chunks_of(&self, series: u32) -> Range<u32> {
        let first = self.table(FIRST_CHUNKS);
        let all = (self.table(CHUNKS).len() / 8) as u32;
        let (Some(i), true) = (Some(series as usize), series < self.series) else { return 0..0 };
        let (from, to) = (u32_at(first, i).min(all), u32_at(first, i + 1).min(all));
        from..to.max(from)
    }

    /// A chunk's group and column.
    pub(super) fn chunk(&self, chunk: u32) -> (u32, u32) {
        let chunks = self.table(CHUNKS);
        (u32_at(chunks, chunk as usize * 2), u32_at(chunks, chunk as usize * 2 + 1))
    }

    pub(super) fn group(&self, group: u32) -> Result<GroupRow, Malformed> {
        let at = group as usize * GROUP_ROW;
        let row = self.table(GROUPS).get(at..at + GROUP_ROW).ok_or(Malformed)?;
        Ok(GroupRow { offset: u64_at(row, 0), first_chunk: u32_at(row, 2), length: u32_at(row, 3) })
    }

    pub(super) fn column(&self, column: u32) -> Result<ColumnRow, Malformed> {
        let at = column as usize * COLUMN_ROW;
        let row = self.table(COLUMN_TABLE).get(at..at + COLUMN_ROW).ok_or(Malformed)?;
        Ok(ColumnRow {
            first_ms: u64_at(row, 0) as i64,
            last_ms: u64_at(row, 1) as i64,
            count: u32_at(row, 4),
            crc: u32_at(row, 5),
            offset: u64_at(row, 3),
            length: u32_at(row, 8),
        })
    }
}

fn search(count: usize, mut compare: impl FnMut(usize) -> Ordering) -> Option<usize> {
    let (mut from, mut to) = (0, count);
    while from < to {
        let middle = from + (to - from) / 2;
        match compare(middle) {
            Ordering::Less => from = middle + 1,
            Ordering::Greater => to = middle,
            Ordering::Equal => return Some(middle),
        }
    }
    None
}

/// Reads the label sets of ascending series, one after another.
#[derive(Debug, Default)]
pub(crate) struct SeriesCursor {
    /// The series that `pairs` are of.
    at: Option<u32>,
    /// Where the next one's labels begin.
    offset: usize,
    pairs: Vec<(u32, u32)>,
}

impl SeriesCursor {
    /// Goes to a series.
    pub(crate) fn seek(&mut self, tables: &Tables, series: u32) -> Result<(), Malformed> {
        let page = series as usize / PAGE;
        let behind = self.at.is_some_and(|at| at <= series && at as usize / PAGE == page);
        if !behind {
            let pages = tables.table(LABEL_PAGES);
            if page >= pages.len() / 4 {
                return Err(Malformed);
            }
            self.offset = u32_at(pages, page) as usize;
            self.pairs.clear();
            self.read(tables)?;
            self.at = Some((page * PAGE) as u32);
        }
        while self.at.is_some_and(|at| at < series) {
            self.read(tables)?;
            self.at = self.at.map(|at| at + 1);
        }
        Ok(())
    }

    fn read(&mut self, tables: &Tables) -> Result<(), Malformed> {
        let bytes = tables.table(LABEL_TEXT).get(self.offset..).ok_or(Malformed)?;
        let mut reader = Reader(bytes);
        let (shared, others) = (reader.size()?, reader.count()?);
        if shared > self.pairs.len() {
            return Err(Malformed);
        }
        self.pairs.truncate(shared);
        for _ in 0..others {
            self.pairs.push((reader.u32_varint()?, reader.u32_varint()?));
        }
        self.offset += bytes.len() - reader.0.len();
        Ok(())
    }

    fn iter<'a>(&'a self, tables: &'a Tables) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.pairs.iter().map(|(name, value)| (tables.symbol(*name), tables.symbol(*value)))
    }

    /// A label of the series it is at.
    fn get<'a>(&self, tables: &'a Tables, name: &str) -> Option<&'a str> {
        let pair = self.pairs.iter().find(|(symbol, _)| tables.symbol(*symbol) == name)?;
        Some(tables.symbol(pair.1))
    }

    /// The labels of the series it is at.
    pub(crate) fn labels(&self, tables: &Tables) -> Labels {
        Labels::from_sorted(self.iter(tables))
    }

    /// How the labels of the series it is at stand to others.
    pub(crate) fn compare(&self, tables: &Tables, labels: &Labels) -> Ordering {
        self.iter(tables).cmp(labels.iter())
    }
}
