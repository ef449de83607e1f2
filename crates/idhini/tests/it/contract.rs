//! The wire contract, sentence by sentence, where no other test holds one: whose tokens are taken for what, and each
//! limit at its number and one beyond.

mod limits;
mod requests;
mod tokens;
