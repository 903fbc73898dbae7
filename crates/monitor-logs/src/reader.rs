//! One log, whole: followed, read, counted, kept; and a checkpoint that holds all of
//! it together.
//!
//! What was counted, what was kept and how far was read are saved in one file that is
//! replaced whole. After `kill -9` they go on together: each line counts once and is
//! found once. Whoever gives the counts away must save first ([`Reader::save`]), or a
//! counter could go back.

use crate::archive::{self, Archive, Kept, Mark, Record};
use crate::count::{Limits, varint};
use crate::follow::{Follower, Piece, Places};
use crate::{BadFormat, Counts, Entry, Format, Scratch, Spec};
use std::io;
use std::path::{Path, PathBuf};

/// How one log is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The file, or a pattern of several that are read as one log.
    pub pattern: PathBuf,
    /// How its lines are written.
    pub spec: Spec,
    /// Whether what is in it when it is seen for the first time is left out: a log of
    /// somebody else may hold years. Default: true for those.
    pub skip_existing: bool,
    /// What is counted apart.
    pub limits: Limits,
    /// How lines are kept; none keeps none.
    pub archive: Option<archive::Settings>,
}

/// Reads one log.
#[derive(Debug)]
pub struct Reader {
    format: Format,
    follower: Follower,
    counts: Counts,
    archive: Option<Archive>,
    checkpoint: PathBuf,
    saved: Option<(Places, Mark)>,
    scratch: Scratch,
}

/// Why a log cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The format.
    #[error(transparent)]
    Format(#[from] BadFormat),
    /// Its folder.
    #[error("cannot use `{0}`: {1}")]
    Folder(PathBuf, io::Error),
}

/// What one look brought.
#[derive(Debug, Default)]
pub struct Looked {
    /// Lines that were read.
    pub read: u64,
    /// Lines that could not be.
    pub unparsed: u64,
    /// Lines that were counted and not kept, because the disk did not take them.
    pub lost: u64,
    /// Whether there is more already.
    pub more: bool,
    /// Files that match the pattern and are not read, because there are too many.
    pub left_out: usize,
    /// What went wrong; the next look tries again.
    pub trouble: Option<String>,
}

