//! The reference against answers worked out by hand.

use idhini_model::{Context, Relationship, ResourceRef, SubjectRef, Timestamp};
use idhini_schema::Schema;

use super::Tables;
use crate::golden::{answer_text, entries_text, refusal_text, subjects_text};

const NOW: i64 = 1_900_000_000;

struct Case {
    tables: Tables,
    context: Context,
}

fn case(schema: &str, relationships: &str) -> Case {
    let schema = Schema::parse(schema).unwrap_or_else(|e| panic!("{e}\n{schema}"));
    let relationships: Vec<Relationship> = relationships
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .map(|l| l.parse().unwrap_or_else(|e| panic!("{e}: {l}")))
        .collect();
    Case { tables: Tables::new(&schema, &relationships).expect("known names"), context: Context::default() }
}

impl Case {
    fn with(mut self, context: &str) -> Case {
        self.context = Context::from_json(context).expect("JSON");
        self
    }

    /// `document:one#view@user:amy`
    fn ask(&self, question: &str) -> String {
        let (left, subject) = question.split_once('@').expect("a subject");
        let (resource, permission) = left.split_once('#').expect("a permission");
        let subject: SubjectRef = subject.parse().expect("a subject");
        let resource: ResourceRef = resource.parse().expect("a resource");
        let view = self.tables.view(&self.context, Timestamp::from_seconds(NOW));
        view.check(&resource, permission, &subject).as_ref().map_or_else(refusal_text, answer_text)
    }

    fn holds(&self, table: &[(&str, &str)]) {
        for (question, wanted) in table {
            assert_eq!(self.ask(question), *wanted, "{question}");
        }
    }

    /// `document#view@user:amy`
    fn resources(&self, question: &str) -> String {
        let (left, subject) = question.split_once('@').expect("a subject");
        let (resource_type, permission) = left.split_once('#').expect("a permission");
        let view = self.tables.view(&self.context, Timestamp::from_seconds(NOW));
        match view.lookup_resources(resource_type, permission, &subject.parse().expect("a subject")) {
            Ok(found) => entries_text(&found),
            Err(refusal) => refusal_text(&refusal),
        }
    }

    /// `document:one#view@user` or `document:one#view@group#member`
    fn subjects(&self, question: &str) -> String {
        let (left, subject) = question.split_once('@').expect("a subject");
        let (resource, permission) = left.split_once('#').expect("a permission");
        let (subject_type, relation) = subject.split_once('#').map_or((subject, None), |(t, r)| (t, Some(r)));
        let view = self.tables.view(&self.context, Timestamp::from_seconds(NOW));
        let resource = resource.parse().expect("a resource");
        match view.lookup_subjects(&resource, permission, subject_type, relation) {
            Ok(found) => subjects_text(&found),
            Err(refusal) => refusal_text(&refusal),
        }
    }
}

const CAVEATS: &str = "
caveat only_a(aaa bool) { aaa }
caveat only_b(bbb bool) { bbb }
caveat both(aaa bool, bbb bool) { aaa && bbb }
caveat divides(nnn int) { 10 / nnn > 2 }
";

fn with_caveats(text: &str) -> String {
    format!("use expiration\n{CAVEATS}\ndefinition user {{}}\n{text}")
}

