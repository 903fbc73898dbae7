//! Whatever the bytes: every processor returns, hands over no more than its input
//! can account for, and does the same with a used `Scratch` as with a new one.

use proptest::prelude::*;
use waf_body::xml::{Document, Selector};
use waf_body::{File, Full, Limits, Scratch, Sink};

/// Keeps everything, in one list.
#[derive(Default, PartialEq, Debug)]
struct Kept(Vec<Vec<u8>>);

impl Kept {
    fn keep(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.0.push(bytes.to_vec());
        Ok(())
    }

    fn size(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }
}

impl Sink for Kept {
    fn arg(&mut self, name: &[u8], value: &[u8]) -> Result<(), Full> {
        self.keep(name)?;
        self.keep(value)
    }
    fn file(&mut self, file: File<'_>) -> Result<(), Full> {
        self.keep(file.field)?;
        self.keep(file.filename)?;
        self.keep(file.content)
    }
    fn part_header(&mut self, part: &[u8], line: &[u8]) -> Result<(), Full> {
        self.keep(part)?;
        self.keep(line)
    }
}

const TYPE: &[u8] = b"multipart/form-data; boundary=BB";

fn limits() -> Limits {
    Limits { depth: 20, path: 200, part_head: 300, xml_nodes: 200, decoded: 10_000, ..Limits::default() }
}

/// Every processor over the same bytes.
fn run_all(text: &[u8], complete: bool, scratch: &mut Scratch, document: &mut Document) -> Vec<Kept> {
    let limits = limits();
    let mut results = Vec::new();
    let mut run = |process: &mut dyn FnMut(&mut Kept)| {
        let mut sink = Kept::default();
        process(&mut sink);
        results.push(sink);
    };
    run(&mut |sink| {
        let _ = waf_body::urlencoded(text, b'&', sink, scratch);
    });
    run(&mut |sink| {
        let _ = waf_body::cookies(text, sink);
    });
    run(&mut |sink| {
        let _ = waf_body::multipart(TYPE, text, complete, &limits, sink, scratch);
    });
    run(&mut |sink| {
        let _ = waf_body::multipart(text, text, complete, &limits, sink, scratch);
    });
    run(&mut |sink| {
        let _ = waf_body::json(text, complete, &limits, sink, scratch);
    });
    run(&mut |sink| {
        let _ = waf_body::ndjson(text, complete, &limits, sink, scratch);
    });
    run(&mut |sink| {
        let _ = waf_body::graphql(text, complete, &limits, sink, scratch);
    });
    run(&mut |sink| {
        let _ = waf_body::graphql_json(text, complete, &limits, sink, scratch);
    });
    run(&mut |sink| {
        let _ = waf_body::protobuf(text, complete, &limits, sink, scratch);
    });
    run(&mut |sink| {
        let _ = waf_body::grpc(text, b"gzip", complete, &limits, sink, scratch);
    });
    run(&mut |sink| {
        let _ = document.parse(text, complete, &limits);
        let _ = document.args(sink, scratch);
        for path in ["/*", "//@*", "//*/text()", "//b[@x][1]"] {
            let selector = Selector::parse(path, &[]).unwrap();
            let _ = document.select(&selector, &limits, &mut |value| sink.keep(value));
        }
    });
    for encoding in [&b"gzip"[..], b"deflate", b"br", b"zstd", b"zstd, gzip"] {
        run(&mut |sink| {
            let mut out = Vec::new();
            let mut decoder = waf_body::decode::Decoder::new(encoding, &limits).unwrap().unwrap();
            let _ = decoder.push(text, &mut out).and_then(|()| decoder.finish(&mut out));
            assert!(out.len() <= limits.decoded);
            let _ = sink.keep(&out);
        });
    }
    results
}

/// Bytes that mean something to one processor or another, so that chance gets far.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            &b"--BB\r\n"[..],
            b"--BB--",
            b"\r\n",
            b"Content-Disposition: form-data; name=\"",
            b"\"; filename=\"",
            b"{",
            b"}",
            b"[",
            b"]",
            b"\"",
            b"\\u",
            b"d83d",
            b"\"query\":\"{a(b:1)}\"",
            b":",
            b",",
            b"<a>",
            b"</a>",
            b"<b x='",
            b"&lt;",
            b"<![CDATA[",
            b"]]>",
            b"<!--",
            b"-->",
            b"&",
            b"=",
            b"%41",
            b"+",
            b";",
            b"(",
            b")",
            b"\x0A\x04",
            b"\0\0\0\0\x06",
            b"\x1F\x8B\x08\0\0\0\0\0\0\x03",
            b"\x28\xB5\x2F\xFD",
            b"true",
            b"-1.5e3",
        ])
        .prop_map(<[u8]>::to_vec),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(piece, 0..25).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_processor_returns_and_is_bounded(texts in prop::collection::vec((pieces(), any::<bool>()), 1..4)) {
        let mut scratch = Scratch::default();
        let mut document = Document::default();
        for (text, complete) in texts {
            let used = run_all(&text, complete, &mut scratch, &mut document);
            let fresh = run_all(&text, complete, &mut Scratch::default(), &mut Document::default());
            prop_assert_eq!(&used, &fresh, "a used scratch changes the result");
            for (index, kept) in used.iter().enumerate() {
                // The longest path for each value, and the depth for `//*`.
                let bound = (text.len() + 1) * (limits().path + 20 * 10) + limits().decoded;
                prop_assert!(kept.size() <= bound, "processor {}: {} bytes", index, kept.size());
            }
        }
    }
}
