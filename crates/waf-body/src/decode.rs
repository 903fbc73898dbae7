//! Content codings (RFC 9110 §8.4): `gzip`, `deflate`, `br`, `zstd`.
//!
//! A body that the back end decompresses has to be inspected decompressed. What
//! comes out is bounded twice: by [`Limits::decoded`] and, beyond 64 KiB, by
//! [`Limits::decode_ratio`] times what went in, so that a small body cannot buy
//! much work. At most three codings may be stacked; each one's output is bounded.
//!
//! `deflate` is read as zlib's format (RFC 1950), which the name means, or as
//! bare deflate data (RFC 1951), which some send: the first two bytes tell.

use std::io::{self, Write};

use brotli_decompressor::DecompressorWriter;
use flate2::write::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use crate::{Error, ErrorKind, Limits};

/// How many codings a body may have on top of one another.
const MOST_CODINGS: usize = 3;
/// Below this, the ratio of a body does not matter, bytes.
const RATIO_FROM: u64 = 64 * 1024;
/// How much is decompressed at a time, bytes.
const STEP: usize = 32 * 1024;
/// RFC 9659 §3: a zstd frame's window on the web is at most 8 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Undoes a body's `Content-Encoding`, chunk by chunk.
pub struct Decoder {
    /// In the order in which they are undone: the last coding named comes first.
    stages: Vec<Stage>,
    between: [Vec<u8>; MOST_CODINGS - 1],
    limit: usize,
    ratio: u64,
    taken: u64,
    given: u64,
    failed: Option<Error>,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { taken, given, .. } = self;
        f.debug_struct("Decoder").field("taken", taken).field("given", given).finish()
    }
}

impl Decoder {
    /// `encoding` is the whole value of `Content-Encoding`, at most three
    /// codings; `identity` counts as none. `None` when there is nothing to undo.
    ///
    /// # Errors
    /// A coding that we do not know, or too many.
    pub fn new(encoding: &[u8], limits: &Limits) -> Result<Option<Self>, Error> {
        let mut stages = Vec::new();
        for coding in encoding.split(|&byte| byte == b',') {
            let coding = coding.trim_ascii();
            let is = |name: &[u8]| coding.eq_ignore_ascii_case(name);
            // RFC 9110 §8.4.1.3: `x-gzip` is `gzip`.
            let kind = if is(b"gzip") || is(b"x-gzip") {
                Kind::Gzip(Box::new(MultiGzDecoder::new(Tank::default())))
            } else if is(b"deflate") {
                Kind::Deflate { decompress: None, head: Vec::new() }
            } else if is(b"br") {
                Kind::Brotli(Box::new(DecompressorWriter::new(Tank::default(), STEP)))
            } else if is(b"zstd") {
                let what = ErrorKind::Decode("no memory for a zstd decoder");
                let decoder = zstd_decoder().map_err(|_| Error::new(what, 0))?;
                Kind::Zstd { decoder: Box::new(decoder), within_frame: true }
            } else if is(b"identity") || coding.is_empty() {
                continue;
            } else {
                return Err(Error::new(ErrorKind::Decode("unknown content coding"), 0));
            };
            if stages.len() == MOST_CODINGS {
                let what = ErrorKind::Decode("more than three content codings");
                return Err(Error::new(what, 0));
            }
            stages.push(Stage { kind, given: 0, ended: false });
        }
        if stages.is_empty() {
            return Ok(None);
        }
        stages.reverse();
        Ok(Some(Self {
            stages,
            between: Default::default(),
            limit: limits.decoded,
            ratio: u64::from(limits.decode_ratio),
            taken: 0,
            given: 0,
            failed: None,
        }))
    }

