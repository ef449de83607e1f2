//! Which questions are asked? Three drawings without repetition, none of which looks at an answer.
//!
//! A question is an account, a path and one of the eight modes of `access(2)`. Asked evenly over a machine, nearly all
//! would be about files of root that everybody may read, so a sixth is drawn among paths where metadata differ from
//! that, and a third in the made tree, there mostly for the users that it was made for and for root.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::path::Path;

use crate::rng::Rng;
use crate::tree::{Area, Kind, Tree};

/// The permission that stands for each mode of `access(2)`, by its number.
pub const PERMISSIONS: [&str; 8] = [
    "reach",
    "execute",
    "write",
    "write_execute",
    "read",
    "read_execute",
    "read_write",
    "read_write_execute",
];
/// The modes as the manual writes them.
pub const MODES: [&str; 8] =
    ["F_OK", "X_OK", "W_OK", "W_OK|X_OK", "R_OK", "R_OK|X_OK", "R_OK|W_OK", "R_OK|W_OK|X_OK"];

const DRAWS_PER_QUESTION_MAX: usize = 50;

/// May the account access the inode in this mode?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Question {
    /// Its place among the accounts.
    pub account: usize,
    /// Its place in the tree.
    pub inode: usize,
    /// 0 to 7.
    pub mode: u8,
    /// Which drawing it is from.
    pub drawn: Drawing,
}

/// Where a question comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Drawing {
    /// Going round all inodes of the machine's trees, with a random account and mode.
    EveryInode,
    /// Evenly among the inodes of the machine's trees that are not simply root's and readable by all.
    Unusual,
    /// Among the inodes of the made tree: half evenly, half evenly among its cases.
    Made,
}

impl Drawing {
    /// What a report calls it.
    pub fn label(self) -> &'static str {
        match self {
            Self::EveryInode => "machine: every inode in turn",
            Self::Unusual => "machine: unusual owner, group, mode, ACL or way",
            Self::Made => "made tree",
        }
    }
}

/// The accounts: the machine's first, then those of the made tree.
#[derive(Debug, Clone, Copy)]
pub struct Accounts {
    /// How many the machine has.
    pub machine: usize,
    /// How many there are in all.
    pub all: usize,
    /// Which of the machine's is user id 0, if one is.
    pub root: Option<usize>,
}

/// Draws up to `count` questions about what `tree` has; fewer if there are no more. Sorted by account.
///
/// `made_top` is the top of the made tree, if there is one.
pub fn draw(
    tree: &Tree,
    accounts: Accounts,
    count: usize,
    made_top: Option<&Path>,
    rng: &mut Rng,
) -> Vec<Question> {
    let in_area = |area: Area| -> Vec<usize> {
        let asked = |place: &usize| {
            tree.inodes.get(*place).is_some_and(|inode| inode.area == area && inode.kind != Kind::LostLink)
        };
        (0..tree.inodes.len()).filter(asked).collect()
    };
    let (mut roots, made) = (in_area(Area::Roots), in_area(Area::Made));
    let unusual = unusual(tree);
    let unusual: Vec<usize> =
        roots.iter().copied().filter(|place| unusual.get(*place) == Some(&true)).collect();
    let mut drawn = Drawn { tree, questions: HashSet::new() };

    let made_share = if roots.is_empty() { count } else { count / 3 };
    let cast: Vec<usize> = (accounts.machine..accounts.all).chain(accounts.root).collect();
    let mostly_cast = |rng: &mut Rng| match rng.one_of(&cast) {
        Some(account) if !rng.once_in(4) => account,
        _ => rng.index(accounts.all),
    };
    let cases = by_case(tree, &made, made_top);
    let often_by_case = |rng: &mut Rng| match cases.get(rng.index(cases.len())) {
        Some(case) if rng.once_in(2) => rng.one_of(case),
        _ => rng.one_of(&made),
    };
    let space = Space { drawn: Drawing::Made, inodes: &made, accounts: accounts.all };
    drawn.some(space, made_share, mostly_cast, often_by_case, rng);
    if !roots.is_empty() {
        let machine = |rng: &mut Rng| rng.index(accounts.machine);
        let space = Space { drawn: Drawing::Unusual, inodes: &unusual, accounts: accounts.machine };
        drawn.some(space, count / 6, machine, |rng| rng.one_of(&unusual), rng);
        rng.shuffle(&mut roots);
        drawn.in_turn(&roots, count.saturating_sub(drawn.questions.len()), accounts.machine, rng);
    }
    let mut questions: Vec<Question> = drawn.questions.into_iter().collect();
    questions.sort_unstable();
    questions
}

