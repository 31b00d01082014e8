//! The directory: who is alive, who may reach whom, and who has to hear of whose end. A plain state without any I/O.
//!
//! * An actor is reached with its id and its key, and by nothing else.
//! * Two actors that were introduced, and an actor and whoever watches it, hear of each other's end.
//! * An actor's children are its own: it and its ancestors may stop them, and its end is theirs.
//! * The last few ends are remembered, so that a handle to the dead is answered with how they died.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::actor::address::{Address, Key, MAIN_PORT};
use crate::exit::{ActorId, ExitReport};

/// How many ends are remembered.
const GRAVES: usize = 256;

#[derive(Debug)]
struct Living {
    id: ActorId,
    key: Key,
    owner: ActorId,
    /// Those who were introduced to this one.
    acquaintances: BTreeSet<ActorId>,
    children: BTreeSet<ActorId>,
    /// Requests to be told of this one's end: who asked, and in which call.
    watchers: Vec<(ActorId, u64)>,
}

/// Why an address cannot be reached.
#[derive(Debug)]
pub(crate) enum Unreachable {
    Unknown,
    Ended(Arc<ExitReport>),
}

/// What one actor's end means for the others.
#[derive(Debug, Default)]
pub(crate) struct Departure {
    pub(crate) owner: Option<ActorId>,
    pub(crate) acquaintances: Vec<ActorId>,
    pub(crate) watchers: Vec<(ActorId, u64)>,
    pub(crate) children: Vec<ActorId>,
}

/// The state of a family.
#[derive(Debug)]
pub(crate) struct Directory {
    living: BTreeMap<u32, Living>,
    graves: VecDeque<Arc<ExitReport>>,
    next: u32,
}

impl Directory {
    /// A family of its root alone.
    pub(crate) fn new() -> Directory {
        let mut directory = Directory { living: BTreeMap::new(), graves: VecDeque::new(), next: 1 };
        directory.enter(ActorId::ROOT, Key::random(), ActorId::ROOT);
        directory
    }

    fn enter(&mut self, id: ActorId, key: Key, owner: ActorId) {
        let living = Living { id, key, owner, acquaintances: BTreeSet::new(), children: BTreeSet::new(), watchers: Vec::new() };
        self.living.insert(id.slot, living);
    }

    /// A new actor, whose owner is the given one, or the root where that has ended meanwhile.
    pub(crate) fn born(&mut self, owner: ActorId) -> (ActorId, Key) {
        let (id, key) = (ActorId { slot: self.next, generation: 0 }, Key::random());
        self.next += 1;
        let owner = if self.is_alive(owner) { owner } else { ActorId::ROOT };
        self.enter(id, key, owner);
        if let Some(owner) = self.living.get_mut(&owner.slot) {
            owner.children.insert(id);
        }
        (id, key)
    }

    fn get(&self, id: ActorId) -> Option<&Living> {
        self.living.get(&id.slot).filter(|living| living.id == id)
    }

    fn get_mut(&mut self, id: ActorId) -> Option<&mut Living> {
        self.living.get_mut(&id.slot).filter(|living| living.id == id)
    }

    pub(crate) fn is_alive(&self, id: ActorId) -> bool {
        self.get(id).is_some()
    }

    /// Whether `from` may be connected with `address`; if so, each will hear of the other's end.
    pub(crate) fn introduce(&mut self, from: ActorId, address: &Address) -> Result<(), Unreachable> {
        match self.get_mut(address.actor) {
            // The keys of other ports are known to their process alone, and checked there.
            Some(target) if address.port != MAIN_PORT || target.key == address.key => {
                target.acquaintances.insert(from);
                if let Some(from) = self.get_mut(from) {
                    from.acquaintances.insert(address.actor);
                }
                Ok(())
            }
            Some(_) => Err(Unreachable::Unknown),
            None => Err(self.grave(address.actor).map_or(Unreachable::Unknown, Unreachable::Ended)),
        }
    }

    /// `from` will be told of the end of `actor`; `Err` where that is known already, or nobody knows the actor.
    pub(crate) fn watch(&mut self, from: ActorId, call: u64, actor: ActorId) -> Result<(), Unreachable> {
        match self.get_mut(actor) {
            Some(target) => {
                target.watchers.push((from, call));
                Ok(())
            }
            None => Err(self.grave(actor).map_or(Unreachable::Unknown, Unreachable::Ended)),
        }
    }

    fn grave(&self, id: ActorId) -> Option<Arc<ExitReport>> {
        self.graves.iter().rev().find(|report| report.id == id).cloned()
    }

    /// An actor has ended.
    pub(crate) fn ended(&mut self, report: &Arc<ExitReport>) -> Departure {
        let Some(gone) = self.get(report.id).map(|living| living.id.slot).and_then(|slot| self.living.remove(&slot)) else {
            return Departure::default();
        };
        if let Some(owner) = self.get_mut(gone.owner) {
            owner.children.remove(&gone.id);
        }
        for &other in &gone.acquaintances {
            if let Some(other) = self.get_mut(other) {
                other.acquaintances.remove(&gone.id);
            }
        }
        // Orphans end with their owner; until then the root has them.
        for &child in &gone.children {
            if let Some(child) = self.get_mut(child) {
                child.owner = ActorId::ROOT;
            }
            if let Some(root) = self.get_mut(ActorId::ROOT) {
                root.children.insert(child);
            }
        }
        if self.graves.len() == GRAVES {
            self.graves.pop_front();
        }
        self.graves.push_back(report.clone());
        Departure {
            owner: Some(gone.owner),
            acquaintances: gone.acquaintances.into_iter().collect(),
            watchers: gone.watchers,
            children: gone.children.into_iter().collect(),
        }
    }

