//! Placeholder module header; filled below.
