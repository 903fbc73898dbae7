//! What each processor costs: nanoseconds for typical bodies, and for the worst
//! inputs we know, nanoseconds a byte at two sizes, which have to be alike.
//!
//! `cargo run --release -p waf-body --example cost [WORKLOAD [ROUNDS]]`; with a
//! workload's name it only runs that one, for callgrind to count.

#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use waf_body::xml::{Document, Selector};
use waf_body::{Full, Limits, Scratch, Sink};

/// Takes everything and keeps a number, so that nothing is optimised away.
#[derive(Default)]
struct Counting {
    bytes: usize,
}

impl Sink for Counting {
    fn arg(&mut self, name: &[u8], value: &[u8]) -> Result<(), Full> {
        self.bytes += name.len() + value.len();
        Ok(())
    }
    fn file(&mut self, file: waf_body::File<'_>) -> Result<(), Full> {
        self.bytes += file.content.len();
        Ok(())
    }
}

type Work = Box<dyn FnMut(&[u8])>;

struct Workload {
    name: &'static str,
    body: Box<dyn Fn(usize) -> Vec<u8>>,
    /// The sizes to measure at, bytes: one for a typical body, two for a worst
    /// case.
    sizes: &'static [usize],
    work: Work,
}

const MULTIPART: &[u8] = b"multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW";
const WORST: &[usize] = &[64 * 1024, 512 * 1024];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let only = arguments.next();
    let rounds = arguments.next().and_then(|rounds| rounds.parse().ok());
    for mut workload in workloads() {
        if only.as_deref().is_some_and(|name| name != workload.name) {
            continue;
        }
        for &size in workload.sizes {
            let body = (workload.body)(size);
            let rounds = rounds.unwrap_or(1 + 200_000_000 / (body.len() * 40).max(20_000));
            (workload.work)(&body);
            let begin = Instant::now();
            for _ in 0..rounds {
                (workload.work)(black_box(&body));
            }
            let nanos = begin.elapsed().as_nanos() as f64 / rounds as f64;
            let a_byte = nanos / body.len() as f64;
            println!("{:28} {:>9} bytes {nanos:>12.0} ns {a_byte:>8.2} ns/byte", workload.name, body.len());
        }
    }
}

