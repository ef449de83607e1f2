//! What must change to get from one schema to another? One [`SchemaDiff`] per thing that differs.
//!
//! What is only ordered otherwise does not differ: definitions, members, alternatives of a relation, parameters.
//!
//! Cost: O(schemas).

use std::collections::HashSet;
use std::sync::Arc;

use idhini_caveat::Caveat;

use crate::reflection::{
    CaveatReflection, DefinitionReflection, ParameterReflection, PermissionReflection, RelationReflection,
};
use crate::{AllowedSubject, Definition, Permission, Relation, Schema};

/// One difference. What was added or changed is shown as it is afterwards, what was removed as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaDiff {
    /// Only in the new schema.
    DefinitionAdded(DefinitionReflection),
    /// Only in the old schema.
    DefinitionRemoved(DefinitionReflection),
    /// The comments of a definition.
    DefinitionCommentChanged(DefinitionReflection),
    /// Only in the new definition.
    RelationAdded(RelationReflection),
    /// Only in the old definition; perhaps a permission now.
    RelationRemoved(RelationReflection),
    /// The comments of a relation.
    RelationCommentChanged(RelationReflection),
    /// One more alternative.
    RelationSubjectAdded {
        /// The relation afterwards.
        relation: RelationReflection,
        /// The alternative.
        subject: AllowedSubject,
    },
    /// One alternative less.
    RelationSubjectRemoved {
        /// The relation afterwards.
        relation: RelationReflection,
        /// The alternative.
        subject: AllowedSubject,
    },
    /// Only in the new definition.
    PermissionAdded(PermissionReflection),
    /// Only in the old definition; perhaps a relation now.
    PermissionRemoved(PermissionReflection),
    /// The comments of a permission.
    PermissionCommentChanged(PermissionReflection),
    /// The rule, or the subject types it declares.
    PermissionExpressionChanged(PermissionReflection),
    /// Only in the new schema.
    CaveatAdded(CaveatReflection),
    /// Only in the old schema.
    CaveatRemoved(CaveatReflection),
    /// The comments of a caveat.
    CaveatCommentChanged(CaveatReflection),
    /// The expression, by its canonical text.
    CaveatExpressionChanged(CaveatReflection),
    /// One more parameter.
    CaveatParameterAdded(ParameterReflection),
    /// One parameter less.
    CaveatParameterRemoved(ParameterReflection),
    /// The type of a parameter.
    CaveatParameterTypeChanged {
        /// The parameter afterwards.
        parameter: ParameterReflection,
        /// The type before.
        previous_type: String,
    },
}

impl Schema {
    /// What changes when `new` takes the place of this schema.
    #[must_use]
    pub fn diff(&self, new: &Schema) -> Vec<SchemaDiff> {
        let mut out = Vec::new();
        let added = new.definitions.iter().filter(|d| self.definition(&d.name).is_none());
        out.extend(added.map(|d| SchemaDiff::DefinitionAdded(DefinitionReflection::new(d))));
        let removed = self.definitions.iter().filter(|d| new.definition(&d.name).is_none());
        out.extend(removed.map(|d| SchemaDiff::DefinitionRemoved(DefinitionReflection::new(d))));
        for caveat in new.caveats.iter().filter(|c| self.caveat(c.name()).is_none()) {
            out.push(SchemaDiff::CaveatAdded(reflect_caveat(new, caveat)));
        }
        for caveat in self.caveats.iter().filter(|c| new.caveat(c.name()).is_none()) {
            out.push(SchemaDiff::CaveatRemoved(reflect_caveat(self, caveat)));
        }
        for definition in &new.definitions {
            if let Some(old) = self.definition(&definition.name) {
                diff_definition(old, definition, &mut out);
            }
        }
        for caveat in &new.caveats {
            if let Some(old) = self.caveat(caveat.name()) {
                diff_caveat((self, old), (new, caveat), &mut out);
            }
        }
        out
    }
}

