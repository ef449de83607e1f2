//! The one integration test binary of the test kit.

mod arrows;
