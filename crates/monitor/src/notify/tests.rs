//! Receivers that a test speaks for: plain HTTP, TLS, SMTP with STARTTLS.

use super::*;
use monitor_alert::manager::config::{Email, MailTls, Slack};
use monitor_alert::receiver::{Post, email::Mail, slack};
use rustls::pki_types::PrivateKeyDer;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};

/// Serves one connection after another with `answer`; tells each request.
fn http_server(answer: &'static str) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            if let Some(request) = http_request(&mut stream) {
                let _ = tell.send(request);
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
    (address, told)
}

fn http_request(stream: &mut impl Read) -> Option<String> {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&seen).to_lowercase();
        if let Some(end) = text.find("\r\n\r\n") {
            let length =
                text.split("content-length:").nth(1).and_then(|t| t.lines().next()?.trim().parse().ok());
            if seen.len() >= end + 4 + length.unwrap_or(0) {
                return Some(String::from_utf8_lossy(&seen).into_owned());
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(n) => seen.extend_from_slice(&buffer[..n]),
        }
    }
}

fn webhook(url: &str) -> Integration {
    Integration::new(Kind::Webhook { url: Secret::new(url), max_alerts: 0 })
}

fn post(url: &str) -> Outgoing {
    Outgoing::Http(Post { url: Secret::new(url), body: b"{\"a\":1}".to_vec() })
}

#[tokio::test]
async fn answers_decide_and_secrets_stay() {
    let cases: &[(&'static str, Option<Failure>, &str)] = &[
        ("HTTP/1.1 204 X\r\n\r\n", None, ""),
        (
            "HTTP/1.1 429 X\r\nretry-after: 7\r\ncontent-length: 15\r\n\r\nslow /T0KEN/x=y",
            Some(Failure { retry_after_ms: Some(7_000), ..Failure::default() }),
            "HTTP status 429: slow [secret]",
        ),
        (
            "HTTP/1.1 404 X\r\ncontent-length: 4\r\n\r\ngone",
            Some(Failure { permanent: true, ..Failure::default() }),
            "refused with HTTP status 404: gone",
        ),
        ("HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n", Some(Failure::default()), "HTTP status 503"),
        // It hung up after the request: nobody knows whether it was taken.
        ("", Some(Failure { unsure: true, ..Failure::default() }), "HTTP with"),
    ];
    for (answer, expected, said) in cases {
        let (address, told) = http_server(answer);
        let url = format!("http://us:p4ss@{address}/T0KEN/x=y");
        let mut integration = webhook(&url);
        integration.http.authorization = None;
        let result = send(post(&url), &integration).await;
        let request = told.recv().unwrap();
        assert!(request.starts_with("POST /T0KEN/x=y HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("authorization: Basic dXM6cDRzcw=="), "{request}");
        assert!(request.ends_with("{\"a\":1}"), "{request}");
        match (result, expected) {
            (Ok(()), None) => {}
            (Err(got), Some(failure)) => {
                assert_eq!(got.failure, *failure, "{}", got.why);
                assert!(got.why.contains(said) && !got.why.contains("T0KEN"), "{}", got.why);
            }
            (got, _) => panic!("{answer}: {got:?}"),
        }
    }
    // Nobody listens: it did not arrive, for sure.
    let nobody = { TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap() };
    let url = format!("http://{nobody}/T0KEN");
    let error = send(post(&url), &webhook(&url)).await.unwrap_err();
    assert_eq!(error.failure, Failure::default());
    assert!(error.why.contains("cannot connect") && !error.why.contains("T0KEN"), "{}", error.why);
}

#[tokio::test]
async fn a_receiver_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let mut integration = webhook(&url);
    integration.timeout = base::Millis(200);
    let error = send(post(&url), &integration).await.unwrap_err();
    assert!(error.why.contains("within 200ms"), "{}", error.why);
    assert!(error.failure.unsure);
}

#[tokio::test]
async fn slack_says_no_with_200_and_tokens_go_in_the_header() {
    let (address, told) = http_server(
        "HTTP/1.1 200 X\r\ncontent-length: 46\r\n\r\n{\"ok\":false,\"error\":\"invalid_auth: t0k3n-123\"}",
    );
    let url = Secret::new(format!("http://{address}/api"));
    let slack: Slack = slack::defaults(url.clone());
    let mut integration = Integration::new(Kind::Slack(Box::new(slack)));
    integration.http.authorization =
        Some(Authorization::Token { scheme: "Bearer".into(), credentials: Secret::new("t0k3n-123") });
    let error = send(post(url.reveal()), &integration).await.unwrap_err();
    assert!(told.recv().unwrap().contains("authorization: Bearer t0k3n-123"));
    assert!(error.failure.permanent && !error.why.contains("t0k3n-123"), "{}", error.why);
}

fn server_config(name: &str) -> (Arc<rustls::ServerConfig>, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (Arc::new(config), made.cert.pem())
}

#[tokio::test]
async fn tls_with_an_authority_of_ones_own_or_none() {
    let (config, pem) = server_config("localhost");
    let (_, other) = server_config("localhost");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut tls = rustls::StreamOwned::new(connection, stream);
            if http_request(&mut tls).is_some() {
                let _ = tls.write_all(b"HTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\n");
            }
        }
    });
    let url = format!("https://localhost:{port}/");
    let cases = [
        (Http { ca: Some(pem), ..Http::default() }, true),
        (Http { ca: Some(other), ..Http::default() }, false),
        (Http { insecure: true, ..Http::default() }, true),
    ];
    for (http, taken) in cases {
        let integration = Integration { http, ..webhook(&url) };
        let result = send(post(&url), &integration).await;
        assert_eq!(result.is_ok(), taken, "{result:?}");
        if let Err(error) = result {
            assert!(error.why.contains("TLS with") && !error.failure.unsure, "{}", error.why);
        }
    }
    let wrong = Integration { http: Http { ca: Some("nothing".into()), ..Http::default() }, ..webhook(&url) };
    assert!(check(&wrong).unwrap_err().contains("without a certificate"));
}

