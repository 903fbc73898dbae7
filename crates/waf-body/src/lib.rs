//! Request bodies, read into names and values for the rules to look at.
