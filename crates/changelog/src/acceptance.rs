//! What every store of logs must do, whatever it is made of.
//!
//! A store that is to be held to it implements [`Stores`] and names the suite in a test: `acceptance!(MyStores::new());`.
//! One whose answers a test can lose on the way implements [`LosesAnswers`] and asks
//! [`lost_answers_are_settled_by_the_head`] too.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a suite of tests fails by panicking")]
#![allow(missing_docs, reason = "what a behaviour is called says what it is")]

mod batches;
mod lives;
mod reads;

use std::sync::Arc;

use bytes::Bytes;
use idhini_model::Revision;

use crate::{AppendError, Batch, BoxFuture, Changelog, LogId, Record, Store, Stored, Writer};

pub use batches::*;
pub use lives::*;
pub use reads::*;

/// Stores of one kind.
pub trait Stores: Send + Sync {
    /// A store without any log.
    fn fresh(&self) -> BoxFuture<'_, Arc<dyn Store>>;

    /// Ends a store as a process does that is told to, and opens what it kept. A store that keeps nothing goes on.
    fn reopened(&self, store: Arc<dyn Store>) -> BoxFuture<'_, Arc<dyn Store>>;
}

/// Stores whose answers can be lost.
pub trait LosesAnswers: Stores {
    /// From now on appends are interrupted in the middle.
    fn disturb(&self);

    /// From now on all is well.
    fn heal(&self);
}

/// Makes a test of each behaviour, in the module where it stands.
#[macro_export]
macro_rules! acceptance {
    ($stores:expr) => {
        $crate::acceptance! { $stores;
            a_log_that_nothing_was_appended_to_is_empty,
            entries_get_dense_revisions_in_order,
            an_append_to_another_head_is_refused_and_writes_nothing,
            a_batch_that_is_none_is_refused,
            appends_that_build_on_each_other_may_wait_together,
            writers_of_one_log_take_turns,
            logs_do_not_see_each_other,
            a_dropped_append_is_whole_or_absent,
            large_entries_come_back_in_their_chunks,
            reads_give_as_much_as_fits_and_one_entry_at_least,
            reads_beyond_the_head_give_nothing,
            whoever_waits_is_told_that_the_log_grew,
            a_follower_sees_every_entry_once_while_others_append,
            what_is_trimmed_is_gone_and_the_head_stays,
            a_log_trimmed_to_its_head_goes_on,
            a_deleted_log_is_gone_for_good,
            a_log_begins_where_it_is_told_to,
            what_was_appended_is_there_after_reopening,
            many_logs_live_side_by_side,
        }
    };
    ($stores:expr; $($behaviour:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() {
                $crate::acceptance::$behaviour(&$stores).await;
            }
        )+
    };
}

/// A writer's batch of entries with these bytes.
fn batch(writer: Writer, entries: &[&str]) -> Batch {
    let record = |entry: &&str| Record { chunks: vec![Bytes::copy_from_slice(entry.as_bytes())] };
    Batch { writer, records: entries.iter().map(record).collect() }
}

/// The first batch of a writer of its own.
fn by(id: u64, entries: &[&str]) -> Batch {
    batch(Writer { id, sequence: 1 }, entries)
}

fn texts(stored: &[Stored]) -> Vec<(u64, String)> {
    let text = |stored: &Stored| {
        let bytes: Vec<u8> = stored.record.chunks.iter().flatten().copied().collect();
        (stored.revision.0, String::from_utf8(bytes).unwrap())
    };
    stored.iter().map(text).collect()
}

/// Everything after a revision.
async fn all(log: &dyn Changelog, after: Revision) -> Vec<Stored> {
    let (mut read, mut after) = (Vec::new(), after);
    loop {
        let more = log.read(after, 1 << 20).await.unwrap();
        let Some(last) = more.last() else { return read };
        after = last.revision;
        read.extend(more);
    }
}

/// Appends behind whatever head there is; tries again when another was first.
async fn append_somewhere(log: &dyn Changelog, batch: Batch) -> Revision {
    let mut head = log.head().await.unwrap().revision;
    loop {
        match log.append(head, batch.clone()).await {
            Ok(revision) => return revision,
            Err(AppendError::HeadMoved { head: moved }) => head = moved,
            Err(error) => panic!("{error}"),
        }
    }
}

const LOG: LogId = LogId(7);