/// A mail server that offers STARTTLS and AUTH; gives what it was told.
fn smtp_server(tls: Arc<rustls::ServerConfig>, refuse: bool) -> (u16, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let said: Arc<Mutex<String>> = Arc::default();
    let noted = said.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = (&stream).write_all(b"220 test ESMTP\r\n");
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            if dialogue(&mut reader, &mut &stream, true, refuse, &noted) {
                let connection = rustls::ServerConnection::new(tls.clone()).unwrap();
                let mut secure = rustls::StreamOwned::new(connection, stream);
                secure_dialogue(&mut secure, refuse, &noted);
            }
        }
    });
    (port, said)
}

fn secure_dialogue(
    stream: &mut rustls::StreamOwned<rustls::ServerConnection, TcpStream>,
    refuse: bool,
    said: &Mutex<String>,
) {
    let mut line = Vec::new();
    let mut data = false;
    let mut byte = [0];
    while stream.read(&mut byte).is_ok_and(|n| n == 1) {
        line.push(byte[0]);
        if !line.ends_with(b"\r\n") {
            continue;
        }
        let text = String::from_utf8_lossy(&std::mem::take(&mut line)).into_owned();
        said.lock().unwrap().push_str(&format!("S {text}"));
        if let Some(answer) = smtp_answer(&text, &mut data, false, refuse) {
            let _ = stream.write_all(answer.as_bytes());
        }
    }
}

/// Speaks in the clear; `true` once STARTTLS was asked for.
fn dialogue(
    reader: &mut impl BufRead,
    writer: &mut impl Write,
    offer_tls: bool,
    refuse: bool,
    said: &Mutex<String>,
) -> bool {
    let mut data = false;
    loop {
        let mut text = String::new();
        if !reader.read_line(&mut text).is_ok_and(|n| n > 0) {
            return false;
        }
        said.lock().unwrap().push_str(&format!("C {text}"));
        if let Some(answer) = smtp_answer(&text, &mut data, offer_tls, refuse) {
            let _ = writer.write_all(answer.as_bytes());
        }
        if text.starts_with("STARTTLS") {
            return true;
        }
    }
}

