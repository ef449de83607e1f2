//! What the compiled protocol must be, held against the published client's facts.

mod contract;
