//! The lines, kept.
