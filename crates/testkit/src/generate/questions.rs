//! Questions to a world: mostly about what its data names, some about what nothing names.

use idhini_model::{ResourceRef, SubjectRef};
use idhini_schema::Schema;

use super::data::Objects;
use super::{Ask, Question, World};
use crate::compare::{Wanted, spans_pages, turnout, wanted_answer};
use crate::reference::{Tables, View};
use crate::rng::Rng;
use crate::tally::Turnout;

/// An id that no world's data uses.
pub const NOBODY: &str = "nobody";

/// Most checks of a world by kind of answer (no, conditional, has, refused), and how many are drawn for them.
const CHECK_QUOTAS: [usize; 4] = [26, 40, 28, 6];
const CHECK_DRAWS: usize = 500;
/// The same for lookups; the last is for those with more answers than a page.
const LOOKUP_QUOTAS: [usize; 5] = [3, 7, 6, 1, 8];
const LOOKUP_DRAWS: usize = 70;

struct Asker<'a> {
    rng: &'a mut Rng,
    world: &'a World,
    objects: &'a Objects,
    /// Subjects of the data that are usersets.
    usersets: Vec<SubjectRef>,
}

/// Random questions, picked so that each kind of answer has its share.
pub(super) fn questions(rng: &mut Rng, world: &World, objects: &Objects) -> Vec<Question> {
    let subjects = world.relationships.iter().map(|r| &r.subject);
    let usersets = subjects.filter(|s| s.relation.is_some()).cloned().collect();
    let mut asker = Asker { rng, world, objects, usersets };
    // A world that is not valid is found out where it is compared.
    let tables = Schema::parse(&world.sketch.text()).ok();
    let tables = tables.and_then(|schema| Tables::new(&schema, &world.relationships).ok());
    let Some(tables) = tables else { return Vec::new() };
    let views: Vec<Vec<View<'_>>> = world
        .contexts
        .iter()
        .map(|context| world.instants.iter().map(|at| tables.view(context, *at)).collect())
        .collect();
    let kind = |question: &Question| {
        let view = &views[question.context][question.instant];
        kind_of(&wanted_answer(view, &question.ask))
    };
    let mut questions = Vec::new();
    let mut left = CHECK_QUOTAS;
    let mut last: Option<Question> = None;
    for _ in 0..CHECK_DRAWS {
        let question = match last.take().filter(|_| asker.rng.chance(40)) {
            Some(question) => asker.varied(question),
            None => {
                let ask = asker.check();
                asker.posed(ask)
            }
        };
        let quota = &mut left[kind(&question)];
        if *quota > 0 {
            *quota -= 1;
            last = Some(question.clone());
            questions.push(question);
        }
        if left == [0; 4] {
            break;
        }
    }
    let mut left = LOOKUP_QUOTAS;
    for draw in 0..LOOKUP_DRAWS {
        let ask = if draw % 2 == 0 { asker.resources() } else { asker.subjects() };
        let question = asker.posed(ask);
        let wanted = wanted_answer(&views[question.context][question.instant], &question.ask);
        let kind = if spans_pages(&question.ask, &wanted) { 4 } else { kind_of(&wanted) };
        let quota = &mut left[kind];
        if *quota > 0 {
            *quota -= 1;
            questions.push(question);
        }
    }
    questions
}

/// No, conditional, has, refused; of a lookup, the best of its entries.
fn kind_of(wanted: &Wanted) -> usize {
    match turnout(wanted) {
        Turnout::Value(value) => value as usize,
        Turnout::Refused(_) => 3,
    }
}

