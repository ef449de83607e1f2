//! How does a message read as text? In protobuf's own JSON and text formats, by the descriptors.
//!
//! Cost: the message is encoded and decoded once more; for people and for other programs, not for the hot path.

use std::sync::OnceLock;

use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};

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

/// A kind of message, known by its description only.
#[derive(Debug, Clone)]
pub struct Described(MessageDescriptor);

impl Described {
    /// By its full name, such as `authzed.api.v1.CheckPermissionRequest`.
    ///
    /// # Errors
    /// [`PrintError::Undescribed`].
    pub fn named(name: &str) -> Result<Described, PrintError> {
        static POOL: OnceLock<Option<DescriptorPool>> = OnceLock::new();
        let pool = POOL.get_or_init(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).ok());
        let found = pool.as_ref().and_then(|pool| pool.get_message_by_name(name));
        found.map(Described).ok_or_else(|| PrintError::Undescribed { name: name.to_owned() })
    }

    /// The encoded message of a JSON text; a field that the message does not have is an error.
    ///
    /// # Errors
    /// [`PrintError::Malformed`].
    pub fn encode_json(&self, text: &str) -> Result<Vec<u8>, PrintError> {
        Ok(self.read(text)?.encode_to_vec())
    }

    /// The JSON of an encoded message; values that are their default are printed too.
    ///
    /// # Errors
    /// [`PrintError::Unfitting`].
    pub fn full_json(&self, bytes: &[u8]) -> Result<String, PrintError> {
        let message =
            DynamicMessage::decode(self.0.clone(), bytes).map_err(|source| self.unfitting(source))?;
        let mut text = serde_json::Serializer::new(Vec::new());
        let options = SerializeOptions::new().skip_default_fields(false);
        message.serialize_with_options(&mut text, &options).map_err(|source| self.malformed(source))?;
        Ok(String::from_utf8_lossy(&text.into_inner()).into_owned())
    }

    fn read(&self, text: &str) -> Result<DynamicMessage, PrintError> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let message = DynamicMessage::deserialize(self.0.clone(), &mut reader);
        let message = message.map_err(|source| self.malformed(source))?;
        reader.end().map_err(|source| self.malformed(source))?;
        Ok(message)
    }

    fn malformed(&self, source: serde_json::Error) -> PrintError {
        PrintError::Malformed { name: self.0.full_name().to_owned(), source }
    }

    fn unfitting(&self, source: prost::DecodeError) -> PrintError {
        PrintError::Unfitting { name: self.0.full_name().to_owned(), source }
    }
}

/// In protobuf's JSON, on one line; fields that have their default are left out.
///
/// # Errors
/// [`PrintError`], only for a message that is not of this crate.
pub fn json<M: Message + Name>(message: &M) -> Result<String, PrintError> {
    let described = Described::named(&M::full_name())?;
    serde_json::to_string(&dynamic(&described, message)?).map_err(|source| described.malformed(source))
}

/// From protobuf's JSON; a field that the message does not have is an error.
///
/// # Errors
/// [`PrintError::Malformed`].
pub fn from_json<M: Message + Name + Default>(text: &str) -> Result<M, PrintError> {
    let described = Described::named(&M::full_name())?;
    described.read(text)?.transcode_to().map_err(|source| described.unfitting(source))
}

/// In protobuf's text format, on one line.
///
/// # Errors
/// [`PrintError`], only for a message that is not of this crate.
pub fn text_format<M: Message + Name>(message: &M) -> Result<String, PrintError> {
    Ok(dynamic(&Described::named(&M::full_name())?, message)?.to_text_format())
}

fn dynamic<M: Message>(described: &Described, message: &M) -> Result<DynamicMessage, PrintError> {
    let mut dynamic = DynamicMessage::new(described.0.clone());
    dynamic.transcode_from(message).map_err(|source| described.unfitting(source))?;
    Ok(dynamic)
}
