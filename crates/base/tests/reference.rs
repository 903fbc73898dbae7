//! The reference of metrics is what the declarations say.

use std::fs;
use std::path::Path;

#[test]
fn the_reference_is_in_step() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/metrics.md");
    let reference = base::names::reference();
    for metric in base::names::ALL {
        assert_eq!(reference.matches(&format!("| `{}` |", metric.name)).count(), 1, "{}", metric.name);
    }
    if std::env::var_os("BASTIDE_BLESS").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        fs::write(&path, &reference).expect("the reference can be written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == reference,
        "docs/reference/metrics.md is out of step; BASTIDE_BLESS=1 writes it anew"
    );
}
