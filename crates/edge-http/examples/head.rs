//! Reads the same heads many times: something to count instructions of.
//! `valgrind --tool=callgrind target/release/examples/head browser 20000`.

use edge_http::GuardLimits;
use edge_http::http1::{HeadParser, Lines};

const SMALL: &[u8] = b"GET /api/items?page=2&sort=price HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";

const BROWSER: &[u8] = b"GET /catalogue/shoes?colour=red&size=42&sort=price-asc HTTP/1.1\r\n\
Host: shop.example\r\n\
Connection: keep-alive\r\n\
sec-ch-ua: \"Chromium\";v=\"128\", \"Not;A=Brand\";v=\"24\"\r\n\
sec-ch-ua-mobile: ?0\r\n\
sec-ch-ua-platform: \"Linux\"\r\n\
Upgrade-Insecure-Requests: 1\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
Sec-Fetch-Site: same-origin\r\n\
Sec-Fetch-Mode: navigate\r\n\
Sec-Fetch-User: ?1\r\n\
Sec-Fetch-Dest: document\r\n\
Referer: https://shop.example/catalogue?page=3\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Accept-Language: de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7\r\n\
Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=analytics%3Dno%26ads%3Dno\r\n\r\n";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let data = if arguments.next().as_deref() == Some("small") { SMALL } else { BROWSER };
    let times: u32 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(20_000);
    let limits = GuardLimits { head: 32 << 10, header_lines: 100 };
    let mut lines = Lines::with_capacity(limits.header_lines);
    let mut sum = 0;
    for _ in 0..times {
        let data = std::hint::black_box(data);
        let mut table = lines.recycle();
        if let Ok(Some(head)) = HeadParser::new(limits).read(data, &mut table) {
            sum += head.headers.len() + head.target.len();
        }
        lines = table.recycle();
    }
    assert!(sum > 0, "a head of {} bytes was refused", data.len());
}
