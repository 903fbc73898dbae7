//! WebSocket's frames (RFC 6455 §5.2), read as far as the WAF needs them: text
//! messages of a client are gathered, unmasked and judged before they go on;
//! everything else goes on as it comes. Pure, with bounded memory.
//!
//! ```text
//!  0               1               2               3
//! |F R R R opcode |M  length (7)  | length (16 or 64), if 126 or 127 …
//! |I S S S  (4)   |A              | masking key (4 bytes), if MASK
//! |N V V V        |S              | payload, masked byte by byte with the key
//! |  1 2 3        |K              |
//! ```

use crate::headers;
use crate::inspect::{Asked, Inspection};
use crate::worker::Worker;
use base::EventId;
use hyper::http::request::Parts;
use std::borrow::Cow;
use std::sync::Arc;

/// The WAF on the messages of one connection.
pub(crate) struct Messages {
    worker: Arc<Worker>,
    /// The request that opened it: rules look at it with each message.
    parts: Parts,
    asked: Asked,
    /// What its own event told: not told again with each message.
    told: Vec<(u64, String, String)>,
}

impl Messages {
    pub(crate) fn new(
        connection: &crate::connection::Connection,
        parts: &Parts,
        asked: Asked,
        told: Vec<(u64, String, String)>,
    ) -> Self {
        Self { worker: connection.worker.clone(), parts: parts.clone(), asked, told }
    }

    /// Judges a message, or its beginning: the event, where it may not pass.
    pub(crate) fn judge(&self, text: &[u8]) -> Option<EventId> {
        let lines = headers::lines(&self.parts);
        let head = headers::request_head(&self.parts, &lines);
        let mut inspection =
            Inspection::begin(&self.worker, &head, self.asked.clone()).of_message(&self.told);
        let mut decision = inspection.request_head();
        if decision.passes() {
            decision = inspection.message(text);
        }
        if decision.passes() {
            inspection.end();
            return None;
        }
        inspection.refuse(decision).event()
    }

    /// A reader of what the client sends.
    pub(crate) fn reader(&self) -> Reader {
        let waf = &self.asked.waf;
        Reader::new(waf.message_limit, waf.refuse_large)
    }

    /// The client broke WebSocket's rules.
    pub(crate) fn note_violation(&self) {
        self.worker.edge.refused_connection(self.asked.client, edge_http::Refusal::Protocol);
    }
}

/// Why a connection is closed, as its close frame says (RFC 6455 §7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// 1002: the frames are not what they must be.
    Protocol,
    /// 1009: a message is larger than what is inspected.
    TooLarge,
}

impl Violation {
    pub(crate) const fn code(self) -> u16 {
        match self {
            Self::Protocol => 1002,
            Self::TooLarge => 1009,
        }
    }

    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Protocol => "the frames break the protocol",
            Self::TooLarge => "the message is larger than what is inspected",
        }
    }
}

/// What is to be done with bytes that came from the client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// They go on.
    Pass(Vec<u8>),
    /// They go on if this text may: a message, or the beginning of a larger one.
    Judge { raw: Vec<u8>, text: Vec<u8> },
}

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;

/// A frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    last: bool,
    opcode: u8,
    mask: Option<[u8; 4]>,
    length: u64,
    /// Bytes of the head itself.
    size: usize,
}

/// Reads a head; none where it is not whole yet.
fn head(bytes: &[u8]) -> Result<Option<Head>, Violation> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    // No extension was negotiated that could give RSV1 to RSV3 a meaning (§5.2).
    if first & 0x70 != 0 {
        return Err(Violation::Protocol);
    }
    let (last, opcode) = (first & 0x80 != 0, first & 0x0f);
    let (length, extra) = match (second & 0x7f, rest) {
        (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 2),
        (127, [a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 8),
        (126 | 127, _) => return Ok(None),
        (short, _) => (u64::from(short), 0),
    };
    // The shortest form, the highest bit 0 (§5.2); control frames are short and
    // whole (§5.5).
    let shortest = match extra {
        2 => length > 125,
        8 => length > u64::from(u16::MAX) && length < 1 << 63,
        _ => true,
    };
    let control = opcode & 0x8 != 0;
    let known = matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE..=0xa);
    if !shortest || !known || control && (!last || length > 125) {
        return Err(Violation::Protocol);
    }
    let masked = second & 0x80 != 0;
    let size = 2 + extra + if masked { 4 } else { 0 };
    let Some(whole) = bytes.get(..size) else { return Ok(None) };
    let mask = masked.then(|| [whole[size - 4], whole[size - 3], whole[size - 2], whole[size - 1]]);
    Ok(Some(Head { last, opcode, mask, length, size }))
}

