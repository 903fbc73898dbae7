//! The shop as its visitors and its operators meet it: the real program against
//! a real PostgreSQL, which each test starts for itself.

mod bench;

use bench::{Postgres, Shop, field, wait_until};
use std::time::{Duration, Instant};

#[test]
fn a_visitor_searches_buys_and_sees_the_order_once_however_often_the_form_is_sent() {
    let postgres = Postgres::start();
    let shop = Shop::start(&postgres.url());
    shop.wait_healthy();
    let mut visitor = shop.visitor();

    let home = visitor.get("/");
    assert_eq!(home.status, 200);
    assert_eq!(home.body.matches("class=\"card\"").count(), 42);
    assert!(home.header("set-cookie").is_none(), "looking around needs no cookie");
    let found = visitor.get("/search?q=CHEF%20knife");
    assert!(found.body.contains("Chef&#39;s knife") || found.body.contains("Chef's knife"), "{}", found.body);
    assert!(found.body.contains("1 thing found"), "{}", found.body);
    assert_eq!(visitor.get("/product/10").status, 200);

    let added = visitor.post("/cart/add", &[("product", "10"), ("quantity", "2")]);
    assert_eq!((added.status, added.header("location")), (303, Some("/cart?added=10")));
    visitor.post("/cart/add", &[("product", "14")]);
    visitor.post("/cart/add", &[("product", "40")]);
    visitor.post("/cart/update", &[("product", "40"), ("quantity", "0")]);
    visitor.post("/cart/update", &[("product", "10"), ("quantity", "1")]);
    let cart = visitor.get("/cart");
    for text in ["€89.00", "€98.50", "Spoon"] {
        assert!(cart.body.to_lowercase().contains(&text.to_lowercase()), "no {text} in {}", cart.body);
    }
    assert!(!cart.body.contains("Tomato"), "{}", cart.body);

    let (key, shown) = (field(&cart.body, "checkout_key"), field(&cart.body, "shown_cents"));
    let wrong = visitor.post("/checkout", &[("checkout_key", &key), ("shown_cents", &shown), ("name", "A")]);
    assert_eq!(wrong.status, 422);
    assert!(wrong.body.contains("name-problem") && wrong.body.contains("address-problem"), "{}", wrong.body);

    let form = [
        ("checkout_key", key.as_str()),
        ("shown_cents", &shown),
        ("name", "Ada <b>Lovelace</b>"),
        ("email", "ada@example.com"),
        ("address", "12 Rue du Four\r\n31000 Toulouse"),
    ];
    let placed = visitor.post("/checkout", &form);
    assert_eq!(placed.status, 303, "{}", placed.body);
    let address = placed.header("location").expect("an order's address").to_owned();
    assert_eq!(visitor.post("/checkout", &form).header("location"), Some(address.as_str()));
    assert_eq!(postgres.ask("SELECT count(*) FROM orders"), "1");
    assert_eq!(postgres.ask("SELECT sum(quantity * price_cents) FROM order_items"), "9850");
    assert_eq!(postgres.ask("SELECT count(*) FROM cart_items"), "0");

    let order = visitor.get(&address);
    assert_eq!(order.status, 200);
    assert!(order.body.contains("Ada &lt;b&gt;Lovelace&lt;/b&gt;"), "{}", order.body);
    assert!(visitor.get("/orders").body.contains(&address));
    assert!(!shop.visitor().get("/orders").body.contains("/order/"), "another visitor has no orders");
    assert_eq!(shop.visitor().get(&address[..address.len() - 1]).status, 404);
    // Another visitor who learns the key gets nothing by it.
    let mut other = shop.visitor();
    other.post("/cart/add", &[("product", "1")]);
    assert_eq!(other.post("/checkout", &form).header("location"), Some("/cart"));

    let metrics = visitor.get("/metrics").body;
    for line in [
        "shop_orders_total 1",
        "shop_order_euros_total 98.50",
        "http_requests_total{method=\"GET\",route=\"/\",code=\"200\"} 1",
        "http_requests_total{method=\"POST\",route=\"/checkout\",code=\"303\"} 3",
    ] {
        assert!(metrics.lines().any(|l| l == line), "no line `{line}` in\n{metrics}");
    }
}

