//! Stub: filled by its own change.
