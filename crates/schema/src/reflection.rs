//! What does a schema hold, as data? The shapes of `ReflectSchema`, with its filters.
//!
//! Definitions and caveats are sorted by name, members stand in the order they were written.

use idhini_caveat::Caveat;

use crate::schema::Member;
use crate::{AllowedSubject, Definition, Permission, Relation, Schema};

/// A schema, or what filters left of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SchemaReflection {
    /// Sorted by name.
    pub definitions: Vec<DefinitionReflection>,
    /// Sorted by name.
    pub caveats: Vec<CaveatReflection>,
}

/// A definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionReflection {
    /// Its name.
    pub name: String,
    /// Its comments, one per line.
    pub comment: String,
    /// In the order written.
    pub relations: Vec<RelationReflection>,
    /// In the order written.
    pub permissions: Vec<PermissionReflection>,
}

/// A relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationReflection {
    /// Its name.
    pub name: String,
    /// Its comments, one per line.
    pub comment: String,
    /// The definition it is in.
    pub definition: String,
    /// What may stand in it.
    pub subjects: Vec<AllowedSubject>,
}

/// A permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionReflection {
    /// Its name.
    pub name: String,
    /// Its comments, one per line.
    pub comment: String,
    /// The definition it is in.
    pub definition: String,
}

/// A caveat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaveatReflection {
    /// Its name.
    pub name: String,
    /// Its comments, one per line.
    pub comment: String,
    /// Sorted by name.
    pub parameters: Vec<ParameterReflection>,
    /// In canonical text.
    pub expression: String,
}

/// A caveat's parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterReflection {
    /// Its name.
    pub name: String,
    /// Such as `list<string>`.
    pub value_type: String,
    /// The caveat it belongs to.
    pub caveat: String,
}

/// Asks for a part of a schema. Each field is the beginning of a name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReflectionFilter {
    /// Definitions.
    pub definition: Option<String>,
    /// Caveats; not together with `definition`.
    pub caveat: Option<String>,
    /// Relations of the definitions; permissions are left alone.
    pub relation: Option<String>,
    /// Permissions of the definitions; relations are left alone.
    pub permission: Option<String>,
}

/// Why a filter makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReflectionFilterError {
    /// Both a definition and a caveat.
    #[error("a filter names a definition or a caveat, not both: use two filters")]
    DefinitionAndCaveat,
    /// Both a relation and a permission.
    #[error("a filter names a relation or a permission, not both: use two filters")]
    RelationAndPermission,
    /// A relation of no definition.
    #[error("a filter that names a relation must name its definition too")]
    RelationWithoutDefinition,
    /// A permission of no definition.
    #[error("a filter that names a permission must name its definition too")]
    PermissionWithoutDefinition,
}

impl ReflectionFilter {
    fn check(&self) -> Result<(), ReflectionFilterError> {
        if self.definition.is_some() && self.caveat.is_some() {
            return Err(ReflectionFilterError::DefinitionAndCaveat);
        }
        if self.relation.is_some() && self.permission.is_some() {
            return Err(ReflectionFilterError::RelationAndPermission);
        }
        match (&self.definition, &self.relation, &self.permission) {
            (None, Some(_), _) => Err(ReflectionFilterError::RelationWithoutDefinition),
            (None, _, Some(_)) => Err(ReflectionFilterError::PermissionWithoutDefinition),
            _ => Ok(()),
        }
    }

    fn wants_definition(&self, name: &str) -> bool {
        self.definition.as_deref().is_some_and(|prefix| name.starts_with(prefix))
    }

    fn wants_caveat(&self, name: &str) -> bool {
        self.caveat.as_deref().is_some_and(|prefix| name.starts_with(prefix))
    }
}

