//! Regression cases in the form of go-ftw.
