//! What the workload does besides asking: looking after namespaces, closing and opening, the past, time.

use std::sync::Arc;

use idhini_changelog::{LogId, Store};
use idhini_replica::{MaintainError, Namespace};

use super::model::Asked;
use super::requests::Outcome;
use super::running::Within;
use super::running::{Job, Running, drive_one, node};
use super::world::{Answer, Asking, Client, DATA, LOGS, World};

impl World {
    /// Does so many things, or as many as it can until the power is cut.
    pub fn act(&mut self, acts: usize) -> Result<(), String> {
        for _ in 0..acts {
            if self.disk.is_off() {
                return Ok(());
            }
            self.act_once()?;
        }
        Ok(())
    }

    pub fn act_once(&mut self) -> Result<(), String> {
        if self.running.is_none() {
            self.open()?;
            if self.running.is_none() {
                return Ok(());
            }
            self.count("opened");
        }
        self.pass_time();
        self.settle()?;
        if self.running.is_none() || self.disk.is_off() {
            return Ok(());
        }
        match self.rng.weighted(&[56, 14, 5, 2, 3, 2, 5, 2, 2, 3, 5]) {
            0 => self.ask_some(),
            1 => self.maintain(),
            2 => self.image(),
            3 => self.compact(),
            4 => self.back_up(),
            5 => self.restore(),
            6 => self.look_back(),
            7 => {
                self.count("store closed");
                self.close();
                Ok(())
            }
            8 => {
                self.count("killed");
                self.kill();
                Ok(())
            }
            9 => {
                self.renew_node();
                Ok(())
            }
            _ => {
                self.idle();
                Ok(())
            }
        }
    }

    /// Some requests at the same time, to any namespaces.
    fn ask_some(&mut self) -> Result<(), String> {
        let mut clients: Vec<Client> = Vec::new();
        for _ in 0..self.rng.between(1, 3) {
            let log = self.any_log();
            // Those of one namespace are asked together: each builds on the one before, in one batch.
            if clients.iter().any(|client| client.log == log) {
                continue;
            }
            let count = self.rng.between(1, 3);
            let Client { asked, .. } = self.client(log, count);
            clients.extend(asked.into_iter().map(|asked| Client { log, asked: vec![asked] }));
        }
        self.run(Vec::new(), clients, Vec::new())?;
        Ok(())
    }

    pub(super) fn any_log(&mut self) -> u64 {
        1 + self.rng.below(LOGS as usize) as u64
    }

    /// Sweeps, images and trims a namespace, sometimes while others write.
    fn maintain(&mut self) -> Result<(), String> {
        let log = self.any_log();
        let Some(namespace) = self.namespace(log)? else { return Ok(()) };
        let Some(before) = self.facts_of(&namespace, log)? else { return Ok(()) };
        let state = Arc::clone(&self.model.pasts[&log].last().1.state);
        let is_due = state.has_expired(self.model.now);
        let clients = match self.rng.chance(40) {
            true => {
                let other = 1 + log % LOGS;
                vec![self.client(other, 3)]
            }
            false => Vec::new(),
        };
        let changes = self.disk.changes();
        let maintained = Arc::clone(&namespace);
        let job: Job<_> = Box::pin(async move { Answer::Maintained(maintained.maintain().await) });
        let answers = self.run(vec![job], clients, Vec::new())?;
        let Some(Answer::Maintained(answer)) = answers.into_iter().next() else { return Ok(()) };
        let is_disturbed = self.disk.failed_since(changes);
        if is_due {
            let outcome = match &answer {
                Err(MaintainError::Sweep(error)) => Outcome::of_log(error),
                _ => Outcome::Done(self.model.pasts[&log].last().0 + 1),
            };
            self.learn(log, &Asked::Sweep, outcome, self.disk.changes(), is_disturbed)?;
        }
        match answer {
            Err(error) if !is_disturbed => return Err(format!("log {log} is not looked after: {error}")),
            _ => {}
        }
        if let Some(after) = self.facts_of(&namespace, log)? {
            self.count_changes(&before, &after);
        }
        Ok(())
    }

