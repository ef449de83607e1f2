use super::Asked;
use crate::arguments::Migrate;
use crate::failure::Failure;
#[derive(Debug, thiserror::Error)]
pub(crate) enum MigrateError {}
impl MigrateError {
    pub(crate) fn status(&self) -> u8 {
        4
    }
    pub(crate) fn next_step(&self) -> &'static str {
        ""
    }
}
pub(super) async fn run(_: Asked<'_>, _: &Migrate) -> Result<u8, Failure> {
    Ok(0)
}
