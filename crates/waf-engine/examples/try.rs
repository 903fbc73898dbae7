use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;
use waf_engine::settings::*;
use waf_engine::*;
use edge_http::{RequestHead, Version};

fn clock() -> u64 { 0 }

fn main() {
    let dir = std::env::args().nth(1).unwrap();
    let pl = std::env::args().nth(2).unwrap_or("1".into());
    let shape = std::env::args().nth(3).unwrap_or("get3".into());
    let rounds: usize = std::env::args().nth(4).and_then(|n| n.parse().ok()).unwrap_or(2000);
    let mut files = vec![];
    let mut data = vec![];
    let read = |p: &std::path::Path| RuleFile { name: p.file_name().unwrap().to_string_lossy().into_owned(), text: String::from_utf8(std::fs::read(p).unwrap()).unwrap_or_else(|e| e.into_bytes().iter().map(|&b| b as char).collect()) };
    let dir = std::path::Path::new(&dir);
    files.push(read(&dir.join("crs-setup.conf.example")));
    let mut names: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    for p in names {
        match p.extension().and_then(|e| e.to_str()) {
            Some("conf") => files.push(read(&p)),
            Some("data") => data.push(read(&p)),
            _ => {}
        }
    }
    let settings = Settings { mode: Mode::Detect, files, data, tx: vec![("blocking_paranoia_level".into(), pl.clone()), ("detection_paranoia_level".into(), pl)], exclude: vec![], processors_by_content_type: true, raw_body: RawBody::Forms, limits: Limits::default() };
    let t = Instant::now();
    let engine = match Engine::load(&settings) { Ok(e) => Arc::new(e), Err(errors) => { for e in errors { eprintln!("{e}"); } std::process::exit(1) } };
    println!("load {:?} rules {:?} notes {}", t.elapsed(), engine.rules(), engine.notes().len());
    let (head, body) = shape_of(&shape);
    let headers: Vec<(&[u8], &[u8])> = head.2.iter().map(|(a, b)| (a.as_bytes(), b.as_bytes())).collect();
    let head = RequestHead { method: head.0.as_bytes(), target: head.1.as_bytes(), authority: b"shop.example", version: Version::Http11, headers: &headers };
    let mut ws = Workspace::default();
    let ip = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
    let mut times = vec![];
    for round in 0..rounds {
        let t = Instant::now();
        let mut tx = engine.begin(ws, Connection { client: ip, client_port: 1234, server: ip, server_port: 443, now_us: 1, unique_id: "abc", clock });
        tx.request_head(&head);
        let v = tx.request_body(&body, true);
        let (report, back) = tx.finish(1);
        ws = back;
        times.push(t.elapsed());
        if round == 0 {
            println!("verdict {v:?} score {:?} exceeded {:?} error {:?} ids {:?}", report.score, report.exceeded, report.body_error, report.matched_ids);
            for m in &report.matches { println!("{} {} | {} = {} | {}", m.rule, m.message, m.variable, m.transformed, m.matched); }
        }
    }
    times.sort();
    println!("{shape} first {:?} median {:?}", times.last().unwrap(), times[times.len() / 2]);
}

type Head = (&'static str, String, Vec<(&'static str, String)>);

fn shape_of(shape: &str) -> (Head, Vec<u8>) {
    let mut headers: Vec<(&'static str, String)> = vec![("Host", "shop.example".into()), ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36".into()), ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8".into())];
    match shape {
        "get3" => (("GET", "/products?category=shoes&page=2&sort=price".into(), headers), vec![]),
        "browser" => {
            headers.extend([("Accept-Language", "en-GB,en;q=0.9,de;q=0.8".to_string()), ("Accept-Encoding", "gzip, deflate, br, zstd".into()), ("Referer", "https://shop.example/products?category=shoes".into()), ("Cookie", "session=8f14e45fceea167a5a36dedd4bea2543; theme=dark; _ga=GA1.2.1234567890.1700000000".into()), ("Sec-Fetch-Mode", "navigate".into()), ("Sec-Fetch-Site", "same-origin".into()), ("Sec-Fetch-Dest", "document".into()), ("Upgrade-Insecure-Requests", "1".into()), ("Connection", "keep-alive".into()), ("Cache-Control", "max-age=0".into())]);
            (("GET", "/products?category=shoes&page=2&sort=price".into(), headers), vec![])
        }
        "form1k" => {
            let mut body = String::new();
            for (i, f) in ["name", "email", "street", "city", "zip", "country", "phone", "comment", "newsletter", "terms"].iter().enumerate() {
                if i > 0 { body.push('&'); }
                body.push_str(&format!("{f}=The+quick+brown+fox+jumps+over+the+lazy+dog+number+{i}+near+the+river+bank+on+a+sunny+day%2C+twice"));
            }
            headers.push(("Content-Type", "application/x-www-form-urlencoded".into()));
            headers.push(("Content-Length", body.len().to_string()));
            (("POST", "/account".into(), headers), body.into_bytes())
        }
        "json4k" => {
            let mut items = vec![];
            for i in 0..50 { items.push(format!("{{\"id\":{},\"sku\":\"AB-{:05}\",\"name\":\"Blue shoe size {}\",\"qty\":{},\"price\":\"{}.99\"}}", 1000 + i, i * 37, 36 + i % 10, i % 5, 10 + i)); }
            let body = format!("{{\"items\":[{}]}}", items.join(","));
            headers.push(("Content-Type", "application/json".into()));
            headers.push(("Content-Length", body.len().to_string()));
            (("POST", "/api/order".into(), headers), body.into_bytes())
        }
        "multipart64k" => {
            let mut body = b"--XBOUNDARYX\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nHoliday picture\r\n--XBOUNDARYX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"beach.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n".to_vec();
            let mut x: u32 = 12345;
            for _ in 0..64 << 10 { x = x.wrapping_mul(1664525).wrapping_add(1013904223); body.push((x >> 24) as u8); }
            body.extend_from_slice(b"\r\n--XBOUNDARYX--\r\n");
            headers.push(("Content-Type", "multipart/form-data; boundary=XBOUNDARYX".into()));
            headers.push(("Content-Length", body.len().to_string()));
            (("POST", "/upload".into(), headers), body)
        }
        "attack" => (("GET", "/?q=%27%20OR%201=1--&x=%3Cscript%3Ealert(1)%3C/script%3E&f=../../etc/passwd".into(), headers), vec![]),
        _ => panic!(),
    }
}