    fn image(&mut self) -> Result<(), String> {
        let log = self.any_log();
        let Some(namespace) = self.namespace(log)? else { return Ok(()) };
        let Some(before) = self.facts_of(&namespace, log)? else { return Ok(()) };
        let changes = self.disk.changes();
        let imaged = Arc::clone(&namespace);
        let job: Job<_> = Box::pin(async move { Answer::Maintained(imaged.image().await) });
        let answers = self.run(vec![job], Vec::new(), Vec::new())?;
        match answers.into_iter().next() {
            Some(Answer::Maintained(Err(error))) if !self.disk.failed_since(changes) => {
                return Err(format!("log {log} is not imaged: {error}"));
            }
            _ => {}
        }
        if let Some(after) = self.facts_of(&namespace, log)? {
            self.count_changes(&before, &after);
        }
        Ok(())
    }

    /// The oldest entry, and the images as revision and number of files.
    #[allow(clippy::type_complexity, reason = "compared and counted, nothing else")]
    fn facts_of(
        &mut self,
        namespace: &Arc<Namespace>,
        log: u64,
    ) -> Result<Option<(u64, Vec<(u64, usize)>)>, String> {
        let Some(running) = &mut self.running else { return Ok(None) };
        let log = running.store.log(LogId(log));
        let asking: Job<_> = Box::pin(async move { log.head().await });
        let Ok(head) = drive_one(&self.runtime, vec![&mut running.steps], asking) else { return Ok(None) };
        let images = namespace.images().ok_or("there are no images")?.facts();
        let images = images.iter().map(|facts| (facts.revision.0, facts.files.len())).collect();
        Ok(Some((head.oldest.0, images)))
    }

    fn count_changes(&mut self, before: &(u64, Vec<(u64, usize)>), after: &(u64, Vec<(u64, usize)>)) {
        if after.0 > before.0 {
            self.count("trim");
        }
        for image in after.1.iter().filter(|image| !before.1.contains(image)) {
            self.count(if image.1 > 1 { "incremental image" } else { "whole image" });
        }
        let has_gone = |image: &&(u64, usize)| !after.1.contains(image);
        before.1.iter().filter(has_gone).for_each(|_| self.count("image removed"));
    }

    fn compact(&mut self) -> Result<(), String> {
        let changes = self.disk.changes();
        let Some(running) = &mut self.running else { return Ok(()) };
        let store = Arc::clone(&running.store);
        let compacting: Job<_> = Box::pin(async move { store.compact().await });
        match drive_one(&self.runtime, vec![&mut running.steps], compacting) {
            Err(error) if !self.disk.failed_since(changes) => return Err(format!("no compaction: {error}")),
            Err(_) => {}
            Ok(()) => self.count("compaction"),
        }
        Ok(())
    }

    /// Reads the past of a namespace that runs.
    fn look_back(&mut self) -> Result<(), String> {
        let log = self.any_log();
        let Some(namespace) = self.namespace(log)? else { return Ok(()) };
        let changes = self.disk.changes();
        let past = Arc::clone(&self.model.pasts[&log]);
        let oldest = past.oldest_promised(self.model.now);
        let revision = oldest + self.rng.below(usize::try_from(past.last().0 - oldest).unwrap() + 1) as u64;
        match self.verify_past(&namespace, &past, Asking::Promised(revision)) {
            Err(_) if self.disk.failed_since(changes) => Ok(()),
            read => read,
        }
    }

    /// Closes all namespaces; the store stays.
    fn renew_node(&mut self) {
        let (data, seed) = (Within::of(&self.disk, DATA), self.rng.number());
        self.held.clear();
        if let Some(Running { node: old, store, steps }) = self.running.take() {
            drop(old);
            let new = node(&self.disk, &data, &self.surroundings, &store, seed);
            self.running = Some(Running { node: new, store, steps });
            self.count("namespaces closed");
        }
    }

    fn idle(&mut self) {
        for _ in 0..self.rng.below(20) {
            let Some(running) = &mut self.running else { return };
            if !running.steps.step() {
                return;
            }
        }
    }
}
