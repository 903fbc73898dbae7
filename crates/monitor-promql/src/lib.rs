//! `monitor-promql`: see ARCHITECTURE.md.
