//! The little of D-Bus that asking systemd needs: logging in over a Unix socket,
//! method calls with texts as arguments, their answers (D-Bus Specification 0.43).
//!
//! Blocking, each wait no longer than its deadline. No signals, no properties of
//! its own, no file descriptors, no listening. Why no library:
//! `docs/decisions/agent-clients.md`.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// An answer of more is refused; the specification's own limit is 128 MiB. A
/// machine with 5,000 units answers in less than 2 MiB.
const MAX_MESSAGE: usize = 8 << 20;

/// Messages read while waiting for one answer: signals may be among them.
const MAX_OTHERS: usize = 10_000;

/// Message types and header fields (specification, "Message Format").
const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const FIELD_PATH: u8 = 1;
const FIELD_INTERFACE: u8 = 2;
const FIELD_MEMBER: u8 = 3;
const FIELD_REPLY_SERIAL: u8 = 5;
const FIELD_DESTINATION: u8 = 6;
const FIELD_SIGNATURE: u8 = 8;

/// A connection that is logged in.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    serial: u32,
    input: Vec<u8>,
}

/// A method of an object, and its arguments, all texts.
pub(crate) struct Call<'a> {
    pub(crate) destination: &'a str,
    pub(crate) path: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) member: &'a str,
    pub(crate) arguments: &'a [&'a str],
}

/// The answer's body, or the error's name.
pub(crate) type Answer = Result<Body, String>;

/// A body and its byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    big: bool,
}

impl Connection {
    /// Connects to the bus or peer that listens at `path`. A bus gives whoever
    /// says `Hello` a name; a peer is spoken to at once.
    pub(crate) fn open(path: &Path, is_bus: bool, deadline: Instant) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        let mut connection = Self { stream, serial: 0, input: Vec::new() };
        connection.log_in(deadline)?;
        if is_bus {
            let hello = Call {
                destination: "org.freedesktop.DBus",
                path: "/org/freedesktop/DBus",
                interface: "org.freedesktop.DBus",
                member: "Hello",
                arguments: &[],
            };
            connection.call(&hello, deadline)?.map_err(io::Error::other)?;
        }
        Ok(connection)
    }

    /// "Authentication Protocol": a zero byte, then as the user that the kernel
    /// says we are, in hexadecimal digits of its decimal ones.
    fn log_in(&mut self, deadline: Instant) -> io::Result<()> {
        let user: String =
            rustix::process::geteuid().as_raw().to_string().bytes().map(|b| format!("{b:02x}")).collect();
        self.send(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes(), deadline)?;
        while !self.input.ends_with(b"\r\n") {
            if self.input.len() > 1_024 {
                return Err(odd("a long greeting"));
            }
            self.receive(deadline)?;
        }
        let greeting = String::from_utf8_lossy(&self.input).trim().to_owned();
        self.input.clear();
        if !greeting.starts_with("OK ") {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("the login is refused: `{}`", greeting.escape_debug()),
            ));
        }
        self.send(b"BEGIN\r\n", deadline)
    }

    /// One call and its answer.
    pub(crate) fn call(&mut self, call: &Call<'_>, deadline: Instant) -> io::Result<Answer> {
        let serial = self.start(call, deadline)?;
        let mut answer = None;
        self.answers(&[serial], deadline, |_, found| answer = Some(found))?;
        answer.ok_or_else(|| odd("no answer"))
    }

    /// Sends a call; its answer is taken by its serial number.
    pub(crate) fn start(&mut self, call: &Call<'_>, deadline: Instant) -> io::Result<u32> {
        self.serial = self.serial.checked_add(1).unwrap_or(1);
        let message = written(call, self.serial);
        self.send(&message, deadline)?;
        Ok(self.serial)
    }

    /// Waits for the answers to `serials`, in whichever order they come.
    pub(crate) fn answers(
        &mut self,
        serials: &[u32],
        deadline: Instant,
        mut take: impl FnMut(usize, Answer),
    ) -> io::Result<()> {
        let mut missing = serials.len();
        let mut others = 0;
        while missing > 0 {
            let (serial, answer) = self.message(deadline)?;
            match serial.and_then(|serial| serials.iter().position(|wanted| *wanted == serial)) {
                Some(at) => {
                    take(at, answer);
                    missing -= 1;
                }
                None => others += 1,
            }
            if others > MAX_OTHERS {
                return Err(odd("messages without end that answer nothing"));
            }
        }
        Ok(())
    }

    /// The serial number that a message answers, if it is an answer.
    fn message(&mut self, deadline: Instant) -> io::Result<(Option<u32>, Answer)> {
        loop {
            if let Some((size, serial, answer)) = read(&self.input)? {
                self.input.drain(..size);
                return Ok((serial, answer));
            }
            self.receive(deadline)?;
        }
    }

    fn receive(&mut self, deadline: Instant) -> io::Result<()> {
        self.stream.set_read_timeout(Some(left(deadline)?))?;
        let mut bytes = [0; 16 << 10];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection")),
            Ok(count) => {
                self.input.extend_from_slice(&bytes[..count]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn send(&mut self, bytes: &[u8], deadline: Instant) -> io::Result<()> {
        self.stream.set_write_timeout(Some(left(deadline)?))?;
        self.stream.write_all(bytes)
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "it did not answer in time"));
    }
    Ok(left)
}

