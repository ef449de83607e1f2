//! A workload of a node with several namespaces, beside the model of what must be there whatever happens.
//!
//! Everything is drawn from one seed and nothing runs by itself: the same run can be cut at each of its operations.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use idhini_changelog::disk::Disk;
use idhini_changelog::embedded::Steps;
use idhini_changelog::{LogId, OpenError};
use idhini_model::{Revision, Timestamp};
use idhini_replica::{Identity, IdentityError, MaintainError, Namespace, ReplicaError};
use idhini_testkit::disk::FaultDisk;
use idhini_testkit::rng::Rng;
use tokio::runtime::Runtime;

use super::compare::compare;
use super::model::{Asked, Condition, Doing, HISTORY_SECONDS, Past};
use super::requests::{Outcome, ask, draw};
use super::running::{Job, Running, Surroundings, Within, drive, drive_one};

/// Namespaces of the node.
pub const LOGS: u64 = 3;

/// Where the node's data is.
pub const DATA: &str = "data";

/// Times that a namespace is asked what became of a request.
const SETTLES_MAX: usize = 100;

pub const IDENTITY: Identity = Identity { store: 7, timeline: 1, key_id: 9, key: [7; 32] };

/// A node, its disk, and what must be there.
pub struct World {
    pub disk: FaultDisk,
    pub model: Model,
    /// What was done how often.
    pub counts: BTreeMap<&'static str, u64>,
    pub(super) runtime: Rc<Runtime>,
    pub(super) running: Option<Running>,
    pub(super) surroundings: Surroundings,
    pub(super) rng: Rng,
    /// Namespaces that are held open while the disk fails, for their readers.
    pub(super) held: BTreeMap<u64, Arc<Namespace>>,
}

/// What must be there.
#[derive(Debug, Clone)]
pub struct Model {
    pub now: i64,
    pub pasts: BTreeMap<u64, Arc<Past>>,
    /// Changes of the disk after which the identity must be there.
    pub identified: u64,
    /// The backups that were finished, each adding to the one before.
    pub backups: Vec<Copied>,
    /// Whether what is in the backup's directory is to go first.
    pub is_discarding: bool,
    /// What was last restored.
    pub restored: Option<Copied>,
}

/// A directory with copies of namespaces.
#[derive(Debug, Clone)]
pub struct Copied {
    /// It is whole after so many changes of the disk,
    pub since: u64,
    /// and is taken apart after so many.
    pub until: u64,
    /// The revision of each log.
    pub heads: BTreeMap<u64, u64>,
}

/// Why nothing runs.
struct NotOpen {
    /// The disk does not let us, and nothing is said about what is on it.
    is_disk: bool,
    what: String,
}

/// Requests to one namespace, one after the other.
pub struct Client {
    pub log: u64,
    pub asked: Vec<Asked>,
}

/// What a job answers.
pub enum Answer {
    /// How each request ended, and after how many changes of the disk.
    Client(Vec<(Outcome, u64)>),
    Maintained(Result<(), MaintainError>),
    Copied(Result<super::copies::Copy, String>),
}

impl World {
    pub fn new(runtime: &Rc<Runtime>, seed: u64) -> World {
        let pasts = (1..=LOGS).map(|log| (log, Arc::new(Past::new()))).collect();
        let model = Model {
            now: 1_000,
            pasts,
            identified: u64::MAX,
            backups: Vec::new(),
            is_discarding: false,
            restored: None,
        };
        World::on(runtime, FaultDisk::new(seed), model, seed)
    }

    /// A world where the model knows already what must be there.
    pub fn on(runtime: &Rc<Runtime>, disk: FaultDisk, model: Model, seed: u64) -> World {
        let (surroundings, rng) = (Surroundings::new(model.now), Rng::new(seed));
        World {
            disk,
            model,
            counts: BTreeMap::new(),
            runtime: Rc::clone(runtime),
            running: None,
            surroundings,
            rng,
            held: BTreeMap::new(),
        }
    }