fn reflect_caveat(schema: &Schema, caveat: &Caveat) -> CaveatReflection {
    CaveatReflection::new(caveat, schema.caveat_comments(caveat.name()))
}

fn diff_definition(old: &Definition, new: &Definition, out: &mut Vec<SchemaDiff>) {
    if old.comments != new.comments {
        out.push(SchemaDiff::DefinitionCommentChanged(DefinitionReflection::new(new)));
    }
    for relation in old.relations.iter().filter(|r| new.relation(&r.name).is_none()) {
        out.push(SchemaDiff::RelationRemoved(RelationReflection::new(old, relation)));
    }
    for permission in old.permissions.iter().filter(|p| new.permission(&p.name).is_none()) {
        out.push(SchemaDiff::PermissionRemoved(PermissionReflection::new(old, permission)));
    }
    for relation in &new.relations {
        match old.relation(&relation.name) {
            None => out.push(SchemaDiff::RelationAdded(RelationReflection::new(new, relation))),
            Some(before) => diff_relation(new, before, relation, out),
        }
    }
    for permission in &new.permissions {
        match old.permission(&permission.name) {
            None => out.push(SchemaDiff::PermissionAdded(PermissionReflection::new(new, permission))),
            Some(before) => diff_permission(new, before, permission, out),
        }
    }
}

fn diff_relation(definition: &Definition, old: &Relation, new: &Relation, out: &mut Vec<SchemaDiff>) {
    let reflection = || RelationReflection::new(definition, new);
    if old.comments != new.comments {
        out.push(SchemaDiff::RelationCommentChanged(reflection()));
    }
    let before: HashSet<&AllowedSubject> = old.subjects.iter().collect();
    let after: HashSet<&AllowedSubject> = new.subjects.iter().collect();
    for subject in old.subjects.iter().filter(|subject| !after.contains(subject)) {
        out.push(SchemaDiff::RelationSubjectRemoved { relation: reflection(), subject: subject.clone() });
    }
    for subject in new.subjects.iter().filter(|subject| !before.contains(subject)) {
        out.push(SchemaDiff::RelationSubjectAdded { relation: reflection(), subject: subject.clone() });
    }
}

fn diff_permission(definition: &Definition, old: &Permission, new: &Permission, out: &mut Vec<SchemaDiff>) {
    if old.comments != new.comments {
        out.push(SchemaDiff::PermissionCommentChanged(PermissionReflection::new(definition, new)));
    }
    if old.expression != new.expression || old.declared_types != new.declared_types {
        out.push(SchemaDiff::PermissionExpressionChanged(PermissionReflection::new(definition, new)));
    }
}

fn diff_caveat(old: (&Schema, &Arc<Caveat>), new: (&Schema, &Arc<Caveat>), out: &mut Vec<SchemaDiff>) {
    let reflection = || reflect_caveat(new.0, new.1);
    if old.0.caveat_comments(old.1.name()) != new.0.caveat_comments(new.1.name()) {
        out.push(SchemaDiff::CaveatCommentChanged(reflection()));
    }
    let (before, after) = (ParameterReflection::all(old.1), ParameterReflection::all(new.1));
    let is_in = |list: &[ParameterReflection], name: &str| list.iter().any(|p| p.name == name);
    for parameter in &before {
        if !is_in(&after, &parameter.name) {
            out.push(SchemaDiff::CaveatParameterRemoved(parameter.clone()));
        }
    }
    for parameter in after {
        match before.iter().find(|p| p.name == parameter.name) {
            None => out.push(SchemaDiff::CaveatParameterAdded(parameter)),
            Some(previous) if previous.value_type != parameter.value_type => {
                let previous_type = previous.value_type.clone();
                out.push(SchemaDiff::CaveatParameterTypeChanged { parameter, previous_type });
            }
            Some(_) => {}
        }
    }
    if old.1.expression() != new.1.expression() {
        out.push(SchemaDiff::CaveatExpressionChanged(reflection()));
    }
}
