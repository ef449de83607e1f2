//! Which members depend on which? By the schema alone, whatever relationships exist.
//!
//! *Computable* from a member is what a subject standing in it can thereby come to stand in: names, usersets, targets
//! of arrows. An arrow's left side passes nobody on, so nothing is computable from it; but a permission *depends* on
//! it, since without its relationships the arrow leads nowhere, unless no followed type has the arrow's target.
//!
//! Cost: O(schema), with arrows counted once per type they may lead to; the checker bounds that.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::{Definition, Expression, Relation, Schema, SubjectKind};

/// A relation or permission, by names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberReference {
    /// The definition.
    pub definition: String,
    /// The member.
    pub member: String,
    /// Whether it is computed.
    pub is_permission: bool,
}

/// Why a question about dependence cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DependenceError {
    /// No such definition.
    #[error("there is no definition `{definition}`")]
    UnknownDefinition {
        /// Its name.
        definition: String,
    },
    /// No such member.
    #[error("definition `{definition}` has no relation or permission `{member}`")]
    UnknownMember {
        /// The definition.
        definition: String,
        /// What it lacks.
        member: String,
    },
    /// A relation where a permission was asked for.
    #[error("`{member}` of definition `{definition}` is a relation, not a permission")]
    NotAPermission {
        /// The definition.
        definition: String,
        /// The relation.
        member: String,
    },
}

/// A member, or with `None` the objects of a definition themselves.
type Node<'a> = (&'a str, Option<&'a str>);