impl Reader {
    /// Opens it, with its checkpoint and archive in `dir`, which is made. Also gives
    /// what was found damaged. `seed` is chance.
    pub fn open(settings: &Settings, dir: &Path, seed: u64) -> Result<(Self, Vec<String>), Error> {
        let format = Format::compile(&settings.spec)?;
        let failed = |error| Error::Folder(dir.to_owned(), error);
        sys::file::make_dir(dir, 0o700).map_err(failed)?;
        let mut damage = Vec::new();
        let checkpoint = dir.join("checkpoint");
        let saved = match std::fs::read(&checkpoint) {
            Ok(bytes) => {
                let read = read_checkpoint(&bytes, settings.limits, seed);
                if read.is_none() {
                    damage.push(format!("{}: it is damaged; counting begins anew", checkpoint.display()));
                }
                read
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let mut archive = None;
        if let Some(how) = settings.archive {
            let (mut opened, found) =
                Archive::open(&dir.join("archive"), &settings.spec.to_text(), how).map_err(failed)?;
            damage.extend(found.damage);
            if let Some((_, mark, _)) = &saved {
                opened.rewind(*mark).map_err(failed)?;
            }
            archive = Some(opened);
        }
        // Lines that are kept were read before: without a checkpoint they are not again.
        let kept = archive.as_ref().is_some_and(|archive| archive.kept().lines() > 0);
        let skip_existing = settings.skip_existing || kept;
        let (places, counts, saved) = match saved {
            Some((places, mark, counts)) => (Some(places.clone()), counts, Some((places, mark))),
            None => (None, Counts::new(settings.limits, seed), None),
        };
        let follower = Follower::new(settings.pattern.clone(), places, skip_existing);
        let scratch = Scratch::default();
        Ok((Self { format, follower, counts, archive, checkpoint, saved, scratch }, damage))
    }

    /// Reads what there is, up to 64 MiB. `monotonic_ms` never goes back; `now_ms` is
    /// the time of lines that have none.
    pub fn look(&mut self, monotonic_ms: u64, now_ms: i64) -> Looked {
        let mut looked = Looked::default();
        let (format, counts, archive) = (&self.format, &mut self.counts, &mut self.archive);
        let scratch = &mut self.scratch;
        let mut trouble: Option<String> = None;
        let result = self.follower.poll(monotonic_ms, |piece| {
            let Piece::Line(line) = piece else {
                counts.add_unparsed();
                looked.unparsed += 1;
                return;
            };
            let entry = format.parse(line, scratch);
            match &entry {
                Some(entry) => {
                    counts.add(entry);
                    looked.read += 1;
                }
                None => {
                    counts.add_unparsed();
                    looked.unparsed += 1;
                }
            }
            if let Some(archive) = archive {
                archive.append(record(line, entry.as_ref(), now_ms));
                if archive.is_full() {
                    let (lost, result) = archive.flush();
                    looked.lost += lost;
                    if let Err(error) = result {
                        trouble = Some(format!("lines cannot be kept: {error}"));
                    }
                }
            }
        });
        looked.left_out = self.follower.left_out();
        match result {
            Ok(more) => looked.more = more,
            Err(error) => trouble = Some(format!("cannot be read: {error}")),
        }
        looked.trouble = trouble;
        looked
    }

    /// Saves how far was read, with what was counted and kept up to there. Gives how
    /// many lines were not kept, and why it could not be saved; then the older
    /// checkpoint stays, and the next call tries again.
    pub fn save(&mut self) -> (u64, io::Result<()>) {
        let (mut lost, mut result) = (0, Ok(()));
        let mut mark = Mark::default();
        if let Some(archive) = &mut self.archive {
            (lost, result) = archive.flush();
            mark = archive.mark();
        }
        let places = self.follower.places();
        if self.saved.as_ref().is_some_and(|saved| *saved == (places.clone(), mark)) {
            return (lost, result);
        }
        // What the checkpoint says is kept must outlive a loss of power with it.
        if let Some(archive) = &mut self.archive {
            result = result.and(archive.sync());
        }
        let bytes = write_checkpoint(&places, mark, &self.counts);
        let written = sys::file::write_atomic(&self.checkpoint, &bytes, 0o600);
        if written.is_ok() {
            self.saved = Some((places, mark));
        }
        (lost, result.and(written))
    }

    /// What was counted.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What is kept, for searches.
    pub fn kept(&self) -> Option<Kept> {
        self.archive.as_ref().map(Archive::kept)
    }

    /// The folders to watch.
    pub fn folders(&self) -> Vec<PathBuf> {
        self.follower.folders()
    }
}

fn record<'a>(line: &'a [u8], entry: Option<&Entry<'_>>, now_ms: i64) -> Record<'a> {
    let duration_us = entry.and_then(|entry| entry.duration_us);
    Record {
        // A line from the future would outlive its time.
        time_ms: entry.and_then(Entry::time_ms).unwrap_or(now_ms).min(now_ms),
        status: entry.map_or(0, |entry| entry.status),
        duration_us: duration_us.map(|us| u32::try_from(us).unwrap_or(u32::MAX)),
        line,
    }
}

const MAGIC: [u8; 8] = *b"BLOGCHK1";

fn write_checkpoint(places: &Places, mark: Mark, counts: &Counts) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&[0; 4]);
    let places = serde_json::to_vec(places).unwrap_or_default(); // Paths and numbers: it cannot fail.
    varint::put(&mut out, places.len() as u64);
    out.extend_from_slice(&places);
    varint::put(&mut out, mark.frame);
    varint::put(&mut out, u64::from(mark.lines));
    counts.save(&mut out);
    let crc = crc32fast::hash(&out[12..]);
    out[8..12].copy_from_slice(&crc.to_le_bytes());
    out
}

