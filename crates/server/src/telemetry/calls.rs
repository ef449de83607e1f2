//! Which calls are there? A table of their names, made when the server starts; each worker counts by its rows.
//!
//! # Invariants
//! * Every call of a service that is described has its row; whatever else is asked for shares one, so that nobody can
//!   make rows.
//!
//! Cost: one look-up by path a call.

use std::collections::HashMap;

use idhini_wire::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::FileDescriptorSet;

/// Status codes, by number.
pub(crate) const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// How long calls take, in seconds.
pub(super) const SECONDS_BOUNDS: &[f64] =
    &[1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// What is named where no described call is asked for.
const OTHER: &str = "other";
/// The service whose calls last as long as somebody watches.
const WATCH: (&str, &str) = ("authzed.api.v1.WatchService", "Watch");

/// A stream that lasts as long as its client has something to ask.
const CHECKS: (&str, &str) = ("idhini.v1.PermissionsService", "CheckStream");

/// All calls.
#[derive(Debug)]
pub(super) struct Calls {
    rows: Vec<Row>,
    by_path: HashMap<String, usize>,
}

/// One call.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) service: String,
    pub(crate) call: String,
    /// Whether it has many messages, in either direction.
    pub(crate) takes_stream: bool,
    pub(crate) answers_stream: bool,
}

impl Row {
    fn new(service: &str, call: &str) -> Row {
        let (takes_stream, answers_stream) = (false, false);
        Row { service: service.to_owned(), call: call.to_owned(), takes_stream, answers_stream }
    }

    /// Whether each of these calls is a watcher.
    pub(crate) fn is_watch(&self) -> bool {
        (self.service.as_str(), self.call.as_str()) == WATCH
    }

    /// Whether these calls go on until somebody ends them.
    pub(crate) fn has_no_end(&self) -> bool {
        self.is_watch() || (self.service.as_str(), self.call.as_str()) == CHECKS
    }

    /// Whether these calls end when the server is told to stop, by being told that it is unavailable.
    pub(super) fn is_ended_by_stopping(&self) -> bool {
        self.has_no_end()
    }
}

impl Calls {
    /// Of the services that this server describes, health and reflection included.
    pub(super) fn of_all_services() -> Calls {
        let sets = [
            FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let mut calls = Calls { rows: vec![Row::new(OTHER, OTHER)], by_path: HashMap::new() };
        // Embedded descriptors that do not decode stop the server elsewhere.
        for set in sets.iter().filter_map(|bytes| FileDescriptorSet::decode(*bytes).ok()) {
            for file in set.file {
                for service in &file.service {
                    let name = format!("{}.{}", file.package(), service.name());
                    for method in &service.method {
                        let (takes_stream, answers_stream) =
                            (method.client_streaming(), method.server_streaming());
                        calls.add(Row { takes_stream, answers_stream, ..Row::new(&name, method.name()) });
                    }
                }
            }
        }
        calls
    }

    fn add(&mut self, row: Row) {
        let at = self.rows.len();
        if *self.by_path.entry(format!("/{}/{}", row.service, row.call)).or_insert(at) == at {
            self.rows.push(row);
        }
    }

    /// The row of a path.
    pub(super) fn find(&self, path: &str) -> usize {
        self.by_path.get(path).copied().unwrap_or(0)
    }

    pub(super) fn row(&self, at: usize) -> Option<&Row> {
        self.rows.get(at)
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::{CODES, Calls};

    #[test]
    fn every_described_call_has_a_row_and_strange_paths_share_one() {
        let calls = Calls::of_all_services();
        let path = "/authzed.api.v1.PermissionsService/CheckPermission";
        let row = calls.row(calls.find(path)).unwrap();
        assert_eq!(
            (row.service.as_str(), row.call.as_str()),
            ("authzed.api.v1.PermissionsService", "CheckPermission")
        );
        assert!(calls.row(calls.find("/authzed.api.v1.WatchService/Watch")).unwrap().is_watch());
        let ended = |path| calls.row(calls.find(path)).unwrap().is_ended_by_stopping();
        assert!(
            ended("/authzed.api.v1.WatchService/Watch") && ended("/idhini.v1.PermissionsService/CheckStream")
        );
        assert!(!ended(path));
        for path in
            ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"]
        {
            assert!(calls.find(path) > 0, "{path}");
        }
        assert_eq!(calls.find("/authzed.api.v1.PermissionsService/Other"), 0);
        assert_eq!(calls.find("a made up path"), 0);
    }

    #[test]
    fn codes_stand_at_their_numbers() {
        assert_eq!(CODES[tonic::Code::Unauthenticated as usize], "UNAUTHENTICATED");
        assert_eq!(CODES[tonic::Code::DataLoss as usize], "DATA_LOSS");
        assert_eq!(CODES[tonic::Code::FailedPrecondition as usize], "FAILED_PRECONDITION");
    }
}
