//! Who is calling, about which namespace, and may they?

use std::sync::Arc;

use idhini_model::SubjectRef;
use idhini_replica::control::NamespacePath;

/// What a call was let in with; among its request's extensions.
#[derive(Debug, Clone)]
pub(crate) struct Admitted(pub(crate) Arc<Pass>);

/// What is known of who calls.
#[derive(Debug)]
pub(crate) struct Pass {
    /// Who calls: `token:ACCESSOR`, `preshared_key:…`, `root_token:…` or `certificate:…`.
    pub(crate) caller: SubjectRef,
    /// The namespace that the call is about: the one that its metadata names, else its token's home. Of a call that names
    /// paths of its own, such as those of `NamespaceService`, there may be none here.
    pub(crate) namespace: NamespacePath,
}
