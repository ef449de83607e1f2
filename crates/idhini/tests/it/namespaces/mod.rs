//! Namespaces of a running server, under load, under fire, and beside a plain model of the rules.
