//! Where do the two differ, and is it the server or the clock? Every difference is looked at again.
//!
//! Other programs go on working while this one runs. A difference counts only if the path, and everything on its way,
//! still has the metadata that were read.

use std::path::Path;

use crate::accounts::Account;
use crate::questions::Question;
use crate::relationships;
use crate::report::{DIFFERENCES_SHOWN_MAX, Difference, Kernel, Report, Tally};
use crate::tree::{Facts, Kind, Tree};

/// Counts agreement and difference into `report`. `made` is the top of the made tree.
pub fn compare(
    report: &mut Report,
    tree: &Tree,
    accounts: &[Account],
    asked: &[Question],
    errors: &[u8],
    answers: &[bool],
    made: Option<&Path>,
) {
    for ((question, error), &server) in asked.iter().zip(errors).zip(answers) {
        let (Some(inode), Some(account)) = (tree.inodes.get(question.inode), accounts.get(question.account))
        else {
            continue;
        };
        let kernel = Kernel::said(*error);
        let agree = match kernel {
            Kernel::Allowed => server,
            Kernel::Denied => !server,
            Kernel::Error(_) => false,
        };
        if !agree && changed(tree, question.inode) {
            report.changed += 1;
            continue;
        }
        let count = |tally: &mut Tally| {
            match kernel {
                Kernel::Allowed => tally.allowed += 1,
                Kernel::Denied | Kernel::Error(_) => tally.denied += 1,
            }
            tally.different += u64::from(!agree);
        };
        count(&mut report.total);
        count(report.drawings.entry(question.drawn.label()).or_default());
        if let Some(tally) = report.modes.get_mut(usize::from(question.mode)) {
            count(tally);
        }
        let kind = match inode.kind {
            Kind::Directory => "directory",
            Kind::File => "file",
            Kind::Link { .. } | Kind::LostLink => "link",
        };
        count(report.kinds.entry(kind).or_default());
        count(report.accounts.entry(format!("{} ({})", account.name, account.uid)).or_default());
        if let Some(case) = made.and_then(|made| inode.path.strip_prefix(made).ok()?.iter().next()) {
            count(report.cases.entry(case.to_string_lossy().into_owned()).or_default());
        }
        if !agree && report.differences.len() < DIFFERENCES_SHOWN_MAX {
            report.differences.push(difference(tree, account, question, kernel, server));
        }
    }
}

fn difference(
    tree: &Tree,
    account: &Account,
    question: &Question,
    kernel: Kernel,
    server: bool,
) -> Difference {
    let path = tree.inodes.get(question.inode).map(|inode| format!("{:?}", inode.path)).unwrap_or_default();
    let facts = relationships::involved(tree, question.inode);
    Difference {
        path,
        account: format!("{} (uid {}, groups {:?})", account.name, account.uid, account.groups()),
        mode: question.mode,
        kernel,
        server,
        facts: facts.iter().map(ToString::to_string).collect(),
    }
}

/// Whether an inode, or anything on its way, is no longer what was read.
fn changed(tree: &Tree, place: usize) -> bool {
    let mut waiting = vec![place];
    let mut seen = std::collections::HashSet::new();
    while let Some(next) = waiting.pop() {
        let Some(inode) = tree.inodes.get(next).filter(|_| seen.insert(next)) else { continue };
        if !Facts::read(&inode.path).is_ok_and(|now| now == inode.facts) {
            return true;
        }
        waiting.push(inode.parent);
        if let Kind::Link { steps, target } = &inode.kind {
            waiting.extend(steps);
            waiting.push(*target);
        }
    }
    false
}