const FOLDERS: &str = "
definition group { relation member: user | group#member | user with only_a }
definition folder {
    relation parent: folder | folder with only_a | folder with only_b
    relation viewer: user | user:* | group#member | user with only_a | user with both | user with divides | user:* with only_b
    relation banned: user | user with only_b | user:* | user with divides
    permission view = viewer + parent->view
    permission see = view - banned
    permission strict = (viewer & banned) - parent->strict
    permission every = parent.all(viewer)
    permission whole = parent.all(see)
}
";

mod relations {
    use super::*;

    #[test]
    fn objects_wildcards_and_usersets_stand_in_a_relation() {
        case(
            &with_caveats(FOLDERS),
            "folder:one#viewer@user:amy
             folder:one#viewer@group:eng#member
             group:eng#member@group:ops#member
             group:ops#member@user:bob
             folder:two#viewer@user:*",
        )
        .holds(&[
            ("folder:one#viewer@user:amy", "has"),
            ("folder:one#viewer@user:bob", "has"),
            ("folder:one#viewer@user:cid", "no"),
            ("folder:one#viewer@group:ops#member", "has"),
            ("folder:one#viewer@group:ops", "no"),
            ("folder:two#viewer@user:nobody", "has"),
            ("folder:two#viewer@group:ops#member", "no"),
            ("folder:two#viewer@folder:two", "no"),
            ("folder:none#viewer@folder:none#viewer", "has"),
            ("folder:none#view@folder:none#viewer", "has"),
            ("folder:none#viewer@folder:none#view", "no"),
            ("folder:none#see@folder:none#see", "has"),
        ]);
    }

    #[test]
    fn a_question_about_unknown_names_is_refused() {
        let case = case(&with_caveats(FOLDERS), "");
        case.holds(&[
            ("paper:one#view@user:amy", "refused: no definition paper"),
            ("folder:one#viewx@user:amy", "refused: no member folder#viewx"),
            ("folder:one#view@userx:amy", "refused: no definition userx"),
            ("folder:one#view@user:amy#member", "refused: no member user#member"),
            ("folder:one#view@user:*", "refused: wildcard"),
        ]);
    }

    #[test]
    fn an_expired_relationship_is_absent_from_its_very_instant_on() {
        let schema = "use expiration
            definition user {}
            definition folder { relation viewer: user with expiration }";
        let at = |second: i64| Timestamp::from_seconds(NOW + second).to_string();
        let case = case(
            schema,
            &format!(
                "folder:one#viewer@user:past[expiration:{}]
                 folder:one#viewer@user:now[expiration:{}]
                 folder:one#viewer@user:next[expiration:{}]",
                at(-1),
                at(0),
                at(1)
            ),
        );
        case.holds(&[
            ("folder:one#viewer@user:past", "no"),
            ("folder:one#viewer@user:now", "no"),
            ("folder:one#viewer@user:next", "has"),
        ]);
        assert_eq!(case.subjects("folder:one#viewer@user"), "next has");
    }
}

mod caveats {
    use super::*;

    const DATA: &str = "folder:one#viewer@user:amy[only_a]
        folder:one#banned@user:amy[only_b]
        folder:one#viewer@user:bob[both:{\"aaa\":true}]
        folder:one#viewer@user:eve[divides]
        folder:one#parent@folder:top[only_b]
        folder:top#viewer@user:amy
        folder:top#viewer@user:bob[only_a]";

    #[test]
    fn missing_parameters_come_from_the_conditional_children_alone() {
        case(&with_caveats(FOLDERS), DATA).holds(&[
            ("folder:one#viewer@user:amy", "if aaa"),
            ("folder:one#viewer@user:bob", "if bbb"),
            ("folder:one#view@user:amy", "if aaa,bbb"),
            ("folder:one#view@user:bob", "if aaa,bbb"),
            ("folder:one#every@user:amy", "if bbb"),
            ("folder:one#every@user:bob", "if aaa,bbb"),
            ("folder:one#strict@user:amy", "if aaa,bbb"),
            ("folder:one#strict@user:bob", "no"),
        ]);
    }

    #[test]
    fn stored_context_wins_over_the_request() {
        case(&with_caveats(FOLDERS), "folder:one#viewer@user:bob[both:{\"aaa\":true}]")
            .with("{\"aaa\":false,\"bbb\":true}")
            .holds(&[("folder:one#viewer@user:bob", "has")]);
    }

    #[test]
    fn a_failing_caveat_refuses_only_where_the_answer_depends_on_it() {
        let data = "folder:one#viewer@user:eve[divides]
            folder:two#viewer@user:eve[divides]
            folder:two#parent@folder:top
            folder:top#viewer@user:eve
            folder:six#viewer@user:eve
            folder:six#banned@user:eve[divides]
            folder:ten#viewer@user:eve[divides]
            folder:ten#banned@user:eve";
        case(&with_caveats(FOLDERS), data).with("{\"nnn\":0}").holds(&[
            ("folder:one#view@user:eve", "refused: caveat"),
            ("folder:two#view@user:eve", "has"),
            ("folder:six#view@user:eve", "has"),
            ("folder:six#see@user:eve", "refused: caveat"),
            ("folder:ten#see@user:eve", "no"),
            ("folder:one#view@user:amy", "no"),
        ]);
    }
}

mod all_arrows {
    use super::*;

    #[test]
    fn all_needs_one_and_each() {
        case(
            &with_caveats(FOLDERS),
            "folder:two#parent@folder:aaa
             folder:two#parent@folder:bbb
             folder:aaa#viewer@user:amy
             folder:aaa#viewer@user:bob
             folder:bbb#viewer@user:amy
             folder:aaa#viewer@user:cid[only_a]
             folder:bbb#viewer@user:cid
             folder:mix#parent@folder:aaa
             folder:mix#parent@folder:bbb[only_a]",
        )
        .holds(&[
            ("folder:none#every@user:amy", "no"),
            ("folder:two#every@user:amy", "has"),
            ("folder:two#every@user:bob", "no"),
            ("folder:two#every@user:cid", "if aaa"),
            ("folder:mix#every@user:amy", "if aaa"),
            ("folder:mix#every@user:bob", "no"),
        ]);
    }

    #[test]
    fn a_false_caveat_on_one_of_the_edges_makes_it_no() {
        let data = "folder:mix#parent@folder:aaa
             folder:mix#parent@folder:bbb[only_a]
             folder:aaa#viewer@user:amy
             folder:bbb#viewer@user:amy";
        case(&with_caveats(FOLDERS), data)
            .with("{\"aaa\":false}")
            .holds(&[("folder:mix#every@user:amy", "no"), ("folder:mix#view@user:amy", "has")]);
        case(&with_caveats(FOLDERS), data)
            .with("{\"aaa\":true}")
            .holds(&[("folder:mix#every@user:amy", "has")]);
    }

    #[test]
    fn types_without_the_target_are_skipped_and_the_subject_relation_is_ignored() {
        case(
            "definition user { }
             definition group { relation member: user
                permission view = member }
             definition robot { relation owner: user }
             definition folder {
                relation parent: group | robot | group#member
                permission any_view = parent->view
                permission all_view = parent.all(view) }",
            "folder:one#parent@group:eng#member
             folder:one#parent@robot:rob
             group:eng#member@user:amy
             robot:rob#owner@user:bob
             folder:two#parent@robot:rob",
        )
        .holds(&[
            ("folder:one#any_view@user:amy", "has"),
            ("folder:one#all_view@user:amy", "has"),
            ("folder:one#any_view@user:bob", "no"),
            ("folder:two#any_view@user:bob", "no"),
            ("folder:two#all_view@user:bob", "no"),
        ]);
    }
}

mod cycles {
    use super::*;

    const MUTUAL: &str = "
        definition user { }
        definition thing {
            relation aaa: user
            relation qqq: user
            relation ccc: user
            relation bbb: user
            relation xxx: user
            permission ppp = (aaa & qxx) + ccc
            permission qxx = ppp + bbb
            permission rest = xxx - qxx
        }";

    #[test]
    fn mutual_permissions_reach_their_least_fixpoint() {
        case(
            MUTUAL,
            "thing:one#aaa@user:amy
             thing:one#xxx@user:amy
             thing:two#aaa@user:amy
             thing:two#bbb@user:amy
             thing:two#xxx@user:amy
             thing:six#ccc@user:amy
             thing:six#xxx@user:amy",
        )
        .holds(&[
            ("thing:one#ppp@user:amy", "no"),
            ("thing:one#qxx@user:amy", "no"),
            ("thing:one#rest@user:amy", "has"),
            ("thing:two#ppp@user:amy", "has"),
            ("thing:two#qxx@user:amy", "has"),
            ("thing:two#rest@user:amy", "no"),
            ("thing:six#ppp@user:amy", "has"),
            ("thing:six#qxx@user:amy", "has"),
            ("thing:six#rest@user:amy", "no"),
        ]);
    }

    const GAME: &str = "
        caveat only_a(aaa bool) { aaa }
        definition user { }
        definition place {
            relation move: place | place with only_a
            relation player: user | user:*
            permission win = move->play - lose_all
            permission play = player
            permission lose_all = move.all(win)
            permission won = move->lost
            permission lost = player - won
        }";

    /// Who is to move and cannot has lost: the classical game on a graph.
    #[test]
    fn positions_of_the_game_are_won_lost_or_drawn() {
        let data = "place:aaa#player@user:*
            place:bbb#player@user:*
            place:ccc#player@user:*
            place:ddd#player@user:*
            place:eee#player@user:*
            place:fff#player@user:*
            place:ggg#player@user:*
            place:aaa#move@place:bbb
            place:bbb#move@place:ccc
            place:ddd#move@place:eee
            place:eee#move@place:ddd
            place:fff#move@place:ggg
            place:ggg#move@place:fff
            place:fff#move@place:ccc";
        case(GAME, data).holds(&[
            ("place:ccc#won@user:amy", "no"),
            ("place:ccc#lost@user:amy", "has"),
            ("place:bbb#won@user:amy", "has"),
            ("place:aaa#won@user:amy", "no"),
            ("place:aaa#lost@user:amy", "has"),
            ("place:ddd#won@user:amy", "refused: cycle"),
            ("place:eee#lost@user:amy", "refused: cycle"),
            ("place:fff#won@user:amy", "has"),
            ("place:ggg#won@user:amy", "no"),
            ("place:ggg#lost@user:amy", "has"),
        ]);
    }

    #[test]
    fn odd_and_even_loops_have_no_answer_unless_something_breaks_them() {
        let data = "place:aaa#player@user:amy
            place:bbb#player@user:amy
            place:ccc#player@user:amy
            place:aaa#move@place:bbb
            place:bbb#move@place:ccc
            place:ccc#move@place:aaa
            place:own#player@user:amy
            place:own#move@place:own";
        case(GAME, data).holds(&[
            ("place:aaa#won@user:amy", "refused: cycle"),
            ("place:own#lost@user:amy", "refused: cycle"),
            // Nobody else plays, so nothing is won or lost and the loop is harmless.
            ("place:aaa#won@user:bob", "no"),
            ("place:own#lost@user:bob", "no"),
        ]);
    }

    #[test]
    fn a_condition_on_the_loop_is_as_good_as_none_while_it_is_open() {
        let data = "place:own#player@user:amy
            place:own#move@place:own[only_a]";
        // lost = min(has, not won), won = min(conditional, lost): both conditional is the only fixpoint.
        case(GAME, data).holds(&[("place:own#lost@user:amy", "if aaa")]);
        case(GAME, data).with("{\"aaa\":false}").holds(&[("place:own#lost@user:amy", "has")]);
        case(GAME, data).with("{\"aaa\":true}").holds(&[("place:own#lost@user:amy", "refused: cycle")]);
    }

    #[test]
    fn an_exclusion_of_the_parents_answer_over_a_tree_is_ordinary() {
        let data = "folder:two#parent@folder:one
            folder:six#parent@folder:two
            folder:one#viewer@user:amy
            folder:two#viewer@user:amy
            folder:six#viewer@user:amy
            folder:one#banned@user:amy
            folder:two#banned@user:amy
            folder:six#banned@user:amy";
        case(&with_caveats(FOLDERS), data).holds(&[
            ("folder:one#strict@user:amy", "has"),
            ("folder:two#strict@user:amy", "no"),
            ("folder:six#strict@user:amy", "has"),
        ]);
    }

    #[test]
    fn groups_in_groups_in_a_ring_are_no_members_of_anything_else() {
        case(
            &with_caveats(FOLDERS),
            "group:aaa#member@group:bbb#member
             group:bbb#member@group:ccc#member
             group:ccc#member@group:aaa#member
             group:ccc#member@user:amy[only_a]",
        )
        .holds(&[
            ("group:aaa#member@user:amy", "if aaa"),
            ("group:bbb#member@group:aaa#member", "has"),
            ("group:aaa#member@user:bob", "no"),
        ]);
    }
}

mod lookups {
    use super::*;

    #[test]
    fn resources_are_those_the_data_holds_and_the_subjects_own_object() {
        let case = case(
            "use self
             definition user {
                relation friend: user
                permission known = self + friend }
             definition folder { relation viewer: user | folder#viewer }",
            "user:amy#friend@user:bob
             folder:one#viewer@user:bob",
        );
        assert_eq!(case.resources("user#known@user:bob"), "amy has; bob has");
        assert_eq!(case.resources("user#known@user:new"), "new has");
        assert_eq!(case.resources("user#friend@user:new"), "");
        assert_eq!(case.resources("folder#viewer@folder:new#viewer"), "new has");
        assert_eq!(case.subjects("user:amy#known@user"), "amy has; bob has");
        assert_eq!(case.subjects("user:new#known@user"), "new has");
        assert_eq!(case.subjects("folder:new#viewer@folder#viewer"), "new has");
    }

    #[test]
    fn wildcards_answer_with_those_who_have_less() {
        let case = case(
            &with_caveats(FOLDERS),
            "folder:one#viewer@user:*
             folder:one#viewer@user:amy
             folder:one#banned@user:bob
             folder:one#banned@user:cid[only_b]
             folder:two#viewer@user:*[only_b]
             folder:two#viewer@user:amy
             folder:two#banned@user:bob
             folder:six#viewer@user:dan
             folder:six#banned@user:*",
        );
        assert_eq!(
            case.subjects("folder:one#see@user"),
            "(amy has; cid if bbb; dan has) * has - [bob no; cid if bbb]"
        );
        assert_eq!(
            case.subjects("folder:two#see@user"),
            "amy has (cid if bbb; dan if bbb) * if bbb - [bob no]"
        );
        assert_eq!(case.subjects("folder:six#see@user"), "");
    }
}
