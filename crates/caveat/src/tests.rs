//! Tests of what cannot be seen from outside: the parser against another one, numbers, patterns, times.

mod numbers;
mod parsers;
