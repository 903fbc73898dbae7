//! Traffic that nobody should mind, of the kind that makes filters nervous: prose
//! with apostrophes, `select` and `union` in sentences, code in comments, mark-up.

use super::carry;
use super::random::Random;
use crate::waf::request::Request;

const SENTENCES: &[&str] = &[
    "Please select a table from the list and join us for dinner.",
    "It's O'Brien's birthday; we'd like to order 3 cakes & 12 candles.",
    "The union of both sets is larger than 1 or 2 elements.",
    "Where is my parcel? The order like any other should have arrived by now.",
    "I'd drop the table off at your house - or is 5 o'clock too late?",
    "Preis: 12,50 € inkl. MwSt. – Größe 42, Farbe grün.",
    "Das Paket (Nr. 2026-0815) wurde nicht zugestellt!",
    "Ce n'est pas grave, à bientôt.",
    "他们昨天收到了货物，非常满意。",
    "Спасибо, всё отлично работает.",
    "Use `ls -la | grep foo` to list your files, then cat them.",
    "echo \"hello world\" > out.txt; it prints nothing.",
    "In C, if (a < b && c > d) { return a; } is fine.",
    "function add(a, b) { return a + b; }",
    "SELECT name FROM users WHERE id = 1; is what the course begins with.",
    "Have you tried turning it off and on again?",
    "C:\\Users\\Maria\\Documents\\report.docx",
    "/home/maria/photos/2026/summer.jpg",
    "https://www.example.com/path/page.html?x=1&y=2#top",
    "maria.lindqvist+shop@example.org",
    "{\"theme\":\"dark\",\"sizes\":[1,2,3]}",
    "<p>Hello <b>world</b>, this is <i>rich</i> text.</p>",
    "<a href=\"https://example.org\">link</a><br/>",
    "2026-03-01T12:00:00Z",
    "+46 30 123 45 67",
    "100% cotton, 30 % off!",
    "a=b&c=d",
    "50 + 50 = 100",
    "!!! wow ??? :-)",
    "8f14e45f-ceea-467a-9a36-dedd4bea2543",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg==",
    "-- sent from my phone",
    "#hashtag @someone",
    "1,234.56",
    "true",
    "null",
    "",
];

const WORDS: &[&str] = &[
    "garden", "shoes", "red", "blue", "42", "new", "sale", "group", "by", "having", "order", "insert",
    "update", "delete", "create", "exec", "system", "print", "file", "user", "admin", "root", "data",
    "script", "style", "alert", "eval", "ping", "time", "sleep", "wait", "for", "and", "or", "not", "is",
    "in", "the", "2026",
];

fn text(random: &Random) -> String {
    let mut out = String::new();
    for _ in 0..=random.below(4) {
        if random.chance(60) {
            out.push_str(random.pick(SENTENCES));
        } else {
            for _ in 0..=random.below(6) {
                out.push_str(random.pick(WORDS));
                out.push(' ');
            }
        }
        out.push_str(random.pick(&[" ", "\n", "", ", "]));
    }
    out.trim_end().to_owned()
}

/// One request.
pub(super) fn benign(random: &Random) -> (Request, &'static str) {
    let pairs = |random: &Random| {
        (0..=random.below(6))
            .map(|_| (carry::word(random).to_vec(), text(random).into_bytes()))
            .collect::<Vec<_>>()
    };
    let mut made = match random.below(10) {
        0..=2 => {
            let pairs = pairs(random);
            (carry::query(random, &pairs), "benign-query")
        }
        3..=5 => {
            let pairs = pairs(random);
            (carry::form(random, &pairs), "benign-form")
        }
        6 | 7 => {
            let json = json(random, 3);
            (carry::json(random, &json.to_string()), "benign-json")
        }
        8 => {
            let content = text(random);
            let parameters: &[u8] =
                random.pick(&[&b"name=\"bio\""[..], b"name=\"f\"; filename=\"notes.txt\""]);
            (carry::multipart(random, parameters, None, content.as_bytes()), "benign-multipart")
        }
        _ => (carry::get(random, random_path(random)), "benign-path"),
    };
    if random.chance(40) {
        made.0
            .set_header("Cookie", format!("sid={:016x}; theme=dark; cart=%7B%22n%22%3A2%7D", random.next()));
        made.0.set_header("Referer", "https://shop.example/search?q=it%27s+red&page=1");
        made.0.set_header("Accept-Language", "sv-SE,sv;q=0.9,en;q=0.8");
    }
    made
}

fn random_path(random: &Random) -> Vec<u8> {
    let mut path = String::new();
    for _ in 0..=random.below(4) {
        path.push('/');
        path.push_str(random.pick(WORDS));
    }
    path.push_str(random.pick(&["", "/", ".html", ".css", ".png", "-42", "?v=3.1", ".php", "/index.jsp"]));
    path.into_bytes()
}

fn json(random: &Random, depth: usize) -> serde_json::Value {
    use serde_json::Value;
    match random.below(if depth == 0 { 4 } else { 8 }) {
        0 => Value::from(random.below(100_000)),
        1 => Value::from(random.chance(50)),
        2 => Value::from(text(random)),
        3 => Value::Null,
        4 | 5 => Value::Array((0..random.below(5)).map(|_| json(random, depth - 1)).collect()),
        _ => {
            let name = |random: &Random| random.pick(WORDS).to_owned();
            Value::Object((0..random.below(6)).map(|_| (name(random), json(random, depth - 1))).collect())
        }
    }
}
