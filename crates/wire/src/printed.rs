//! How does a message read as text? In protobuf's own JSON and text formats, by the descriptors.
//!
//! Cost: the message is encoded and decoded once more; for people and for other programs, not for the hot path.

use std::sync::OnceLock;

use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};

use crate::FILE_DESCRIPTOR_SET;

/// Why a message could not be printed, or a text is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrintError {
    /// Not a message of this crate.
    #[error("no message `{name}` is described here")]
    Undescribed {
        /// Its full name.
        name: String,
    },
    /// Not JSON, or JSON of another message.
    #[error("not a `{name}` in JSON: {source}")]
    Malformed {
        /// The full name of the message.
        name: String,
        /// Where and why.
        source: serde_json::Error,
    },
    /// What was described does not decode; the descriptors are of another version.
    #[error("`{name}` does not fit its description")]
    Unfitting {
        /// The full name of the message.
        name: String,
        /// Which field.
        source: prost::DecodeError,
    },
}

/// In protobuf's JSON, on one line; fields that have their default are left out.
///
/// # Errors
/// [`PrintError`], only for a message that is not of this crate.
pub fn json<M: Message + Name>(message: &M) -> Result<String, PrintError> {
    let malformed = |source| PrintError::Malformed { name: M::full_name(), source };
    serde_json::to_string(&dynamic(message)?).map_err(malformed)
}

/// From protobuf's JSON; a field that the message does not have is an error.
///
/// # Errors
/// [`PrintError::Malformed`].
pub fn from_json<M: Message + Name + Default>(text: &str) -> Result<M, PrintError> {
    let malformed = |source| PrintError::Malformed { name: M::full_name(), source };
    let mut reader = serde_json::Deserializer::from_str(text);
    let message = DynamicMessage::deserialize(descriptor::<M>()?, &mut reader).map_err(malformed)?;
    reader.end().map_err(malformed)?;
    message.transcode_to().map_err(|source| PrintError::Unfitting { name: M::full_name(), source })
}

/// In protobuf's text format, on one line.
///
/// # Errors
/// [`PrintError`], only for a message that is not of this crate.
pub fn text_format<M: Message + Name>(message: &M) -> Result<String, PrintError> {
    Ok(dynamic(message)?.to_text_format())
}

fn dynamic<M: Message + Name>(message: &M) -> Result<DynamicMessage, PrintError> {
    let mut dynamic = DynamicMessage::new(descriptor::<M>()?);
    dynamic
        .transcode_from(message)
        .map_err(|source| PrintError::Unfitting { name: M::full_name(), source })?;
    Ok(dynamic)
}

fn descriptor<M: Name>() -> Result<MessageDescriptor, PrintError> {
    static POOL: OnceLock<Option<DescriptorPool>> = OnceLock::new();
    let pool = POOL.get_or_init(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).ok());
    let found = pool.as_ref().and_then(|pool| pool.get_message_by_name(&M::full_name()));
    found.ok_or_else(|| PrintError::Undescribed { name: M::full_name() })
}
