//! libmodsecurity as a child process: a small C program, compiled here when it is
//! needed, that answers frames on its standard output. See `libmodsecurity.c`.

use super::request::Request;
use std::fs;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

const SOURCE: &str = include_str!("libmodsecurity.c");

/// What it takes, on Debian.
const HINT: &str = "it takes Debian's packages gcc, libc6-dev and libmodsecurity-dev: \
                    apt-get install --no-install-recommends gcc libc6-dev libmodsecurity-dev";

/// The largest answer that is believed: log lines repeat parts of the request.
const LARGEST_ANSWER: usize = 64 << 20;

/// Compiles the C program into `target/bench`.
pub(crate) fn compile(target: &Path) -> Result<PathBuf, String> {
    let folder = target.join("bench");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let (source, program) = (folder.join("libmodsecurity.c"), folder.join("libmodsecurity"));
    if program.is_file() && fs::read(&source).is_ok_and(|old| old == SOURCE.as_bytes()) {
        return Ok(program);
    }
    // Beside its place first: another run may be using the old one.
    let fresh = folder.join(format!("libmodsecurity.{}", std::process::id()));
    fs::write(&source, SOURCE).map_err(|error| format!("{}: {error}", source.display()))?;
    let output = Command::new("gcc")
        .args(["-O2", "-Wall", "-o"])
        .arg(&fresh)
        .arg(&source)
        .arg("-lmodsecurity")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("`gcc` could not be started: {error}; {HINT}"))?;
    if !output.status.success() {
        // The next run compiles again.
        let _ = fs::remove_file(&source);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let why =
            said.lines().find(|line| line.contains("error")).unwrap_or("it said nothing").trim().to_owned();
        return Err(format!("the C program does not compile: {why}; {HINT}"));
    }
    fs::rename(&fresh, &program).map_err(|error| format!("{}: {error}", program.display()))?;
    Ok(program)
}

/// A running child with its rules loaded; dropping it ends it.
pub(crate) struct Peer {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// `ModSecurity v3.0.9 (Linux)`.
    pub(crate) name: String,
    /// CPU time that loading the rules took.
    pub(crate) load: Duration,
}

/// What it says of one request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// CPU time of all repeats.
    pub(crate) cpu: Duration,
    /// Whether it wants the request ended.
    pub(crate) blocked: bool,
    /// With what status; 200 where it does not.
    pub(crate) status: u32,
    /// What it would write to the error log, one text a match.
    pub(crate) log: Vec<String>,
}

impl Peer {
    /// Starts `program` with the rules that `configuration` names.
    pub(crate) fn start(program: &Path, configuration: &Path) -> Result<Self, String> {
        let mut child = Command::new(program)
            .arg(configuration)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("`{}` could not be started: {error}", program.display()))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (questions, answers) = pipes.ok_or("the child has no pipes")?;
        let mut peer = Self {
            child,
            questions: Some(questions),
            answers: BufReader::new(answers),
            name: String::new(),
            load: Duration::ZERO,
        };
        let loaded = peer.answer()?;
        let said = loaded.log.into_iter().next().unwrap_or_default();
        if loaded.status != 0 {
            return Err(format!("its rules do not load: {said}"));
        }
        peer.name = said;
        peer.load = loaded.cpu;
        Ok(peer)
    }

    /// Runs `request` through phases 1, 2 and 5, `repeat` times.
    pub(crate) fn ask(&mut self, request: &Request, repeat: u32) -> Result<Answer, String> {
        let questions = self.questions.as_mut().ok_or("the child was told to end")?;
        let written = questions.write_all(&request.frame(repeat)).and_then(|()| questions.flush());
        written.map_err(|error| {
            format!("libmodsecurity ended: {error}; the request was\n{}", request.shown())
        })?;
        self.answer().map_err(|error| format!("{error}; the request was\n{}", request.shown()))
    }

    fn answer(&mut self) -> Result<Answer, String> {
        let mut length = [0; 4];
        let read = self.answers.read_exact(&mut length);
        read.map_err(|error| format!("libmodsecurity gave no answer: {error}"))?;
        let length = u32::from_le_bytes(length) as usize;
        if length > LARGEST_ANSWER {
            return Err(format!("libmodsecurity's answer has {length} bytes"));
        }
        let mut bytes = vec![0; length];
        let read = self.answers.read_exact(&mut bytes);
        read.map_err(|error| format!("libmodsecurity's answer is not whole: {error}"))?;
        parse(&bytes).ok_or_else(|| "libmodsecurity's answer does not parse".to_owned())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It ends where its stdin does; the kill is for one that hangs in a request.
        self.questions = None;
        for _ in 0..50 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let (cpu, rest) = bytes.split_first_chunk::<8>()?;
    let (blocked, rest) = number(rest)?;
    let (status, rest) = number(rest)?;
    let (count, mut rest) = number(rest)?;
    let mut log = Vec::new();
    for _ in 0..count {
        let (length, after) = number(rest)?;
        let (text, after) = after.split_at_checked(length as usize)?;
        log.push(String::from_utf8_lossy(text).into_owned());
        rest = after;
    }
    let cpu = Duration::from_nanos(u64::from_le_bytes(*cpu));
    Some(Answer { cpu, blocked: blocked != 0, status, log })
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*number), rest))
}

/// The id in one of its log lines: `… [file "…"] [line "…"] [id "942100"] …`. What the
/// request brought stands behind it or, within `Matched "…"`, before the file.
pub(crate) fn rule_of(line: &str) -> Option<u64> {
    let at = line.find("[file \"")?;
    let rest = line[at..].split_once("[id \"")?.1;
    rest.split_once('"')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_short_ones_are_not() {
        let mut bytes = 5_000u64.to_le_bytes().to_vec();
        for n in [1, 403, 1, 2] {
            bytes.extend(u32::to_le_bytes(n));
        }
        bytes.extend(b"ab");
        let answer = parse(&bytes).unwrap();
        assert_eq!((answer.cpu, answer.blocked, answer.status), (Duration::from_micros(5), true, 403));
        assert_eq!(answer.log, ["ab"]);
        for short in 0..bytes.len() {
            assert!(parse(&bytes[..short]).is_none(), "{short}");
        }
    }

    #[test]
    fn the_rule_of_a_line() {
        let line = |matched: &str| {
            format!(
                "ModSecurity: Warning. Matched \"{matched}\" [file \"/r/942.conf\"] [line \"7\"] [id \"942100\"] [msg \"x\"]"
            )
        };
        assert_eq!(rule_of(&line("Operator `Rx'")), Some(942_100));
        assert_eq!(rule_of(&line("[id \"1\"]")), Some(942_100));
        assert_eq!(rule_of("nothing"), None);
    }
}