impl Schema {
    /// The schema as data: all of it without filters, else what at least one of them asks for. A filter without a field
    /// asks for nothing.
    ///
    /// Filters for relations (permissions) hold for the definitions that the same filter names; of those, only
    /// relations (permissions) that one of them asks for are answered.
    ///
    /// # Errors
    /// [`ReflectionFilterError`] with the first filter that makes no sense.
    pub fn reflect(&self, filters: &[ReflectionFilter]) -> Result<SchemaReflection, ReflectionFilterError> {
        filters.iter().try_for_each(ReflectionFilter::check)?;
        let all = [
            ReflectionFilter { definition: Some(String::new()), ..ReflectionFilter::default() },
            ReflectionFilter { caveat: Some(String::new()), ..ReflectionFilter::default() },
        ];
        let filters = if filters.is_empty() { &all[..] } else { filters };
        let mut reflection = SchemaReflection::default();
        for definition in &self.definitions {
            let asking: Vec<&ReflectionFilter> =
                filters.iter().filter(|f| f.wants_definition(&definition.name)).collect();
            if !asking.is_empty() {
                reflection.definitions.push(filtered(definition, &asking));
            }
        }
        for (caveat, comments) in self.caveats.iter().zip(&self.caveat_comments) {
            if filters.iter().any(|f| f.wants_caveat(caveat.name())) {
                reflection.caveats.push(CaveatReflection::new(caveat, comments));
            }
        }
        Ok(reflection)
    }
}

fn filtered(definition: &Definition, filters: &[&ReflectionFilter]) -> DefinitionReflection {
    let mut reflection = DefinitionReflection::new(definition);
    let relations: Vec<&str> = filters.iter().filter_map(|f| f.relation.as_deref()).collect();
    let permissions: Vec<&str> = filters.iter().filter_map(|f| f.permission.as_deref()).collect();
    let wants =
        |prefixes: &[&str], name: &str| prefixes.is_empty() || prefixes.iter().any(|p| name.starts_with(p));
    reflection.relations.retain(|relation| wants(&relations, &relation.name));
    reflection.permissions.retain(|permission| wants(&permissions, &permission.name));
    reflection
}

impl DefinitionReflection {
    pub(crate) fn new(definition: &Definition) -> DefinitionReflection {
        let (mut relations, mut permissions) = (Vec::new(), Vec::new());
        for member in &definition.order {
            match member {
                Member::Relation(index) => {
                    relations
                        .push(RelationReflection::new(definition, &definition.relations[*index as usize]));
                }
                Member::Permission(index) => {
                    permissions.push(PermissionReflection::new(
                        definition,
                        &definition.permissions[*index as usize],
                    ));
                }
            }
        }
        let (name, comment) = (definition.name.clone(), definition.comments.join("\n"));
        DefinitionReflection { name, comment, relations, permissions }
    }
}

impl RelationReflection {
    pub(crate) fn new(definition: &Definition, relation: &Relation) -> RelationReflection {
        RelationReflection {
            name: relation.name.clone(),
            comment: relation.comments.join("\n"),
            definition: definition.name.clone(),
            subjects: relation.subjects.clone(),
        }
    }
}

impl PermissionReflection {
    pub(crate) fn new(definition: &Definition, permission: &Permission) -> PermissionReflection {
        PermissionReflection {
            name: permission.name.clone(),
            comment: permission.comments.join("\n"),
            definition: definition.name.clone(),
        }
    }
}

impl CaveatReflection {
    pub(crate) fn new(caveat: &Caveat, comments: &[String]) -> CaveatReflection {
        CaveatReflection {
            name: caveat.name().to_owned(),
            comment: comments.join("\n"),
            parameters: ParameterReflection::all(caveat),
            expression: caveat.expression().to_owned(),
        }
    }
}

impl ParameterReflection {
    pub(crate) fn all(caveat: &Caveat) -> Vec<ParameterReflection> {
        let parameters = caveat.parameters().iter();
        parameters
            .map(|parameter| ParameterReflection {
                name: parameter.name.clone(),
                value_type: parameter.value_type.to_string(),
                caveat: caveat.name().to_owned(),
            })
            .collect()
    }
}