/// Reads what a client sends.
#[derive(Debug)]
pub(crate) struct Reader {
    limit: usize,
    refuse_large: bool,
    /// The beginning of a head.
    pending: Vec<u8>,
    frame: Option<Frame>,
    message: Option<Message>,
}

/// The frame whose payload comes.
#[derive(Debug)]
struct Frame {
    left: u64,
    mask: [u8; 4],
    at: usize,
    last: bool,
    control: bool,
}

/// The message whose frames come.
#[derive(Debug, Default)]
struct Message {
    /// Its text is to be judged; it is held back until then.
    held: bool,
    raw: Vec<u8>,
    text: Vec<u8>,
}

impl Reader {
    /// `limit`: how much of a message is judged; a larger one is a violation, or goes
    /// on behind its beginning.
    fn new(limit: usize, refuse_large: bool) -> Self {
        Self { limit, refuse_large, pending: Vec::new(), frame: None, message: None }
    }

    /// Takes bytes from the client; `steps` get what is to be done, in order.
    pub(crate) fn read(&mut self, bytes: &[u8], steps: &mut Vec<Step>) -> Result<(), Violation> {
        let joined = join(&mut self.pending, bytes);
        let mut bytes = &*joined;
        let mut pass = Vec::new();
        loop {
            if let Some(frame) = &mut self.frame {
                let take = usize::try_from(frame.left).unwrap_or(usize::MAX).min(bytes.len());
                let (payload, rest) = bytes.split_at(take);
                bytes = rest;
                let held = self.message.as_mut().filter(|message| message.held && !frame.control);
                match held {
                    None => pass.extend_from_slice(payload),
                    Some(message) => {
                        message.raw.extend_from_slice(payload);
                        let room = self.limit - message.text.len();
                        let mask = frame.mask.iter().cycle().skip(frame.at % 4);
                        let plain = payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask);
                        message.text.extend(plain.take(room));
                        // A head a byte would be all heads: they count too.
                        let too_large = payload.len() > room || message.raw.len() > 2 * self.limit + HEADS;
                        if too_large && self.refuse_large {
                            return Err(Violation::TooLarge);
                        }
                        if too_large {
                            message.held = false;
                            steps.push(Step::Judge {
                                raw: std::mem::take(&mut message.raw),
                                text: std::mem::take(&mut message.text),
                            });
                        }
                    }
                }
                frame.left -= take as u64;
                frame.at += take;
                if frame.left > 0 {
                    break;
                }
                let ends = frame.last && !frame.control;
                self.frame = None;
                if ends && let Some(message) = self.message.take().filter(|message| message.held) {
                    if !pass.is_empty() {
                        steps.push(Step::Pass(std::mem::take(&mut pass)));
                    }
                    steps.push(Step::Judge { raw: message.raw, text: message.text });
                }
                continue;
            }
            let Some(head) = head(bytes)? else {
                self.pending = bytes.to_vec();
                break;
            };
            let (raw, rest) = bytes.split_at(head.size);
            bytes = rest;
            self.begin(head)?;
            let control = head.opcode & 0x8 != 0;
            match self.message.as_mut().filter(|message| message.held && !control) {
                Some(message) => message.raw.extend_from_slice(raw),
                None => pass.extend_from_slice(raw),
            }
        }
        if !pass.is_empty() {
            steps.push(Step::Pass(pass));
        }
        Ok(())
    }

    fn begin(&mut self, head: Head) -> Result<(), Violation> {
        // What clients send is masked (§5.1).
        let mask = head.mask.ok_or(Violation::Protocol)?;
        match (head.opcode, &self.message) {
            (CONTINUATION, None) | (TEXT | BINARY, Some(_)) => return Err(Violation::Protocol),
            (TEXT, None) => self.message = Some(Message { held: true, ..Message::default() }),
            (BINARY, None) => self.message = Some(Message::default()),
            _ => {}
        }
        let control = head.opcode & 0x8 != 0;
        self.frame = Some(Frame { left: head.length, mask, at: 0, last: head.last, control });
        Ok(())
    }
}

