//! Random schemas with every operator in every position, valid by construction.
//!
//! # Invariants
//! * No arrow leads over a relation that admits a wildcard, and no userset names a member that reaches one.
//! * Every arrow's target is a member of at least one type that its relation admits.
//! * With `Options::spicedb`, permissions of a definition refer only to earlier ones.

use idhini_schema::SubjectKind;

use super::{Options, caveats};
use crate::rng::Rng;
use crate::sketch::{Alternative, Arrow, DefinitionSketch, Expr, PermissionSketch, RelationSketch, Sketch};

const TYPES: &[&str] = &["group", "folder", "document", "org/unit", "robot"];
const RELATIONS: &[&str] = &["owner", "viewer", "member", "parent", "banned", "peer"];
const PERMISSIONS: &[&str] = &["view", "edit", "admin", "join", "list", "member_of"];

/// Names and what they may be used for, before any rule is written.
struct Frame {
    definitions: Vec<FrameDefinition>,
}

struct FrameDefinition {
    name: String,
    /// Name, and whether the relation may admit wildcards.
    relations: Vec<(String, bool)>,
    permissions: Vec<String>,
}

/// A random schema.
pub(super) fn schema(rng: &mut Rng, options: &Options) -> Sketch {
    let frame = frame(rng);
    let count = rng.between(1, 3);
    let mut sketch = Sketch { caveats: caveats::some_caveats(rng, count), definitions: Vec::new() };
    for definition in &frame.definitions {
        let relations = definition
            .relations
            .iter()
            .map(|(name, wildcard)| RelationSketch {
                name: name.clone(),
                subjects: alternatives(rng, &frame, *wildcard, &sketch),
            })
            .collect();
        sketch.definitions.push(DefinitionSketch {
            name: definition.name.clone(),
            relations,
            permissions: Vec::new(),
        });
    }
    for (number, definition) in frame.definitions.iter().enumerate() {
        for index in 0..definition.permissions.len() {
            let mut rule = Rules { rng, frame: &frame, sketch: &sketch, options, number, index };
            let depth = rule.rng.weighted(&[10, 45, 30, 15]);
            let rule = rule.expression(depth);
            let name = definition.permissions[index].clone();
            sketch.definitions[number].permissions.push(PermissionSketch { name, rule });
        }
    }
    drop_usersets_that_reach_wildcards(&mut sketch);
    sketch
}

fn frame(rng: &mut Rng) -> Frame {
    let mut types = TYPES.to_vec();
    rng.shuffle(&mut types);
    let count = rng.between(1, 4);
    let mut definitions = Vec::new();
    let mut user = FrameDefinition { name: "user".into(), relations: Vec::new(), permissions: Vec::new() };
    if rng.chance(25) {
        user.relations.push(("peer".into(), rng.chance(20)));
        user.permissions.push((*rng.pick(&["view", "admin"])).into());
    }
    definitions.push(user);
    for name in &types[..count] {
        let mut relations = RELATIONS.to_vec();
        rng.shuffle(&mut relations);
        let mut permissions = PERMISSIONS.to_vec();
        rng.shuffle(&mut permissions);
        let (stored, computed) = (rng.between(2, 4), rng.between(2, 4));
        definitions.push(FrameDefinition {
            name: (*name).into(),
            relations: relations[..stored].iter().map(|r| ((*r).into(), rng.chance(30))).collect(),
            permissions: permissions[..computed].iter().map(|p| (*p).into()).collect(),
        });
    }
    Frame { definitions }
}

/// What may stand in a relation: people, usersets and objects to follow.
fn alternatives(rng: &mut Rng, frame: &Frame, wildcard: bool, sketch: &Sketch) -> Vec<Alternative> {
    let mut found: Vec<Alternative> = Vec::new();
    let people = rng.chance(60);
    let count = rng.between(1, 4);
    while found.len() < count {
        let definition =
            if people && rng.chance(60) { &frame.definitions[0] } else { rng.pick(&frame.definitions) };
        let mut kind = SubjectKind::Object;
        if wildcard && rng.chance(35) {
            kind = SubjectKind::Wildcard;
        } else if rng.chance(35) {
            let relations = definition.relations.iter().filter(|(_, w)| !w).map(|(name, _)| name);
            let members: Vec<&String> = relations.chain(&definition.permissions).collect();
            if !members.is_empty() {
                kind = SubjectKind::Userset((*rng.pick(&members)).clone());
            }
        }
        let caveat = rng.chance(40).then(|| rng.pick(&sketch.caveats).name.clone());
        let expiration = rng.chance(18);
        let alternative = Alternative { subject_type: definition.name.clone(), kind, caveat, expiration };
        if found.contains(&alternative) {
            // A small frame may not have as many alternatives.
            break;
        }
        found.push(alternative);
    }
    found
}

/// Writes the rule of one permission.
struct Rules<'a> {
    rng: &'a mut Rng,
    frame: &'a Frame,
    sketch: &'a Sketch,
    options: &'a Options,
    number: usize,
    index: usize,
}

