//! What is in a workload's folder: the graph, the questions with their right answers, the lookups?
//!
//! A folder is one that the load kit's `gen` made. Where there is none, [`Workload::small`] makes some ten thousand
//! relationships of the same shapes: users on documents, chains of five groups, chains of eight folders, a few banned.
//!
//! Benches of other crates take this file into their own, so it uses nothing of this crate.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use idhini_graph::Root;
use idhini_model::{Change, Entry, EntryKind, Relationship, ResourceRef, SubjectRef};

/// Names the folder for benches.
pub const FOLDER_VARIABLE: &str = "IDHINI_WORKLOAD";
/// The sets of questions.
pub const SETS: [&str; 6] = ["a_direct", "b_group5", "c_folder8", "d_negative", "e_zipfmix", "f_uniform"];
/// Relationships per entry while loading.
const ENTRY_CHANGES_MAX: usize = 100_000;

/// Why a folder cannot be used.
pub type Failure = Box<dyn std::error::Error>;

/// A graph, and what is asked of it.
pub struct Workload {
    /// With the schema and all relationships.
    pub root: Root,
    /// What is asked.
    pub questions: Questions,
}

/// What is asked, with what is right.
pub struct Questions {
    /// Questions with their right answers.
    pub sets: Vec<Set>,
    /// Whose documents are looked up.
    pub lookup_resources: Vec<LookupOfResources>,
    /// The documents whose users are looked up.
    pub lookup_subjects: Vec<ResourceRef>,
}

/// Questions of one kind.
pub struct Set {
    /// One of [`SETS`].
    pub name: &'static str,
    /// In the order asked.
    pub queries: Vec<Query>,
}

/// A question with its right answer.
#[derive(Clone)]
pub struct Query {
    /// On what.
    pub resource: ResourceRef,
    /// May what be done.
    pub permission: String,
    /// By whom.
    pub subject: SubjectRef,
    /// Whether it may.
    pub is_granted: bool,
}

/// A subject with the number of documents that it may view.
pub struct LookupOfResources {
    /// Who.
    pub subject: SubjectRef,
    /// How many results are right.
    pub results: u64,
}

impl Workload {
    /// What the folder holds that the environment names, or else a small one.
    ///
    /// # Errors
    /// As [`Workload::read`].
    pub fn of_environment() -> Result<Workload, Failure> {
        match std::env::var_os(FOLDER_VARIABLE) {
            Some(folder) => Workload::read(Path::new(&folder)),
            None => Workload::small(),
        }
    }

    /// What a folder holds.
    ///
    /// # Errors
    /// If a file is missing, or has a line that cannot be read.
    pub fn read(folder: &Path) -> Result<Workload, Failure> {
        Ok(Workload { root: root_of(folder)?, questions: Questions::read(folder)? })
    }

    /// A small one, always the same.
    ///
    /// # Errors
    /// None, unless this file is wrong.
    pub fn small() -> Result<Workload, Failure> {
        let relationships: Vec<String> =
            (0..CHAINS).flat_map(chains).chain((0..DOCUMENTS).flat_map(document)).collect();
        let mut sets = Vec::new();
        for name in SETS {
            let asked = (0..DOCUMENTS).map(|number| small_query(name, number));
            sets.push(Set { name, queries: asked.map(|line| query(&line)).collect::<Result<_, _>>()? });
        }
        let results = (DOCUMENTS / CHAINS) as u64;
        let subjects = (0..CHAINS).map(|chain| format!("user:in_folders{chain}").parse());
        let subjects = subjects.collect::<Result<Vec<SubjectRef>, _>>()?;
        let resources = (0..50).map(|number| format!("document:d{number}").parse());
        let questions = Questions {
            sets,
            lookup_resources: subjects
                .into_iter()
                .map(|subject| LookupOfResources { subject, results })
                .collect(),
            lookup_subjects: resources.collect::<Result<_, _>>()?,
        };
        Ok(Workload {
            root: loaded(SMALL_SCHEMA, relationships.iter().map(|line| Ok(line.parse()?)))?,
            questions,
        })
    }
}

impl Questions {
    /// What is asked of a folder's graph.
    ///
    /// # Errors
    /// If a file is missing, or has a line that cannot be read.
    pub fn read(folder: &Path) -> Result<Questions, Failure> {
        let sets = SETS.map(|name| {
            let text = text(folder, &format!("checks_{name}.txt"))?;
            Ok::<Set, Failure>(Set { name, queries: lines(&text, query)? })
        });
        Ok(Questions {
            sets: sets.into_iter().collect::<Result<_, _>>()?,
            lookup_resources: lines(&text(folder, "lookup_resources.txt")?, lookup_of_resources)?,
            lookup_subjects: lines(&text(folder, "lookup_subjects.txt")?, |line| Ok(line.parse()?))?,
        })
    }

    /// The questions of one kind.
    #[must_use]
    pub fn set(&self, name: &str) -> &[Query] {
        self.sets.iter().find(|set| set.name == name).map_or(&[], |set| &set.queries)
    }
}

/// The graph of a folder: its schema, then its relationships in entries of 100,000, read as they are applied.
///
/// # Errors
/// If a file is missing, or has a line that cannot be read.
pub fn root_of(folder: &Path) -> Result<Root, Failure> {
    loaded(&text(folder, "schema.zed")?, relationships(folder)?)
}

