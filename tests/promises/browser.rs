//! The shop and its dashboard in a real browser: `tests/browser/walk.mjs` says
//! what is walked and looked at.

use std::path::Path;
use std::process::Command;
use testkit::site::{Site, repository};

#[test]
fn a_browser_walks_the_shop_and_the_dashboard_and_finds_nothing_amiss() {
    let folder = repository().join("tests/browser");
    if let Some(missing) = missing(&folder) {
        // Whoever reads the result must see that nothing was proved.
        #[allow(clippy::print_stderr)]
        {
            eprintln!("skipped: {missing}");
        }
        return;
    }
    let site = Site::shop(|text| text);
    site.up();
    let walk = Command::new("node")
        .arg(folder.join("walk.mjs"))
        .env("SITE_URL", site.url())
        .env("PAGE_URL", site.page())
        .env("ROOT_PEM", site.root_pem())
        .output()
        .expect("node runs");
    let (out, err) = (String::from_utf8_lossy(&walk.stdout), String::from_utf8_lossy(&walk.stderr));
    assert!(walk.status.success(), "{err}\n{out}");
}

/// What this machine lacks for it.
fn missing(folder: &Path) -> Option<&'static str> {
    let chromium = std::env::var_os("CHROMIUM").unwrap_or_else(|| "/usr/bin/chromium".into());
    if !Path::new(&chromium).exists() {
        return Some("there is no chromium here; `apt-get install chromium`, or set `CHROMIUM`");
    }
    if !folder.join("node_modules").is_dir() {
        return Some("tests/browser has no node_modules; `npm ci` there, as script/test does");
    }
    None
}