    /// Whether `who` is above `target` in the family.
    pub(crate) fn is_ancestor(&self, who: ActorId, target: ActorId) -> bool {
        let mut at = target;
        while let Some(living) = self.get(at).filter(|living| living.id != ActorId::ROOT) {
            if living.owner == who {
                return true;
            }
            at = living.owner;
        }
        false
    }

    /// Everyone but the root.
    pub(crate) fn actors(&self) -> impl Iterator<Item = ActorId> {
        self.living.values().map(|living| living.id).filter(|&id| id != ActorId::ROOT)
    }

    pub(crate) fn owner(&self, id: ActorId) -> Option<ActorId> {
        self.get(id).map(|living| living.owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Outcome;
    use proptest::prelude::*;

    fn report(id: ActorId) -> Arc<ExitReport> {
        Arc::new(ExitReport { id, name: String::new(), pid: 1, outcome: Outcome::Returned, stop: None, stderr: None })
    }

    #[test]
    fn a_made_up_key_reaches_nothing() {
        let mut directory = Directory::new();
        let (id, key) = directory.born(ActorId::ROOT);
        let made_up = Address { actor: id, port: MAIN_PORT, key: Key::random() };
        assert!(matches!(directory.introduce(ActorId::ROOT, &made_up), Err(Unreachable::Unknown)));
        let stranger = Address { actor: ActorId { slot: 99, generation: 0 }, port: MAIN_PORT, key };
        assert!(matches!(directory.introduce(ActorId::ROOT, &stranger), Err(Unreachable::Unknown)));
        assert!(directory.introduce(ActorId::ROOT, &Address { actor: id, port: MAIN_PORT, key }).is_ok());
        directory.ended(&report(id));
        let after = directory.introduce(ActorId::ROOT, &Address { actor: id, port: MAIN_PORT, key });
        assert!(matches!(after, Err(Unreachable::Ended(_))));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Born(usize),
        Introduce(usize, usize),
        Watch(usize, usize),
        Ended(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..20usize).prop_map(Step::Born),
            (0..20usize, 0..20usize).prop_map(|(a, b)| Step::Introduce(a, b)),
            (0..20usize, 0..20usize).prop_map(|(a, b)| Step::Watch(a, b)),
            (0..20usize).prop_map(Step::Ended),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Whoever was introduced to, watches, owns or is owned by the dead hears of it, exactly once, and nobody else.
        #[test]
        fn everyone_concerned_hears_of_an_end(steps in prop::collection::vec(step(), 1..60)) {
            let mut directory = Directory::new();
            let mut all = vec![(ActorId::ROOT, Key::random())];
            let mut alive = vec![true];
            let mut owners = vec![0usize];
            let mut known: BTreeSet<(usize, usize)> = BTreeSet::new();
            let mut watching: Vec<(usize, usize)> = Vec::new();
            for step in steps {
                match step {
                    Step::Born(owner) => {
                        let owner = owner % all.len();
                        let (id, key) = directory.born(all[owner].0);
                        owners.push(if alive[owner] { owner } else { 0 });
                        all.push((id, key));
                        alive.push(true);
                    }
                    Step::Introduce(a, b) => {
                        let (a, b) = (a % all.len(), b % all.len());
                        if a == b || b == 0 || !alive[a] { continue; }
                        let address = Address { actor: all[b].0, port: MAIN_PORT, key: all[b].1 };
                        prop_assert_eq!(directory.introduce(all[a].0, &address).is_ok(), alive[b]);
                        if alive[b] {
                            known.insert((a.min(b), a.max(b)));
                        }
                    }
                    Step::Watch(a, b) => {
                        let (a, b) = (a % all.len(), b % all.len());
                        if b == 0 || !alive[a] { continue; }
                        if directory.watch(all[a].0, 7, all[b].0).is_ok() {
                            watching.push((a, b));
                        }
                    }
                    Step::Ended(who) => {
                        let who = who % all.len();
                        if who == 0 { continue; }
                        let departure = directory.ended(&report(all[who].0));
                        if !alive[who] {
                            prop_assert!(departure.owner.is_none());
                            continue;
                        }
                        alive[who] = false;
                        prop_assert_eq!(departure.owner, Some(all[owners[who]].0));
                        let heard: BTreeSet<ActorId> = departure.acquaintances.iter().copied().collect();
                        let expected: BTreeSet<ActorId> = known.iter().filter(|(a, b)| *a == who || *b == who)
                            .map(|(a, b)| all[if *a == who { *b } else { *a }].0).collect();
                        prop_assert_eq!(heard, expected);
                        known.retain(|(a, b)| *a != who && *b != who);
                        prop_assert_eq!(departure.watchers.len(), watching.iter().filter(|(_, b)| *b == who).count());
                        watching.retain(|(_, b)| *b != who);
                        let children: BTreeSet<usize> = (1..all.len()).filter(|&c| alive[c] && owners[c] == who).collect();
                        prop_assert_eq!(departure.children.len(), children.len());
                        for child in children {
                            owners[child] = 0;
                        }
                    }
                }
                prop_assert_eq!(directory.actors().count(), alive.iter().skip(1).filter(|a| **a).count());
            }
        }
    }
}