/// The relationships of a folder in the order of their lines, read as they are asked for.
///
/// # Errors
/// If there is no file; each item if its line cannot be read.
pub fn relationships(folder: &Path) -> Result<impl Iterator<Item = Result<Relationship, Failure>>, Failure> {
    let path = folder.join("relationships.txt");
    let file = File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(BufReader::new(file).lines().map(|line| Ok(line?.parse()?)))
}

fn loaded(
    schema: &str,
    relationships: impl Iterator<Item = Result<Relationship, Failure>>,
) -> Result<Root, Failure> {
    let mut root = Root::empty();
    apply(&mut root, EntryKind::Schema { new: schema.to_owned(), old: String::new() })?;
    let mut changes = relationships.map(|read| read.map(Change::Created)).peekable();
    while changes.peek().is_some() {
        let portion = changes.by_ref().take(ENTRY_CHANGES_MAX).collect::<Result<_, _>>()?;
        apply(&mut root, EntryKind::Relationships(portion))?;
    }
    Ok(root)
}

/// Applies the next entry.
///
/// # Errors
/// If it does not apply.
pub fn apply(root: &mut Root, kind: EntryKind) -> Result<(), Failure> {
    Ok(root.apply(&Entry { revision: root.revision().next(), kind })?)
}

fn text(folder: &Path, name: &str) -> Result<String, Failure> {
    let path = folder.join(name);
    std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn lines<T>(text: &str, read: impl Fn(&str) -> Result<T, Failure>) -> Result<Vec<T>, Failure> {
    text.lines().map(read).collect()
}

fn query(line: &str) -> Result<Query, Failure> {
    match line.split(' ').collect::<Vec<_>>()[..] {
        [resource, permission, subject, granted] => Ok(Query {
            resource: resource.parse()?,
            permission: permission.to_owned(),
            subject: subject.parse()?,
            is_granted: granted == "1",
        }),
        _ => Err(format!("cannot read `{line}`").into()),
    }
}

fn lookup_of_resources(line: &str) -> Result<LookupOfResources, Failure> {
    let (subject, results) = line.split_once(' ').ok_or_else(|| format!("cannot read `{line}`"))?;
    Ok(LookupOfResources { subject: subject.parse()?, results: results.parse()? })
}

const DOCUMENTS: usize = 2_000;
const USERS: usize = 500;
/// Chains of groups, and of folders; each document is below one of either.
const CHAINS: usize = 20;
const GROUPS_DEEP: usize = 5;
const FOLDERS_DEEP: usize = 8;

const SMALL_SCHEMA: &str = "definition user {}
definition group { relation member: user | group#member }
definition folder {
    relation parent: folder
    relation viewer: user | group#member
    permission view = viewer + parent->view
}
definition document {
    relation parent: folder
    relation owner: user
    relation viewer: user | user:* | group#member
    relation banned: user | group#member
    permission view = (viewer + owner + parent->view) - banned
}";

/// A chain of groups with a user at its end, one of folders with a user on its root, and users who are on nothing.
fn chains(chain: usize) -> Vec<String> {
    let groups = (1..GROUPS_DEEP)
        .map(|deep| format!("group:g{chain}_{}#member@group:g{chain}_{deep}#member", deep - 1));
    let folders =
        (1..FOLDERS_DEEP).map(|deep| format!("folder:f{chain}_{deep}#parent@folder:f{chain}_{}", deep - 1));
    let ends = [
        format!("group:g{chain}_{}#member@user:in_groups{chain}", GROUPS_DEEP - 1),
        format!("folder:f{chain}_0#viewer@user:in_folders{chain}"),
        format!("group:apart#member@user:apart{chain}"),
    ];
    groups.chain(folders).chain(ends).collect()
}

fn document(number: usize) -> Vec<String> {
    let chain = number % CHAINS;
    vec![
        format!("document:d{number}#owner@user:u{}", number % USERS),
        format!("document:d{number}#viewer@user:u{}", viewer(number)),
        format!("document:d{number}#viewer@group:g{chain}_0#member"),
        format!("document:d{number}#parent@folder:f{chain}_{}", FOLDERS_DEEP - 1),
        format!("document:d{number}#viewer@user:banned{chain}"),
        format!("document:d{number}#banned@user:banned{chain}"),
    ]
}

fn viewer(number: usize) -> usize {
    (number * 7 + 3) % USERS
}

fn small_query(set: &str, number: usize) -> String {
    let chain = number % CHAINS;
    let (user, granted) = match set {
        "a_direct" => (format!("u{}", viewer(number)), true),
        "b_group5" => (format!("in_groups{chain}"), true),
        "c_folder8" => (format!("in_folders{chain}"), true),
        "d_negative" if number.is_multiple_of(5) => (format!("banned{chain}"), false),
        "d_negative" => (format!("apart{chain}"), false),
        "e_zipfmix" => match number % 20 {
            0..8 => return small_query("a_direct", number),
            8..11 => return small_query("b_group5", number),
            11..14 => return small_query("c_folder8", number),
            _ => return small_query("d_negative", number),
        },
        _ => {
            let user = number * 271 % USERS;
            (format!("u{user}"), user == number % USERS || user == viewer(number))
        }
    };
    format!("document:d{number} view user:{user} {}", u8::from(granted))
}
