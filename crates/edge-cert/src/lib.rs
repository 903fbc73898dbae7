//! `edge-cert`: see ARCHITECTURE.md.