#[test]
fn forms_sent_at_once_place_one_order() {
    let postgres = Postgres::start();
    let shops = [Shop::start(&postgres.url()), Shop::start(&postgres.url())];
    shops.iter().for_each(Shop::wait_healthy);
    assert_eq!(postgres.ask("SELECT count(*) FROM products"), "42");

    for same_key in [true, false] {
        let before: u32 = postgres.ask("SELECT count(*) FROM orders").parse().unwrap();
        let mut visitor = shops[0].visitor();
        visitor.post("/cart/add", &[("product", "3"), ("quantity", "4")]);
        let first = visitor.get("/cart").body;
        let shown = field(&first, "shown_cents");
        let mut key = || field(&visitor.get("/cart").body, "checkout_key");
        let keys = if same_key { vec![key(); 8] } else { (0..8).map(|_| key()).collect() };
        let answers: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = keys
                .iter()
                .enumerate()
                .map(|(i, key)| {
                    let mut visitor = visitor.at(&shops[i % 2]);
                    let shown = &shown;
                    scope.spawn(move || {
                        let form = [
                            ("checkout_key", key.as_str()),
                            ("shown_cents", shown),
                            ("name", "Grace Hopper"),
                            ("email", "grace@example.com"),
                            ("address", "1 Navy Yard, Arlington"),
                        ];
                        let answer = visitor.post("/checkout", &form);
                        assert_eq!(answer.status, 303, "{}", answer.body);
                        answer.header("location").unwrap_or_default().to_owned()
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let after: u32 = postgres.ask("SELECT count(*) FROM orders").parse().unwrap();
        assert_eq!(after, before + 1, "same key: {same_key}; answers: {answers:?}");
        let orders = answers.iter().filter(|a| a.starts_with("/order/")).count();
        assert_eq!(orders, if same_key { 8 } else { 1 }, "{answers:?}");
        assert_eq!(postgres.ask("SELECT count(*) FROM orders o WHERE NOT EXISTS (SELECT FROM order_items i WHERE i.order_id = o.id)"), "0");
    }
    // A cart that changed after it was shown is shown again, not ordered.
    let mut visitor = shops[0].visitor();
    visitor.post("/cart/add", &[("product", "3")]);
    let cart = visitor.get("/cart").body;
    visitor.post("/cart/add", &[("product", "9")]);
    let (key, shown) = (field(&cart, "checkout_key"), field(&cart, "shown_cents"));
    let customer = [("name", "Grace"), ("email", "g@example.com"), ("address", "1 Navy Yard, Arlington")];
    let form: Vec<_> =
        [("checkout_key", key.as_str()), ("shown_cents", &shown)].into_iter().chain(customer).collect();
    let changed = visitor.post("/checkout", &form);
    assert_eq!(changed.status, 409);
    assert!(
        changed.body.contains("has changed") && changed.body.contains("value=\"Grace\""),
        "{}",
        changed.body
    );
    assert_eq!(postgres.ask("SELECT count(*) FROM cart_items"), "2");
}

#[test]
fn the_shop_outlives_its_database() {
    let mut postgres = Postgres::prepare();
    let shop = Shop::start(&postgres.url());
    let mut visitor = shop.visitor();
    let began = Instant::now();
    assert_eq!(visitor.get("/healthz").status, 503, "no database yet");
    assert!(began.elapsed() < Duration::from_secs(3));

    postgres.run();
    shop.wait_healthy();
    visitor.post("/cart/add", &[("product", "7"), ("quantity", "3")]);

    postgres.stop();
    assert_eq!(visitor.get("/healthz").status, 503);
    let began = Instant::now();
    let away = visitor.get("/cart");
    assert_eq!((away.status, away.header("retry-after")), (503, Some("5")));
    assert!(away.body.contains("try again"), "{}", away.body);
    assert!(began.elapsed() > Duration::from_secs(2), "it was impatient: {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(9), "it was too patient: {:?}", began.elapsed());

    // A request that meets a restart waits for it.
    let waiting = std::thread::spawn({
        let mut visitor = visitor.at(&shop);
        move || visitor.get("/cart")
    });
    postgres.run();
    let cart = waiting.join().unwrap();
    assert_eq!(cart.status, 200, "{}", cart.body);
    assert!(cart.body.contains("value=\"3\""), "{}", cart.body);
    shop.wait_healthy();
    let metrics = visitor.get("/metrics").body;
    assert!(metrics.lines().any(|l| l == "shop_unavailable_total 1"), "{metrics}");
}

#[test]
fn hostile_requests_get_an_error_and_nothing_else() {
    let postgres = Postgres::start();
    let shop = Shop::start(&postgres.url());
    shop.wait_healthy();
    let mut visitor = shop.visitor();

    let long = "x".repeat(100_000);
    for (path, expected) in [
        ("/search?q=%3Cscript%3Ealert(1)%3C/script%3E", 200),
        ("/search?q=%00%25%5C_'%22--", 200),
        ("/search?q=' OR '1'='1".replace(' ', "+").as_str(), 200),
        (&format!("/search?q={}", &long[..8_000]), 200),
        ("/search?q=", 303),
        ("/search", 303),
        ("/search?q=%FF%FE", 200),
        ("/?category=%00nothing", 404),
        ("/product/0", 404),
        ("/product/-1", 404),
        ("/product/99999999999999999999", 404),
        ("/product/1;DROP", 404),
        ("/order/%27%20OR%201=1", 404),
        ("/order/00000000000000000000000000000000", 404),
        ("/assets/../Cargo.toml", 404),
        ("/assets/%2e%2e/Cargo.toml", 404),
        ("/nothing", 404),
        ("/cart?added=%00", 200),
    ] {
        let answer = visitor.get(path);
        assert_eq!(answer.status, expected, "{path}: {}", answer.body);
        assert!(!answer.body.contains("<script>alert"), "{path}: {}", answer.body);
    }
    for (path, form, expected) in [
        ("/cart/add", vec![("product", "1"), ("quantity", "-5")], 400),
        ("/cart/add", vec![("product", "1"), ("quantity", "100")], 400),
        ("/cart/add", vec![("product", "1"), ("quantity", "99999999999")], 400),
        ("/cart/add", vec![("product", "4711")], 404),
        ("/cart/add", vec![("product", "x")], 404),
        ("/cart/add", vec![("nothing", "1")], 400),
        ("/cart/add", vec![("product", long.as_str())], 413),
        ("/checkout", vec![], 303),
    ] {
        let answer = visitor.post(path, &form);
        assert_eq!(answer.status, expected, "{path} {:.80}: {}", format!("{form:?}"), answer.body);
    }
    let foreign = shop.send("POST", "/cart/add", &[("sec-fetch-site", "cross-site")], "product=1");
    assert_eq!(foreign.status, 400);
    assert_eq!(postgres.ask("SELECT count(*) FROM cart_items"), "0");

    for (proto, secure) in [("https", true), ("http", false)] {
        let answer = shop.send("POST", "/cart/add", &[("x-forwarded-proto", proto)], "product=1");
        let cookie = answer.header("set-cookie").expect("a session");
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
        assert_eq!(cookie.contains("Secure"), secure, "{cookie}");
    }
    // Adding forever ends at 99.
    for _ in 0..2 {
        visitor.post("/cart/add", &[("product", "2"), ("quantity", "60")]);
    }
    assert_eq!(postgres.ask("SELECT quantity FROM cart_items WHERE product_id = 2"), "99");
}

#[test]
fn sigterm_lets_requests_end_and_no_address_is_an_error_that_says_so() {
    let postgres = Postgres::start();
    let mut shop = Shop::start(&postgres.url());
    shop.wait_healthy();
    // A checkout that waits for a row that someone else holds.
    let mut visitor = shop.visitor();
    visitor.post("/cart/add", &[("product", "5")]);
    let cart = visitor.get("/cart").body;
    let (key, shown) = (field(&cart, "checkout_key"), field(&cart, "shown_cents"));
    let holder = postgres.hold("BEGIN; SELECT * FROM cart_items FOR UPDATE");
    let buying = std::thread::spawn(move || {
        let form = [
            ("checkout_key", key.as_str()),
            ("shown_cents", &shown),
            ("name", "Alan Turing"),
            ("email", "alan@example.com"),
            ("address", "Hollymeade, Wilmslow"),
        ];
        visitor.post("/checkout", &form)
    });
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'shop' AND wait_event_type = 'Lock'";
    wait_until("the checkout waits", || postgres.ask(waiting) == "1");
    shop.terminate();
    drop(holder);
    assert_eq!(buying.join().unwrap().status, 303);
    assert!(shop.wait().success());
    assert_eq!(postgres.ask("SELECT count(*) FROM orders"), "1");

    for (url, port, expected) in [
        (None, "0", "DATABASE_URL is not set"),
        (Some("postgres://u:hunter2@h/db?sslmode=wrong"), "0", "no PostgreSQL URL"),
        (Some("postgres://u:hunter2@h/db"), "seven", "PORT is `seven`"),
    ] {
        let output = bench::run_to_its_end(url, port);
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(expected) && !said.contains("hunter2"), "{said}");
    }
}
