//! What is asked of both servers, and what either of them answers, in one form.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use idhini_model::{Context, Relationship, ResourceRef, SubjectRef};
use idhini_testkit::generate::Ask;
pub use idhini_testkit::reference::{Answer, Value};
use idhini_testkit::sketch::Sketch;
use tonic::Code;

/// The key under which a lookup of subjects answers everybody who is not named.
pub const EVERYBODY: &str = "*";

/// One call's question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// CheckPermission, or an item of CheckBulkPermissions.
    Check {
        /// The resource.
        resource: ResourceRef,
        /// A relation or permission.
        permission: String,
        /// The subject.
        subject: SubjectRef,
    },
    /// LookupResources.
    Resources {
        /// The resources' type.
        resource_type: String,
        /// A relation or permission.
        permission: String,
        /// The subject.
        subject: SubjectRef,
    },
    /// LookupSubjects.
    Subjects {
        /// The resource.
        resource: ResourceRef,
        /// A relation or permission.
        permission: String,
        /// The subjects' type.
        subject_type: String,
        /// The subjects' relation.
        subject_relation: Option<String>,
    },
    /// ExpandPermissionTree.
    Expand {
        /// The resource.
        resource: ResourceRef,
        /// A relation or permission.
        permission: String,
    },
}

/// A question with the context it is asked under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posed {
    /// The question.
    pub query: Query,
    /// The request's context.
    pub context: Context,
}

/// Everything that one question needs to be asked again: schema, data, question, and its neighbours in a bulk call.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// The schema.
    pub sketch: Sketch,
    /// The data.
    pub relationships: Vec<Relationship>,
    /// What is asked.
    pub asked: Posed,
    /// Other checks of the same bulk call, before it.
    pub company: Vec<Posed>,
}

/// An answer, whoever gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To a check.
    Check(Answer),
    /// To a lookup of resources, by id.
    Resources(BTreeMap<String, Answer>),
    /// To a lookup of subjects.
    Subjects(Subjects),
    /// To an expansion.
    Tree(Tree),
    /// An error.
    Fault(Fault),
}

/// The answer of a lookup of subjects, each subject once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subjects {
    /// By id, [`EVERYBODY`] among them.
    pub found: BTreeMap<String, Answer>,
    /// What those who are excluded from [`EVERYBODY`] still have through it: no, or conditional.
    pub excluded: BTreeMap<String, Answer>,
}

/// An expansion; children are sorted where their order means nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tree {
    /// `type:id`
    pub resource: String,
    /// Relation or permission.
    pub member: String,
    /// What it consists of.
    pub body: Body,
}

/// What a node of an expansion consists of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Body {
    /// Subjects.
    Leaf(BTreeSet<String>),
    /// Any of these.
    Union(Vec<Tree>),
    /// All of these.
    Intersection(Vec<Tree>),
    /// The first without the others.
    Exclusion(Vec<Tree>),
}

/// An error as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The status.
    pub code: Code,
    /// The text, for people.
    pub message: String,
}

/// A reply, and what was odd about the way it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The reply, repeated items folded.
    pub reply: Reply,
    /// Items that were answered more than once.
    pub repeated: BTreeSet<String>,
}

impl Query {
    /// The call's short name.
    #[must_use]
    pub fn call(&self) -> &'static str {
        match self {
            Query::Check { .. } => "check",
            Query::Resources { .. } => "lookup of resources",
            Query::Subjects { .. } => "lookup of subjects",
            Query::Expand { .. } => "expand",
        }
    }
}

impl Query {
    /// The definition and member asked about.
    #[must_use]
    pub fn goal(&self) -> (&str, &str) {
        match self {
            Query::Check { resource, permission, .. }
            | Query::Subjects { resource, permission, .. }
            | Query::Expand { resource, permission } => (&resource.object_type, permission),
            Query::Resources { resource_type, permission, .. } => (resource_type, permission),
        }
    }
}

impl From<Ask> for Query {
    fn from(ask: Ask) -> Query {
        match ask {
            Ask::Check { resource, permission, subject } => Query::Check { resource, permission, subject },
            Ask::Resources { resource_type, permission, subject, .. } => {
                Query::Resources { resource_type, permission, subject }
            }
            Ask::Subjects { resource, permission, subject_type, subject_relation, .. } => {
                Query::Subjects { resource, permission, subject_type, subject_relation }
            }
        }
    }
}

