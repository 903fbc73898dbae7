//! Protocol Buffers without their schema, alone or in gRPC's frames.
//!
//! Best effort: the wire format (Protocol Buffers, "Encoding") does not say
//! whether a length-delimited field is a string, bytes, packed numbers or a
//! message. What is UTF-8 and does not read as a message is handed over, and what
//! reads as text to people even if it also reads as a message; what reads as a
//! message is walked into. Numbers and bytes that are not UTF-8 are not handed
//! over. Names are the field numbers down to the value: `grpc.1.2`.

use crate::decode::Decoder;
use crate::json::push_number;
use crate::scratch::Level;
use crate::{Error, ErrorKind, Limits, Scratch, Sink};

/// Reads one protobuf message: every length-delimited field that reads as text
/// becomes `grpc.<field>.<field>…`.
///
/// # Errors
/// A message that does not follow the wire format, or is nested too deep.
pub fn protobuf(
    message: &[u8],
    complete: bool,
    limits: &Limits,
    sink: &mut impl Sink,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    walk(message, complete, limits, sink, scratch).map_err(|(what, at)| Error::new(what, at))
}

/// Reads gRPC's length-prefixed messages ("gRPC over HTTP/2"). `encoding` is the
/// value of `grpc-encoding` (empty where there is none), for messages marked
/// compressed.
///
/// # Errors
/// As [`protobuf`], and what is wrong with frames or compressed data. A message
/// that is malformed does not hide the ones after it: the first error is reported
/// at the end.
pub fn grpc(
    body: &[u8],
    encoding: &[u8],
    complete: bool,
    limits: &Limits,
    sink: &mut impl Sink,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    let wrong = |what, at| Error::new(ErrorKind::Grpc(what), at);
    let mut first_error = None;
    let mut at = 0;
    let mut messages = 0;
    while at < body.len() {
        if messages == limits.messages {
            return Err(first_error.unwrap_or(wrong("more messages than the limit", at)));
        }
        messages += 1;
        // Compressed flag, length in four bytes, message.
        let Some((head, rest)) = body[at..].split_first_chunk::<5>() else {
            first_error = first_error.or(complete.then(|| wrong("a frame's head is cut", at)));
            break;
        };
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let whole = length <= rest.len();
        if !whole && complete {
            first_error.get_or_insert(wrong("a message is cut", at));
        }
        let message = &rest[..length.min(rest.len())];
        let read = match head[0] {
            0 => walk(message, whole, limits, sink, scratch),
            1 => compressed(message, encoding, whole, limits, sink, scratch),
            _ => return Err(first_error.unwrap_or(wrong("an unknown frame flag", at))),
        };
        let begin = at + head.len();
        match read {
            Ok(()) => {}
            Err((ErrorKind::Full, within)) => return Err(Error::new(ErrorKind::Full, begin + within)),
            Err((kind, within)) => {
                first_error.get_or_insert(Error::new(kind, begin + within));
            }
        }
        at = begin + message.len();
    }
    first_error.map_or(Ok(()), Err)
}

type Failure = (ErrorKind, usize);

fn compressed(
    message: &[u8],
    encoding: &[u8],
    whole: bool,
    limits: &Limits,
    sink: &mut impl Sink,
    scratch: &mut Scratch,
) -> Result<(), Failure> {
    let mut plain = std::mem::take(&mut scratch.extra);
    plain.clear();
    let result = (|| {
        let decoder = Decoder::new(encoding, limits).map_err(|error| (error.kind, 0))?;
        let Some(mut decoder) = decoder else {
            return Err((ErrorKind::Grpc("a compressed message without `grpc-encoding`"), 0));
        };
        let mut decoded = decoder.push(message, &mut plain);
        if whole && decoded.is_ok() {
            decoded = decoder.finish(&mut plain);
        }
        let walked = walk(&plain, whole && decoded.is_ok(), limits, sink, scratch);
        decoded.map_err(|error| (error.kind, error.at))?;
        walked.map_err(|(kind, _)| (kind, 0))
    })();
    scratch.extra = plain;
    result
}

/// A field's key and what follows it.
struct Field<'a> {
    number: u32,
    value: Value<'a>,
}