/// Some inodes, and how many accounts may be asked about them.
#[derive(Clone, Copy)]
struct Space<'a> {
    drawn: Drawing,
    inodes: &'a [usize],
    accounts: usize,
}

struct Drawn<'a> {
    tree: &'a Tree,
    questions: HashSet<Question>,
}

impl Drawn<'_> {
    fn add(&mut self, question: Question) -> bool {
        let asked_otherwise = |drawn| self.questions.contains(&Question { drawn, ..question });
        let known = [Drawing::EveryInode, Drawing::Unusual, Drawing::Made].into_iter().any(asked_otherwise);
        let askable = self.tree.askable(question.inode);
        question.mode & !askable == 0 && !known && self.questions.insert(question)
    }

    /// `count` different questions from `space`; all there are, if that is not many more.
    fn some(
        &mut self,
        space: Space<'_>,
        count: usize,
        account: impl Fn(&mut Rng) -> usize,
        inode: impl Fn(&mut Rng) -> Option<usize>,
        rng: &mut Rng,
    ) {
        let Space { drawn, inodes, accounts } = space;
        let size = inodes.len() * accounts * MODES.len();
        let enough = self.questions.len() + count;
        if size < count.saturating_mul(2) {
            let mut all: Vec<usize> = (0..size).collect();
            rng.shuffle(&mut all);
            for number in all {
                if self.questions.len() >= enough {
                    return;
                }
                let (mode, rest) = ((number % 8) as u8, number / 8);
                if let Some(&inode) = inodes.get(rest / accounts) {
                    self.add(Question { account: rest % accounts, inode, mode, drawn });
                }
            }
            return;
        }
        for _ in 0..count.saturating_mul(DRAWS_PER_QUESTION_MAX) {
            if self.questions.len() >= enough {
                return;
            }
            if let Some(inode) = inode(rng) {
                self.add(Question { account: account(rng), inode, mode: rng.below(8) as u8, drawn });
            }
        }
    }

    /// `count` questions, each about the next of `inodes`, round and round.
    fn in_turn(&mut self, inodes: &[usize], count: usize, accounts: usize, rng: &mut Rng) {
        let enough = self.questions.len() + count;
        let draws = count.saturating_mul(DRAWS_PER_QUESTION_MAX);
        for &inode in inodes.iter().cycle().take(draws) {
            if self.questions.len() >= enough {
                return;
            }
            let (account, mode) = (rng.index(accounts), rng.below(8) as u8);
            self.add(Question { account, inode, mode, drawn: Drawing::EveryInode });
        }
    }
}

/// The inodes of the made tree by hard case: the first name below its top.
fn by_case(tree: &Tree, made: &[usize], top: Option<&Path>) -> Vec<Vec<usize>> {
    let mut cases: BTreeMap<&OsStr, Vec<usize>> = BTreeMap::new();
    for &place in made {
        let below = tree.inodes.get(place).and_then(|inode| inode.path.strip_prefix(top?).ok());
        if let Some(case) = below.and_then(|path| path.iter().next()) {
            cases.entry(case).or_default().push(place);
        }
    }
    cases.into_values().collect()
}

/// Which inodes are something else than root's own, readable by everybody, in directories open to everybody.
fn unusual(tree: &Tree) -> Vec<bool> {
    let mut unusual = vec![false; tree.inodes.len()];
    let mut shut = vec![false; tree.inodes.len()];
    for (place, inode) in tree.inodes.iter().enumerate() {
        let facts = &inode.facts;
        let foreign = facts.uid != 0 || facts.gid != 0 || facts.acl.is_some();
        let below_shut = shut.get(inode.parent).copied().unwrap_or(false);
        let is_link = matches!(inode.kind, Kind::Link { .. } | Kind::LostLink);
        if let (Some(unusual), Some(shut)) = (unusual.get_mut(place), shut.get_mut(place)) {
            *unusual = below_shut || foreign || !is_link && facts.mode & 0o004 == 0;
            *shut = below_shut || inode.kind == Kind::Directory && facts.mode & 0o001 == 0;
        }
    }
    for (place, inode) in tree.inodes.iter().enumerate() {
        if let Kind::Link { target, .. } = inode.kind
            && unusual.get(target) == Some(&true)
            && let Some(unusual) = unusual.get_mut(place)
        {
            *unusual = true;
        }
    }
    unusual
}

#[cfg(test)]
mod tests;
