//! What targets serve, read and written: the text format 0.0.4, OpenMetrics 1.0
//! and the protobuf exposition.
