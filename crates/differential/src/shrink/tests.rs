use idhini_model::Timestamp;
use idhini_testkit::generate::{INSTANT_SECONDS, Options, world};

use super::*;
use crate::ours::Ours;
use crate::query::Posed;

fn case(seed: u64) -> Case {
    let world = world(seed, &Options { acyclic: true, spicedb: true });
    let mut checks = world.questions.iter().map(|question| Posed {
        query: question.ask.clone().into(),
        context: world.contexts[question.context].clone(),
    });
    let asked = checks.next().expect("a question");
    let company = checks.take(5).collect();
    Case { sketch: world.sketch, relationships: world.relationships, asked, company }
}

fn size(case: &Case) -> usize {
    let stored = case.relationships.iter().map(|r| r.to_string().len()).sum::<usize>();
    let context = case.asked.context.0.len();
    case.sketch.text().len() * 1000 + stored * 10 + case.company.len() + context
}

#[test]
fn every_proposal_differs_from_what_it_came_from_and_keeps_only_allowed_relationships() {
    for seed in 0..20 {
        let case = case(seed);
        for proposal in smaller(&case) {
            assert_ne!(proposal, case);
            assert!(proposal.relationships.iter().all(|r| allows(&proposal.sketch, r)));
        }
    }
}

#[test]
fn shrinking_to_nothing_ends() {
    let mut case = case(3);
    let mut steps = 0;
    let valid = |case: &Case| {
        Ours::new(&case.sketch.text(), &case.relationships, Timestamp::from_seconds(INSTANT_SECONDS)).is_ok()
    };
    while let Some(next) = smaller(&case).into_iter().find(|next| valid(next) && size(next) < size(&case)) {
        case = next;
        steps += 1;
        assert!(steps < 5_000, "does not end");
    }
    assert!(case.relationships.is_empty() && case.company.is_empty(), "{case}");
}