enum Value<'a> {
    Number,
    Bytes(&'a [u8]),
    /// Length-delimited, but the message ends first.
    Cut(&'a [u8]),
    GroupBegins,
    GroupEnds,
}

fn walk(
    message: &[u8],
    complete: bool,
    limits: &Limits,
    sink: &mut impl Sink,
    scratch: &mut Scratch,
) -> Result<(), Failure> {
    let wrong = |what, at| (ErrorKind::Grpc(what), at);
    if message.len() > u32::MAX as usize {
        return Err(wrong("a message larger than 4 GiB", 0));
    }
    let Scratch { name: path, levels, .. } = scratch;
    path.clear();
    path.extend_from_slice(b"grpc");
    levels.clear();
    // A level's index is where its message ends; a group ends with its field.
    levels.push(Level { path: path.len() as u32, index: message.len() as u32 });
    let mut at = 0;
    while let Some(&Level { path: length, index: end }) = levels.last() {
        path.truncate(length as usize);
        let end = end as usize;
        if at >= end {
            levels.pop();
            continue;
        }
        let Some((field, next)) = field(&message[..end], at) else {
            // Only the outermost may be cut: those inside were read before.
            return if complete { Err(wrong("a malformed field", at)) } else { Ok(()) };
        };
        path.push(b'.');
        push_number(path, field.number);
        let inner_path = path.len() as u32;
        match field.value {
            Value::Number => {}
            Value::Bytes(bytes) => {
                let is_message = is_message(bytes);
                if is_text(bytes, is_message, levels.len()) {
                    sink.arg(path, bytes).map_err(|_| (ErrorKind::Full, at))?;
                }
                if is_message {
                    if levels.len() >= limits.depth as usize {
                        return Err(wrong("messages nested deeper than the limit", at));
                    }
                    levels.push(Level { path: inner_path, index: next as u32 });
                    at = next - bytes.len();
                    continue;
                }
            }
            Value::Cut(bytes) => {
                if complete {
                    return Err(wrong("a field is cut", at));
                }
                sink.arg(path, bytes).map_err(|_| (ErrorKind::Full, at))?;
                return Ok(());
            }
            Value::GroupBegins => {
                if levels.len() >= limits.depth as usize {
                    return Err(wrong("messages nested deeper than the limit", at));
                }
                levels.push(Level { path: inner_path, index: end as u32 });
            }
            // The outermost level belongs to no group.
            Value::GroupEnds if levels.len() > 1 => {
                levels.pop();
            }
            Value::GroupEnds => return Err(wrong("a group ends that did not begin", at)),
        }
        at = next;
    }
    Ok(())
}

/// The field at `at`, and where the next begins.
fn field(message: &[u8], at: usize) -> Option<(Field<'_>, usize)> {
    let (key, mut at) = varint(message, at)?;
    // A field number has 29 bits and is not 0.
    let number = u32::try_from(key >> 3).ok().filter(|number| (1..1 << 29).contains(number))?;
    let value = match key & 7 {
        0 => {
            at = varint(message, at)?.1;
            Value::Number
        }
        1 => {
            at += 8;
            Value::Number
        }
        2 => {
            let (length, begin) = varint(message, at)?;
            let rest = &message[begin..];
            match usize::try_from(length).ok().filter(|length| *length <= rest.len()) {
                Some(length) => {
                    at = begin + length;
                    Value::Bytes(&rest[..length])
                }
                None => {
                    at = message.len();
                    Value::Cut(rest)
                }
            }
        }
        3 => Value::GroupBegins,
        4 => Value::GroupEnds,
        5 => {
            at += 4;
            Value::Number
        }
        _ => return None,
    };
    (at <= message.len()).then_some((Field { number, value }, at))
}

fn varint(message: &[u8], mut at: usize) -> Option<(u64, usize)> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *message.get(at)?;
        at += 1;
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some((number, at));
        }
    }
    None
}

/// Whether a field's bytes are handed over as they are. What also reads as a
/// message must read as text to people, and near the outside, since each level
/// hands over what is in it once more.
fn is_text(bytes: &[u8], is_message: bool, level: usize) -> bool {
    const DEEPEST_OF_BOTH: usize = 8;
    let control = |byte: &u8| *byte < 0x20 && !byte.is_ascii_whitespace();
    if is_message && (level > DEEPEST_OF_BOTH || bytes.iter().any(control)) {
        return false;
    }
    !bytes.is_empty() && std::str::from_utf8(bytes).is_ok()
}

