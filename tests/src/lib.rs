//! End-to-end tests: one binary (`promises/`), its modules named after promises.
//! They drive the real programs: `cargo build -p bastide -p shop` first, as
//! `script/test` does.
