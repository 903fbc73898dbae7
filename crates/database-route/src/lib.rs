//! Statement and session to primary or replica; pool decisions. Pure.

pub mod settings;