fn workloads() -> Vec<Workload> {
    let mut list = Vec::new();
    let mut add = |name, sizes, body: Box<dyn Fn(usize) -> Vec<u8>>, work: Work| {
        list.push(Workload { name, body, sizes, work });
    };
    let fill = |unit: &'static [u8]| -> Box<dyn Fn(usize) -> Vec<u8>> {
        Box::new(move |size| unit.iter().copied().cycle().take(size).collect())
    };

    add(
        "query, 3 parameters",
        &[40],
        Box::new(|_| b"page=2&sort=price&q=red%20shoes+and+more".to_vec()),
        form(),
    );
    add("form, 1 KB", &[1024], Box::new(form_body), form());
    add("form of `%`", WORST, fill(b"%"), form());
    add("form of `&`", WORST, fill(b"&"), form());
    add("form of `%41`", WORST, fill(b"%41"), form());
    add("form of `=`", WORST, fill(b"="), form());
    add(
        "cookies",
        &[300],
        Box::new(|_| b"session=0123456789abcdef; theme=dark; _ga=GA1.2.3.4; consent=yes".to_vec()),
        {
            Box::new(|text| {
                let mut sink = Counting::default();
                waf_body::cookies(text, &mut sink);
                black_box(sink.bytes);
            })
        },
    );

    add("json, 4 KB, 250 values", &[4096], Box::new(|_| json_body()), json());
    add("json of `[`", WORST, fill(b"["), json());
    add("json of `\\u` escapes", WORST, Box::new(|size| json_string(size, b"\\ud83d\\ude00")), json());
    add("json of backslashes", WORST, Box::new(|size| json_string(size, b"\\\\")), json());
    add("json of one letter arrays", WORST, Box::new(|size| wrapped(b"[", b"[1],", size, b"1]")), json());
    add(
        "json of one letter keys",
        WORST,
        Box::new(|size| wrapped(b"{", b"\"a\":1,", size, b"\"a\":1}")),
        json(),
    );
    add("json of bad UTF-8", WORST, Box::new(|size| json_string(size, b"\xC0\xAE")), json());

    add("multipart, 64 KB file", &[65536], Box::new(|size| upload(size, Fill::Random)), multipart());
    add("multipart, form of 10", &[2048], Box::new(|_| small_parts(10)), multipart());
    add("multipart of dashes", WORST, Box::new(|size| upload(size, Fill::Unit(b"-"))), multipart());
    add(
        "multipart of dashed lines",
        WORST,
        Box::new(|size| upload(size, Fill::Unit(b"\r\n--"))),
        multipart(),
    );
    add(
        "multipart of look-alikes",
        WORST,
        Box::new(|size| upload(size, Fill::Unit(b"\r\n------WebKitFormBoundary7MA4YWxkTrZu0g"))),
        multipart(),
    );
    add("multipart of tiny parts", WORST, Box::new(|size| small_parts(size / 110)), multipart());
    add(
        "multipart of header lines",
        WORST,
        Box::new(|size| wrapped(b"------WebKitFormBoundary7MA4YWxkTrZu0gW\r\n", b"a:\r\n", size, b"\r\n")),
        multipart(),
    );

    add("xml, 4 KB, 60 elements", &[4096], Box::new(|_| xml_body()), xml());
    add("xml of start tags", WORST, fill(b"<a>"), xml());
    add("xml of empty tags", WORST, Box::new(|size| wrapped(b"<a>", b"<b/>", size, b"</a>")), xml());
    add("xml of references", WORST, Box::new(|size| wrapped(b"<a>", b"&lt;", size, b"</a>")), xml());
    add("xml of `&`", WORST, Box::new(|size| wrapped(b"<a>", b"&", size, b"</a>")), xml());
    add("xml of attributes", WORST, Box::new(xml_attributes), xml());

    add("graphql, 400 bytes", &[400], Box::new(|_| GRAPHQL.to_vec()), graphql());
    add("graphql of arguments", WORST, Box::new(|size| wrapped(b"{a(", b"b:1,", size, b")}")), graphql());
    add(
        "graphql of strings",
        WORST,
        Box::new(|size| wrapped(b"{a(b:[", b"\"\\u0041\",", size, b"])}")),
        graphql(),
    );

    add("protobuf of nested messages", WORST, Box::new(nested_messages), {
        let mut scratch = Scratch::default();
        Box::new(move |text| {
            let mut sink = Counting::default();
            let _ = waf_body::protobuf(text, true, &Limits::default(), &mut sink, &mut scratch);
            black_box(sink.bytes);
        })
    });
    list
}

fn form() -> Work {
    let mut scratch = Scratch::default();
    Box::new(move |text| {
        let mut sink = Counting::default();
        waf_body::urlencoded(text, b'&', &mut sink, &mut scratch);
        black_box(sink.bytes);
    })
}

fn json() -> Work {
    let mut scratch = Scratch::default();
    Box::new(move |text| {
        let mut sink = Counting::default();
        let _ = waf_body::json(text, true, &Limits::default(), &mut sink, &mut scratch);
        black_box(sink.bytes);
    })
}

fn graphql() -> Work {
    let mut scratch = Scratch::default();
    Box::new(move |text| {
        let mut sink = Counting::default();
        let _ = waf_body::graphql(text, true, &Limits::default(), &mut sink, &mut scratch);
        black_box(sink.bytes);
    })
}

fn multipart() -> Work {
    let mut scratch = Scratch::default();
    let limits = Limits { parts: u32::MAX, ..Limits::default() };
    Box::new(move |text| {
        let mut sink = Counting::default();
        waf_body::multipart(MULTIPART, text, true, &limits, &mut sink, &mut scratch);
        black_box(sink.bytes);
    })
}

