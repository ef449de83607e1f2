use std::collections::BTreeSet;

use idhini_model::Timestamp;

use super::ALWAYS;
use super::{ALL, World, relationship, texts};
use crate::{Count, Filter, IdFilter, Page, Portion, Position, RelationFilter, SubjectFilter};

/// Some hundred relationships of all classes, a third of those that may expire expired.
fn crowded() -> (World, Vec<String>) {
    let world = World::new();
    let mut all = BTreeSet::new();
    let mut state = 7u64;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for _ in 0..600 {
        let (document, user, group) = (next(40), next(25), next(8));
        all.insert(match next(7) {
            0 => format!("document:d{document}#viewer@user:u{user}"),
            1 => format!("document:d{document}#viewer@user:*"),
            2 => format!("document:d{document}#viewer@group:g{group}#member"),
            3 => format!("document:d{document}#banned@user:u{user}"),
            4 => format!("group:g{group}#member@user:u{user}"),
            5 => format!("group:g{group}#member@group:g{}#member", next(8)),
            _ => format!(
                "document:x{document}#viewer@user:u{user}[expiration:1970-01-01T00:{:02}:00Z]",
                10 + next(20)
            ),
        });
    }
    let mut seen = BTreeSet::new();
    all.retain(|text| seen.insert(text.split('[').next().unwrap().to_owned()));
    let all: Vec<String> = all.into_iter().collect();
    world.namespace.import(all.iter().map(|t| relationship(t)).collect(), ALWAYS).unwrap();
    (world, all)
}

fn filters() -> Vec<Filter> {
    let text = |text: &str| Some(text.to_owned());
    let types = [None, text("document"), text("group"), text("user")];
    let ids = [
        None,
        Some(IdFilter::Exactly("d7".to_owned())),
        Some(IdFilter::Exactly("nobody".to_owned())),
        Some(IdFilter::StartsWith("d1".to_owned())),
        Some(IdFilter::StartsWith("x".to_owned())),
    ];
    let relations = [None, text("viewer"), text("member")];
    let subject = |subject_type: &str, id: Option<String>, relation| {
        Some(SubjectFilter { subject_type: subject_type.to_owned(), subject_id: id, relation })
    };
    let subjects = [
        None,
        subject("user", None, RelationFilter::Any),
        subject("user", text("u3"), RelationFilter::Absent),
        subject("user", text("*"), RelationFilter::Any),
        subject("group", text("g2"), RelationFilter::Any),
        subject("group", None, RelationFilter::Named("member".to_owned())),
        subject("group", None, RelationFilter::Absent),
        subject("user", text("nobody"), RelationFilter::Any),
    ];
    let mut filters = Vec::new();
    for resource_type in &types {
        for resource_id in &ids {
            for relation in &relations {
                for subject in &subjects {
                    filters.push(Filter {
                        resource_type: resource_type.clone(),
                        resource_id: resource_id.clone(),
                        relation: relation.clone(),
                        subject: subject.clone(),
                    });
                }
            }
        }
    }
    filters
}

#[test]
fn every_filter_reads_what_matches_and_nothing_else_in_every_page_size() {
    let (world, all) = crowded();
    let head = world.namespace.head();
    let now = Timestamp::from_seconds(1_200);
    let live = |text: &&String| relationship(text).expires_at.is_none_or(|at| at > now);
    let mut answered = 0;
    for filter in filters() {
        let wanted: Vec<String> =
            all.iter().filter(live).filter(|t| filter.admits(&relationship(t))).cloned().collect();
        let whole = head.read(&filter, now, None, ALL);
        assert_eq!(texts(&whole), wanted, "{filter:?}");
        assert_eq!(whole.next, None);
        answered += usize::from(!wanted.is_empty());
        for portion in [
            Portion { rows_max: 1, edges_max: u64::MAX },
            Portion { rows_max: 7, edges_max: u64::MAX },
            Portion { rows_max: usize::MAX, edges_max: 3 },
            Portion { rows_max: 2, edges_max: 1 },
        ] {
            let mut paged = Page::default();
            let mut after: Option<Position> = None;
            loop {
                let page = head.read(&filter, now, after, portion);
                assert!(page.rows.len() <= portion.rows_max);
                paged.rows.extend(page.rows);
                match page.next {
                    // A cursor's bytes stand for the position.
                    Some(next) => after = Some(Position::from_bytes(next.to_bytes())),
                    None => break,
                }
            }
            assert_eq!(paged.rows, whole.rows, "{filter:?} {portion:?}");
        }
    }
    assert!(answered > 60, "{answered} filters matched something");
}

#[test]
fn a_filter_counts_what_it_reads_in_portions_of_any_size() {
    let (world, _) = crowded();
    let head = world.namespace.head();
    // Before anything has expired, in between, and after all of it has.
    for instant in [0, 1_200, 10_000].map(Timestamp::from_seconds) {
        for filter in filters() {
            let read = head.read(&filter, instant, None, ALL).rows.len() as u64;
            for edges_max in [1, 2, 50, u64::MAX] {
                let mut count = Count::new(&head, &filter, instant);
                let counted = std::iter::repeat_with(|| count.advance(edges_max)).flatten().next();
                assert_eq!(counted, Some(read), "{filter:?} at {instant} by {edges_max}");
            }
        }
    }
}

#[test]
fn a_position_of_no_edge_reads_on_behind_it_and_never_fails() {
    let (world, _) = crowded();
    let head = world.namespace.head();
    let now = Timestamp::from_seconds(0);
    let whole = head.read(&Filter::default(), now, None, ALL).rows.len();
    for byte in [0u8, 1, 3, 127, 255] {
        for filter in filters() {
            let page = head.read(&filter, now, Some(Position::from_bytes([byte; 12])), ALL);
            assert!(page.rows.len() <= whole);
        }
    }
}
