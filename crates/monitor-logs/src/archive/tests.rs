use super::*;
use crate::Spec;

/// Small frames and segments: every case crosses their bounds.
const SMALL: Settings = Settings { frame_bytes: 4 << 10, segment_bytes: 64 << 10, level: 1 };

fn line(n: u64) -> String {
    let status = if n.is_multiple_of(50) { 503 } else { 200 };
    format!(
        r#"10.0.{}.{} - - [10/Oct/2000:13:55:36 -0700] "GET /orders/{n}?token={:x} HTTP/1.1" {status} 5 "-" "agent" 0.{:03}"#,
        n / 250 % 250,
        n % 250,
        n.wrapping_mul(0x9E37_79B9_7F4A_7C15),
        n % 1_000
    )
}

fn add(archive: &mut Archive, from: u64, to: u64) {
    for n in from..to {
        let text = line(n);
        let status = if n.is_multiple_of(50) { 503 } else { 200 };
        archive.append(Record {
            time_ms: n as i64 * 10,
            status,
            duration_us: Some((n % 1_000) as u32 * 1_000),
            line: text.as_bytes(),
        });
        if archive.is_full() || n % 7 == 0 {
            let (lost, result) = archive.flush();
            assert_eq!(lost, 0);
            result.unwrap();
        }
    }
    let (lost, result) = archive.flush();
    assert_eq!(lost, 0);
    result.unwrap();
}

fn open(dir: &Path) -> Archive {
    let (archive, opened) = Archive::open(dir, &Spec::Combined.to_text(), SMALL).unwrap();
    assert!(opened.damage.is_empty(), "{:?}", opened.damage);
    archive
}

fn find(archive: &Archive, query: &Query) -> Found {
    let query = Query { limit: if query.limit == 0 { 1_000_000 } else { query.limit }, ..query.clone() };
    search(&[("a".to_owned(), archive.kept())], &query, &|| false)
}

/// The numbers of the lines that are there, the oldest first.
fn numbers(archive: &Archive) -> Vec<u64> {
    let found = find(archive, &Query::default());
    assert!(found.complete && found.damage.is_empty(), "{:?}", found.damage);
    found.hits.iter().rev().map(|hit| hit.time_ms as u64 / 10).collect()
}

fn all(to: u64) -> Vec<u64> {
    (0..to).collect()
}

#[test]
fn lines_are_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut archive = open(dir.path());
    add(&mut archive, 0, 2_000);
    assert_eq!(numbers(&archive), all(2_000));
    drop(archive);
    let mut archive = open(dir.path());
    assert_eq!(numbers(&archive), all(2_000), "after a restart");
    add(&mut archive, 2_000, 2_100);
    assert_eq!(numbers(&archive), all(2_100));

    let count = |query: Query| {
        let found = find(&archive, &query);
        assert!(found.complete);
        (found.hits.len(), found.passed_over, found.frames)
    };
    let text = |text: &str| Query { text: Some(Text::plain(text)), ..Query::default() };
    let (hits, passed_over, frames) = count(text(&line(777)[..60]));
    assert_eq!(hits, 1);
    assert!(passed_over > frames * 8 / 10, "{passed_over} of {frames}");
    assert_eq!(count(text("nowhere")).0, 0);
    assert_eq!(count(text("GET")).0, 2_100);
    let regex = Text::regex(r"/orders/77[0-9]\?token").unwrap();
    assert_eq!(count(Query { text: Some(regex), ..Query::default() }).0, 10);
    let shouted = Text::ignoring_case("ORDERS/777?").unwrap();
    assert_eq!(count(Query { text: Some(shouted), ..Query::default() }).0, 1);
    assert!(Text::regex("(").is_err() && Text::regex("(a{1000}){1000}").is_err());

    let status = |text: &str| Query { status: Some(Statuses::parse(text).unwrap()), ..Query::default() };
    assert_eq!(count(status("503")).0, 42);
    assert_eq!(count(status("5xx,404")).0, 42);
    assert_eq!(count(status("400-499")), (0, frames - 1, frames), "only the open frame is looked into");
    assert_eq!(count(Query { min_duration_us: Some(998_000), ..Query::default() }).0, 4);
    assert_eq!(count(Query { ip: Some("10.0.1.5".into()), ..Query::default() }).0, 1);
    assert_eq!(count(Query { route: Some("/orders/:id".into()), ..Query::default() }).0, 2_100);
    assert_eq!(count(Query { route: Some("/orders".into()), ..Query::default() }).0, 0);
    assert_eq!(count(Query { method: Some("GET".into()), ..Query::default() }).0, 2_100);
    assert_eq!(count(Query { host: Some("shop".into()), ..Query::default() }).0, 0);
    let times = Query { start_ms: Some(5_000), end_ms: Some(5_090), ..Query::default() };
    let (hits, _, looked) = count(times);
    assert_eq!(hits, 10);
    assert!(looked <= 2);
}

