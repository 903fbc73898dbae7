//! The protocol's corners, with clients that people use and with bytes of our own.

use crate::cluster::{Cluster, Router, possible};
use bytes::BytesMut;
use database_wire::frontend::{self, Target};
use database_wire::scram;
use database_wire::{ErrorFields, backend, frame, startup};
use sqlx::postgres::{PgConnection, PgListener, PgPoolCopyExt, PgPoolOptions};
use sqlx::{Connection, Row};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A client that writes its own messages.
struct Raw {
    stream: TcpStream,
    input: Vec<u8>,
    out: BytesMut,
}

impl Raw {
    fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { stream, input: Vec::new(), out: BytesMut::new() }
    }

    fn log_in(port: u16, user: &site::User) -> Self {
        let mut raw = Self::connect(port);
        let parameters =
            [("user".to_owned(), user.name.clone()), ("database".to_owned(), user.database.clone())];
        startup::session(&mut raw.out, &parameters);
        raw.send();
        let mut client = scram::Client::new(user.password.reveal(), "a-nonce-of-this-test");
        loop {
            let (tag, body) = raw.message().expect("the login goes on");
            match tag {
                b'R' => match backend::parse_authentication(&body).unwrap() {
                    backend::Authentication::Sasl(_) => {
                        frontend::sasl_initial(&mut raw.out, scram::MECHANISM, client.first().as_bytes());
                        raw.send();
                    }
                    backend::Authentication::SaslContinue(challenge) => {
                        let answer = client.answer(challenge).unwrap();
                        frontend::sasl_response(&mut raw.out, answer.as_bytes());
                        raw.send();
                    }
                    backend::Authentication::SaslFinal(last) => client.finish(last).unwrap(),
                    other => assert_eq!(other, backend::Authentication::Ok),
                },
                b'Z' => return raw,
                b'E' => panic!("{}", ErrorFields::parse(&body).unwrap().describe()),
                _ => {}
            }
        }
    }

    fn send(&mut self) {
        self.stream.write_all(&self.out.split()).unwrap();
    }

    fn message(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((tag, total)) = frame::header(&self.input).unwrap()
                && self.input.len() >= total
            {
                let message: Vec<u8> = self.input.drain(..total).collect();
                return Some((tag, message[frame::HEADER..].to_vec()));
            }
            let mut chunk = [0; 65536];
            match self.stream.read(&mut chunk) {
                Ok(0) | Err(_) => return None,
                Ok(n) => self.input.extend_from_slice(&chunk[..n]),
            }
        }
    }

    /// The tags up to and including `ReadyForQuery`, with runs of rows as one `D`.
    fn tags(&mut self) -> String {
        let mut tags = String::new();
        while let Some((tag, _)) = self.message() {
            if !(tag == b'D' && tags.ends_with('D')) {
                tags.push(char::from(tag));
            }
            if tag == b'Z' {
                break;
            }
        }
        tags
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_protocols_corners() {
    if !possible() {
        return;
    }
    let cluster = Cluster::start(1);
    let router = Router::start(cluster.database(), 2).await;
    router.psql("create table t (id int primary key, name text)").await.unwrap();
    router.psql("insert into t select n, repeat('x', 100) from generate_series(1, 1000) n").await.unwrap();
    passwords(&router).await;
    copies(&router).await;
    listens(&router).await;
    cancels(&router).await;
    large(&router).await;
    let (port, user) = (router.port, cluster.user.clone());
    blocking(move || pipelines(port, &user)).await;
    let (port, user) = (router.port, cluster.user.clone());
    blocking(move || statements_move(port, &user)).await;
    let port = router.port;
    blocking(move || hostile_bytes(port)).await;
    // After all that, it serves.
    assert_eq!(router.psql("select count(*) from t").await.unwrap(), "1001");
    router.until("no client is left", |s| s["databases"][0]["clients"] == 0).await;
}

async fn passwords(router: &Router) {
    let wrong = router.url().replace("pass", "past");
    let error = PgConnection::connect(&wrong).await.unwrap_err();
    assert!(error.to_string().contains("password authentication failed for user \"shop\""), "{error}");
    let nobody = router.url().replace("//shop:", "//nobody:");
    let error = PgConnection::connect(&nobody).await.unwrap_err();
    assert!(error.to_string().contains("password authentication failed for user \"nobody\""), "{error}");
    let elsewhere = format!("{}x", router.url());
    let error = PgConnection::connect(&elsewhere).await.unwrap_err();
    assert!(error.to_string().contains("does not exist"), "{error}");
    assert_eq!(router.metric("bastide_database_clients_total", &["result=\"auth_failed\""]).await, 2.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_spoken_where_there_is_a_certificate() {
    if !possible() {
        return;
    }
    let cluster = Cluster::start(0);
    let mut database = cluster.database();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    database.tls = Some(site::Certificate {
        names: vec!["localhost".into()],
        chain_pem: made.cert.pem(),
        key_pem: base::Secret::new(made.signing_key.serialize_pem()),
    });
    let router = Router::start(database, 1).await;
    let over_tls = format!("{}?sslmode=require", router.url());
    let answer = blocking(move || testkit::postgres::psql(&over_tls, "select repeat('x', 100000)")).await;
    assert_eq!(answer.unwrap().len(), 100_000);

    let plain = Router::start(cluster.database(), 1).await;
    let over_tls = format!("{}?sslmode=require", plain.url());
    let refused = blocking(move || testkit::postgres::psql(&over_tls, "select 1")).await.unwrap_err();
    assert!(refused.contains("does not support SSL"), "{refused}");
}

async fn copies(router: &Router) {
    let pool = PgPoolOptions::new().max_connections(2).connect(&router.url()).await.unwrap();
    sqlx::query("create table copied (id int, name text)").execute(&pool).await.unwrap();
    let mut copy = pool.copy_in_raw("copy copied from stdin").await.unwrap();
    for n in 0..20_000 {
        copy.send(format!("{n}\tname {n}\n").into_bytes()).await.unwrap();
    }
    assert_eq!(copy.finish().await.unwrap(), 20_000);
    let count: i64 = sqlx::query("select count(*) from copied").fetch_one(&pool).await.unwrap().get(0);
    assert_eq!(count, 20_000);

    // One that the client gives up, and one that fails: the session goes on.
    let mut copy = pool.copy_in_raw("copy copied from stdin").await.unwrap();
    copy.send(&b"1\tx\n"[..]).await.unwrap();
    copy.abort("no more").await.unwrap();
    let mut copy = pool.copy_in_raw("copy copied from stdin").await.unwrap();
    copy.send(&b"not a number\n"[..]).await.unwrap();
    assert!(copy.finish().await.is_err());
    let count: i64 = sqlx::query("select count(*) from copied").fetch_one(&pool).await.unwrap().get(0);
    assert_eq!(count, 20_000);
    let out = router.psql("copy (select id from copied order by id limit 3) to stdout").await.unwrap();
    assert_eq!(out, "0\n1\n2");
}

async fn listens(router: &Router) {
    let mut listener = PgListener::connect(&router.url()).await.unwrap();
    listener.listen("news").await.unwrap();
    router.psql("notify news, 'it works'").await.unwrap();
    let notification = tokio::time::timeout(Duration::from_secs(10), listener.recv()).await.unwrap().unwrap();
    assert_eq!(notification.payload(), "it works");
}

async fn cancels(router: &Router) {
    // A read that a replica runs, and a statement that the primary runs.
    for sql in ["select count(*) from t a, t b, t c, t d", "select pg_sleep(60)"] {
        let url = router.url();
        let mut psql = std::process::Command::new("psql")
            .args([&url, "-X", "-c", sql])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pid = rustix::process::Pid::from_raw(psql.id() as i32).unwrap();
        let began = Instant::now();
        // psql's Ctrl-C sends a CancelRequest; before its statement runs there is nothing to cancel.
        while psql.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_secs(30), "{sql} was not cancelled");
            tokio::time::sleep(Duration::from_millis(300)).await;
            if router.metric("bastide_database_backends", &["state=\"active\""]).await > 0.0 {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
            }
        }
        let mut said = String::new();
        psql.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(said.contains("canceling statement due to user request"), "{sql}: {said}");
    }
}

async fn large(router: &Router) {
    let mut c = PgConnection::connect(&router.url()).await.unwrap();
    // A parameter and a result larger than any buffer.
    let text = "y".repeat(3_000_000);
    sqlx::query("insert into t values (0, $1)").bind(&text).execute(&mut c).await.unwrap();
    let back: String = sqlx::query("select name from t where id = 0").fetch_one(&mut c).await.unwrap().get(0);
    assert!(back == text);
    sqlx::query("delete from t where id = 0").execute(&mut c).await.unwrap();
    // A statement longer than what is parsed.
    let sql = format!("select length('{}')", "z".repeat(1_000_000));
    let length: i32 = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_one(&mut c).await.unwrap().get(0);
    assert_eq!(length, 1_000_000);
    // A result of many rows, read slowly at first.
    use futures_util::TryStreamExt;
    let mut rows = sqlx::query("select a.id from t a, t b").fetch(&mut c);
    let mut count = 0;
    while let Some(_row) = rows.try_next().await.unwrap() {
        if count == 0 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        count += 1;
    }
    assert_eq!(count, 1_000_000);
}

fn pipelines(port: u16, user: &site::User) {
    let mut raw = Raw::log_in(port, user);
    // A lone Sync.
    frontend::sync(&mut raw.out);
    raw.send();
    assert_eq!(raw.tags(), "Z");

    // Reads and a write in one batch: all on the primary, in order.
    let unnamed = |out: &mut BytesMut, sql: &str| {
        frontend::parse_message(out, b"", sql.as_bytes(), &[0, 0]);
        frontend::bind(out, b"", b"", frontend::NO_VALUES);
        frontend::describe(out, Target::Portal, b"");
        frontend::execute(out, b"", 0);
    };
    unnamed(&mut raw.out, "select 1");
    unnamed(&mut raw.out, "insert into t values (-1, 'pipelined')");
    unnamed(&mut raw.out, "select name from t where id = -1");
    frontend::sync(&mut raw.out);
    raw.send();
    assert_eq!(raw.tags(), "12TDC12nC12TDCZ");

    // An error skips the rest of the batch; the next batch runs.
    unnamed(&mut raw.out, "delete from t where id = -1");
    unnamed(&mut raw.out, "select 1 / (id - id) from t where id = 1");
    unnamed(&mut raw.out, "insert into t values (-2, 'never')");
    frontend::sync(&mut raw.out);
    unnamed(&mut raw.out, "select count(*) from t where id < 0");
    frontend::sync(&mut raw.out);
    raw.send();
    assert_eq!(raw.tags(), "12nC12TEZ");
    assert_eq!(raw.tags(), "12TDCZ");

    // Flush in the middle: the answer comes before the Sync.
    unnamed(&mut raw.out, "select 2");
    frontend::sync(&mut raw.out);
    raw.send();
    assert_eq!(raw.tags(), "12TDCZ");
    frontend::parse_message(&mut raw.out, b"f", b"select 3", &[0, 0]);
    raw.out.extend_from_slice(&[b'H', 0, 0, 0, 4]);
    raw.send();
    assert_eq!(raw.message().map(|m| m.0), Some(b'1'));
    frontend::bind(&mut raw.out, b"", b"f", frontend::NO_VALUES);
    frontend::execute(&mut raw.out, b"", 0);
    frontend::sync(&mut raw.out);
    raw.send();
    assert_eq!(raw.tags(), "2DCZ");

    // Several queries without waiting.
    for _ in 0..50 {
        frontend::query(&mut raw.out, "select 1");
        frontend::query(&mut raw.out, "update t set name = name where id = 1");
    }
    raw.send();
    for _ in 0..50 {
        assert_eq!(raw.tags(), "TDCZ");
        assert_eq!(raw.tags(), "CZ");
    }

    // Many inserts in one batch, far more than any buffer holds of questions and answers.
    frontend::parse_message(&mut raw.out, b"up", b"update t set name = name where id = -5", &[0, 0]);
    frontend::sync(&mut raw.out);
    raw.send();
    assert_eq!(raw.tags(), "1Z");
    for _ in 0..100_000 {
        frontend::bind(&mut raw.out, b"", b"up", frontend::NO_VALUES);
        frontend::execute(&mut raw.out, b"", 0);
    }
    frontend::sync(&mut raw.out);
    let mut stream = raw.stream.try_clone().unwrap();
    let bytes = raw.out.split();
    let writer = std::thread::spawn(move || stream.write_all(&bytes).unwrap());
    assert_eq!(raw.tags().len(), 200_001);
    writer.join().unwrap();

    // COPY by the extended protocol: the Sync behind Execute is not the one that counts.
    frontend::parse_message(&mut raw.out, b"", b"copy t from stdin", &[0, 0]);
    frontend::bind(&mut raw.out, b"", b"", frontend::NO_VALUES);
    frontend::execute(&mut raw.out, b"", 0);
    frontend::sync(&mut raw.out);
    raw.send();
    let mut seen = String::new();
    while !seen.ends_with('G') {
        seen.push(char::from(raw.message().expect("COPY begins").0));
    }
    assert_eq!(seen, "12G");
    let data = b"-7\tcopied\n";
    raw.out.extend_from_slice(b"d");
    raw.out.extend_from_slice(&(data.len() as u32 + 4).to_be_bytes());
    raw.out.extend_from_slice(data);
    raw.out.extend_from_slice(&[b'c', 0, 0, 0, 4]);
    frontend::sync(&mut raw.out);
    frontend::query(&mut raw.out, "delete from t where id = -7");
    raw.send();
    assert_eq!(raw.tags(), "CZ");
    assert_eq!(raw.tags(), "CZ");
}

/// A statement prepared on one member is there on the other.
fn statements_move(port: u16, user: &site::User) {
    let mut raw = Raw::log_in(port, user);
    frontend::parse_message(&mut raw.out, b"r", b"select count(*) from t", &[0, 0]);
    frontend::describe(&mut raw.out, Target::Statement, b"r");
    frontend::sync(&mut raw.out);
    raw.send();
    assert_eq!(raw.tags(), "1tTZ");
    let run = |raw: &mut Raw, name: &[u8]| {
        frontend::bind(&mut raw.out, b"", name, frontend::NO_VALUES);
        frontend::execute(&mut raw.out, b"", 0);
        frontend::sync(&mut raw.out);
        raw.send();
        raw.tags()
    };
    assert_eq!(run(&mut raw, b"r"), "2DCZ");
    // On the primary, in a transaction.
    frontend::query(&mut raw.out, "begin");
    raw.send();
    assert_eq!(raw.tags(), "CZ");
    assert_eq!(run(&mut raw, b"r"), "2DCZ");
    frontend::query(&mut raw.out, "commit");
    raw.send();
    assert_eq!(raw.tags(), "CZ");
    // By SQL, too, and then it is gone everywhere.
    for (sql, tags) in [("execute r", "TDCZ"), ("deallocate r", "CZ")] {
        frontend::query(&mut raw.out, sql);
        raw.send();
        assert_eq!(raw.tags(), tags, "{sql}");
    }
    assert_eq!(run(&mut raw, b"r"), "EZ");
    // The same name again, with another meaning; closing it by the protocol.
    frontend::parse_message(&mut raw.out, b"r", b"select name from t where id = 1", &[0, 0]);
    frontend::sync(&mut raw.out);
    raw.send();
    assert_eq!(raw.tags(), "1Z");
    assert_eq!(run(&mut raw, b"r"), "2DCZ");
    frontend::close(&mut raw.out, Target::Statement, b"r");
    frontend::sync(&mut raw.out);
    raw.send();
    assert_eq!(raw.tags(), "3Z");
    assert_eq!(run(&mut raw, b"r"), "EZ");
    // A statement that PostgreSQL refuses, twice: the connection that it was tried on is none the worse.
    for _ in 0..2 {
        frontend::parse_message(&mut raw.out, b"bad", b"select nothing_like_it from t", &[0, 0]);
        frontend::sync(&mut raw.out);
        raw.send();
        assert_eq!(raw.tags(), "EZ");
    }
    // Our own statement for the position survives DISCARD ALL.
    for sql in [
        "discard all",
        "update t set name = name where id = 1",
        "deallocate all",
        "update t set name = name where id = 2",
    ] {
        frontend::query(&mut raw.out, sql);
        raw.send();
        assert_eq!(raw.tags(), "CZ", "{sql}");
    }
}

fn hostile_bytes(port: u16) {
    // splitmix64 from a fixed seed: the same bytes each time.
    let mut state = 7u64;
    let mut next = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (z ^ (z >> 27)) as u8
    };
    for length in [0, 1, 4, 8, 100, 5_000] {
        let mut raw = Raw::connect(port);
        let bytes: Vec<u8> = (0..length).map(|_| next()).collect();
        // It may close before it has all.
        let _ = raw.stream.write_all(&bytes);
        let _ = raw.stream.shutdown(std::net::Shutdown::Write);
        while raw.message().is_some() {}
    }
    // Clear text behind an SSLRequest must not be taken for the session's.
    let mut raw = Raw::connect(port);
    startup::ssl(&mut raw.out);
    startup::session(&mut raw.out, &[("user".into(), "shop".into())]);
    raw.send();
    let mut rest = Vec::new();
    let _ = raw.stream.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{rest:?}");
}
