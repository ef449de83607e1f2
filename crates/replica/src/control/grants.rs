//! What was granted to whom, and what follows from it?

use idhini_model::{RelationFilter, SubjectFilter, SubjectRef};

use super::path::NamespacePath;
use super::record::NamespaceId;
use super::rights::{Right, Role};
use super::rules::of_resource;
use super::{ControlError, ControlPlane};
use crate::Filter;
use crate::published::Portion;

/// A role that somebody was granted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// Where; it holds below too.
    pub path: NamespacePath,
    /// What.
    pub role: Role,
    /// Who.
    pub to: SubjectRef,
}

impl ControlPlane {
    /// What was granted in a namespace itself, at most so many.
    #[must_use]
    pub fn grants(&self, path: &NamespacePath, id: &NamespaceId, grants_max: usize) -> Vec<Grant> {
        self.granted(path, id, None, grants_max)
    }

    /// What was granted to somebody in a namespace and in those above it that gives one of these rights, from the namespace
    /// upwards.
    ///
    /// # Errors
    /// [`ControlError::Undecided`].
    pub fn because(
        &self,
        who: &SubjectRef,
        path: &NamespacePath,
        rights: &[Right],
    ) -> Result<Vec<Grant>, ControlError> {
        let line: Vec<_> = self.look(|view| {
            let line = std::iter::once(path.clone()).chain(path.ancestors());
            line.filter_map(|at| Some((view.at(&at).filter(|found| found.is_exact)?.nearest.0, at))).collect()
        })?;
        let mut because = Vec::new();
        for (id, at) in line {
            let granted = self.granted(&at, &id, Some(who), Role::ALL.len());
            because.extend(granted.into_iter().filter(|grant| rights.iter().any(|r| grant.role.gives(*r))));
        }
        Ok(because)
    }

    fn granted(
        &self,
        path: &NamespacePath,
        id: &NamespaceId,
        to: Option<&SubjectRef>,
        grants_max: usize,
    ) -> Vec<Grant> {
        let subject = to.map(|to| SubjectFilter {
            subject_type: to.object_type.clone(),
            subject_id: Some(to.object_id.clone()),
            relation: RelationFilter::Absent,
        });
        let (head, now) = (self.sys.head(), self.now());
        let mut grants = Vec::new();
        for role in Role::ALL {
            let relation = Some(role.as_str().to_owned());
            let filter = Filter { relation, subject: subject.clone(), ..of_resource(&id.resource()) };
            let portion =
                Portion { rows_max: grants_max - grants.len().min(grants_max), edges_max: u64::MAX };
            if portion.rows_max == 0 {
                break;
            }
            let rows = head.read(&filter, now, None, portion).rows;
            grants.extend(rows.into_iter().map(|row| Grant {
                path: path.clone(),
                role,
                to: row.relationship.subject,
            }));
        }
        grants
    }
}