#[test]
fn pages_follow_one_another_and_a_search_can_be_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let (mut a, mut b) = (open(&dir.path().join("a")), open(&dir.path().join("b")));
    for n in (0..400).step_by(20) {
        add(&mut a, n, n + 10);
        add(&mut b, n + 10, n + 20);
    }
    let archives = [("a".to_owned(), a.kept()), ("b".to_owned(), b.kept())];
    let mut query = Query { limit: 37, ..Query::default() };
    let mut seen = Vec::new();
    loop {
        let found = search(&archives, &query, &|| false);
        seen.extend(found.hits.iter().map(|hit| hit.time_ms as u64 / 10));
        if found.complete {
            break;
        }
        query.from = found.next;
    }
    assert_eq!(seen, (0..400).rev().collect::<Vec<u64>>());

    // Stopped after each frame, it still gives all of them in the end.
    query = Query { limit: 1_000, ..Query::default() };
    let mut seen = Vec::new();
    for _ in 0..1_000 {
        let left = std::cell::Cell::new(2);
        let found = search(&archives, &query, &|| left.replace(left.get() - 1) <= 0);
        seen.extend(found.hits.iter().map(|hit| hit.time_ms as u64 / 10));
        if found.complete {
            break;
        }
        query.from = found.next;
    }
    seen.sort_unstable();
    assert_eq!(seen, all(400));
}

#[test]
fn what_came_after_a_mark_can_be_taken_back() {
    for back in [0, 1, 17, 300, 900, 1_000] {
        let dir = tempfile::tempdir().unwrap();
        let mut archive = open(dir.path());
        add(&mut archive, 0, back);
        let mark = archive.mark();
        add(&mut archive, back, 1_000);
        drop(archive);
        let mut archive = open(dir.path());
        archive.rewind(mark).unwrap();
        assert_eq!(numbers(&archive), all(back), "back to {back}");
        assert_eq!(archive.mark(), mark);
        add(&mut archive, back, 1_100);
        drop(archive);
        assert_eq!(numbers(&open(dir.path())), all(1_100), "back to {back} and on");
    }
}

/// Whatever a crash left of the files, what was flushed before is there, and a rewind
/// to the last mark goes on from it.
#[test]
fn a_crash_anywhere_loses_only_what_came_after() {
    let dir = tempfile::tempdir().unwrap();
    let mut archive = open(&dir.path().join("a"));
    add(&mut archive, 0, 100);
    let mark = archive.mark();
    let before = files(&dir.path().join("a"));
    add(&mut archive, 100, 108);
    let after = files(&dir.path().join("a"));
    drop(archive);
    for (name, bytes) in &after {
        let from = before.iter().find(|(known, _)| known == name).map_or(0, |(_, old)| old.len());
        for length in (from..bytes.len()).step_by(5) {
            let crashed = dir.path().join("crashed");
            std::fs::create_dir_all(&crashed).unwrap();
            for (other, content) in &after {
                let content = if other == name { &content[..length] } else { content };
                std::fs::write(crashed.join(other), content).unwrap();
            }
            let (mut archive, _) = Archive::open(&crashed, &Spec::Combined.to_text(), SMALL).unwrap();
            archive.rewind(mark).unwrap();
            assert_eq!(numbers(&archive), all(100), "{name} cut at {length}");
            add(&mut archive, 100, 200);
            assert_eq!(numbers(&archive), all(200), "{name} cut at {length}");
            std::fs::remove_dir_all(&crashed).unwrap();
        }
    }
}

