use super::*;
use crate::testing::Rng;

const TEXT: &[u8] = b"query=<script>alert(1)</script>&name=value";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd_frame(text: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(text, 3).unwrap()
}

fn from_hex(digits: &str) -> Vec<u8> {
    let digits = digits.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

/// `TEXT`, and ten million `a`, by the reference encoder at its highest level:
/// our crate only decodes.
fn brotli_text() -> Vec<u8> {
    from_hex("1b2900908c94ac6b93dae4258647a5f4c0440e1ccada2ef60669095a4268eb0e3c8b58c600")
}
fn brotli_bomb() -> Vec<u8> {
    from_hex("cbffff3ff825c2e2b14020f7fe2fff2c31f04b00c46111808e2306")
}

/// Everything in chunks of `size` bytes.
fn decode(encoding: &str, body: &[u8], size: usize, limits: &Limits) -> (Vec<u8>, Result<(), Error>) {
    let mut out = Vec::new();
    let mut decoder = Decoder::new(encoding.as_bytes(), limits).unwrap().unwrap();
    for chunk in body.chunks(size) {
        if let Err(error) = decoder.push(chunk, &mut out) {
            assert_eq!(decoder.push(b"x", &mut out), Err(error), "an error is final");
            return (out, Err(error));
        }
    }
    let result = decoder.finish(&mut out);
    (out, result)
}

fn all_codings() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("gzip", gzip(TEXT)),
        ("X-Gzip", gzip(TEXT)),
        ("deflate", zlib(TEXT)),
        ("deflate", raw_deflate(TEXT)),
        ("br", brotli_text()),
        ("zstd", zstd_frame(TEXT)),
        ("gzip, br", Vec::new()),
        ("identity, gzip ,deflate", zlib(&gzip(TEXT))),
        ("gzip,zstd,deflate", zlib(&zstd_frame(&gzip(TEXT)))),
        ("zstd", [zstd_frame(&TEXT[..9]), zstd_frame(&TEXT[9..])].concat()),
        ("gzip", [gzip(&TEXT[..9]), gzip(&TEXT[9..])].concat()),
    ]
}

#[test]
fn every_coding_in_chunks_of_every_size() {
    for (encoding, body) in all_codings().into_iter().filter(|(_, body)| !body.is_empty()) {
        for size in [1, 2, 3, 7, 1000] {
            let (out, result) = decode(encoding, &body, size, &Limits::default());
            assert_eq!(result, Ok(()), "{encoding} by {size}");
            assert_eq!(out, TEXT, "{encoding} by {size}");
        }
    }
}

#[test]
fn a_large_body_comes_out_whole() {
    let mut rng = Rng::new(2);
    let text = rng.text(b"abcdefgh &=<>", 600_000);
    let limits = Limits::default();
    for (encoding, body) in [
        ("gzip", gzip(&text)),
        ("deflate", zlib(&text)),
        ("deflate", raw_deflate(&text)),
        ("zstd", zstd_frame(&text)),
    ] {
        for size in [1000, 16_384, 1 << 20] {
            let (out, result) = decode(encoding, &body, size, &limits);
            assert_eq!(result, Ok(()), "{encoding} by {size}");
            assert!(out == text, "{encoding} by {size}");
        }
    }
}

#[test]
fn what_ends_too_early_is_said() {
    for (encoding, body) in all_codings().into_iter().filter(|(_, body)| !body.is_empty()) {
        for length in 0..body.len() {
            let (_, result) = decode(encoding, &body[..length], 5, &Limits::default());
            // Between two frames or members there is an end.
            let between = ["zstd", "gzip"].contains(&encoding)
                && [zstd_frame(&TEXT[..9]).len(), gzip(&TEXT[..9]).len()].contains(&length);
            assert!(between || result.is_err(), "{encoding} at {length} of {}", body.len());
        }
    }
}

#[test]
fn what_follows_the_end_is_an_error() {
    for (encoding, body) in all_codings().into_iter().filter(|(_, body)| !body.is_empty()) {
        let (out, result) = decode(encoding, &[&body[..], b"attack"].concat(), 1000, &Limits::default());
        assert!(result.is_err(), "{encoding}");
        assert!(encoding.contains(',') || out.starts_with(TEXT), "{encoding}: what came before is there");
    }
}

#[test]
fn bombs_are_stopped() {
    let zeros = vec![b'a'; 10_000_000];
    let bombs = [
        ("gzip", gzip(&zeros)),
        ("deflate", zlib(&zeros)),
        ("deflate", raw_deflate(&zeros)),
        ("br", brotli_bomb()),
        ("zstd", zstd_frame(&zeros)),
        ("gzip, gzip", gzip(&gzip(&zeros))),
    ];
    for (encoding, body) in bombs {
        let (out, result) = decode(encoding, &body, 100, &Limits::default());
        let what = result.unwrap_err().to_string();
        assert!(what.contains("too many times larger"), "{encoding}: {what}");
        assert!(out.len() <= 64 * 1024 + body.len() * 200 + 1, "{encoding}: {}", out.len());

        let limits = Limits { decoded: 50_000, decode_ratio: u32::MAX, ..Limits::default() };
        let (out, result) = decode(encoding, &body, 100, &limits);
        let what = result.unwrap_err().to_string();
        assert!(what.contains("larger than the limit"), "{encoding}: {what}");
        assert!(out.len() <= 50_000, "{encoding}: {}", out.len());
    }
}

#[test]
fn codings_are_named_in_order() {
    let limits = Limits::default();
    let failure = |encoding: &str| {
        let error = Decoder::new(encoding.as_bytes(), &limits).unwrap_err();
        error.to_string()
    };
    assert!(failure("compress").contains("unknown content coding"));
    assert!(failure("gzip, sdch").contains("unknown content coding"));
    assert!(failure("gzip,gzip,gzip,gzip").contains("more than three"));
    for nothing in ["", "identity", " , identity,"] {
        assert!(Decoder::new(nothing.as_bytes(), &limits).unwrap().is_none(), "{nothing}");
    }
}

#[test]
fn hostile_data_is_survived() {
    let limits = Limits { decoded: 100_000, ..Limits::default() };
    let mut rng = Rng::new(23);
    let codings: Vec<_> = all_codings();
    for _ in 0..3_000 {
        let (encoding, body) = &codings[rng.below(codings.len())];
        let body = if body.is_empty() { rng.text(b"\0\xFF\x1F\x8B\x08ab", 60) } else { rng.mutate(body) };
        let (out, _) = decode(encoding, &body, 1 + rng.below(50), &limits);
        assert!(out.len() <= 100_000, "{encoding}");
    }
}
