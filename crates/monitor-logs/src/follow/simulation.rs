//! Files that are written, rotated, cut and removed at random while a follower is
//! killed at random: every complete line is given once.

use super::files::{Files, Stat};
use super::{Follower, Piece, Places};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

#[derive(Default)]
struct World {
    names: BTreeMap<PathBuf, u64>,
    inodes: BTreeMap<u64, Inode>,
    clock_ns: i64,
}

#[derive(Default)]
struct Inode {
    data: Vec<u8>,
    modified_ns: i64,
    handles: Rc<()>,
}

#[derive(Clone, Default)]
struct Simulated(Rc<RefCell<World>>);

struct Handle(u64, #[allow(dead_code)] Rc<()>);

impl World {
    fn tick(&mut self) -> i64 {
        // Changes that follow one another may have the same time.
        self.clock_ns += 1;
        self.clock_ns * 2 / 3
    }

    /// The lowest number that is free, as file systems do.
    fn create(&mut self, path: &Path) -> u64 {
        let used: BTreeSet<u64> = self.names.values().copied().collect();
        self.inodes.retain(|number, inode| used.contains(number) || Rc::strong_count(&inode.handles) > 1);
        let number = (1..).find(|n| !self.inodes.contains_key(n)).unwrap();
        let modified_ns = self.tick();
        self.inodes.insert(number, Inode { modified_ns, ..Inode::default() });
        self.names.insert(path.to_owned(), number);
        number
    }

    fn append(&mut self, inode: u64, text: &str) {
        let now = self.tick();
        let inode = self.inodes.get_mut(&inode).unwrap();
        inode.data.extend_from_slice(text.as_bytes());
        inode.modified_ns = now;
    }
}

impl Files for Simulated {
    type File = Handle;

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        let world = self.0.borrow();
        let inside = world.names.keys().filter(|path| path.parent() == Some(folder));
        Ok(inside.map(|path| path.file_name().unwrap().to_owned()).collect())
    }

    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        let number = self.0.borrow().names.get(path).copied();
        Ok(number.map(|number| self.stat_of(number)))
    }

    fn open(&self, path: &Path) -> io::Result<Option<Handle>> {
        let world = self.0.borrow();
        let number = world.names.get(path);
        Ok(number.map(|number| Handle(*number, world.inodes[number].handles.clone())))
    }

    fn stat_file(&self, file: &Handle) -> io::Result<Stat> {
        Ok(self.stat_of(file.0))
    }

    fn read_at(&self, file: &Handle, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let world = self.0.borrow();
        let data = &world.inodes[&file.0].data;
        let rest = data.get(offset as usize..).unwrap_or_default();
        // Short reads are allowed.
        let count = rest.len().min(buffer.len()).min(97);
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

impl Simulated {
    fn stat_of(&self, number: u64) -> Stat {
        let world = self.0.borrow();
        let inode = &world.inodes[&number];
        Stat { device: 1, inode: number, length: inode.data.len() as u64, modified_ns: inode.modified_ns }
    }
}

/// xorshift64*.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}

struct Run {
    files: Simulated,
    chance: Chance,
    pattern: PathBuf,
    log: PathBuf,
    /// The inode that the writer has open.
    writer: u64,
    unfinished: bool,
    next_line: u64,
    now_ms: u64,
    follower: Option<Follower<Simulated>>,
    given: BTreeMap<u64, u32>,
    saved: (Option<Places>, BTreeMap<u64, u32>),
    /// Lines that were taken away before a reader could have kept them.
    forgiven: BTreeSet<u64>,
    trace: Vec<String>,
}

impl Run {
    fn new(seed: u64, pattern: &str) -> Self {
        let files = Simulated::default();
        let log = PathBuf::from("/l/access.log");
        let writer = files.0.borrow_mut().create(&log);
        let mut run = Self {
            files,
            chance: Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            pattern: pattern.into(),
            log,
            writer,
            unfinished: false,
            next_line: 0,
            now_ms: 0,
            follower: None,
            given: BTreeMap::new(),
            saved: (None, BTreeMap::new()),
            forgiven: BTreeSet::new(),
            trace: Vec::new(),
        };
        run.poll();
        run.save();
        run
    }

    fn rotated(&self, n: u64) -> PathBuf {
        PathBuf::from(format!("/l/access.log.{n}"))
    }

    fn poll(&mut self) {
        self.now_ms += self.chance.below(3) * 700;
        let follower = self.follower.get_or_insert_with(|| {
            Follower::with_files(self.files.clone(), self.pattern.clone(), self.saved.0.clone(), false)
        });
        let given = &mut self.given;
        let mut lines = Vec::new();
        let more = follower.poll(self.now_ms, |piece| {
            let Piece::Line(line) = piece else { panic!("no line is that long") };
            let text = std::str::from_utf8(line).unwrap();
            let number = text.split('-').nth(1).unwrap_or_else(|| panic!("half a line: {text:?}"));
            assert!(text.ends_with('.') && text.starts_with("line-"), "half a line: {text:?}");
            lines.push(number.to_owned());
            *given.entry(number.parse().unwrap()).or_default() += 1;
        });
        assert!(!more.unwrap());
        let known: Vec<String> = follower
            .places()
            .files
            .iter()
            .map(|p| format!("{}:{}:{:?}", p.inode, p.offset, p.state))
            .collect();
        self.trace.push(format!("  gave {} knows {}\n", lines.join(","), known.join(" ")));
    }

    fn save(&mut self) {
        self.trace.push("  saved\n".to_owned());
        if let Some(follower) = &self.follower {
            // As the monitor saves it, through text.
            let places = follower.places();
            self.saved = (Some(places), self.given.clone());
        }
    }

    fn crash(&mut self) {
        self.trace.push("  crashed\n".to_owned());
        self.follower = None;
        self.given = self.saved.1.clone();
    }

    fn write(&mut self, inode: u64) {
        let mut text = String::new();
        if std::mem::take(&mut self.unfinished) {
            text.push_str("end.\n");
        }
        for _ in 0..self.chance.below(6) {
            let padding = "x".repeat(self.chance.below(60) as usize);
            text.push_str(&format!("line-{}-{padding}.\n", self.next_line));
            self.next_line += 1;
        }
        if self.chance.below(4) == 0 {
            text.push_str(&format!("line-{}-half", self.next_line));
            self.next_line += 1;
            self.unfinished = true;
        }
        self.files.0.borrow_mut().append(inode, &text);
    }

    /// Programs write whole lines before they open another file.
    fn finish_line(&mut self) {
        if std::mem::take(&mut self.unfinished) {
            self.files.0.borrow_mut().append(self.writer, "end.\n");
        }
    }

    /// Lines of a file that is about to lose its content.
    fn forgive(&mut self, inode: u64) {
        let world = self.files.0.borrow();
        let text = String::from_utf8_lossy(&world.inodes[&inode].data).into_owned();
        for line in text.lines() {
            let number: Option<u64> = line.split('-').nth(1).and_then(|n| n.parse().ok());
            self.forgiven.extend(number.filter(|n| !self.saved.1.contains_key(n)));
        }
    }

    /// `.3` goes, `.2` → `.3`, `.1` → `.2`.
    fn shift(&mut self) {
        let last = self.rotated(3);
        let gone = self.files.0.borrow_mut().names.remove(&last);
        if let Some(inode) = gone {
            self.forgive(inode);
        }
        for n in [2, 1] {
            let (from, to) = (self.rotated(n), self.rotated(n + 1));
            let mut world = self.files.0.borrow_mut();
            if let Some(inode) = world.names.remove(&from) {
                world.names.insert(to, inode);
            }
        }
    }

    fn rename_and_create(&mut self) {
        self.shift();
        let to = self.rotated(1);
        let moved = self.files.0.borrow_mut().names.remove(&self.log);
        if let Some(inode) = moved {
            self.files.0.borrow_mut().names.insert(to, inode);
        }
        // Between the renaming and the reopening, its writer goes on.
        for _ in 0..self.chance.below(3) {
            match self.chance.below(3) {
                0 => self.write(self.writer),
                1 => self.poll(),
                _ => self.crash(),
            }
        }
        self.finish_line();
        let log = self.log.clone();
        let old = self.writer;
        self.writer = self.files.0.borrow_mut().create(&log);
        // A worker that was slow writes a last line to the old file.
        if self.chance.below(3) == 0 && self.files.0.borrow().names.values().any(|n| *n == old) {
            let number = self.next_line;
            self.next_line += 1;
            self.files.0.borrow_mut().append(old, &format!("line-{number}-late.\n"));
        }
    }

    fn copy_and_cut(&mut self) {
        if self.files.0.borrow().names.get(&self.log) != Some(&self.writer) {
            return;
        }
        self.finish_line();
        self.shift();
        let to = self.rotated(1);
        let copy = self.files.0.borrow_mut().create(&to);
        let data = String::from_utf8(self.files.0.borrow().inodes[&self.writer].data.clone()).unwrap();
        let (first, rest) = data.split_at(data.len() / 2);
        for part in [first, rest] {
            self.files.0.borrow_mut().append(copy, part);
            if self.chance.below(3) == 0 {
                self.poll();
            }
        }
        if self.chance.below(4) == 0 {
            self.save();
        }
        self.cut();
    }

    fn cut(&mut self) {
        let mut world = self.files.0.borrow_mut();
        let now = world.tick();
        let inode = world.inodes.get_mut(&self.writer).unwrap();
        inode.data.clear();
        inode.modified_ns = now;
    }

    fn step(&mut self) {
        let what = self.chance.below(20);
        let names: Vec<String> =
            self.files.0.borrow().names.iter().map(|(p, n)| format!("{}={n}", p.display())).collect();
        self.trace.push(format!(
            "{what} (line {}, writer {}, {})\n",
            self.next_line,
            self.writer,
            names.join(" ")
        ));
        match what {
            0..=7 => self.write(self.writer),
            8..=11 => self.poll(),
            12..=13 => self.save(),
            14 => self.crash(),
            15..=16 => self.rename_and_create(),
            17 => self.copy_and_cut(),
            18 if self.chance.below(4) == 0 => {
                self.finish_line();
                self.forgive(self.writer);
                self.cut();
            }
            19 if self.chance.below(4) == 0 => {
                self.finish_line();
                self.forgive(self.writer);
                let log = self.log.clone();
                self.files.0.borrow_mut().names.remove(&log);
                self.writer = self.files.0.borrow_mut().create(&log);
            }
            _ => self.now_ms += super::LINGER_MS / 2,
        }
    }

    fn end(&mut self, seed: u64) {
        self.finish_line();
        for _ in 0..4 {
            self.now_ms += 2_000;
            self.poll();
        }
        for number in 0..self.next_line {
            let times = self.given.get(&number).copied().unwrap_or(0);
            let expected = if self.forgiven.contains(&number) { 0..=1 } else { 1..=1 };
            assert!(
                expected.contains(&times),
                "seed {seed}: line {number} was given {times} times; steps\n{}",
                self.trace.join("")
            );
        }
    }
}

fn run(seed: u64, pattern: &str) {
    let mut run = Run::new(seed, pattern);
    for _ in 0..60 {
        run.step();
    }
    run.end(seed);
}

/// More than a few seconds' worth: `BASTIDE_SEEDS=100000 cargo nextest run -p monitor-logs simulation`.
fn seeds() -> u64 {
    std::env::var("BASTIDE_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(2_000)
}

#[test]
fn every_complete_line_is_given_once() {
    for seed in 1..=seeds() {
        run(seed, "/l/access.log");
    }
}

#[test]
fn and_so_it_is_where_the_pattern_names_rotated_files_too() {
    for seed in 1..=seeds() {
        run(seed, "/l/access.log*");
    }
}