/// What was left over, and what has come.
fn join<'b>(pending: &mut Vec<u8>, bytes: &'b [u8]) -> Cow<'b, [u8]> {
    if pending.is_empty() {
        return Cow::Borrowed(bytes);
    }
    let mut all = std::mem::take(pending);
    all.extend_from_slice(bytes);
    Cow::Owned(all)
}

/// Bytes that the heads of a short message's frames may come to.
const HEADS: usize = 16 << 10;

/// Where frames begin in what a server sends, so that one of ours may stand between
/// two of its own.
#[derive(Debug, Default)]
pub(crate) struct Boundaries {
    pending: Vec<u8>,
    left: u64,
    lost: bool,
}

impl Boundaries {
    /// Takes bytes from the server.
    pub(crate) fn pass(&mut self, bytes: &[u8]) {
        let joined = join(&mut self.pending, bytes);
        let mut bytes = &*joined;
        while !self.lost && !bytes.is_empty() {
            if self.left > 0 {
                let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= take as u64;
                bytes = &bytes[take..];
                continue;
            }
            match head(bytes) {
                Ok(Some(head)) => {
                    self.left = head.length;
                    bytes = &bytes[head.size..];
                }
                Ok(None) => {
                    self.pending = bytes.to_vec();
                    return;
                }
                Err(_) => self.lost = true,
            }
        }
    }

    /// Whether a frame has just ended.
    pub(crate) fn at(&self) -> bool {
        !self.lost && self.left == 0 && self.pending.is_empty()
    }
}

