//! The web application firewall: SecLang rules, parsed, compiled, evaluated. Pure.

pub mod settings;
