//! End-to-end tests: one binary, modules named after promises.