impl Rules<'_> {
    fn expression(&mut self, depth: usize) -> Expr {
        if depth == 0 {
            return self.leaf();
        }
        match self.rng.weighted(&[36, 20, 34, 10]) {
            0 => Expr::Union(self.parts(depth, |e| matches!(e, Expr::Union(_)))),
            1 => Expr::Intersection(self.parts(depth, |e| matches!(e, Expr::Intersection(_)))),
            2 => Expr::Exclusion(Box::new(self.expression(depth - 1)), Box::new(self.expression(depth - 1))),
            _ => self.leaf(),
        }
    }

    /// Two or three operands, none of the same operator: it would be the same node.
    fn parts(&mut self, depth: usize, same: fn(&Expr) -> bool) -> Vec<Expr> {
        let count = if self.rng.chance(25) { 3 } else { 2 };
        (0..count)
            .map(|_| match self.expression(depth - 1) {
                part if same(&part) => self.leaf(),
                part => part,
            })
            .collect()
    }

    fn leaf(&mut self) -> Expr {
        match self.rng.weighted(&[54, 38, 5, 3]) {
            0 => self.member(),
            1 => self.arrow().unwrap_or_else(|| self.member()),
            2 => Expr::SelfObject,
            _ => Expr::Nil,
        }
    }

    fn member(&mut self) -> Expr {
        let definition = &self.frame.definitions[self.number];
        let ordered = self.options.spicedb || self.rng.chance(70);
        let reachable = if ordered { self.index } else { definition.permissions.len() };
        if self.rng.chance(40) && reachable > 0 {
            return Expr::Member(self.rng.pick(&definition.permissions[..reachable]).clone());
        }
        Expr::Member(self.rng.pick(&definition.relations).0.clone())
    }

    fn arrow(&mut self) -> Option<Expr> {
        let relations = &self.sketch.definitions[self.number].relations;
        let followed: Vec<&RelationSketch> = relations
            .iter()
            .filter(|r| r.subjects.iter().all(|s| s.kind != SubjectKind::Wildcard))
            .filter(|r| !targets(self.frame, r).is_empty())
            .collect();
        if followed.is_empty() {
            return None;
        }
        let relation = *self.rng.pick(&followed);
        let targets = targets(self.frame, relation);
        let target = (*self.rng.pick(&targets)).to_owned();
        let spelling = [Arrow::Plain, Arrow::Any, Arrow::All][self.rng.weighted(&[45, 10, 45])];
        Some(Expr::Arrow(relation.name.clone(), spelling, target))
    }
}

/// Members of the types that a relation admits; permissions twice, since they are the harder targets.
fn targets<'f>(frame: &'f Frame, relation: &RelationSketch) -> Vec<&'f str> {
    let types = relation.subjects.iter().map(|s| &s.subject_type);
    let definitions = types.filter_map(|t| frame.definitions.iter().find(|d| d.name == *t));
    let mut targets: Vec<&str> = Vec::new();
    for definition in definitions {
        targets.extend(definition.relations.iter().map(|(name, _)| name.as_str()));
        targets.extend(definition.permissions.iter().chain(&definition.permissions).map(String::as_str));
    }
    targets
}

/// A userset may name a permission only if no wildcard is reached through it.
fn drop_usersets_that_reach_wildcards(sketch: &mut Sketch) {
    loop {
        let mut bad: Option<(usize, usize, usize)> = None;
        for (d, definition) in sketch.definitions.iter().enumerate() {
            for (r, relation) in definition.relations.iter().enumerate() {
                for (s, subject) in relation.subjects.iter().enumerate() {
                    if let SubjectKind::Userset(member) = &subject.kind
                        && reaches_wildcard(sketch, &subject.subject_type, member)
                    {
                        bad = Some((d, r, s));
                    }
                }
            }
        }
        let Some((d, r, s)) = bad else { return };
        let subjects = &mut sketch.definitions[d].relations[r].subjects;
        let plain = Alternative { kind: SubjectKind::Object, ..subjects[s].clone() };
        if subjects.contains(&plain) {
            subjects.remove(s);
        } else {
            subjects[s] = plain;
        }
    }
}

fn reaches_wildcard(sketch: &Sketch, definition: &str, member: &str) -> bool {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    let mut pending = vec![(definition, member)];
    while let Some((name, member)) = pending.pop() {
        let Some(definition) = sketch.definition(name) else { continue };
        if seen.contains(&(name, member)) {
            continue;
        }
        seen.push((name, member));
        if let Some(relation) = definition.relation(member) {
            for subject in &relation.subjects {
                match &subject.kind {
                    SubjectKind::Wildcard => return true,
                    SubjectKind::Userset(next) => pending.push((&subject.subject_type, next)),
                    SubjectKind::Object => {}
                }
            }
        }
        let rule = definition.permissions.iter().find(|p| p.name == member);
        if let Some(permission) = rule {
            permission.rule.walk(&mut |part| match part {
                Expr::Member(next) => pending.push((name, next)),
                Expr::Arrow(relation, _, target) => {
                    let subjects = definition.relation(relation).map_or(&[][..], |r| &r.subjects);
                    pending.extend(subjects.iter().map(|s| (s.subject_type.as_str(), target.as_str())));
                }
                _ => {}
            });
        }
    }
    false
}
