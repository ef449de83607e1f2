//! A list of relationships and a schema, with names replaced by numbers.

use std::collections::HashMap;
use std::sync::Arc;

use idhini_caveat::Caveat;
use idhini_model::{Context, Relationship, Timestamp};
use idhini_schema::{ArrowKind, Expression, Schema};

use super::Refusal;

/// An object's number.
pub(crate) type Object = u32;
/// A relation's or permission's number within its definition: relations first.
pub(crate) type Member = u32;
/// A subject: an object, or the userset of one of its members.
pub(crate) type Target = (Object, Option<Member>);

/// Everything about (schema, relationships) that does not depend on a question.
pub struct Tables {
    definitions: Vec<DefinitionRules>,
    definition_numbers: HashMap<String, u32>,
    objects: Vec<(u32, String)>,
    object_numbers: HashMap<(u32, String), Object>,
    /// By object, then relation.
    edges: Vec<Vec<Vec<Edge>>>,
    /// Each distinct (caveat, stored context) once.
    pub(crate) caveats: Vec<(Arc<Caveat>, Context)>,
}

/// A definition's members.
struct DefinitionRules {
    name: String,
    members: HashMap<String, Member>,
    relation_count: u32,
    /// Of the permissions, in order.
    rules: Vec<Rule>,
}

/// A permission's rule over numbers.
pub(crate) enum Rule {
    Nil,
    SelfObject,
    Member(Member),
    /// `targets` by definition: `None` where it lacks the target.
    Arrow {
        relation: Member,
        all: bool,
        targets: Vec<Option<Member>>,
    },
    Union(Vec<Rule>),
    Intersection(Vec<Rule>),
    Exclusion(Box<Rule>, Box<Rule>),
}

/// A relationship seen from its resource's relation.
pub(crate) struct Edge {
    pub(crate) subject: EdgeSubject,
    pub(crate) caveat: Option<u32>,
    pub(crate) expires_at: Option<Timestamp>,
}

/// Who stands in an edge.
pub(crate) enum EdgeSubject {
    Object(Object),
    /// Everything of this definition.
    Wildcard(u32),
    Userset(Object, Member),
}

/// The tables' names, and those that only the question brings.
pub(crate) struct Names<'t> {
    tables: &'t Tables,
    extra: Vec<(u32, String)>,
}

impl Edge {
    pub(crate) fn is_live(&self, instant: Timestamp) -> bool {
        self.expires_at.is_none_or(|at| at > instant)
    }
}

impl Tables {
    /// Numbers the names of `relationships`, whose every part `schema` must know.
    ///
    /// Relationships that the schema does not allow have no place in its data; those of unknown definitions,
    /// relations, usersets or caveats are a mistake of the caller and are reported as such.
    ///
    /// # Errors
    /// [`Refusal::UnknownDefinition`] or [`Refusal::UnknownMember`] (also for a caveat).
    pub fn new(schema: &Schema, relationships: &[Relationship]) -> Result<Tables, Refusal> {
        let mut tables = Tables {
            definitions: Vec::new(),
            definition_numbers: HashMap::new(),
            objects: Vec::new(),
            object_numbers: HashMap::new(),
            edges: Vec::new(),
            caveats: Vec::new(),
        };
        tables.add_schema(schema);
        for relationship in relationships {
            tables.add_relationship(schema, relationship)?;
        }
        Ok(tables)
    }

    fn add_schema(&mut self, schema: &Schema) {
        for (number, definition) in (0..).zip(schema.definitions()) {
            let relations = definition.relations.iter().map(|r| r.name.clone());
            let permissions = definition.permissions.iter().map(|p| p.name.clone());
            let members = relations.chain(permissions).zip(0..).collect();
            self.definition_numbers.insert(definition.name.clone(), number);
            self.definitions.push(DefinitionRules {
                name: definition.name.clone(),
                members,
                relation_count: u32::try_from(definition.relations.len()).unwrap_or(u32::MAX),
                rules: Vec::new(),
            });
        }
        for (number, definition) in schema.definitions().iter().enumerate() {
            let rules = definition.permissions.iter().map(|p| self.rule(number, &p.expression)).collect();
            self.definitions[number].rules = rules;
        }
    }

    fn rule(&self, definition: usize, expression: &Expression) -> Rule {
        let member = |name: &str| self.definitions[definition].members[name];
        let all_of = |parts: &[Expression]| parts.iter().map(|p| self.rule(definition, p)).collect();
        match expression {
            Expression::Nil => Rule::Nil,
            Expression::SelfObject => Rule::SelfObject,
            Expression::Member(name) => Rule::Member(member(name)),
            Expression::Arrow { relation, kind, target } => Rule::Arrow {
                relation: member(relation),
                all: *kind == ArrowKind::All,
                targets: self.definitions.iter().map(|d| d.members.get(target).copied()).collect(),
            },
            Expression::Union(parts) => Rule::Union(all_of(parts)),
            Expression::Intersection(parts) => Rule::Intersection(all_of(parts)),
            Expression::Exclusion(base, minus) => {
                Rule::Exclusion(Box::new(self.rule(definition, base)), Box::new(self.rule(definition, minus)))
            }
        }
    }

