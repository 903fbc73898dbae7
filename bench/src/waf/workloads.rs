//! The requests that are measured: all benign.
//!
//! | name | request |
//! |---|---|
//! | `get3` | GET with three parameters and four headers |
//! | `browser` | GET as a browser sends it: fifteen headers, five cookies |
//! | `form1k` | POST of a form of 1 KB, twelve fields |
//! | `json4k` | POST of JSON, 4 KB, 250 values |
//! | `multipart64k` | POST of 64 KB: three fields and a picture |

use super::request::Request;

/// Name and request, in the order of the table.
pub(crate) fn all() -> Vec<(&'static str, Request)> {
    vec![
        ("get3", get3()),
        ("browser", browser()),
        ("form1k", form1k()),
        ("json4k", json4k()),
        ("multipart64k", multipart64k()),
    ]
}

/// What every one of them says.
const PLAIN: [(&str, &str); 4] = [
    ("Host", "shop.example"),
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Accept-Encoding", "gzip, deflate, br"),
];

fn get3() -> Request {
    Request::new("GET", "/products?category=shoes&page=2&sort=price", &PLAIN)
}

fn browser() -> Request {
    Request::new(
        "GET",
        "/products/running-shoes-42?ref=home",
        &[
            ("Host", "shop.example"),
            ("Connection", "keep-alive"),
            ("Cache-Control", "max-age=0"),
            ("sec-ch-ua", "\"Chromium\";v=\"128\", \"Not;A=Brand\";v=\"24\", \"Google Chrome\";v=\"128\""),
            ("sec-ch-ua-mobile", "?0"),
            ("sec-ch-ua-platform", "\"Linux\""),
            ("Upgrade-Insecure-Requests", "1"),
            (
                "User-Agent",
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36",
            ),
            (
                "Accept",
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
            ),
            ("Sec-Fetch-Site", "same-origin"),
            ("Sec-Fetch-Mode", "navigate"),
            ("Sec-Fetch-Dest", "document"),
            ("Referer", "https://shop.example/products?category=shoes"),
            ("Accept-Encoding", "gzip, deflate, br, zstd"),
            ("Accept-Language", "en-GB,en-US;q=0.9,en;q=0.8,de;q=0.7"),
            (
                "Cookie",
                "session=8f14e45fceea167a5a36dedd4bea2543; cart=3; theme=dark; consent=2026-03-01; lang=en",
            ),
        ],
    )
}

fn form1k() -> Request {
    let story = "We moved here in spring and have been very happy with the garden and the quiet street. ";
    let fields = [
        ("first_name", "Maria".to_owned()),
        ("last_name", "Lindqvist".to_owned()),
        ("email", "maria.lindqvist@example.org".to_owned()),
        ("phone", "0301234567".to_owned()),
        ("street", "Long Street 12".to_owned()),
        ("city", "Uppsala".to_owned()),
        ("postcode", "75310".to_owned()),
        ("country", "Sweden".to_owned()),
        ("newsletter", "yes".to_owned()),
        ("delivery", "standard".to_owned()),
        ("coupon", "SPRING2026".to_owned()),
        ("message", story.repeat(10)),
    ];
    let mut body = String::new();
    for (name, value) in fields {
        let value = value.replace('@', "%40").replace(' ', "+").replace(',', "%2C");
        body.push_str(&format!("{}{name}={value}", if body.is_empty() { "" } else { "&" }));
    }
    body.truncate(1024);
    Request::new("POST", "/checkout/address", &PLAIN)
        .with_body("application/x-www-form-urlencoded", body.into_bytes())
}

fn json4k() -> Request {
    let items: Vec<String> = (0..50)
        .map(|i| {
            format!(
                "{{\"sku\":\"item{:05}\",\"name\":\"Running shoe {i}\",\"size\":{},\"price\":{}.95,\"stock\":{}}}",
                10_000 + i * 7,
                36 + i % 10,
                40 + i % 60,
                i % 3 != 0
            )
        })
        .collect();
    let body = format!("{{\"items\":[{}]}}", items.join(","));
    Request::new("POST", "/api/stock", &PLAIN).with_body("application/json", body.into_bytes())
}

fn multipart64k() -> Request {
    let boundary = "----WebKitFormBoundary7MA4YWxkTrZu0gW";
    let mut body = Vec::new();
    for (name, value) in [("title", "Summer garden"), ("album", "holiday"), ("public", "yes")] {
        let part =
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend(part.bytes());
    }
    body.extend(
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"garden.jpg\"\r\n\
             Content-Type: image/jpeg\r\n\r\n"
        )
        .bytes(),
    );
    let end = format!("\r\n--{boundary}--\r\n");
    // Bytes as a picture has them: any, in no order (xorshift64).
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    while body.len() < (64 << 10) - end.len() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        body.push((state >> 32) as u8);
    }
    body.extend(end.bytes());
    Request::new("POST", "/photos", &PLAIN)
        .with_body(&format!("multipart/form-data; boundary={boundary}"), body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_what_the_names_say() {
        let sizes: Vec<usize> = all().iter().map(|(_, request)| request.body.len()).collect();
        assert_eq!(sizes[0], 0);
        assert_eq!(sizes[1], 0);
        assert_eq!(sizes[2], 1024);
        assert!((3_900..=4_300).contains(&sizes[3]), "{}", sizes[3]);
        assert_eq!(sizes[4], 64 << 10);
    }

    #[test]
    fn json_has_250_values() {
        let json: serde_json::Value = serde_json::from_slice(&json4k().body).unwrap();
        let items = json["items"].as_array().unwrap();
        assert_eq!(items.iter().map(|item| item.as_object().unwrap().len()).sum::<usize>(), 250);
    }
}