impl Reply {
    /// The error's code, if it is one.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Reply::Fault(fault) => Some(fault),
            _ => None,
        }
    }

    /// How it counts in the report: for lookups the greatest value of any item.
    #[must_use]
    pub fn turnout(&self) -> &'static str {
        let greatest = match self {
            Reply::Fault(_) => return "refused",
            Reply::Tree(_) => return "tree",
            Reply::Check(answer) => Some(answer.value),
            Reply::Resources(found) => found.values().map(|a| a.value).max(),
            Reply::Subjects(subjects) => subjects.found.values().map(|a| a.value).max(),
        };
        match greatest {
            None | Some(Value::No) => "no",
            Some(Value::Conditional) => "conditional",
            Some(Value::Has) => "has",
        }
    }
}

impl Subjects {
    /// What a subject has by this answer: for itself or as one of everybody, whichever is more.
    #[must_use]
    pub fn value(&self, id: &str) -> Value {
        let of = |map: &BTreeMap<String, Answer>, id: &str| map.get(id).map(|a| a.value);
        let alone = of(&self.found, id).unwrap_or(Value::No);
        let everybody = of(&self.found, EVERYBODY).unwrap_or(Value::No);
        alone.max(of(&self.excluded, id).map_or(everybody, |left| left.min(everybody)))
    }
}

impl Tree {
    /// Renames the types, all the way down.
    pub fn rename(&mut self, name: &dyn Fn(&str) -> String) {
        self.resource = name(&self.resource);
        match &mut self.body {
            Body::Leaf(subjects) => *subjects = subjects.iter().map(|subject| name(subject)).collect(),
            Body::Union(children) | Body::Intersection(children) | Body::Exclusion(children) => {
                children.iter_mut().for_each(|child| child.rename(name));
            }
        }
    }

    /// Sorts children where their order means nothing, all the way down.
    pub fn sort(&mut self) {
        let children = match &mut self.body {
            Body::Leaf(_) => return,
            Body::Union(children) | Body::Intersection(children) | Body::Exclusion(children) => children,
        };
        children.iter_mut().for_each(Tree::sort);
        if let Body::Union(children) | Body::Intersection(children) = &mut self.body {
            children.sort();
        }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Query::Check { resource, permission, subject } => {
                write!(f, "check {resource}#{permission}@{subject}")
            }
            Query::Resources { resource_type, permission, subject } => {
                write!(f, "lookup of resources {resource_type}#{permission}@{subject}")
            }
            Query::Subjects { resource, permission, subject_type, subject_relation } => {
                write!(f, "lookup of subjects {resource}#{permission}@{subject_type}")?;
                subject_relation.as_ref().map_or(Ok(()), |relation| write!(f, "#{relation}"))
            }
            Query::Expand { resource, permission } => write!(f, "expand {resource}#{permission}"),
        }
    }
}

impl fmt::Display for Posed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {}", self.query, self.context)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.sketch)?;
        for relationship in &self.relationships {
            writeln!(f, "{relationship}")?;
        }
        for posed in &self.company {
            writeln!(f, "in one call with: {posed}")?;
        }
        writeln!(f, "{}", self.asked)
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Check(answer) => show(f, answer),
            Reply::Resources(found) => show_all(f, found),
            Reply::Subjects(subjects) => {
                show_all(f, &subjects.found)?;
                if !subjects.excluded.is_empty() {
                    f.write_str(" without ")?;
                    show_all(f, &subjects.excluded)?;
                }
                Ok(())
            }
            Reply::Tree(tree) => write!(f, "{tree}"),
            Reply::Fault(fault) => {
                write!(f, "{:?}: {}", fault.code, fault.message.lines().next().unwrap_or_default())
            }
        }
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.resource, self.member)?;
        let (sign, children) = match &self.body {
            Body::Leaf(subjects) => {
                let names: Vec<&str> = subjects.iter().map(String::as_str).collect();
                return write!(f, "[{}]", names.join(", "));
            }
            Body::Union(children) => (" + ", children),
            Body::Intersection(children) => (" & ", children),
            Body::Exclusion(children) => (" - ", children),
        };
        let children: Vec<String> = children.iter().map(ToString::to_string).collect();
        write!(f, "({})", children.join(sign))
    }
}

fn show(f: &mut fmt::Formatter<'_>, answer: &Answer) -> fmt::Result {
    match answer.value {
        Value::No => f.write_str("no"),
        Value::Has => f.write_str("has"),
        Value::Conditional => {
            let names: Vec<&str> = answer.missing.iter().map(String::as_str).collect();
            write!(f, "if({})", names.join(", "))
        }
    }
}

fn show_all(f: &mut fmt::Formatter<'_>, found: &BTreeMap<String, Answer>) -> fmt::Result {
    f.write_str("{")?;
    for (index, (id, answer)) in found.iter().enumerate() {
        f.write_str(if index == 0 { "" } else { ", " })?;
        write!(f, "{id}: ")?;
        show(f, answer)?;
    }
    f.write_str("}")
}
