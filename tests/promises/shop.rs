//! The shop is bought from through HTTPS, and its data is there afterwards.

use testkit::customer::Customer;
use testkit::site::Site;

#[test]
fn the_shop_is_bought_from_and_the_order_survives_down_and_up() {
    let site = Site::shop(|text| text);
    site.up();
    let ada = Customer::new(&site, "ada");
    assert!(ada.get("/search?q=lamp").contains("Desk lamp"));
    let order = ada.buy(32);
    assert!(ada.get(&order).contains("Desk lamp"));
    assert_eq!(ada.cart_count(), 0, "the cart is emptied by the order");

    site.down();
    assert_eq!(site.run(&["status"]).status.code(), Some(1), "nothing is up");
    let left = leftovers(&site);
    assert!(left.is_empty(), "left behind: {left:?}");
    let entries = std::fs::read_dir(site.run_dir()).expect("the run directory").flatten();
    let files: Vec<_> = entries.filter(|e| e.path().is_file()).map(|e| e.file_name()).collect();
    assert_eq!(files, ["lock"], "no socket and no secret stays");

    site.up();
    assert!(ada.get(&order).contains("Desk lamp"), "the order is as it was");
}

#[test]
fn plain_http_is_redirected_and_other_hosts_are_refused() {
    let site = Site::shop(|text| text);
    site.up();
    let edge = &site.status()["edge"];
    assert!(edge.is_object(), "{edge}");
    let http = site.status()["processes"].as_array().and_then(|list| {
        let listeners = list.iter().find(|p| p["name"] == "edge")?["listeners"].as_array()?.clone();
        listeners.iter().find(|l| l[0] == "http")?[1].as_str().map(str::to_owned)
    });
    let http = http.expect("an address for plain HTTP");
    let plain = std::process::Command::new("curl")
        .args([
            "--silent",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code} %{redirect_url}",
            "--header",
            "Host: localhost",
        ])
        .arg(format!("http://{http}/product/3?x=1"))
        .output()
        .expect("curl runs");
    let said = String::from_utf8_lossy(&plain.stdout).into_owned();
    assert_eq!(said, format!("308 {}/product/3?x=1", site.url()));

    let other = site.curl(
        &["--output", "/dev/null", "--write-out", "%{http_code}", "--header", "Host: other.example"],
        "/",
    );
    assert_eq!(String::from_utf8_lossy(&other.stdout), "421");
}

#[test]
fn classic_attacks_are_blocked_with_a_page_that_names_an_event() {
    let site = Site::shop(|text| text);
    site.up();
    for attack in [
        "/search?q=1%27%20UNION%20SELECT%20password%20FROM%20users--",
        "/search?q=%3Cscript%3Ealert(1)%3C/script%3E",
        "/search?q=../../../../etc/passwd",
        "/search?q=%3Bcat%20/etc/passwd",
    ] {
        let answer = Customer::new(&site, "mallory").request(attack, &[]);
        assert_eq!(answer.status, 403, "{attack}");
        let event = answer
            .body
            .split(|c: char| !c.is_ascii_alphanumeric())
            .find(|word| word.len() == 20 && word.starts_with('0'));
        let event = event.unwrap_or_else(|| panic!("no event id in {}", answer.body));
        let explained =
            testkit::site::eventually("the event is in the log", std::time::Duration::from_secs(5), || {
                let output = site.run(&["waf", "explain", event]);
                output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
            });
        assert!(explained.contains("ARGS:q"), "{explained}");
    }
    let ada = Customer::new(&site, "ada");
    for benign in [
        "/search?q=O%27Brien",
        "/search?q=select%20a%20colour",
        "/search?q=rock%20%26%20roll",
        "/search?q=1%20%3C%202",
    ] {
        assert_eq!(ada.request(benign, &[]).status, 200, "{benign}");
    }
}

/// Processes that still run out of this site's folder.
fn leftovers(site: &Site) -> Vec<String> {
    let folder = site.path("").display().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(folder.trim_end_matches('/')) {
            found.push(line);
        }
    }
    found
}
