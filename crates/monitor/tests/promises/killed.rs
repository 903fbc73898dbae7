//! `kill -9` of a monitor that sends on, while the far end is away: what was
//! acknowledged here arrives there.

use crate::common::{Home, PATIENCE, Running, admin, encode, exchange, sending_to, site, until};
use monitor_model::Labels;
use monitor_wire::body::snappy_encode;
use monitor_wire::remote::{Outgoing, OutgoingSample, Version, write_v2};
use serde_json::Value;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tells the test below that it is a process of its own, and where its home is
/// and whom it sends to.
const HOME: &str = "BASTIDE_TEST_KILLED_HOME";
const FAR: &str = "BASTIDE_TEST_KILLED_FAR";

/// A far end that is there or away at one address: what it is given is passed on
/// or dropped.
struct Gate {
    address: SocketAddr,
    open: Arc<AtomicBool>,
}

impl Gate {
    fn to(far: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(AtomicBool::new(false));
        let may = open.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if !may.load(Ordering::Relaxed) {
                    continue;
                }
                let Ok(far) = TcpStream::connect(far) else { continue };
                let pairs = [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)];
                for (mut from, mut to) in pairs {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(std::net::Shutdown::Write);
                    });
                }
            }
        });
        Self { address, open }
    }
}

/// A monitor in a process of its own.
struct Other {
    child: Child,
    address: SocketAddr,
    socket: PathBuf,
}

impl Other {
    fn start(home: &Path, far: SocketAddr) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::a_process_of_its_own", "--ignored", "--nocapture"])
            .env(HOME, home)
            .env(FAR, far.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let socket = home.join("run/monitor.sock");
        let mut this = Self { child, address: far, socket };
        this.address = until("the monitor listens", || {
            assert!(this.child.try_wait().unwrap().is_none(), "the monitor did not start");
            this.status()?["listening"][0].as_str()?.parse().ok()
        });
        this
    }

    fn status(&self) -> Option<Value> {
        let status = admin(&self.socket, "GET", "/status", "").ok()?.1;
        serde_json::from_slice(&status).ok()
    }

    /// Pushes a sample of each of three series; whether it was acknowledged.
    fn push(&self, at_ms: i64, value: f64) -> bool {
        let samples = [OutgoingSample { at_ms, value, start_ms: 0 }];
        let series: Vec<Outgoing<'_>> = ["a", "b", "c"]
            .map(|n| Outgoing {
                labels: Labels::from_pairs([("__name__", "orders"), ("n", n)]),
                samples: &samples,
                ..Outgoing::default()
            })
            .into();
        let mut message = Vec::new();
        write_v2(&series, &mut message);
        let body = snappy_encode(&message);
        let head = format!(
            "POST /api/v1/write HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\ncontent-type: {}\r\ncontent-encoding: snappy\r\n\r\n",
            body.len(),
            Version::V2.content_type()
        );
        let answered = TcpStream::connect(self.address).and_then(|mut stream| {
            stream.write_all(&[head.as_bytes(), &body].concat())?;
            let mut answer = Vec::new();
            std::io::Read::read_to_end(&mut stream, &mut answer)?;
            Ok(answer)
        });
        answered.is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 204"))
    }

    /// `kill -9`.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test: the monitor that the one below kills.
#[test]
#[ignore = "the process that the test below starts and kills; alone it does nothing"]
fn a_process_of_its_own() {
    let (Some(home), Ok(far)) = (std::env::var_os(HOME), std::env::var(FAR)) else { return };
    let mut site = site();
    site.receive = true;
    site.remote_write = vec![sending_to(far.parse().unwrap(), &[])];
    let monitor: Running = Home::serve(Path::new(&home), site);
    std::thread::sleep(10 * PATIENCE);
    monitor.stop();
}

#[test]
fn what_was_acknowledged_arrives_after_a_kill_while_the_far_end_was_away() {
    let (home, far_home) = (Home::new(), Home::new());
    let far = far_home.monitor(site::Monitor { receive: true, ..site() });
    let gate = Gate::to(far.address);
    let start = || {
        let _ = std::fs::remove_file(home.run().join("monitor.sock"));
        Other::start(home.dir.path(), gate.address)
    };
    let began = sys::clock::now_ms() as i64 - 600_000;
    let mut acknowledged: Vec<(i64, f64)> = Vec::new();
    // Killed in the middle of pushes, again and again.
    for round in 0..3 {
        let monitor = start();
        for n in 0..200 {
            let at_ms = began + round * 100_000 + n * 100;
            let value = (round * 1_000 + n) as f64;
            if monitor.push(at_ms, value) {
                acknowledged.push((at_ms, value));
            }
        }
        if round == 0 {
            until("it knows that the far end is away", || {
                monitor.status()?["trouble"].to_string().contains("remote `far`: samples wait").then_some(())
            });
        }
        monitor.kill();
    }
    assert_eq!(acknowledged.len(), 600, "all were acknowledged");
    let theirs = |n: &str| far.samples(&format!("orders{{n=\"{n}\"}}[20m]"));
    assert!(theirs("a").is_empty(), "nothing came through a closed gate");

    // Killed while what waits is being sent: what is sent twice is known there.
    gate.open.store(true, Ordering::Relaxed);
    let monitor = start();
    until("the first ones arrive", || (!theirs("a").is_empty()).then_some(()));
    monitor.kill();
    let monitor = start();
    for n in ["a", "b", "c"] {
        until("all of it arrives", || (theirs(n).len() >= acknowledged.len()).then_some(()));
        assert_eq!(theirs(n), acknowledged, "each once, in order, with its value");
    }
    let (_, _, said) = exchange(
        TcpStream::connect(monitor.address).unwrap(),
        "GET",
        &format!("/api/v1/query?query={}", encode("count(count_over_time(orders[20m]) == 600)")),
        "",
        "",
    );
    let said: Value = serde_json::from_slice(&said).unwrap();
    assert_eq!(said["data"]["result"][0]["value"][1], "3", "and is here: {said}");
    until("nothing waits", || {
        let metrics = String::from_utf8(admin(&monitor.socket, "GET", "/metrics", "").ok()?.1).ok()?;
        metrics.contains("bastide_monitor_sent_waiting{remote=\"far\"} 0").then_some(())
    });
    monitor.kill();
    far.stop();
}