    fn add_relationship(&mut self, schema: &Schema, relationship: &Relationship) -> Result<(), Refusal> {
        let Relationship { resource, relation, subject, caveat, expires_at } = relationship;
        let relation = self.member(&resource.object_type, relation)?;
        let resource = self.intern(&resource.object_type, &resource.object_id)?;
        let subject = if subject.is_wildcard() {
            EdgeSubject::Wildcard(self.definition(&subject.object_type)?)
        } else {
            let object = self.intern(&subject.object_type, &subject.object_id)?;
            match &subject.relation {
                Some(name) => EdgeSubject::Userset(object, self.member(&subject.object_type, name)?),
                None => EdgeSubject::Object(object),
            }
        };
        let caveat = match caveat {
            Some(used) => {
                let unknown =
                    || Refusal::UnknownMember { definition: "caveat".into(), member: used.name.clone() };
                let caveat = schema.caveat(&used.name).ok_or_else(unknown)?;
                let known =
                    self.caveats.iter().position(|(c, s)| c.name() == used.name && *s == used.context);
                let position = known.unwrap_or_else(|| {
                    self.caveats.push((Arc::clone(caveat), used.context.clone()));
                    self.caveats.len() - 1
                });
                Some(u32::try_from(position).unwrap_or(u32::MAX))
            }
            None => None,
        };
        let edge = Edge { subject, caveat, expires_at: *expires_at };
        self.edges[resource as usize][relation as usize].push(edge);
        Ok(())
    }

    fn intern(&mut self, object_type: &str, id: &str) -> Result<Object, Refusal> {
        let definition = self.definition(object_type)?;
        let next = u32::try_from(self.objects.len()).unwrap_or(u32::MAX);
        let key = (definition, id.to_owned());
        let number = *self.object_numbers.entry(key.clone()).or_insert(next);
        if number == next {
            self.objects.push(key);
            let relations = self.definitions[definition as usize].relation_count;
            self.edges.push((0..relations).map(|_| Vec::new()).collect());
        }
        Ok(number)
    }

    pub(crate) fn definition(&self, name: &str) -> Result<u32, Refusal> {
        self.definition_numbers.get(name).copied().ok_or_else(|| Refusal::UnknownDefinition(name.to_owned()))
    }

    pub(crate) fn member(&self, definition: &str, name: &str) -> Result<Member, Refusal> {
        let rules = &self.definitions[self.definition(definition)? as usize];
        rules
            .members
            .get(name)
            .copied()
            .ok_or_else(|| Refusal::UnknownMember { definition: rules.name.clone(), member: name.to_owned() })
    }

    /// How many members a definition has.
    pub(crate) fn member_count(&self, definition: u32) -> Member {
        let definition = &self.definitions[definition as usize];
        definition.relation_count + Member::try_from(definition.rules.len()).unwrap_or(0)
    }

    /// Most members of any definition.
    pub(crate) fn members_max(&self) -> usize {
        self.definitions.iter().map(|d| d.members.len()).max().unwrap_or(0)
    }

    /// The rule of a permission, `None` for a relation.
    pub(crate) fn rule_of(&self, definition: u32, member: Member) -> Option<&Rule> {
        let definition = &self.definitions[definition as usize];
        member.checked_sub(definition.relation_count).map(|i| &definition.rules[i as usize])
    }

    pub(crate) fn edges_of(&self, object: Object, relation: Member) -> &[Edge] {
        self.edges.get(object as usize).map_or(&[], |relations| &relations[relation as usize])
    }

    pub(crate) fn objects_of(&self, object_type: &str) -> impl Iterator<Item = Object> {
        let definition = self.definition_numbers.get(object_type).copied();
        (0..).zip(&self.objects).filter(move |(_, (d, _))| Some(*d) == definition).map(|(number, _)| number)
    }

    /// By object: whether it stands in a live relationship.
    pub(crate) fn live_objects(&self, instant: Timestamp) -> Vec<bool> {
        let mut held = vec![false; self.objects.len()];
        for (resource, relations) in self.edges.iter().enumerate() {
            for edge in relations.iter().flatten().filter(|e| e.is_live(instant)) {
                held[resource] = true;
                match edge.subject {
                    EdgeSubject::Object(o) | EdgeSubject::Userset(o, _) => held[o as usize] = true,
                    EdgeSubject::Wildcard(_) => {}
                }
            }
        }
        held
    }

    pub(crate) fn names(&self) -> Names<'_> {
        Names { tables: self, extra: Vec::new() }
    }
}

impl Names<'_> {
    /// The number of an object, a new one if nothing has named it.
    pub(crate) fn object(&mut self, object_type: &str, id: &str) -> Result<Object, Refusal> {
        let key = (self.tables.definition(object_type)?, id.to_owned());
        if let Some(number) = self.tables.object_numbers.get(&key) {
            return Ok(*number);
        }
        let position = self.extra.iter().position(|k| *k == key).unwrap_or_else(|| {
            self.extra.push(key);
            self.extra.len() - 1
        });
        Ok(u32::try_from(self.tables.objects.len() + position).unwrap_or(u32::MAX))
    }

    /// An object of the definition that nothing names: the last number plus the definition's.
    pub(crate) fn anonymous(&self, definition: u32) -> Object {
        u32::try_from(self.tables.objects.len() + self.extra.len()).unwrap_or(u32::MAX) + definition
    }

    fn entry(&self, object: Object) -> Result<&(u32, String), u32> {
        let index = object as usize;
        let known = self.tables.objects.len();
        let entry = self.tables.objects.get(index).or_else(|| self.extra.get(index.wrapping_sub(known)));
        entry.ok_or_else(|| object - u32::try_from(known + self.extra.len()).unwrap_or(u32::MAX))
    }

    pub(crate) fn definition_of(&self, object: Object) -> u32 {
        match self.entry(object) {
            Ok((definition, _)) => *definition,
            Err(definition) => definition,
        }
    }

    /// The object's id; empty for an anonymous one.
    pub(crate) fn id(&self, object: Object) -> &str {
        self.entry(object).map_or("", |(_, id)| id)
    }

    /// Numbers are below this.
    pub(crate) fn object_count(&self) -> usize {
        self.tables.objects.len() + self.extra.len()
    }
}
