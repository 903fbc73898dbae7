//! What a request may cost, and what happens beyond it. The budgets of values, of
//! work and of bodies have cases in `../cases/settings.txt`.

use crate::chance::Chance;
use crate::exchange::{Exchange, Request};
use std::cell::Cell;
use std::io::Write as _;
use std::sync::Arc;
use waf_engine::settings::{BeyondLimit, Limits, Mode, RawBody, RuleFile, Settings};
use waf_engine::{Engine, Exceeded, Verdict, Workspace, builtin};

thread_local! {
    static NOW_US: Cell<u64> = const { Cell::new(0) };
}

/// A clock on which each look takes ten milliseconds.
fn slow_clock() -> u64 {
    NOW_US.with(|now| {
        now.set(now.get() + 10_000);
        now.get()
    })
}

fn engine(rules: &str, mode: Mode, limits: Limits) -> Arc<Engine> {
    let settings = Settings {
        mode,
        files: vec![RuleFile { name: "main.conf".to_owned(), text: rules.to_owned() }],
        data: Vec::new(),
        tx: Vec::new(),
        exclude: Vec::new(),
        processors_by_content_type: true,
        raw_body: RawBody::Forms,
        limits,
    };
    Arc::new(Engine::load(&settings).expect("the rules load"))
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(text).and_then(|()| writer.finish()).expect("memory does not fail")
}

#[test]
fn time() {
    // So many looks that the clock is asked.
    let rules: String = (1..=400)
        .map(|id| format!("SecRule ARGS \"@rx x{id}.*y\" \"id:{id},phase:2,pass,t:lowercase\"\n"))
        .collect();
    let mut exchange = Exchange::of(Request::get(
        (1..=400).map(|id| format!("&a{id}=x{id}y")).fold("/?z=1".to_owned(), |all, one| all + &one),
    ));
    exchange.clock = slow_clock;
    for (mode, beyond, expected) in [
        (Mode::Block, BeyondLimit::Refuse, Verdict::Deny { status: 400, rule: builtin::TOO_MUCH }),
        (Mode::Block, BeyondLimit::Pass, Verdict::Pass),
        (Mode::Detect, BeyondLimit::Refuse, Verdict::Pass),
    ] {
        let limits = Limits { time_us: 25_000, beyond, ..Limits::default() };
        let (outcome, _) = exchange.run(&engine(&rules, mode, limits), Workspace::default());
        assert_eq!(outcome.report.exceeded, Some(Exceeded::Time), "{mode:?} {beyond:?}");
        assert!(outcome.report.matched_ids.contains(&builtin::TOO_MUCH));
        assert_eq!(*outcome.verdict(), expected, "{mode:?} {beyond:?}");
    }
    let (outcome, _) = exchange.run(
        &engine(&rules, Mode::Block, Limits { time_us: u64::MAX, ..Limits::default() }),
        Workspace::default(),
    );
    assert_eq!((outcome.report.exceeded, outcome.verdict().clone()), (None, Verdict::Pass));
}

/// A small body that becomes more texts than are kept: what follows them is not seen, so
/// the request must not pass as if it had been.
#[test]
fn memory() {
    let rules = "SecRule ARGS \"@streq attack\" \"id:1,phase:2,deny\"\n";
    let mut chance = Chance::new(1);
    let mut text = b"{".to_vec();
    for number in 0..950 {
        // What does not compress keeps it from being refused as a bomb.
        let noise: String = (0..9).map(|_| format!("{:016x}", chance.next())).collect();
        let value = format!("{noise}{}", format!("{number:05}").repeat(1_800));
        write!(text, "\"{}{number:05}\": \"{value}\",", "n".repeat(3_900)).expect("memory does not fail");
    }
    text.extend_from_slice(b"\"last\": \"attack\"}");
    let packed = gzip(&text);
    assert!(text.len() < 13 << 20 && packed.len() < 128 << 10, "{} {}", text.len(), packed.len());
    let limits = Limits { response_body: base::Bytes(0), ..Limits::default() };
    let mut request = Request::post("/", "application/json", packed);
    request.headers.push((b"Content-Encoding".to_vec(), b"gzip".to_vec()));
    let (outcome, _) = Exchange::of(request).run(&engine(rules, Mode::Block, limits), Workspace::default());
    assert_eq!(
        (outcome.report.exceeded, outcome.report.body_error.as_deref()),
        (Some(Exceeded::Memory), None)
    );
    assert_eq!(*outcome.verdict(), Verdict::Deny { status: 400, rule: builtin::TOO_MUCH });
}

/// The same without compression: names that are long because values lie deep.
#[test]
fn memory_of_long_names() {
    let rules = "SecRule ARGS \"@streq attack\" \"id:1,phase:2,deny\"\n";
    let mut text = format!("{{\"{}\": {{", "n".repeat(4_050)).into_bytes();
    for number in 0..4_000 {
        write!(text, "\"{number}\": {number},").expect("memory does not fail");
    }
    text.extend_from_slice(b"\"last\": \"attack\"}}");
    assert!(text.len() < 128 << 10);
    let limits = Limits { response_body: base::Bytes(0), ..Limits::default() };
    let (outcome, _) = Exchange::of(Request::post("/", "application/json", text))
        .run(&engine(rules, Mode::Block, limits), Workspace::default());
    assert_eq!(outcome.report.exceeded, Some(Exceeded::Memory));
    assert_eq!(*outcome.verdict(), Verdict::Deny { status: 400, rule: builtin::TOO_MUCH });
}

/// A long-lived WebSocket: each frame has the budget of a request, and memory is not
/// used up by those before it.
#[test]
fn many_frames() {
    let rules = "SecRule ARGS \"@contains attack\" \"id:1,phase:2,deny,t:lowercase\"\n";
    let mut exchange = Exchange::of(Request::get("/chat"));
    exchange.request.headers.push((b"Upgrade".to_vec(), b"websocket".to_vec()));
    for number in 0..600 {
        exchange.frames.push(format!("{number:06} Fine. ").repeat(4_000).into_bytes());
    }
    let engine = engine(rules, Mode::Block, Limits::default());
    let (outcome, _) = exchange.run(&engine, Workspace::default());
    assert_eq!((outcome.verdict(), outcome.report.exceeded), (&Verdict::Pass, None));
    exchange.frames.push(b"an Attack".to_vec());
    let (outcome, _) = exchange.run(&engine, Workspace::default());
    assert_eq!(*outcome.verdict(), Verdict::Deny { status: 403, rule: 1 });
}
