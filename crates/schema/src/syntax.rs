//! What does a schema text say, before anyone asked whether it makes sense?

use idhini_caveat::CaveatType;

use crate::mistake::{Place, Position};
use crate::{AllowedSubject, Expression};

/// A name and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) place: Place,
}

/// One file.
#[derive(Debug, Default)]
pub(crate) struct SyntaxFile {
    pub(crate) flags: Flags,
    pub(crate) imports: Vec<Name>,
    pub(crate) definitions: Vec<SyntaxBlock>,
    pub(crate) partials: Vec<SyntaxBlock>,
    pub(crate) caveats: Vec<SyntaxCaveat>,
}

/// What `use` switched on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flags {
    pub(crate) expiration: bool,
    pub(crate) import: bool,
    pub(crate) partial: bool,
    pub(crate) self_object: bool,
    pub(crate) typechecking: bool,
}

/// A definition or a partial.
#[derive(Debug)]
pub(crate) struct SyntaxBlock {
    pub(crate) name: Name,
    pub(crate) comments: Vec<String>,
    pub(crate) members: Vec<SyntaxMember>,
}

/// A relation, a permission, or `...partial`.
#[derive(Debug, Clone)]
pub(crate) struct SyntaxMember {
    pub(crate) name: Name,
    pub(crate) comments: Vec<String>,
    /// Length of its text in bytes: what splicing it again costs.
    pub(crate) bytes: usize,
    pub(crate) kind: MemberKind,
}

#[derive(Debug, Clone)]
pub(crate) enum MemberKind {
    Relation(Vec<SyntaxSubject>),
    Permission {
        declared: Option<Vec<Name>>,
        expression: Expression,
        /// Places of the expression's members and arrows, from left to right.
        places: Vec<Place>,
    },
    Splice,
}

/// One alternative of a relation.
#[derive(Debug, Clone)]
pub(crate) struct SyntaxSubject {
    pub(crate) allowed: AllowedSubject,
    pub(crate) place: Place,
    pub(crate) relation_place: Place,
    pub(crate) caveat_place: Place,
}

#[derive(Debug)]
pub(crate) struct SyntaxCaveat {
    pub(crate) name: Name,
    pub(crate) comments: Vec<String>,
    pub(crate) parameters: Vec<(Name, CaveatType)>,
    pub(crate) body: String,
    pub(crate) body_place: Place,
    pub(crate) body_inside: Position,
}