/// A damaged frame costs its lines, is named, and never the archive.
#[test]
fn damage_is_named_and_costs_little() {
    let dir = tempfile::tempdir().unwrap();
    let mut archive = open(&dir.path().join("a"));
    add(&mut archive, 0, 300);
    drop(archive);
    let original = files(&dir.path().join("a"));
    let mut seed = 1_u64;
    for round in 0..400 {
        let damaged = dir.path().join("damaged");
        std::fs::create_dir_all(&damaged).unwrap();
        for (name, content) in &original {
            let mut content = content.clone();
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (seed >> 33) as usize % content.len().max(1);
            if let Some(byte) = content.get_mut(at) {
                *byte ^= 1 << (seed >> 61);
            }
            std::fs::write(damaged.join(name), content).unwrap();
        }
        let (mut archive, opened) = Archive::open(&damaged, &Spec::Combined.to_text(), SMALL).unwrap();
        let found = find(&archive, &Query::default());
        // Whatever is given was written.
        for hit in &found.hits {
            let n = hit.time_ms as u64 / 10;
            assert_eq!(String::from_utf8_lossy(&hit.line), line(n), "round {round}");
        }
        let whole = found.hits.len() == 300;
        assert!(whole || !opened.damage.is_empty() || !found.damage.is_empty(), "round {round}");
        add(&mut archive, 1_000, 1_010);
        let newest = find(&archive, &Query { limit: 10, ..Query::default() });
        assert_eq!(newest.hits.len(), 10, "round {round}: it goes on");
        assert_eq!(newest.hits[0].time_ms, 10_090);
        drop(archive);
        std::fs::remove_dir_all(&damaged).unwrap();
    }
}

#[test]
fn archives_together_are_bounded_by_bytes_and_time() {
    let dir = tempfile::tempdir().unwrap();
    let (mut a, mut b) = (open(&dir.path().join("a")), open(&dir.path().join("b")));
    add(&mut a, 0, 6_000);
    add(&mut b, 6_000, 12_000);
    let archives = [a.kept(), b.kept()];
    let bytes = |archives: &[Kept]| archives.iter().map(Kept::bytes).sum::<u64>();
    let before = bytes(&archives);
    assert_eq!(bound(&archives, 0, 0).unwrap(), 0, "no limit");
    assert!(bound(&archives, 0, before - 1).unwrap() == 1);
    assert_eq!(bytes(&archives[1..]), b.kept().bytes());
    let first = a.kept().oldest_ms().unwrap();
    assert!(first > 0, "the oldest went first");
    let removed = bound(&archives, 45_000, 0).unwrap();
    assert!(removed > 0 && a.kept().oldest_ms().unwrap() <= 45_000, "segments with newer lines stay");
    bound(&archives, i64::MAX, 1).unwrap();
    assert!(a.kept().lines() > 0, "what is written to stays");
    add(&mut a, 12_000, 12_010);
    drop((a, archives));
    let newest = find(&open(&dir.path().join("a")), &Query { limit: 1, ..Query::default() });
    assert_eq!(newest.hits[0].time_ms, 120_090);
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = std::fs::read_dir(dir)
        .unwrap()
        .flatten()
        .map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap()))
        .collect();
    all.sort();
    all
}

/// A small file system of memory; gone with this.
struct Small(tempfile::TempDir);

impl Small {
    /// None where this user may not mount.
    fn new(bytes: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={bytes}");
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(dir.path())
            .stderr(std::process::Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(dir))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0.path()).status();
    }
}

/// A full disk costs the lines of that time, each of them counted; what was kept stays,
/// and once there is room again it goes on, over a restart too.
#[test]
fn a_full_disk_costs_what_comes_meanwhile_and_no_more() {
    let Some(disk) = Small::new(512 << 10) else {
        eprintln!("not run: this user may not mount a small file system");
        return;
    };
    let dir = disk.0.path().join("a");
    let mut archive = open(&dir);
    add(&mut archive, 0, 500);
    let ballast = disk.0.path().join("ballast");
    let _ = std::fs::write(&ballast, vec![7; 1 << 20]); // Fails, and fills the disk.
    let mut lost = Vec::new();
    for n in 500..3_000 {
        let text = line(n);
        let record = Record { time_ms: n as i64 * 10, status: 200, duration_us: None, line: text.as_bytes() };
        archive.append(record);
        let (gone, result) = archive.flush();
        assert!(gone == 0 || result.is_err(), "what is lost is told");
        lost.extend(std::iter::repeat_n(n, gone as usize));
    }
    assert!(lost.len() > 2_000, "the disk was full: only {} were lost", lost.len());
    let kept: Vec<u64> = all(3_000).into_iter().filter(|n| !lost.contains(n)).collect();
    assert_eq!(numbers(&archive), kept);
    std::fs::remove_file(&ballast).unwrap();
    add(&mut archive, 3_000, 3_500);
    let kept: Vec<u64> = kept.into_iter().chain(3_000..3_500).collect();
    assert_eq!(numbers(&archive), kept);
    drop(archive);
    let (archive, _) = Archive::open(&dir, &Spec::Combined.to_text(), SMALL).unwrap();
    assert_eq!(numbers(&archive), kept, "after a restart");
}