fn smtp_answer(line: &str, data: &mut bool, offer_tls: bool, refuse: bool) -> Option<&'static str> {
    if *data {
        return (line == ".\r\n").then(|| {
            *data = false;
            "250 taken\r\n"
        });
    }
    let command = line.trim_end().to_uppercase();
    Some(match command.split(' ').next().unwrap_or_default() {
        "EHLO" if offer_tls => "250-test\r\n250 STARTTLS\r\n",
        "EHLO" => "250-test\r\n250 AUTH PLAIN LOGIN\r\n",
        "STARTTLS" => "220 go\r\n",
        "AUTH" => "235 welcome\r\n",
        "RCPT" if refuse => "550 no such user\r\n",
        "DATA" => {
            *data = true;
            "354 go on\r\n"
        }
        "QUIT" => "221 bye\r\n",
        _ => "250 ok\r\n",
    })
}

fn mail() -> Outgoing {
    Outgoing::Mail(Mail {
        from: "Bastide <bastide@example.org>".into(),
        to: vec!["ops@example.org".into(), "Ünal <u@example.org>".into()],
        subject: "[FIRING:1] größer".into(),
        headers: vec![("X-Team".into(), "web".into())],
        text: "plain words".into(),
        html: Some("<b>bold words</b>".into()),
    })
}

#[tokio::test]
async fn mail_goes_by_starttls_with_a_login() {
    let (config, pem) = server_config("localhost");
    let (port, said) = smtp_server(config.clone(), false);
    let email = Email {
        smarthost: format!("localhost:{port}"),
        hello: "me.example".into(),
        login: Some(("user".into(), Secret::new("p4ssw0rd"))),
        tls: MailTls::StartTls,
        ..Email::default()
    };
    let mut integration = Integration::new(Kind::Email(Box::new(email.clone())));
    integration.http.ca = Some(pem);
    check(&integration).unwrap();
    send(mail(), &integration).await.unwrap_or_else(|e| panic!("{}", e.why));
    let all = said.lock().unwrap().clone();
    assert!(all.contains("C EHLO me.example\r\nC STARTTLS\r\n"), "{all}");
    // PLAIN: \0user\0p4ssw0rd, and only within TLS.
    assert!(all.contains("S AUTH PLAIN AHVzZXIAcDRzc3cwcmQ="), "{all}");
    for expected in [
        "S MAIL FROM:<bastide@example.org>",
        "S RCPT TO:<ops@example.org>",
        "S RCPT TO:<u@example.org>",
        "S X-Team: web",
        "S plain words",
        "S <b>bold words</b>",
        "S Subject: [FIRING:1] =?utf-8?b?",
        "multipart/alternative",
    ] {
        assert!(all.contains(expected), "{expected}: {all}");
    }

    // Without the authority nothing is said after STARTTLS.
    let (port, said) = smtp_server(config, false);
    let distrusting = Email { smarthost: format!("localhost:{port}"), ..email };
    let error = send(mail(), &Integration::new(Kind::Email(Box::new(distrusting)))).await.unwrap_err();
    assert!(!said.lock().unwrap().contains("AUTH") && !error.why.contains("p4ssw0rd"), "{}", error.why);
}

#[tokio::test]
async fn a_reader_that_is_refused_is_the_last_word() {
    let (config, pem) = server_config("localhost");
    let (port, _) = smtp_server(config, true);
    let email = Email { smarthost: format!("localhost:{port}"), tls: MailTls::StartTls, ..Email::default() };
    let mut integration = Integration::new(Kind::Email(Box::new(email)));
    integration.http.ca = Some(pem);
    let error = send(mail(), &integration).await.unwrap_err();
    assert!(error.failure.permanent && error.why.contains("no such user"), "{}", error.why);
    assert!(check(&Integration::new(Kind::Email(Box::default()))).is_err());
}
