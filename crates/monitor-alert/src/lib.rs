//! Rule states, notifications. Pure.

pub mod settings;
