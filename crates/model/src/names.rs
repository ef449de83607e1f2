//! Which names and object ids are well formed? Limits of `authzed.api.v1`.

/// Shortest name of a definition's last segment, a relation, a permission, a caveat or a parameter, in bytes.
pub const NAME_BYTES_MIN: usize = 3;
/// Longest name of one segment, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest type name with its `/` prefixes, in bytes.
pub const TYPE_BYTES_MAX: usize = 128;
/// Longest object id, in bytes.
pub const OBJECT_ID_BYTES_MAX: usize = 1024;

/// Why a name or an object id is not well formed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// A definition's or caveat's name.
    #[error(
        "`{0}` is not a type name: lower-case letters, digits and `_`, starting with a letter and not ending with `_`, 3 to 64 characters, with optional prefixes ending in `/`, at most 128 in all"
    )]
    Type(String),
    /// A caveat's name in a relationship.
    #[error(
        "`{0}` is not a caveat name: 1 to 128 characters out of `A-Z a-z 0-9 / _ | -`, the first a letter, digit or `_`"
    )]
    Caveat(String),
    /// A relation's, permission's or parameter's name.
    #[error(
        "`{0}` is not a relation or permission name: lower-case letters, digits and `_`, starting with a letter and not ending with `_`, 3 to 64 characters"
    )]
    Name(String),
    /// An object id.
    #[error("`{0}` is not an object id: 1 to 1024 characters out of `A-Z a-z 0-9 / _ | - = +`")]
    ObjectId(String),
}

/// Accepts a relation's, permission's or caveat parameter's name: `[a-z][a-z0-9_]{1,62}[a-z0-9]`.
///
/// # Errors
/// [`NameError::Name`] with the (shortened) name.
pub fn validate_name(name: &str) -> Result<(), NameError> {
    if segment(name) { Ok(()) } else { Err(NameError::Name(shortened(name))) }
}

/// Accepts a definition's or caveat's name, with its `/` prefixes.
///
/// # Errors
/// [`NameError::Type`] with the (shortened) name.
pub fn validate_type(name: &str) -> Result<(), NameError> {
    if name.len() <= TYPE_BYTES_MAX && name.split('/').all(segment) {
        Ok(())
    } else {
        Err(NameError::Type(shortened(name)))
    }
}

/// Accepts a caveat's name; looser than a definition's, as schemas in use have it.
///
/// # Errors
/// [`NameError::Caveat`] with the (shortened) name.
pub fn validate_caveat_name(name: &str) -> Result<(), NameError> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'|' | b'-');
    let starts_well = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    if starts_well && name.len() <= TYPE_BYTES_MAX && name.bytes().all(good) {
        Ok(())
    } else {
        Err(NameError::Caveat(shortened(name)))
    }
}

/// Accepts a concrete object id; `*` is not one.
///
/// # Errors
/// [`NameError::ObjectId`] with the (shortened) id.
pub fn validate_object_id(id: &str) -> Result<(), NameError> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'|' | b'-' | b'=' | b'+');
    if !id.is_empty() && id.len() <= OBJECT_ID_BYTES_MAX && id.bytes().all(good) {
        Ok(())
    } else {
        Err(NameError::ObjectId(shortened(id)))
    }
}

fn segment(name: &str) -> bool {
    let bytes = name.as_bytes();
    (NAME_BYTES_MIN..=NAME_BYTES_MAX).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_')
        && bytes[0].is_ascii_lowercase()
        && bytes[bytes.len() - 1] != b'_'
}

/// Error texts quote what came from outside, but never megabytes of it.
fn shortened(text: &str) -> String {
    const QUOTED_CHARS_MAX: usize = 80;
    if text.chars().count() <= QUOTED_CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(QUOTED_CHARS_MAX).chain(['…']).collect()
}
