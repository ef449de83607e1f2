//! The small workload that benches fall back on: what it calls right is right.

use idhini_engine::{Check, Limits, LookupResources, Permissionship, Plans, Progress, Question, Snapshot};
use idhini_model::{Context, Timestamp};
use idhini_testkit::folder::{SETS, Workload};

#[test]
fn the_answers_of_the_small_workload_are_the_engines() {
    let workload = Workload::small().unwrap();
    let plans = Plans::compile(&workload.root).unwrap();
    let instant = Timestamp::from_seconds(1_800_000_000);
    let snapshot = Snapshot { root: &workload.root, plans: &plans, instant };
    let context = Context::default();
    let mut granted = Vec::new();
    for set in SETS {
        let queries = workload.questions.set(set);
        assert!(queries.len() >= 1_000, "{set} is too small to measure");
        for query in queries {
            let question = Question {
                resource: &query.resource,
                permission: &query.permission,
                subject: &query.subject,
                context: &context,
            };
            let answer = Check::open(snapshot, question, Limits::default()).unwrap().answer().unwrap();
            let is_granted = answer.permissionship == Permissionship::Has;
            assert_eq!(is_granted, query.is_granted, "{set}: {} {}", query.resource, query.subject);
        }
        granted.push(queries.iter().filter(|query| query.is_granted).count() * 100 / queries.len());
    }
    // Percent of each set; a mix is of both, and random pairs are rarely related.
    assert_eq!(granted, [100, 100, 100, 0, 70, granted[5]]);
    for asked in &workload.questions.lookup_resources {
        let target = ("document", "view");
        let lookup =
            LookupResources::open(snapshot, target, &asked.subject, &context, None, Limits::default());
        let mut lookup = lookup.unwrap();
        let mut found = 0;
        while let Progress::Done(Some(_)) = lookup.advance(u64::MAX).unwrap() {
            found += 1;
        }
        assert_eq!(found, asked.results, "{}", asked.subject);
    }
}