impl Schema {
    /// What can be computed from a member, or without one from being an object of the definition; transitively, across
    /// definitions, sorted, without the member itself.
    ///
    /// # Errors
    /// [`DependenceError`] if there is no such definition or member.
    pub fn computable(
        &self,
        definition: &str,
        member: Option<&str>,
    ) -> Result<Vec<MemberReference>, DependenceError> {
        let start = self.node(definition, member)?;
        let onward = self.onward();
        let mut seen: HashSet<Node<'_>> = HashSet::from([start]);
        let mut open = vec![start];
        while let Some(node) = open.pop() {
            for &next in onward.get(&node).map_or(&[][..], Vec::as_slice) {
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        seen.remove(&start);
        Ok(self.references(seen.into_iter().filter_map(|(definition, member)| Some((definition, member?)))))
    }

    /// What a permission depends on: relations and permissions, transitively, across definitions, sorted, without the
    /// permission itself.
    ///
    /// # Errors
    /// [`DependenceError`] if there is no such permission.
    pub fn dependencies(
        &self,
        definition: &str,
        permission: &str,
    ) -> Result<Vec<MemberReference>, DependenceError> {
        self.node(definition, Some(permission))?;
        let found = self.definition(definition).and_then(|d| Some((d, d.permission(permission)?)));
        let Some((definition, permission)) = found else {
            let (definition, member) = (definition.to_owned(), permission.to_owned());
            return Err(DependenceError::NotAPermission { definition, member });
        };
        let start = (definition.name.as_str(), permission.name.as_str());
        let mut walk =
            Walk { schema: self, followed: HashSet::new(), open: vec![start], seen: HashSet::from([start]) };
        walk.run();
        let mut all = walk.seen;
        all.remove(&start);
        all.extend(walk.followed);
        Ok(self.references(all.into_iter()))
    }

    fn node(&self, definition: &str, member: Option<&str>) -> Result<Node<'_>, DependenceError> {
        let Some(found) = self.definition(definition) else {
            return Err(DependenceError::UnknownDefinition { definition: definition.to_owned() });
        };
        let Some(member) = member else { return Ok((&found.name, None)) };
        match name_of(found, member) {
            Some(name) => Ok((&found.name, Some(name))),
            None => Err(DependenceError::UnknownMember {
                definition: definition.to_owned(),
                member: member.to_owned(),
            }),
        }
    }

    /// For each node, the members that directly take up who stands in it.
    fn onward(&self) -> HashMap<Node<'_>, Vec<Node<'_>>> {
        let mut onward: HashMap<Node<'_>, Vec<Node<'_>>> = HashMap::new();
        for definition in &self.definitions {
            for relation in &definition.relations {
                let to = (definition.name.as_str(), Some(relation.name.as_str()));
                for subject in &relation.subjects {
                    let from = match &subject.kind {
                        SubjectKind::Userset(member) => Some(member.as_str()),
                        SubjectKind::Object | SubjectKind::Wildcard => None,
                    };
                    onward.entry((&subject.subject_type, from)).or_default().push(to);
                }
            }
            for permission in &definition.permissions {
                let to = (definition.name.as_str(), Some(permission.name.as_str()));
                for leaf in leaves(&permission.expression) {
                    match leaf {
                        Expression::SelfObject => {
                            onward.entry((&definition.name, None)).or_default().push(to)
                        }
                        Expression::Member(name) => {
                            onward.entry((&definition.name, Some(name))).or_default().push(to)
                        }
                        Expression::Arrow { relation, target, .. } => {
                            for followed in types_of(definition.relation(relation)) {
                                onward.entry((followed, Some(target))).or_default().push(to);
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
        onward
    }

    fn references<'a>(&self, members: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<MemberReference> {
        let sorted: BTreeSet<(&str, &str)> = members.collect();
        let reference = |(definition, member): (&str, &str)| {
            let is_permission = self.definition(definition)?.permission(member).is_some();
            Some(MemberReference {
                definition: definition.to_owned(),
                member: member.to_owned(),
                is_permission,
            })
        };
        sorted.into_iter().filter_map(reference).collect()
    }
}

type Pair<'a> = (&'a str, &'a str);

struct Walk<'a> {
    schema: &'a Schema,
    /// Left sides of arrows: depended upon, but what stands in them is not.
    followed: HashSet<Pair<'a>>,
    seen: HashSet<Pair<'a>>,
    open: Vec<Pair<'a>>,
}

impl<'a> Walk<'a> {
    fn run(&mut self) {
        while let Some((definition, member)) = self.open.pop() {
            let Some(definition) = self.schema.definition(definition) else { continue };
            if let Some(permission) = definition.permission(member) {
                for leaf in leaves(&permission.expression) {
                    self.leaf(definition, leaf);
                }
            } else if let Some(relation) = definition.relation(member) {
                for subject in &relation.subjects {
                    if let SubjectKind::Userset(member) = &subject.kind {
                        self.visit(&subject.subject_type, member);
                    }
                }
            }
        }
    }

    fn leaf(&mut self, definition: &'a Definition, leaf: &'a Expression) {
        match leaf {
            Expression::Member(name) => self.visit(&definition.name, name),
            Expression::Arrow { relation, target, .. } => {
                let targets: Vec<&str> = types_of(definition.relation(relation))
                    .into_iter()
                    .filter(|followed| self.schema.definition(followed).is_some_and(|d| d.has_member(target)))
                    .collect();
                // An arrow that leads nowhere decides nothing.
                if !targets.is_empty() {
                    self.followed.insert((&definition.name, relation));
                }
                for followed in targets {
                    self.visit(followed, target);
                }
            }
            _ => {}
        }
    }

    fn visit(&mut self, definition: &'a str, member: &'a str) {
        if self.seen.insert((definition, member)) {
            self.open.push((definition, member));
        }
    }
}

fn name_of<'a>(definition: &'a Definition, member: &str) -> Option<&'a str> {
    let relation = definition.relation(member).map(|relation| relation.name.as_str());
    relation.or_else(|| definition.permission(member).map(|permission| permission.name.as_str()))
}

/// The types that a relation's subjects have, none twice.
fn types_of(relation: Option<&Relation>) -> BTreeSet<&str> {
    relation
        .into_iter()
        .flat_map(|relation| &relation.subjects)
        .map(|subject| subject.subject_type.as_str())
        .collect()
}

/// Everything in an expression that is not an operator.
fn leaves(expression: &Expression) -> Vec<&Expression> {
    let mut leaves = Vec::new();
    let mut open = vec![expression];
    while let Some(next) = open.pop() {
        match next {
            Expression::Union(terms) | Expression::Intersection(terms) => open.extend(terms),
            Expression::Exclusion(base, excluded) => open.extend([base.as_ref(), excluded.as_ref()]),
            leaf => leaves.push(leaf),
        }
    }
    leaves
}
