//! `monitor`: see ARCHITECTURE.md.