fn odd(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it does not speak D-Bus: {what}"))
}

/// A method call in little-endian order.
fn written(call: &Call<'_>, serial: u32) -> Vec<u8> {
    let mut body = Writer(Vec::new());
    for argument in call.arguments {
        body.text(argument);
    }
    let mut fields = Writer(Vec::new());
    let texts = [
        (FIELD_PATH, b'o', call.path),
        (FIELD_INTERFACE, b's', call.interface),
        (FIELD_MEMBER, b's', call.member),
        (FIELD_DESTINATION, b's', call.destination),
    ];
    for (field, kind, text) in texts {
        fields.pad(8);
        fields.0.extend([field, 1, kind, 0]);
        fields.text(text);
    }
    if !call.arguments.is_empty() {
        fields.pad(8);
        fields.0.extend([FIELD_SIGNATURE, 1, b'g', 0, call.arguments.len() as u8]);
        fields.0.extend(call.arguments.iter().map(|_| b's'));
        fields.0.push(0);
    }
    let mut message = Writer(vec![b'l', METHOD_CALL, 0, 1]);
    message.number(body.0.len() as u32);
    message.number(serial);
    message.number(fields.0.len() as u32);
    message.0.extend(fields.0);
    message.pad(8);
    message.0.extend(body.0);
    message.0
}

struct Writer(Vec<u8>);

impl Writer {
    fn pad(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, number: u32) {
        self.pad(4);
        self.0.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u32);
        self.0.extend(text.bytes().chain([0]));
    }
}

/// The first message of `input`, once it is there whole: its size, the serial
/// number that it answers, and the answer.
#[allow(clippy::type_complexity)]
fn read(input: &[u8]) -> io::Result<Option<(usize, Option<u32>, Answer)>> {
    let Some(head) = input.first_chunk::<16>() else { return Ok(None) };
    let big = match head[0] {
        b'l' => false,
        b'B' => true,
        _ => return Err(odd("neither byte order")),
    };
    let at = |from: usize| {
        let bytes = [head[from], head[from + 1], head[from + 2], head[from + 3]];
        (if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }) as usize
    };
    let (length, fields) = (at(4), at(12));
    if length > MAX_MESSAGE || fields > MAX_MESSAGE {
        return Err(odd("a message of many megabytes"));
    }
    let from = (16 + fields).next_multiple_of(8);
    let Some(message) = input.get(..from + length) else { return Ok(None) };
    let mut reader = Reader { bytes: message, at: 16, big };
    let mut serial = None;
    let mut name = String::new();
    while reader.at < 16 + fields {
        reader.pad(8);
        let field = reader.byte().ok_or_else(|| odd("a header that is cut off"))?;
        match reader.variant().ok_or_else(|| odd("a header field that is none"))? {
            Value::Number(number) if field == FIELD_REPLY_SERIAL => serial = u32::try_from(number).ok(),
            Value::Text(text) if field == 4 => name = text,
            _ => {}
        }
    }
    let answer = match head[1] {
        METHOD_RETURN => Ok(Body { bytes: message[from..].to_vec(), big }),
        ERROR => Err(name),
        _ => return Ok(Some((message.len(), None, Err(String::new())))),
    };
    Ok(Some((message.len(), serial, answer)))
}

/// A value of a basic type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Types `s`, `o` and `g`.
    Text(String),
    /// Types `y`, `b`, `q`, `u` and `t`; of `n`, `i` and `x` the bits.
    Number(u64),
}

impl Body {
    /// Its values in order.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader { bytes: &self.bytes, at: 0, big: self.big }
    }
}

/// Reads values; None where there is none of that type.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big: bool,
}

