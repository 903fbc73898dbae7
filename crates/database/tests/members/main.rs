//! The router and the members that it stands before, with real PostgreSQL.

mod cluster;
mod instances;
mod promises;
mod protocol;

/// Not a test: the process that becomes a member. [`cluster::Member`] starts
/// this binary with the path of a specification.
#[test]
#[ignore = "a member's process, started by the tests"]
fn member_process() {
    let spec = std::env::var("BASTIDE_TEST_MEMBER").expect("started by a test");
    let text = std::fs::read(spec).expect("the specification");
    let instance: site::PostgresInstance = serde_json::from_slice(&text).expect("a specification");
    panic!("FAULT {}", database::instance::exec(&instance));
}
