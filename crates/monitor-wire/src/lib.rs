//! What is pushed, read and written: remote write 1.0 and 2.0, OTLP metrics.