/// A close frame (§5.5.1); masked where it goes to the server.
pub(crate) fn close(code: u16, reason: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    // A control frame has 125 bytes at most; our reasons are ASCII.
    payload.extend_from_slice(&reason.as_bytes()[..reason.len().min(123)]);
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![0x80 | CLOSE, masked | payload.len() as u8];
    if let Some(mask) = mask {
        frame.extend_from_slice(&mask);
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    }
    frame.extend_from_slice(&payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            short @ 0..126 => out.push(0x80 | short as u8),
            long @ 126..65_536 => {
                out.push(0x80 | 126);
                out.extend_from_slice(&(long as u16).to_be_bytes());
            }
            huge => {
                out.push(0x80 | 127);
                out.extend_from_slice(&(huge as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(&MASK);
        out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        out
    }

    /// What is judged, and what goes on where all may; the same however it is cut.
    fn read(bytes: &[u8], limit: usize, refuse_large: bool) -> Result<(Vec<String>, Vec<u8>), Violation> {
        let mut first = None;
        for piece in [1, 2, 3, 7, bytes.len().max(1)] {
            let mut reader = Reader::new(limit, refuse_large);
            let (mut steps, mut texts, mut on) = (Vec::new(), Vec::new(), Vec::new());
            let mut result = Ok(());
            for piece in bytes.chunks(piece) {
                result = reader.read(piece, &mut steps);
                if result.is_err() {
                    break;
                }
            }
            for step in steps {
                match step {
                    Step::Pass(bytes) => on.extend(bytes),
                    Step::Judge { raw, text } => {
                        texts.push(String::from_utf8_lossy(&text).into_owned());
                        on.extend(raw);
                    }
                }
            }
            let result = result.map(|()| (texts, on));
            assert_eq!(*first.get_or_insert_with(|| result.clone()), result, "in pieces of {piece}");
        }
        first.unwrap()
    }

    #[test]
    fn messages() {
        let long = vec![b'x'; 300];
        let text = |first: u8, text: &str| frame(first, text.as_bytes());
        // RFC 6455 §5.7: "Hello", masked.
        let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(text(0x81, "Hello"), hello);
        let cases: &[(&[Vec<u8>], &[&str])] = &[
            (&[hello.to_vec()], &["Hello"]),
            (&[text(0x81, "")], &[""]),
            (&[text(0x01, "Hel"), text(0x80, "lo")], &["Hello"]),
            (
                &[text(0x01, "a"), text(0x00, "b"), text(0x00, ""), text(0x80, "c"), text(0x81, "d")],
                &["abc", "d"],
            ),
            // A ping between the parts of a message.
            (&[text(0x01, "Hel"), text(0x89, "ping"), text(0x80, "lo")], &["Hello"]),
            (&[frame(0x82, &long), text(0x81, "a")], &["a"]),
            (&[frame(0x02, b"bin"), frame(0x80, b"ary"), text(0x88, "\u{3}\u{e8}")], &[]),
            (&[frame(0x81, &long)], &[std::str::from_utf8(&long).unwrap()]),
        ];
        for (frames, expected) in cases {
            let bytes = frames.concat();
            let (texts, mut on) = read(&bytes, 1_000, true).unwrap();
            assert_eq!(texts, *expected);
            // Everything goes on; only a ping may overtake what is held.
            let mut all = bytes;
            on.sort_unstable();
            all.sort_unstable();
            assert_eq!(on, all);
        }
    }

    #[test]
    fn what_is_larger_than_the_limit() {
        let bytes = [frame(0x01, b"0123456789"), frame(0x80, b"abc"), frame(0x81, b"next")].concat();
        assert_eq!(read(&bytes, 8, true), Err(Violation::TooLarge));
        let mut reader = Reader::new(8, false);
        let mut steps = Vec::new();
        reader.read(&bytes, &mut steps).unwrap();
        let texts: Vec<&[u8]> = steps
            .iter()
            .filter_map(|step| match step {
                Step::Judge { text, .. } => Some(text.as_slice()),
                Step::Pass(_) => None,
            })
            .collect();
        assert_eq!(texts, [b"01234567".as_slice(), b"next"]);
        assert_eq!(read(&frame(0x81, b"01234567"), 8, true).unwrap().0, ["01234567"]);
        // Heads without end and nothing in them.
        let heads: Vec<u8> = std::iter::once(frame(0x01, b""))
            .chain((0..10_000).map(|_| frame(0x00, b"")))
            .flatten()
            .collect();
        let mut reader = Reader::new(8, true);
        assert_eq!(reader.read(&heads, &mut Vec::new()), Err(Violation::TooLarge));
    }

    #[test]
    fn violations() {
        let mut unmasked = frame(0x81, b"x");
        unmasked[1] &= 0x7f;
        let cases: Vec<Vec<u8>> = vec![
            unmasked,
            frame(0xc1, b"compressed"),
            frame(0x80, b"continues nothing"),
            [frame(0x01, b"a"), frame(0x81, b"b")].concat(),
            frame(0x83, b"reserved"),
            frame(0x09, b"a ping in parts"),
            frame(0x89, &[0; 126]),
            vec![0x81, 0x80 | 126, 0, 125, 0, 0, 0, 0],
            vec![0x81, 0x80 | 127, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0],
            vec![0x81, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ];
        for bytes in cases {
            assert_eq!(read(&bytes, 1_000, false), Err(Violation::Protocol), "{bytes:x?}");
        }
    }

    #[test]
    fn boundaries_and_close() {
        let mut boundaries = Boundaries::default();
        assert!(boundaries.at());
        let bytes = [0x82, 126, 0, 126];
        boundaries.pass(&bytes[..1]);
        assert!(!boundaries.at());
        boundaries.pass(&bytes[1..]);
        assert!(!boundaries.at());
        boundaries.pass(&[0; 126]);
        assert!(boundaries.at());
        let ours = close(1008, "refused", None);
        boundaries.pass(&ours);
        assert!(boundaries.at());
        assert_eq!(ours, [&[0x88, 9, 0x03, 0xf0], b"refused".as_slice()].concat());
        boundaries.pass(b"HTTP/1.1");
        assert!(!boundaries.at());
        let masked = close(1008, &"x".repeat(500), Some(MASK));
        assert_eq!((masked[1], masked.len()), (0x80 | 125, 2 + 4 + 125));
        let mut reader = Reader::new(10, true);
        let mut steps = Vec::new();
        reader.read(&masked, &mut steps).unwrap();
        assert_eq!(steps, [Step::Pass(masked)]);
    }

    /// Seeded noise: no input makes the reader panic or hold more than it may.
    #[test]
    fn noise() {
        let seed = 0x5eed_u64;
        println!("seed {seed:#x}");
        let mut state = seed;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..2_000 {
            let mut reader = Reader::new(64, random().is_multiple_of(2));
            let mut steps = Vec::new();
            for _ in 0..20 {
                let length = (random() % 40) as usize;
                let mut bytes: Vec<u8> = (0..length).map(|_| random() as u8).collect();
                if let Some(first) = bytes.first_mut() {
                    *first &= 0x8b;
                }
                if reader.read(&bytes, &mut steps).is_err() {
                    break;
                }
                let held = reader.message.as_ref().map_or(0, |message| message.raw.len());
                assert!(held <= 2 * 64 + HEADS + 40 && reader.pending.len() < 14);
            }
        }
    }
}