    /// The same world on what a power cut left.
    pub fn after_power_cut(self, seed: u64) -> World {
        let disk = self.disk.after_power_cut(seed);
        let mut model = self.model;
        model.is_discarding |= model.backups.first().is_some_and(|copied| copied.until != u64::MAX);
        model.backups.retain(|copied| copied.until == u64::MAX);
        model.restored.take_if(|copied| copied.until != u64::MAX);
        World::on(&self.runtime, disk, model, seed)
    }

    pub fn data(&self) -> Arc<dyn Disk> {
        Within::of(&self.disk, DATA)
    }

    /// Opens what is there, as a server does.
    ///
    /// What does not work is wrong, unless the disk has failed meanwhile.
    pub fn open(&mut self) -> Result<(), String> {
        self.kill();
        let changes = self.disk.changes();
        match self.try_open() {
            Ok(()) => Ok(()),
            Err(NotOpen { is_disk: true, .. }) if self.disk.failed_since(changes) => Ok(()),
            Err(NotOpen { what, .. }) => Err(what),
        }
    }

    fn try_open(&mut self) -> Result<(), NotOpen> {
        let not_open = |is_disk, what: String| NotOpen { is_disk, what };
        let data = self.data();
        match Identity::read(&*data) {
            Ok(Some(found)) if found == IDENTITY => {}
            Ok(None) if self.model.identified == u64::MAX => {
                IDENTITY.write(&*data).map_err(|error| not_open(true, error.to_string()))?;
            }
            Err(error @ IdentityError::Disk(_)) => return Err(not_open(true, error.to_string())),
            other => return Err(not_open(false, format!("the identity is {other:?}"))),
        }
        self.model.identified = self.model.identified.min(self.disk.changes());
        let seed = self.rng.number();
        match Running::open(&self.disk, &data, &self.surroundings, seed) {
            Ok(running) => self.running = Some(running),
            Err(error) => {
                return Err(not_open(matches!(error, OpenError::Unavailable { .. }), error.to_string()));
            }
        }
        Ok(())
    }

    /// Ends without closing.
    pub fn kill(&mut self) {
        self.held.clear();
        self.running = None;
    }

    pub fn close(&mut self) {
        self.held.clear();
        if let Some(Running { node, store, mut steps }) = self.running.take() {
            drop(node);
            let closing: Job<_> = Box::pin(async move { store.close().await });
            let _ = drive_one(&self.runtime, vec![&mut steps], closing);
        }
    }

    /// Loses what is known of the last acts: it may be there, or not.
    pub fn may_lack_what_came_after(&mut self, before: &Model) {
        for (log, past) in &mut self.model.pasts {
            Arc::make_mut(past).need_not_reach_beyond(before.pasts[log].last().0);
        }
    }

    /// Whether a node runs.
    pub fn runs(&self) -> bool {
        self.running.is_some()
    }

    /// Holds all namespaces open from now on, so that their readers are seen to be served.
    pub fn hold(&mut self) -> Result<(), String> {
        for log in 1..=LOGS {
            if !self.held.contains_key(&log)
                && let Some(namespace) = self.namespace(log)?
            {
                self.held.insert(log, namespace);
            }
        }
        Ok(())
    }

