//! SecLang: rule files, read into typed rules.

pub mod model;
