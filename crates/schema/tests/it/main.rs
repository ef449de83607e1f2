//! The schema language, asked from outside.

mod conformance;