    /// Whoever reads is served, whatever the disk does, and sees nothing that is not so.
    pub fn serves(&self) -> Result<(), String> {
        for (log, namespace) in &self.held {
            let head = namespace.head();
            let past = &self.model.pasts[log];
            past.may_be_head(head.revision().0).map_err(|what| format!("log {log} is read: {what}"))?;
            let made = past.at(head.revision().0).ok_or("no such revision")?;
            compare(&head, &made.state).map_err(|what| format!("log {log} is read: {what}"))?;
        }
        Ok(())
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// A namespace; `None` if the disk has failed meanwhile.
    pub(super) fn namespace(&mut self, log: u64) -> Result<Option<Arc<Namespace>>, String> {
        let changes = self.disk.changes();
        let Some(running) = &mut self.running else { return Ok(None) };
        let node = Arc::clone(&running.node);
        let opening: Job<_> = Box::pin(async move { node.namespace(LogId(log)).await });
        match drive_one(&self.runtime, vec![&mut running.steps], opening) {
            Ok(namespace) => Ok(Some(namespace)),
            Err(_) if self.disk.failed_since(changes) => Ok(None),
            Err(error) => Err(format!("log {log} cannot be opened: {error}")),
        }
    }

    /// Runs jobs, some of them of clients, and learns how their requests ended. The answers of the others come back.
    pub(super) fn run(
        &mut self,
        mut jobs: Vec<Job<Answer>>,
        clients: Vec<Client>,
        steps: Vec<&mut Steps>,
    ) -> Result<Vec<Answer>, String> {
        let changes = self.disk.changes();
        let others = jobs.len();
        for Client { log, asked } in &clients {
            let Some(namespace) = self.namespace(*log)? else { return Ok(Vec::new()) };
            jobs.push(Box::pin(in_turn(namespace, asked.clone(), self.disk.clone())));
        }
        let Some(running) = &mut self.running else { return Ok(Vec::new()) };
        let mut all_steps = vec![&mut running.steps];
        all_steps.extend(steps);
        let mut answers = drive(&self.runtime, all_steps, jobs, others > 0);
        let is_disturbed = self.disk.failed_since(changes);
        let of_clients = answers.split_off(others);
        // What is swept comes before what was asked later.
        for (client, answer) in clients.into_iter().zip(of_clients) {
            let Answer::Client(outcomes) = answer else { continue };
            for (asked, (outcome, stamp)) in client.asked.iter().zip(outcomes) {
                self.learn(client.log, asked, outcome, stamp, is_disturbed)?;
            }
        }
        Ok(answers)
    }

    pub(super) fn learn(
        &mut self,
        log: u64,
        asked: &Asked,
        outcome: Outcome,
        stamp: u64,
        is_disturbed: bool,
    ) -> Result<(), String> {
        let now = self.model.now;
        let past = Arc::make_mut(self.model.pasts.get_mut(&log).unwrap());
        let (last, made, _) = past.last();
        let verdict = made.state.judge(asked, now);
        let name = match (asked, verdict.as_deref()) {
            (_, None) => "refused",
            (_, Some([])) => "changes nothing",
            (Asked::Write { condition: Some(Condition::Has(..)), .. }, _) => "write under a check",
            (Asked::Write { .. }, _) => "write",
            (Asked::Set { .. }, _) => "relation set",
            (Asked::Import(_), _) => "import",
            (Asked::Delete { .. }, _) => "filtered delete",
            (Asked::Schema(_), Some([_])) if made.state.relationships.is_empty() => "first schema",
            (Asked::Schema(_), Some([_])) => "schema change with relationships",
            (Asked::Schema(_), _) => "schema change that sweeps",
            (Asked::Counter { matching: Some(_), .. }, _) => "counter registered",
            (Asked::Counter { matching: None, .. }, _) => "counter taken away",
            (Asked::Sweep, _) => "sweep",
        };
        match (verdict, outcome) {
            (Some(states), Outcome::Done(revision)) if revision == last + states.len() as u64 => {
                let stamps = self.surroundings.stamps.lock().unwrap();
                let durable = stamps.get(&(log, revision)).copied().unwrap_or(u64::MAX);
                past.push(states, now, Some(stamp.min(durable)));
            }
            (None, Outcome::Refused) => {}
            (_, Outcome::Wrong(what)) => return Err(format!("log {log} after {last}: {what}: {asked:?}")),
            (_, Outcome::Nothing) if is_disturbed => {
                self.count("answered as not written");
                return Ok(());
            }
            (verdict, Outcome::Unknown) if is_disturbed => {
                past.push(verdict.unwrap_or_default(), now, None);
                self.count("answered as unknown");
                return Ok(());
            }
            (verdict, outcome) => {
                let expected = verdict.map(|states| last + states.len() as u64);
                return Err(format!(
                    "log {log} after {last}: {outcome:?} instead of {expected:?}: {asked:?}"
                ));
            }
        }
        self.count(name);
        Ok(())
    }

    /// Asks namespaces with requests of an unknown outcome what became of them.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        for log in 1..=LOGS {
            for _ in 0..SETTLES_MAX {
                let is_sure = self.model.pasts[&log].last().2;
                if is_sure || self.disk.is_off() || self.running.is_none() {
                    break;
                }
                let Some(namespace) = self.namespace(log)? else { continue };
                let nothing = Asked::Write { updates: Vec::new(), condition: None };
                let asking: Job<_> = Box::pin(async move { ask(&namespace, nothing).await });
                let Some(running) = &mut self.running else { break };
                match drive_one(&self.runtime, vec![&mut running.steps], asking) {
                    Outcome::Done(head) => {
                        let past = Arc::make_mut(self.model.pasts.get_mut(&log).unwrap());
                        past.settle(head).map_err(|what| format!("log {log}: {what}"))?;
                        self.count("settled");
                    }
                    Outcome::Nothing | Outcome::Unknown => {}
                    other => return Err(format!("log {log}: {other:?} of a write of nothing")),
                }
            }
            if !self.model.pasts[&log].last().2 && !self.disk.is_off() && self.running.is_some() {
                return Err(format!("log {log} is not settled"));
            }
        }
        Ok(())
    }

    /// Requests that make sense one after the other, for one namespace.
    pub(super) fn client(&mut self, log: u64, count: usize) -> Client {
        let mut state = (*self.model.pasts[&log].last().1.state).clone();
        let mut asked = Vec::new();
        for _ in 0..count {
            let next = draw(&mut self.rng, log, &state, self.model.now);
            if let Some(after) = state.judge(&next, self.model.now).and_then(|mut states| states.pop()) {
                state = after;
            }
            asked.push(next);
        }
        Client { log, asked }
    }

    /// Compares everything that can be read with the model, which learns what became of what was open.
    pub fn verify(&mut self) -> Result<(), String> {
        for log in 1..=LOGS {
            let Some(namespace) = self.namespace(log)? else {
                return Err(format!("log {log} cannot be opened"));
            };
            self.verify_namespace(log, &namespace).map_err(|what| format!("log {log}: {what}"))?;
        }
        self.verify_backup().map_err(|what| format!("the backup: {what}"))?;
        self.verify_restored().map_err(|what| format!("what was restored: {what}"))?;
        match self.surroundings.reported().first() {
            Some(report) => Err(format!("it was reported: {report}")),
            None => Ok(()),
        }
    }

    pub(super) fn verify_namespace(&mut self, log: u64, namespace: &Arc<Namespace>) -> Result<(), String> {
        let (head, now) = (namespace.head(), self.model.now);
        let past = Arc::make_mut(self.model.pasts.get_mut(&log).unwrap());
        past.settle(head.revision().0)?;
        compare(&head, &past.last().1.state)?;
        let past = Arc::clone(&self.model.pasts[&log]);
        let oldest = past.oldest_promised(now);
        let (last, rng) = (past.last().0, &mut self.rng);
        let any = oldest + rng.below(usize::try_from(last - oldest).unwrap_or(0) + 1) as u64;
        let moment = now - rng.below(usize::try_from(HISTORY_SECONDS).unwrap_or(0) + 1).cast_signed() as i64;
        for revision in [oldest, any, last.saturating_sub(1).max(oldest)] {
            self.verify_past(namespace, &past, Asking::Promised(revision))?;
        }
        self.verify_past(namespace, &past, Asking::Moment(moment))?;
        self.verify_past(namespace, &past, Asking::Perhaps(oldest.saturating_sub(1)))
    }

    pub(super) fn verify_past(
        &mut self,
        namespace: &Arc<Namespace>,
        past: &Past,
        asking: Asking,
    ) -> Result<(), String> {
        let namespace = Arc::clone(namespace);
        let reading: Job<_> = Box::pin(async move {
            match asking {
                Asking::Promised(revision) | Asking::Perhaps(revision) => {
                    namespace.at(Revision(revision)).await
                }
                Asking::Moment(moment) => namespace.at_moment(Timestamp::from_seconds(moment)).await,
            }
        });
        let Some(running) = &mut self.running else { return Ok(()) };
        let found = match (asking, drive_one(&self.runtime, vec![&mut running.steps], reading)) {
            (_, Ok(found)) => found,
            (Asking::Perhaps(_), Err(ReplicaError::Expired { .. })) => return Ok(()),
            (_, Err(error)) => return Err(format!("{asking:?} of {}: {error}", past.last().0)),
        };
        let revision = match asking {
            Asking::Promised(revision) | Asking::Perhaps(revision) => revision,
            Asking::Moment(moment) => past.newest_at(moment),
        };
        let made = past.at(revision).ok_or("no such revision")?;
        if found.revision().0 != revision {
            return Err(format!("{asking:?} is answered from {:?} and not {revision}", found.revision()));
        }
        self.count("past revision read");
        compare(&found, &made.state).map_err(|what| format!("{asking:?}: {what}"))
    }

    /// Each namespace takes another write.
    pub fn writes(&mut self) -> Result<(), String> {
        self.settle()?;
        for log in 1..=LOGS {
            let state = Arc::clone(&self.model.pasts[&log].last().1.state);
            let asked = match state.schema {
                None => Asked::Schema(0),
                Some(_) => {
                    let user = format!("document:last{}#viewer@user:u1", self.rng.number());
                    let updates = vec![(Doing::Touch, user.parse().unwrap())];
                    Asked::Write { updates, condition: None }
                }
            };
            let before = self.model.pasts[&log].last().0;
            self.run(Vec::new(), vec![Client { log, asked: vec![asked] }], Vec::new())?;
            if self.model.pasts[&log].last().0 == before {
                return Err(format!("log {log} takes no more writes"));
            }
        }
        Ok(())
    }

    /// Everything still works, and all of it is there after a clean end.
    pub fn goes_on(&mut self) -> Result<(), String> {
        self.writes()?;
        self.close();
        self.open()?;
        self.verify().map_err(|what| format!("after a clean end: {what}"))
    }

    /// The disk stopped during this change: what was acknowledged before must be there.
    pub fn when_cut_during(&mut self, change: u64) {
        let Model { pasts, identified, backups, is_discarding, restored, .. } = &mut self.model;
        pasts.values_mut().for_each(|past| Arc::make_mut(past).when_cut_during(change));
        if *identified >= change {
            *identified = u64::MAX;
        }
        *is_discarding |= backups.first().is_some_and(|copied| copied.until < change);
        backups.retain(|copied| copied.since < change && copied.until >= change);
        restored.take_if(|copied| copied.until < change);
        // On another disk changes are counted anew.
        for copied in backups.iter_mut().chain(restored) {
            (copied.since, copied.until) = (0, u64::MAX);
        }
    }

    pub(super) fn pass_time(&mut self) {
        self.model.now += self.rng.below(7).cast_signed() as i64;
        self.surroundings.seconds.store(self.model.now, Ordering::SeqCst);
    }
}

/// What is asked about the past.
#[derive(Debug, Clone, Copy)]
pub enum Asking {
    /// A revision that the history has.
    Promised(u64),
    /// One that it need not have.
    Perhaps(u64),
    Moment(i64),
}

/// One request after the other, until one is not known to have ended.
async fn in_turn(namespace: Arc<Namespace>, asked: Vec<Asked>, disk: FaultDisk) -> Answer {
    let mut outcomes = Vec::new();
    for asked in asked {
        let outcome = ask(&namespace, asked).await;
        let goes_on = matches!(outcome, Outcome::Done(_) | Outcome::Refused);
        outcomes.push((outcome, disk.changes()));
        if !goes_on {
            break;
        }
    }
    Answer::Client(outcomes)
}
