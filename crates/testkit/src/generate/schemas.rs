//! Random schemas with every operator in every position, valid by construction.
//!
//! # Invariants
//! * No arrow leads over a relation that includes a wildcard, and no userset of another definition names one.
//!   Usersets of the same definition and usersets that name permissions may reach wildcards.
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
    keep_wildcards_home(&mut sketch);
    let including = including_wildcards(&sketch);
    for (number, definition) in frame.definitions.iter().enumerate() {
        for index in 0..definition.permissions.len() {
            let mut rule =
                Rules { rng, frame: &frame, sketch: &sketch, including: &including, options, number, index };
            let depth = rule.rng.weighted(&[10, 45, 30, 15]);
            let name = definition.permissions[index].clone();
            let rule = rule.expression(depth);
            sketch.definitions[number].permissions.push(PermissionSketch { name, rule });
        }
        break_alias_cycles(&mut sketch.definitions[number]);
    }
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
    let caveated = *rng.pick(&[0, 40, 60, 100]);
    let count = rng.between(1, 4);
    while found.len() < count {
        let definition =
            if people && rng.chance(60) { &frame.definitions[0] } else { rng.pick(&frame.definitions) };
        let mut kind = SubjectKind::Object;
        if wildcard && rng.chance(35) {
            kind = SubjectKind::Wildcard;
        } else if rng.chance(35) {
            let relations = definition.relations.iter().map(|(name, _)| name);
            let members: Vec<&String> = relations.chain(&definition.permissions).collect();
            if !members.is_empty() {
                kind = SubjectKind::Userset((*rng.pick(&members)).clone());
            }
        }
        let caveat = rng.chance(caveated).then(|| rng.pick(&sketch.caveats).name.clone());
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
    including: &'a [Place],
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
            .enumerate()
            .filter(|(r, _)| !self.including.contains(&(self.number, *r)))
            .map(|(_, relation)| relation)
            .filter(|r| !targets(self.frame, r).is_empty())
            .collect();
        if followed.is_empty() {
            return None;
        }
        let relation = *self.rng.pick(&followed);
        let targets = targets(self.frame, relation);
        let any = self.options.spicedb || self.rng.chance(96);
        let target = if any { *self.rng.pick(&targets) } else { *self.rng.pick(PERMISSIONS) };
        let spelling = [Arrow::Plain, Arrow::Any, Arrow::All][self.rng.weighted(&[45, 10, 45])];
        Some(Expr::Arrow(relation.name.clone(), spelling, target.to_owned()))
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

/// Definition and relation, by position.
type Place = (usize, usize);

/// Relations that admit a wildcard, themselves or through the usersets of relations that they admit.
fn including_wildcards(sketch: &Sketch) -> Vec<Place> {
    let mut found: Vec<Place> = Vec::new();
    loop {
        let before = found.len();
        for (d, definition) in sketch.definitions.iter().enumerate() {
            for (r, relation) in definition.relations.iter().enumerate() {
                let includes = relation.subjects.iter().any(|s| match &s.kind {
                    SubjectKind::Object => false,
                    SubjectKind::Wildcard => true,
                    SubjectKind::Userset(member) => {
                        place(sketch, &s.subject_type, member).is_some_and(|p| found.contains(&p))
                    }
                });
                if includes && !found.contains(&(d, r)) {
                    found.push((d, r));
                }
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

fn place(sketch: &Sketch, definition: &str, relation: &str) -> Option<Place> {
    let d = sketch.definitions.iter().position(|d| d.name == definition)?;
    let r = sketch.definitions[d].relations.iter().position(|r| r.name == relation)?;
    Some((d, r))
}

/// A userset of another definition may not name a relation that includes a wildcard.
fn keep_wildcards_home(sketch: &mut Sketch) {
    loop {
        let including = including_wildcards(sketch);
        let mut bad: Option<(usize, usize, usize)> = None;
        for (d, definition) in sketch.definitions.iter().enumerate() {
            for (r, relation) in definition.relations.iter().enumerate() {
                for (s, subject) in relation.subjects.iter().enumerate() {
                    if let SubjectKind::Userset(member) = &subject.kind
                        && subject.subject_type != definition.name
                        && place(sketch, &subject.subject_type, member)
                            .is_some_and(|p| including.contains(&p))
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

/// Permissions that are only other names of each other are refused; one of them gets something to hold.
fn break_alias_cycles(definition: &mut DefinitionSketch) {
    for start in 0..definition.permissions.len() {
        let mut at = start;
        for _ in 0..definition.permissions.len() {
            let Expr::Member(next) = &definition.permissions[at].rule else { break };
            let Some(position) = definition.permissions.iter().position(|p| p.name == *next) else { break };
            at = position;
            if at == start {
                let relation = Expr::Member(definition.relations[0].name.clone());
                let alias = definition.permissions[start].rule.clone();
                definition.permissions[start].rule = Expr::Union(vec![alias, relation]);
                break;
            }
        }
    }
}
