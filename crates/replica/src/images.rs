//! Images of the namespace on disk.

use idhini_graph::Root;
use idhini_model::Revision;

/// The images of one namespace.
#[derive(Debug)]
pub struct Images {}

impl Images {
    pub(crate) async fn newest(&self, _seed: u64) -> Option<Root> {
        None
    }

    pub(crate) async fn nearest(&self, _asked: Revision, _above: Revision) -> Option<Root> {
        None
    }
}
