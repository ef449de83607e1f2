//! The wire: generated code for `authzed.api.v1`, `idhini.v1` and `idhini.admin.v1`, and conversions between its messages and model types.
//!
//! Messages, clients and servers are at their protobuf paths: [`authzed::api::v1::CheckPermissionRequest`],
//! `authzed::api::v1::permissions_service_client::PermissionsServiceClient`,
//! `authzed::api::v1::permissions_service_server::PermissionsService`. Well-known types are `prost_types`'.
//!
//! # Invariants
//! * No logic: a conversion checks that a message *has* the shape, nothing about what it means.
//! * Bytes from outside cause typed errors, never a panic.
//!
//! Source: the field numbers and types of the published clients, held by `tests/it/contract.rs`.

mod convert;
mod experimental;
mod plain_bulk;
mod plain_check;
mod printed;

pub use convert::{
    ELLIPSIS, Malformed, context, context_message, member_name, object_id, timestamp, timestamp_message,
    type_name,
};

pub use plain_bulk::{BulkAnswer, PlainBulk, PlainItem};
pub use plain_check::{
    PREFIX_BYTES, PlainCheck, PlainQuestion, PlainRequirement, framed, only_message, plain_answer, put_framed,
};
pub use printed::{Described, PrintError, from_json, json, text_format};

/// Code generated from `proto/`, module by package.
#[allow(
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    rustdoc::all,
    reason = "generated"
)]
mod generated {
    pub mod authzed {
        pub mod api {
            pub mod v1 {
                tonic::include_proto!("authzed.api.v1");
            }
        }
    }
    pub mod idhini {
        pub mod admin {
            pub mod v1 {
                tonic::include_proto!("idhini.admin.v1");
            }
        }
        pub mod v1 {
            tonic::include_proto!("idhini.v1");
        }
    }
    pub mod google {
        pub mod rpc {
            tonic::include_proto!("google.rpc");
        }
    }
}

pub use generated::{authzed, google, idhini};

/// The compiled `FileDescriptorSet` of everything in `proto/`, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

#[cfg(test)]
mod tests;