fn read_checkpoint(bytes: &[u8], limits: Limits, seed: u64) -> Option<(Places, Mark, Counts)> {
    let (head, rest) = bytes.split_first_chunk::<12>()?;
    if head[..8] != MAGIC || crc32fast::hash(rest).to_le_bytes() != head[8..] {
        return None;
    }
    let mut from = varint::From(rest);
    let places = serde_json::from_slice(from.bytes().ok()?).ok()?;
    let mark = Mark { frame: from.number().ok()?, lines: u32::try_from(from.number().ok()?).ok()? };
    Some((places, mark, Counts::load(from.0, limits, seed).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Query, search};
    use std::io::Write;

    struct Site {
        dir: tempfile::TempDir,
        settings: Settings,
        written: u64,
    }

    impl Site {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let settings = Settings {
                pattern: dir.path().join("a.log"),
                spec: Spec::Combined,
                skip_existing: false,
                limits: Limits::default(),
                archive: Some(archive::Settings { frame_bytes: 4 << 10, segment_bytes: 64 << 10, level: 1 }),
            };
            Self { dir, settings, written: 0 }
        }

        fn open(&self) -> Reader {
            let (reader, damage) = Reader::open(&self.settings, &self.dir.path().join("state"), 1).unwrap();
            assert!(damage.is_empty(), "{damage:?}");
            reader
        }

        fn write(&mut self, lines: u64) {
            let path = &self.settings.pattern;
            let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
            for _ in 0..lines {
                let n = self.written;
                self.written += 1;
                writeln!(
                    file,
                    "10.0.0.1 - - [10/Oct/2000:13:55:36 -0700] \"GET /line/{n}/x HTTP/1.1\" 200 {n} \"-\" \"-\" 0.5"
                )
                .unwrap();
            }
        }

        /// Everything that was written was counted once and is found once.
        fn check(&self, reader: &Reader) {
            let counts = reader.counts();
            assert_eq!(counts.codes().collect::<Vec<_>>(), [(200, self.written)]);
            assert_eq!(counts.bytes(), (0..self.written).sum::<u64>());
            assert_eq!(counts.durations().count(), self.written);
            let query = Query { limit: 1_000_000, ..Query::default() };
            let found = search(&[("a".into(), reader.kept().unwrap())], &query, &|| false);
            let mut numbers: Vec<u64> = found
                .hits
                .iter()
                .map(|hit| {
                    let line = String::from_utf8_lossy(&hit.line).into_owned();
                    line.split('/').nth(4).and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{line}"))
                })
                .collect();
            numbers.sort_unstable();
            assert_eq!(numbers, (0..self.written).collect::<Vec<u64>>());
        }
    }

    #[test]
    fn each_line_counts_once_and_is_kept_once_whenever_it_is_killed() {
        let mut site = Site::new();
        let mut reader = site.open();
        let mut clock = 0;
        for round in 0..60_u64 {
            site.write(round * 7 % 40);
            clock += 1_000;
            let looked = reader.look(clock, 1 << 40);
            assert!(looked.trouble.is_none() && looked.lost == 0 && !looked.more);
            if round % 3 == 0 {
                let (lost, saved) = reader.save();
                assert_eq!(lost, 0);
                saved.unwrap();
            }
            if round % 7 == 5 {
                // What was not written to the archive's files is lost with the process,
                // as after `kill -9`; what was is taken back.
                if round % 2 == 0
                    && let Some(archive) = &mut reader.archive
                {
                    archive.flush().1.unwrap();
                }
                drop(reader);
                reader = site.open();
            }
            if round % 11 == 10 {
                let to = site.dir.path().join(format!("a.log.{round}"));
                std::fs::rename(&site.settings.pattern, to).unwrap();
            }
        }
        site.write(1);
        for _ in 0..3 {
            clock += 2_000;
            reader.look(clock, 1 << 40);
        }
        assert_eq!(reader.save().0, 0);
        site.check(&reader);
        drop(reader);
        site.check(&site.open());
    }

    #[test]
    fn a_damaged_checkpoint_is_named_and_nothing_is_kept_twice() {
        let mut site = Site::new();
        site.write(20);
        let mut reader = site.open();
        reader.look(1, 0);
        reader.save().1.unwrap();
        drop(reader);
        let path = site.dir.path().join("state/checkpoint");
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let (mut reader, damage) = Reader::open(&site.settings, &site.dir.path().join("state"), 1).unwrap();
        assert!(damage[0].contains("checkpoint: it is damaged"), "{damage:?}");
        reader.look(1, 0);
        assert_eq!(reader.kept().unwrap().lines(), 20);
        site.write(1);
        reader.look(2, 0);
        assert_eq!(reader.counts().codes().collect::<Vec<_>>(), [(200, 1)]);
    }

    #[test]
    fn lines_that_are_none_are_counted_and_kept() {
        let mut site = Site::new();
        site.settings.archive = Some(archive::Settings::default());
        std::fs::write(&site.settings.pattern, "nonsense\n\n\u{1}\u{2}\n").unwrap();
        let mut reader = site.open();
        let looked = reader.look(1, 77);
        assert_eq!((looked.read, looked.unparsed), (0, 2));
        reader.save().1.unwrap();
        let query = Query { limit: 9, ..Query::default() };
        let found = search(&[("a".into(), reader.kept().unwrap())], &query, &|| false);
        let hits: Vec<_> = found.hits.iter().map(|h| (h.time_ms, h.status, h.line.as_slice())).collect();
        assert_eq!(hits, [(77, 0, &b"\x01\x02"[..]), (77, 0, b"nonsense")]);
        assert!(
            Reader::open(
                &Settings { spec: Spec::Nginx("$nothing".into()), ..site.settings.clone() },
                &site.dir.path().join("other"),
                1
            )
            .unwrap_err()
            .to_string()
            .contains("$nothing")
        );
    }
}