impl Asker<'_> {
    fn posed(&mut self, ask: Ask) -> Question {
        let context = self.rng.below(self.world.contexts.len());
        let instant = if self.rng.chance(80) { 0 } else { self.rng.below(self.world.instants.len()) };
        Question { ask, context, instant }
    }

    /// The same question but for one part, which a careless cache key would leave out.
    fn varied(&mut self, mut question: Question) -> Question {
        let members = |t: &str| -> Vec<String> {
            self.world.sketch.definition(t).map_or(vec![], |d| d.member_names().map(Into::into).collect())
        };
        match self.rng.below(4) {
            0 => question.instant = self.rng.below(self.world.instants.len()),
            1 => question.context = self.rng.below(self.world.contexts.len()),
            _ => {
                if let Ask::Check { subject, .. } = &mut question.ask {
                    let members = members(&subject.object_type);
                    subject.relation = match &subject.relation {
                        Some(_) => None,
                        None if members.is_empty() => None,
                        None => Some(self.rng.pick(&members).clone()),
                    };
                }
            }
        }
        question
    }

    fn check(&mut self) -> Ask {
        let (resource, permission) = self.resource();
        let subject = self.subject(&resource, &permission);
        Ask::Check { resource, permission, subject }
    }

    fn resources(&mut self) -> Ask {
        let (resource, permission) = self.resource();
        let subject = self.subject(&resource, &permission);
        let page = *self.rng.pick(&[1, 1, 1, 2, 2, 3, 7]);
        Ask::Resources { resource_type: resource.object_type, permission, subject, page }
    }

    fn subjects(&mut self) -> Ask {
        let (resource, permission) = self.resource();
        let subject = self.subject(&resource, &permission);
        let (subject_type, subject_relation) = (subject.object_type, subject.relation);
        let page = *self.rng.pick(&[1, 1, 1, 2, 2, 3, 7]);
        Ask::Subjects { resource, permission, subject_type, subject_relation, page }
    }

    /// A resource and one of its type's members: permissions mostly.
    fn resource(&mut self) -> (ResourceRef, String) {
        if self.rng.below(1000) < 4 {
            let t = if self.rng.chance(50) { "unheard_of" } else { "user" };
            return (ResourceRef::new(t, "one"), "unheard_of".into());
        }
        let with_members: Vec<_> =
            self.world.sketch.definitions.iter().filter(|d| d.member_names().next().is_some()).collect();
        let definition = *self.rng.pick(&with_members);
        let id = match self.rng.below(100) {
            0..3 => NOBODY.to_owned(),
            _ => self.rng.pick(self.objects.of(&definition.name)).clone(),
        };
        let permission = if self.rng.chance(85) && !definition.permissions.is_empty() {
            self.rng.pick(&definition.permissions).name.clone()
        } else {
            let members: Vec<&str> = definition.member_names().collect();
            (*self.rng.pick(&members)).to_owned()
        };
        (ResourceRef::new(&definition.name, id), permission)
    }

    fn subject(&mut self, resource: &ResourceRef, permission: &str) -> SubjectRef {
        match self.rng.weighted(&[640, 120, 60, 60, 30, 30, 60, 4]) {
            1 if !self.usersets.is_empty() => self.rng.pick(&self.usersets).clone(),
            2 => SubjectRef::object("user", NOBODY),
            3 => self.any_object(),
            4 => SubjectRef::object(&resource.object_type, &resource.object_id),
            5 => SubjectRef::userset(&resource.object_type, &resource.object_id, permission),
            6 => {
                let mut subject = self.any_object();
                let definition = self.world.sketch.definition(&subject.object_type);
                let members: Vec<&str> = definition.map_or(vec![], |d| d.member_names().collect());
                if !members.is_empty() {
                    subject.relation = Some((*self.rng.pick(&members)).to_owned());
                }
                subject
            }
            7 => SubjectRef::object(*self.rng.pick(&["user", "unheard_of"]), "*"),
            _ => SubjectRef::object("user", self.rng.pick(self.objects.of("user"))),
        }
    }

    fn any_object(&mut self) -> SubjectRef {
        let definition = self.rng.pick(&self.world.sketch.definitions);
        SubjectRef::object(&definition.name, self.rng.pick(self.objects.of(&definition.name)))
    }
}