    /// Decodes one chunk and appends to `out` what comes of it, also before an
    /// error.
    ///
    /// # Errors
    /// Data that is corrupt or goes on after its end, or that grows beyond the
    /// limits. The error is final; its place is in the compressed body.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        self.taken += chunk.len() as u64;
        self.run(chunk, out, false)
    }

    /// The body is at its end: appends what was held back.
    ///
    /// # Errors
    /// As [`Decoder::push`], and when the compressed data ends too early.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.run(b"", out, true)
    }

    fn run(&mut self, chunk: &[u8], out: &mut Vec<u8>, finish: bool) -> Result<(), Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let before = out.len();
        let mut result = self.through_stages(chunk, out, finish);
        self.given += (out.len() - before) as u64;
        if result.is_ok() && self.given > RATIO_FROM.max(self.taken.saturating_mul(self.ratio)) {
            result = Err("decompressed, it is too many times larger");
        }
        result.map_err(|what| {
            let error = Error::new(ErrorKind::Decode(what), self.taken as usize);
            self.failed = Some(error);
            error
        })
    }

    fn through_stages(&mut self, chunk: &[u8], out: &mut Vec<u8>, finish: bool) -> Result<(), &'static str> {
        // By the ratio, a chunk may yield no more than this, so that a bomb is
        // not first blown up to the limit.
        let by_ratio = RATIO_FROM.max(self.taken.saturating_mul(self.ratio)) + 1;
        let limit = (self.limit as u64).min(by_ratio);
        let last = self.stages.len() - 1;
        for (index, stage) in self.stages.iter_mut().enumerate() {
            let mut input = Vec::new();
            if index > 0 {
                input = std::mem::take(&mut self.between[index - 1]);
            }
            let input: &[u8] = if index == 0 { chunk } else { &input };
            if index == last {
                return stage.run(input, out, limit, self.limit, finish);
            }
            let mut between = std::mem::take(&mut self.between[index]);
            between.clear();
            stage.run(input, &mut between, limit, self.limit, finish)?;
            self.between[index] = between;
        }
        Ok(())
    }
}

struct Stage {
    kind: Kind,
    given: u64,
    /// `finish` was called.
    ended: bool,
}

enum Kind {
    Gzip(Box<MultiGzDecoder<Tank>>),
    Deflate { decompress: Option<(Box<Decompress>, bool)>, head: Vec<u8> },
    Brotli(Box<DecompressorWriter<Tank>>),
    Zstd { decoder: Box<ZstdDecoder<'static>>, within_frame: bool },
}

const CORRUPT: &str = "corrupt compressed data";
const TOO_EARLY: &str = "the compressed data ends too early";
const GOES_ON: &str = "data after the end of the compressed data";
const TOO_LARGE: &str = "decompressed, it is larger than the limit";
const TOO_MANY_TIMES: &str = "decompressed, it is too many times larger";

impl Stage {
    fn run(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        limit: u64,
        hard_limit: usize,
        finish: bool,
    ) -> Result<(), &'static str> {
        if self.ended {
            return if input.is_empty() { Ok(()) } else { Err(GOES_ON) };
        }
        let before = out.len();
        let room = limit.saturating_sub(self.given) as usize;
        let mut tank = Tank { out: std::mem::take(out), room, over: false };
        let mut result = match &mut self.kind {
            Kind::Gzip(decoder) => {
                through_writer(&mut **decoder, MultiGzDecoder::get_mut, &mut tank, |decoder| {
                    decoder.write_all(input)?;
                    if finish { decoder.try_finish() } else { decoder.flush() }
                })
            }
            Kind::Brotli(decoder) => {
                through_writer(&mut **decoder, DecompressorWriter::get_mut, &mut tank, |decoder| {
                    decoder.write_all(input)?;
                    if finish { decoder.close() } else { Ok(()) }
                })
            }
            Kind::Deflate { decompress, head } => deflate(decompress, head, input, &mut tank, finish),
            Kind::Zstd { decoder, within_frame } => {
                zstd_frames(decoder, within_frame, input, &mut tank, finish)
            }
        };
        if tank.over {
            let too_large = limit >= hard_limit as u64;
            result = Err(if too_large { TOO_LARGE } else { TOO_MANY_TIMES });
        }
        *out = tank.out;
        self.given += (out.len() - before) as u64;
        self.ended = finish;
        result
    }
}

/// Where the decoders write to: a buffer with room for so much.
#[derive(Default)]
struct Tank {
    out: Vec<u8>,
    room: usize,
    over: bool,
}