/// Whether `bytes` read as fields to the end. Groups, which nobody uses any more,
/// do not count: too much text would read as some.
fn is_message(bytes: &[u8]) -> bool {
    let mut at = 0;
    while at < bytes.len() {
        match field(bytes, at) {
            Some((Field { value: Value::Number | Value::Bytes(_), .. }, next)) => at = next,
            _ => return false,
        }
    }
    !bytes.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Collected, Rng};

    fn length_delimited(number: u8, bytes: &[u8]) -> Vec<u8> {
        assert!(bytes.len() < 128);
        [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
    }

    fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
        [&[flag][..], &(message.len() as u32).to_be_bytes(), message].concat()
    }

    fn sample() -> Vec<u8> {
        let inner = [length_delimited(1, b"<script>"), vec![0x10, 0x96, 0x01]].concat();
        [
            length_delimited(1, b"name"),
            vec![0x10, 0x05],
            length_delimited(3, &inner),
            vec![0x25, 1, 2, 3, 4],
            vec![0x29, 1, 2, 3, 4, 5, 6, 7, 8],
            length_delimited(6, b"\xFF\xFE"),
            length_delimited(7, b""),
            length_delimited(8, b"\x01 union select"),
        ]
        .concat()
    }

    const VALUES: &str = "grpc.1=name\ngrpc.3.1=<script>\ngrpc.8=\u{1} union select";

    fn read(body: &[u8], encoding: &[u8], complete: bool) -> (Collected, Result<(), Error>) {
        let mut sink = Collected::default();
        let limits = Limits::default();
        let result = grpc(body, encoding, complete, &limits, &mut sink, &mut Scratch::default());
        (sink, result)
    }

    #[test]
    fn strings_are_found_in_messages_and_frames() {
        let mut sink = Collected::default();
        let result = protobuf(&sample(), true, &Limits::default(), &mut sink, &mut Scratch::default());
        assert_eq!(result, Ok(()));
        assert_eq!(sink.lines(), VALUES);

        let body = [frame(0, &sample()), frame(0, b""), frame(0, &sample())].concat();
        let (sink, result) = read(&body, b"", true);
        assert_eq!(result, Ok(()));
        assert_eq!(sink.lines(), format!("{VALUES}\n{VALUES}"));
    }

    #[test]
    fn text_that_reads_as_a_message_is_both() {
        // LF is the key of field 1, and a blank the length 32.
        let text = b"\n 12345678901234567890123456789012";
        let mut sink = Collected::default();
        let message = length_delimited(1, text);
        protobuf(&message, true, &Limits::default(), &mut sink, &mut Scratch::default()).unwrap();
        let text = std::str::from_utf8(text).unwrap();
        assert_eq!(sink.lines(), format!("grpc.1={text}\ngrpc.1.1={}", &text[2..]));
    }

    #[test]
    fn compressed_messages_are_read() {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        encoder.write_all(&sample()).unwrap();
        let packed = encoder.finish().unwrap();
        let body = [frame(1, &packed), frame(0, &sample())].concat();
        let (sink, result) = read(&body, b"gzip", true);
        assert_eq!(result, Ok(()));
        assert_eq!(sink.lines(), format!("{VALUES}\n{VALUES}"));

        let (sink, result) = read(&body, b"", true);
        assert!(result.unwrap_err().to_string().contains("without `grpc-encoding`"));
        assert_eq!(sink.lines(), VALUES, "the second message is seen");
        let (_, result) = read(&frame(1, b"twenty bytes garbage"), b"gzip", true);
        assert!(result.unwrap_err().to_string().contains("corrupt"));
    }

    #[test]
    fn what_is_malformed_is_said() {
        for (body, what) in [
            (vec![0, 0, 0], "head is cut"),
            (vec![0, 0, 0, 0, 9, 1], "a message is cut"),
            (vec![7, 0, 0, 0, 0], "unknown frame flag"),
            (frame(0, &[0x0F]), "malformed field"),
            (frame(0, &[0x00, 0x00]), "malformed field"),
            (frame(0, &[0x0A, 0x05, b'a']), "a field is cut"),
            (frame(0, &[0x0C]), "did not begin"),
            (frame(0, &[0xFF; 12]), "malformed field"),
        ] {
            let (_, result) = read(&body, b"", true);
            let error = result.unwrap_err().to_string();
            assert!(error.contains(what), "{body:?}: {error}");
        }
    }

    #[test]
    fn a_partial_body_gives_what_it_has() {
        let body = frame(0, &sample());
        for length in 0..body.len() {
            let (sink, result) = read(&body[..length], b"", false);
            assert_eq!(result, Ok(()), "{length}");
            assert!(sink.args.len() <= 4, "{length}");
        }
        let (sink, _) = read(&frame(0, &length_delimited(1, b"attack"))[..10], b"", false);
        assert_eq!(sink.lines(), "grpc.1=att");
    }

    #[test]
    fn depth_is_limited() {
        let mut message = b"x".to_vec();
        for _ in 0..30 {
            message = length_delimited(1, &message);
        }
        let limits = Limits { depth: 10, ..Limits::default() };
        let mut sink = Collected::default();
        let error = protobuf(&message, true, &limits, &mut sink, &mut Scratch::default()).unwrap_err();
        assert!(error.to_string().contains("deeper"));
        let groups = [0x0B; 30];
        let error = protobuf(&groups, true, &limits, &mut sink, &mut Scratch::default()).unwrap_err();
        assert!(error.to_string().contains("deeper"));
    }

    #[test]
    fn hostile_messages_are_survived() {
        let mut rng = Rng::new(13);
        let mut scratch = Scratch::default();
        let whole = frame(0, &sample());
        let limits = Limits { depth: 6, messages: 5, ..Limits::default() };
        for round in 0..30_000 {
            let body = match round % 2 {
                0 => rng.mutate(&whole),
                _ => rng.text(b"\x00\x0A\x12\x02\x08\x0B\x0C\x80\xFFab", 40),
            };
            for complete in [true, false] {
                let mut sink = Collected::default();
                let _ = grpc(&body, b"gzip", complete, &limits, &mut sink, &mut scratch);
                assert!(sink.size() <= body.len() * 40, "round {round}");
                let _ = protobuf(&body, complete, &limits, &mut sink, &mut scratch);
            }
        }
    }
}