impl Reader<'_> {
    /// Skips to a multiple of `to`; a struct begins at one of 8.
    pub(crate) fn pad(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = self.bytes.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(*bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    /// Type `u`.
    pub(crate) fn number(&mut self) -> Option<u32> {
        self.pad(4);
        let bytes = self.take::<4>()?;
        Some(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn long(&mut self) -> Option<u64> {
        self.pad(8);
        let bytes = self.take::<8>()?;
        Some(if self.big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    /// Types `s` and `o`.
    pub(crate) fn text(&mut self) -> Option<String> {
        let length = self.number()? as usize;
        self.ended(length)
    }

    fn signature(&mut self) -> Option<String> {
        let length = usize::from(self.byte()?);
        self.ended(length)
    }

    fn ended(&mut self, length: usize) -> Option<String> {
        let end = self.at.checked_add(length)?;
        let text = String::from_utf8_lossy(self.bytes.get(self.at..end)?).into_owned();
        self.at = end + 1;
        Some(text)
    }

    /// Whether all was read.
    pub(crate) fn is_at(&self, end: usize) -> bool {
        self.at >= end
    }

    /// Where the next value is looked for.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// A variant of a basic type.
    pub(crate) fn variant(&mut self) -> Option<Value> {
        Some(match self.signature()?.as_str() {
            "s" | "o" => Value::Text(self.text()?),
            "g" => Value::Text(self.signature()?),
            "y" => Value::Number(self.byte()?.into()),
            "u" | "i" | "b" => Value::Number(self.number()?.into()),
            "t" | "x" => Value::Number(self.long()?),
            "q" | "n" => {
                self.pad(2);
                let bytes = self.take::<2>()?;
                Value::Number(
                    (if self.big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }).into(),
                )
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An answer as a server writes it: `fields` after the serial, and the body.
    pub(crate) fn answer(kind: u8, serial: u32, body: &[u8]) -> Vec<u8> {
        let mut fields = Writer(vec![FIELD_REPLY_SERIAL, 1, b'u', 0]);
        fields.number(serial);
        if kind == ERROR {
            fields.pad(8);
            fields.0.extend([4, 1, b's', 0]);
            fields.text("org.example.No");
        }
        let mut message = Writer(vec![b'l', kind, 0, 1]);
        message.number(body.len() as u32);
        message.number(99);
        message.number(fields.0.len() as u32);
        message.0.extend(fields.0);
        message.pad(8);
        message.0.extend(body);
        message.0
    }

    /// A body of the values, written by `write`.
    pub(crate) fn body(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes);
        bytes
    }

    pub(crate) fn put_number(bytes: &mut Vec<u8>, number: u32) {
        let mut writer = Writer(std::mem::take(bytes));
        writer.number(number);
        *bytes = writer.0;
    }

    pub(crate) fn put_text(bytes: &mut Vec<u8>, text: &str) {
        let mut writer = Writer(std::mem::take(bytes));
        writer.text(text);
        *bytes = writer.0;
    }

    pub(crate) fn put_pad(bytes: &mut Vec<u8>, to: usize) {
        bytes.resize(bytes.len().next_multiple_of(to), 0);
    }

    #[test]
    fn answers_are_read_whole_or_not_yet_or_refused() {
        let bytes = answer(METHOD_RETURN, 7, &body(|b| put_text(b, "hello")));
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut]).unwrap(), None, "{cut}");
        }
        let (size, serial, found) = read(&bytes).unwrap().unwrap();
        assert_eq!((size, serial), (bytes.len(), Some(7)));
        assert_eq!(found.unwrap().reader().text().as_deref(), Some("hello"));
        let (_, serial, found) = read(&answer(ERROR, 8, &[])).unwrap().unwrap();
        assert_eq!((serial, found), (Some(8), Err("org.example.No".to_owned())));
        // Whatever a byte is: an answer, a refusal, or not yet; never a panic.
        for at in 0..bytes.len() {
            for value in [0, 1, 0x42, 0x7f, 0xff] {
                let mut odd = bytes.clone();
                odd[at] = value;
                if let Ok(Some((_, _, Ok(body)))) = read(&odd) {
                    let _ = body.reader().text();
                    let _ = body.reader().variant();
                }
            }
        }
    }

    #[test]
    fn a_real_bus_answers() {
        let Some(mut bus) = Bus::start() else {
            println!("dbus-daemon is not here: not checked");
            return;
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut connection = Connection::open(&bus.path, true, deadline).unwrap();
        let call = |member: &'static str, arguments: &'static [&'static str]| Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member,
            arguments,
        };
        let answer =
            connection.call(&call("NameHasOwner", &["org.freedesktop.DBus"]), deadline).unwrap().unwrap();
        assert_eq!(answer.reader().number(), Some(1));
        let error = connection.call(&call("GetNameOwner", &["no.such.name"]), deadline).unwrap().unwrap_err();
        assert_eq!(error, "org.freedesktop.DBus.Error.NameHasNoOwner");
        bus.child.kill().unwrap();
        bus.child.wait().unwrap();
        assert!(connection.call(&call("GetId", &[]), deadline).is_err());
    }

    struct Bus {
        child: std::process::Child,
        path: std::path::PathBuf,
        _dir: tempfile::TempDir,
    }

    impl Bus {
        fn start() -> Option<Self> {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("bus");
            let config = dir.path().join("config");
            let text = format!(
                "<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
                 <policy context=\"default\"><allow send_destination=\"*\"/><allow receive_sender=\"*\"/><allow own=\"*\"/></policy></busconfig>",
                path.display()
            );
            std::fs::write(&config, text).unwrap();
            let mut command = std::process::Command::new("dbus-daemon");
            command.arg(format!("--config-file={}", config.display())).arg("--nofork");
            let child = command.stderr(std::process::Stdio::null()).spawn().ok()?;
            let began = Instant::now();
            while UnixStream::connect(&path).is_err() {
                assert!(began.elapsed() < Duration::from_secs(10), "dbus-daemon does not listen");
                std::thread::sleep(Duration::from_millis(10));
            }
            Some(Self { child, path, _dir: dir })
        }
    }

    impl Drop for Bus {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