impl Write for Tank {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fits = bytes.len().min(self.room);
        self.out.extend_from_slice(&bytes[..fits]);
        self.room -= fits;
        if fits < bytes.len() {
            self.over = true;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(fits)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lends `tank` to a decoder that owns what it writes to.
fn through_writer<D>(
    decoder: &mut D,
    inner: impl Fn(&mut D) -> &mut Tank,
    tank: &mut Tank,
    work: impl FnOnce(&mut D) -> io::Result<()>,
) -> Result<(), &'static str> {
    std::mem::swap(inner(decoder), tank);
    let result = work(decoder);
    std::mem::swap(inner(decoder), tank);
    result.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => TOO_EARLY,
        io::ErrorKind::WriteZero => GOES_ON,
        _ => CORRUPT,
    })
}

fn deflate(
    decompress: &mut Option<(Box<Decompress>, bool)>,
    head: &mut Vec<u8>,
    input: &[u8],
    tank: &mut Tank,
    finish: bool,
) -> Result<(), &'static str> {
    if let Some((decompress, at_end)) = decompress {
        return inflate(decompress, at_end, input, tank, finish);
    }
    head.extend_from_slice(input);
    if head.len() < 2 && !finish {
        return Ok(());
    }
    // RFC 1950 §2.2: method 8, and the two bytes a multiple of 31.
    let zlib = match head[..] {
        [] => return Err(TOO_EARLY),
        [first, second, ..] => first & 0x0F == 8 && (u16::from(first) << 8 | u16::from(second)) % 31 == 0,
        _ => false,
    };
    let (decompress, at_end) = decompress.insert((Box::new(Decompress::new(zlib)), false));
    let head = std::mem::take(head);
    inflate(decompress, at_end, &head, tank, finish)
}

fn inflate(
    decompress: &mut Decompress,
    at_end: &mut bool,
    mut input: &[u8],
    tank: &mut Tank,
    finish: bool,
) -> Result<(), &'static str> {
    let mut step = [0; STEP];
    while !*at_end {
        let (taken, given) = (decompress.total_in(), decompress.total_out());
        let status = decompress.decompress(input, &mut step, FlushDecompress::None).map_err(|_| CORRUPT)?;
        let taken = (decompress.total_in() - taken) as usize;
        let given = (decompress.total_out() - given) as usize;
        input = &input[taken..];
        if tank.write_all(&step[..given]).is_err() {
            return Ok(());
        }
        *at_end = status == Status::StreamEnd;
        if !*at_end && given < STEP && input.is_empty() {
            break;
        }
        if !*at_end && given == 0 && taken == 0 {
            return Err(CORRUPT);
        }
    }
    match *at_end {
        true if !input.is_empty() => Err(GOES_ON),
        false if finish => Err(TOO_EARLY),
        _ => Ok(()),
    }
}

fn zstd_decoder() -> io::Result<ZstdDecoder<'static>> {
    let mut decoder = ZstdDecoder::new()?;
    decoder.set_parameter(zstd::zstd_safe::DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
    Ok(decoder)
}

/// RFC 8878 §3: frames, one after another.
fn zstd_frames(
    decoder: &mut ZstdDecoder<'static>,
    within_frame: &mut bool,
    input: &[u8],
    tank: &mut Tank,
    finish: bool,
) -> Result<(), &'static str> {
    let mut step = [0; STEP];
    let mut input = InBuffer::around(input);
    loop {
        let at_end = input.pos() == input.src.len();
        if at_end && !*within_frame {
            return Ok(());
        }
        let mut output = OutBuffer::around(&mut step[..]);
        let hint = decoder.run(&mut input, &mut output).map_err(|_| CORRUPT)?;
        let full = output.pos() == STEP;
        if tank.write_all(output.as_slice()).is_err() {
            return Ok(());
        }
        *within_frame = hint != 0;
        if *within_frame && input.pos() == input.src.len() && !full {
            return if finish { Err(TOO_EARLY) } else { Ok(()) };
        }
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