/// Parsed, and selected from as the Core Rule Set does.
fn xml() -> Work {
    let mut document = Document::default();
    let limits = Limits::default();
    let selectors = ["/*", "//@*"].map(|path| Selector::parse(path, &[]).ok());
    Box::new(move |text| {
        let _ = document.parse(text, true, &limits);
        let mut bytes = 0;
        for selector in selectors.iter().flatten() {
            let _ = document.select(selector, &limits, &mut |value| {
                bytes += value.len();
                Ok(())
            });
        }
        black_box(bytes);
    })
}

fn wrapped(before: &[u8], unit: &[u8], size: usize, after: &[u8]) -> Vec<u8> {
    [before, &unit.repeat(size / unit.len()), after].concat()
}

fn form_body(size: usize) -> Vec<u8> {
    let text =
        "name=Jane+Doe&email=jane%40example.com&address=12+High+Street%2C+Town&comment=Hello%20there%21&";
    text.bytes().cycle().take(size).collect()
}

fn json_body() -> Vec<u8> {
    let items: Vec<_> = (0..50)
        .map(|n| {
            format!("{{\"id\":{n},\"name\":\"item number {n}\",\"price\":{n}.99,\"tags\":[\"a\",\"b\"]}}")
        })
        .collect();
    format!("{{\"items\":[{}]}}", items.join(",")).into_bytes()
}

fn json_string(size: usize, unit: &[u8]) -> Vec<u8> {
    wrapped(b"\"", unit, size, b"\"")
}

enum Fill {
    Random,
    Unit(&'static [u8]),
}

fn upload(size: usize, fill: Fill) -> Vec<u8> {
    let mut body = b"------WebKitFormBoundary7MA4YWxkTrZu0gW\r\nContent-Disposition: form-data; name=\"f\"; filename=\"photo.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n".to_vec();
    let mut state = 1_u64;
    match fill {
        Fill::Random => body.extend((0..size).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        })),
        Fill::Unit(unit) => body.extend(unit.iter().cycle().take(size)),
    }
    body.extend_from_slice(b"\r\n------WebKitFormBoundary7MA4YWxkTrZu0gW--\r\n");
    body
}

fn small_parts(count: usize) -> Vec<u8> {
    let part = "------WebKitFormBoundary7MA4YWxkTrZu0gW\r\nContent-Disposition: form-data; name=\"field\"\r\n\r\nvalue of the field\r\n";
    (part.repeat(count) + "------WebKitFormBoundary7MA4YWxkTrZu0gW--\r\n").into_bytes()
}

fn xml_body() -> Vec<u8> {
    let items: Vec<_> = (0..30)
        .map(|n| format!("<item id=\"{n}\" kind='thing'><name>item number {n}</name><text>a &amp; b, some words more</text></item>"))
        .collect();
    format!("<?xml version=\"1.0\"?><items>{}</items>", items.concat()).into_bytes()
}

fn xml_attributes(size: usize) -> Vec<u8> {
    let attributes: String = (0..200).map(|n| format!(" a{n}='v'")).collect();
    let element = format!("<b{attributes}/>");
    wrapped(b"<a>", element.as_bytes(), size, b"</a>")
}

/// Messages inside messages as deep as the limit, over and over.
fn nested_messages(size: usize) -> Vec<u8> {
    let mut message = b"text".to_vec();
    while message.len() < 100 {
        message = [&[0x0A, message.len() as u8][..], &message].concat();
    }
    let field = [&[0x12, message.len() as u8][..], &message].concat();
    field.repeat(size / field.len())
}

const GRAPHQL: &[u8] = b"query Product($id: ID!, $first: Int = 10) {\n  product(id: $id, locale: \"en\") {\n    id\n    name\n    price { amount currency }\n    reviews(first: $first, orderBy: {field: DATE, direction: DESC}) {\n      edges { node { author { name } rating text } }\n    }\n    related(filter: {tags: [\"a\", \"b\"], inStock: true}) { id name }\n  }\n}\n";
