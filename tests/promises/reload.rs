//! A reload drops nothing; a bad one changes nothing.

use std::time::Duration;
use testkit::load::Load;
use testkit::site::Site;

#[test]
fn a_reload_under_load_drops_nothing_and_takes_effect() {
    let site = Site::shop(|text| text);
    site.up();
    let load = Load::start(&site.url(), &site.root_pem(), "/product/3", 8, Duration::from_millis(2));
    let edge = site.pid("edge");
    for round in 0..5 {
        site.edit(|text| {
            let without = text.split("\n[[route]]\npath = \"/old\"").next().unwrap_or_default().to_owned();
            let rest = text.split("# end of /old\n").nth(1).map_or_else(String::new, str::to_owned);
            let kept = if rest.is_empty() { text.clone() } else { without + &rest };
            kept.replacen(
                "\n[[route]]",
                &format!("\n[[route]]\npath = \"/old\"\nredirect = \"/new-{round}\"\nstatus = 302\n# end of /old\n\n[[route]]"),
                1,
            )
        });
        site.ok(&["reload"]);
        let answer =
            site.curl(&["--output", "/dev/null", "--write-out", "%{http_code} %{redirect_url}"], "/old");
        let said = String::from_utf8_lossy(&answer.stdout).into_owned();
        assert_eq!(said, format!("302 {}/new-{round}", site.url()));
    }
    assert_eq!(site.pid("edge"), edge, "the edge was not restarted");
    let outcome = load.stop();
    assert!(outcome.ok() > 100 && outcome.is_perfect(), "{outcome:?}");
}

#[test]
fn a_bad_reload_says_why_and_leaves_what_runs() {
    let site = Site::shop(|text| text);
    site.up();
    let revision = site.status()["revision"].clone();
    let good = std::fs::read_to_string(site.path("bastide.toml")).expect("the file");
    let cases: [(&str, &str, &str); 4] = [
        ("instances = 2", "instanzes = 2", "instances"),
        ("pool = \"app\"\n", "pool = \"shop\"\n", "shop"),
        ("./waf/own/*.conf", "./waf/none-*.conf", "none-"),
        ("replicas = 2", "replicas = \"two\"", "replicas"),
    ];
    for (from, to, expected) in cases {
        assert!(good.contains(from), "`{from}` is not in the example");
        site.write("bastide.toml", &good.replace(from, to));
        let output = site.run(&["reload", "--site", "shop"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{to}: {said}");
        assert!(
            said.contains("bastide.toml:") && said.contains(expected) && said.contains("hint:"),
            "{to}: {said}"
        );
        site.write("bastide.toml", &good);
        assert_eq!(site.status()["revision"], revision, "{to}");
        assert!(site.get("/").contains("<html"));
    }
    // A rule that does not parse is named with file and line.
    site.write("waf/own/zz.conf", "SecRule ARGS \"@nonsense x\" \"id:199999,phase:2,deny\"\n");
    let output = site.run(&["reload"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("waf/own/zz.conf:1") && said.contains("@nonsense"), "{said}");
    assert_eq!(site.status()["revision"], revision);
}
