//! Time per value and kind of value, in nanoseconds: `timing [ROUNDS [KIND | =VALUE]]`.
//!
//! Instructions: `valgrind --tool=callgrind --toggle-collect='*waf_injection*' …`, one kind.

#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

const VALUES: &[(&str, &[&str])] = &[
    ("words", &["hello", "Wireless", "description", "true", "pending", "Berlin"]),
    ("keywords", &["user", "date", "name", "select", "password", "null"]),
    ("numbers", &["1", "42", "12.50", "1700000000", "-7", "0"]),
    ("dates", &["2024-01-31", "2024-01-31T12:00:00Z", "12:30:05", "2024-01-31T12:00:00+01:00"]),
    ("e-mail", &["user@example.com", "john.doe@mail.example", "info@shop.example"]),
    ("urls", &["https://example.com/path", "/images/a-1.png", "https://shop.example/p/12?ref=a"]),
    ("uuids", &["550e8400-e29b-41d4-a716-446655440000", "f47ac10b-58cc-4372-a567-0e02b2c3d479"]),
    ("names", &["John Smith", "John O'Neil", "Order by phone", "New York, NY 10001", "Ann-Marie"]),
    (
        "prose",
        &[
            "The quick brown fox jumps over the lazy dog.",
            "This is a test for you and me, isn't it?",
            "Left in stock: 5 (five), or more.",
        ],
    ),
    ("tokens", &["eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", "a3f5c9e1d2b4", "Bearer abc.def.ghi", "#ff8800"]),
    (
        "attacks",
        &[
            "1' OR '1'='1",
            "1 UNION SELECT 1,2,3 FROM users--",
            "<script>alert(1)</script>",
            "\"><img src=x onerror=alert(1)>",
        ],
    ),
];

fn main() {
    let rounds = std::env::args().nth(1).map_or(200_000, |text| text.parse().expect("a number"));
    println!("{:10} {:>6} {:>8} {:>8}", "kind", "bytes", "sqli ns", "xss ns");
    let only = std::env::args().nth(2);
    let given = only.as_deref().and_then(|only| only.strip_prefix('='));
    let given = given.map(|value| ("given", vec![value]));
    let kinds = VALUES.iter().map(|(kind, values)| (*kind, values.to_vec()));
    for (kind, values) in given.clone().into_iter().chain(kinds) {
        if given.is_some() && kind != "given" {
            break;
        }
        if given.is_none() && only.as_deref().is_some_and(|only| only != kind) {
            continue;
        }
        let count = f64::from(rounds) * values.len() as f64;
        let bytes: usize = values.iter().map(|value| value.len()).sum();
        let per_value = |run: &dyn Fn(&[u8]) -> bool| {
            let began = Instant::now();
            for _ in 0..rounds {
                for value in &values {
                    black_box(run(black_box(value.as_bytes())));
                }
            }
            began.elapsed().as_nanos() as f64 / count
        };
        let sqli = per_value(&|value| waf_injection::sqli(value).is_some());
        let xss = per_value(&waf_injection::xss);
        println!("{kind:10} {:6} {sqli:8.1} {xss:8.1}", bytes / values.len());
    }
}
