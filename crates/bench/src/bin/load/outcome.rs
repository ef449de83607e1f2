//! What came out of a window, and the line that says so.

use serde_json::{Map, Value, json};

use crate::machine::Used;

/// Latencies of one window, in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Latencies(pub(crate) Vec<u64>);

impl Latencies {
    pub(crate) fn sort(&mut self) {
        self.0.sort_unstable();
    }

    /// Microseconds; sorted before.
    pub(crate) fn quantile_us(&self, quantile: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let nanos = self.0.get((last as f64 * quantile).round() as usize).copied().unwrap_or(0);
        rounded(nanos as f64 / 1e3, 1)
    }
}

/// What went wrong meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Wrong {
    pub(crate) mismatch: u64,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
}

impl Wrong {
    pub(crate) fn fails(&mut self, error: impl std::fmt::Display) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| error.to_string());
    }

    pub(crate) fn into_fields(self, line: &mut Map<String, Value>) {
        line.insert("mismatch".to_owned(), json!(self.mismatch));
        line.insert("errors".to_owned(), json!(self.errors));
        if let Some(error) = self.first_error {
            line.insert("first_error".to_owned(), json!(error));
        }
    }
}

/// The window that counts.
pub(crate) struct Counted {
    /// Which one.
    pub(crate) window: usize,
    pub(crate) seconds: f64,
    pub(crate) used: Used,
}

impl Counted {
    /// Of the windows so far, this one, if it was disturbed less.
    pub(crate) fn or_better(best: Option<Counted>, other: Counted) -> Counted {
        match best {
            Some(best) if best.other_cores() <= other.other_cores() => best,
            _ => other,
        }
    }

    pub(crate) fn other_cores(&self) -> f64 {
        self.used.other() / self.seconds
    }

    /// As the load kit's client tells it, of calls that each ask one thing.
    pub(crate) fn line(&self, mut latencies: Latencies) -> Map<String, Value> {
        latencies.sort();
        let calls = latencies.0.len();
        let each_us = |seconds: f64| rounded(seconds * 1e6 / calls.max(1) as f64, 2);
        let rate = rounded(calls as f64 / self.seconds, 0);
        let fields = json!({
            "secs": rounded(self.seconds, 2),
            "calls": calls,
            "calls_per_s": rate,
            "units_per_s": rate,
            "p50_us": latencies.quantile_us(0.5),
            "p95_us": latencies.quantile_us(0.95),
            "p99_us": latencies.quantile_us(0.99),
            "max_us": latencies.quantile_us(1.0),
            "server_cpu_us_per_unit": each_us(self.used.server),
            "server_cores": rounded(self.used.server / self.seconds, 2),
            "client_cpu_us_per_call": each_us(self.used.client),
            "client_cores": rounded(self.used.client / self.seconds, 2),
            "other_cores": rounded(self.other_cores(), 2),
            "window": self.window + 1,
        });
        match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }
}

pub(crate) fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}
