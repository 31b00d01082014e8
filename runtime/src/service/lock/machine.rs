//! The lock as a plain state machine: who holds it, who waits, and the value that travels with it.
//!
//! It takes requests of clients (and 'this request is cancelled', 'this client is gone') and pushes the answers to a
//! list. It does no I/O, reads no clock and spawns nothing, so that the tests below can run thousands of schedules. A
//! timeout is not known here: it is a cancel, sent by the handle that waited long enough.
//!
//! One acquire, from its request to its end. Each end of a hold grants to the next in line:
//!
//! ```text
//!  acquire ─┬─ free ───────────────────────────────▶ holding ─┬─ release ──▶ Released
//!           ├─ held, waits ──▶ waiting ─ next, free ─▲        ├─ cancel ───▶ (taken back, unchanged)
//!           │                     │                           └─ gone ─────▶ (abandoned)
//!           │                     ├─ close ────────▶ Closed
//!           │                     └─ cancel, gone ─▶ (forgotten, no answer)
//!           ├─ held, may not wait ──▶ WouldBlock
//!           └─ closed ──────────────▶ Closed
//! ```
//!
//! What holds after every step:
//!
//! 1. *One holder.* At most one ticket holds the lock.
//! 2. *Progress.* Nobody waits while the lock is free. So a release, in whatever form, grants at once.
//! 3. *Order.* Waiters are granted in the order of their requests. A request that may not wait is granted only when
//!    the lock is free; then, by 2, there is nobody whom it could overtake.
//! 4. *One answer.* An acquire gets exactly one of `Granted`, `WouldBlock`, `Closed`, or none when it was cancelled, or
//!    its client ended, while it waited. A release gets exactly one of `Released`, `NotHeld`. A cancel is not answered:
//!    whether it found a waiter or took a grant back, afterwards the ticket holds nothing.
//! 5. *Committed values only.* A grant shows the value that the last committing holder left, or the first value.
//!    Whoever keeps, abandons, is cancelled or dies leaves it as it was.
//! 6. *Abandonment is told once.* After a holder died or gave up in a panic, the next holder is told, and only that
//!    one. A grant that a cancel took back was seen by nobody, so the notice goes to the holder after it.
//! 7. *The dead* hold nothing and wait for nothing. They leave the line before their lock is handed on, so a lock is
//!    never granted to the client that is being removed.
//! 8. *Closed* is final: nobody waits, nothing is granted any more. The holder of that moment may finish and release.
//!
//! # Why the lock is handed over in order
//!
//! A lock in memory lets a newcomer take it before a sleeper has woken up: the newcomer is on the CPU already, and a
//! switch is saved. Here nothing is saved. Each request is a message, and the machine reads them one after another, so
//! every waiter is known when the lock comes free, and to grant it is the one message that it must get anyway. To wake
//! it and let it try again would cost two messages more and could starve it. So first come, first served.
//!
//! # How strange requests end
//!
//! Never in a panic, never in somebody else's lock. A release of what is not held (a second release, a ticket that
//! still waits, another client's) is answered `NotHeld` and its value is not taken. A cancel of an unknown ticket, or
//! the end of an unknown client, changes nothing. An acquire under a ticket that waits or holds already is ignored,
//! since that ticket has its one answer or will have it.
//!
//! The lock is not re-entrant: two calls of one client are two requests, and the second waits behind the first.
//!
//! From its host the machine expects that `gone` is the last it hears of a client. A request delivered after it would
//! be taken for that of a living one, and could hold the lock for good.
//!
//! Every operation is O(log n) in the number of waiters; the end of a client is so for each request that it had waiting.

use crate::service::host::Ticket;
use crate::service::line::Line;

/// How a holder gives the lock back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Release<P> {
    /// With a new value.
    Commit(P),
    /// With the value as it was.
    Keep,
    /// In a panic, or with a value that could not be encoded: the last committed value stays and the next holder is told.
    Abandon,
}

/// An answer, to be delivered to its ticket's client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output<P> {
    /// The ticket holds the lock from now on.
    Granted {
        /// The acquire, and from now on the name of the hold.
        ticket: Ticket,
        /// The last committed value.
        value: P,
        /// Whether the last holder before this one died or abandoned the lock.
        abandoned: bool,
    },
    /// The lock is held and the acquire was not to wait.
    WouldBlock(Ticket),
    /// The lock is closed; this acquire will never be granted.
    Closed(Ticket),
    /// The release with this ticket was carried out.
    Released(Ticket),
    /// The release with this ticket named something that its client does not hold; nothing was changed.
    NotHeld(Ticket),
}

/// The state of one lock. `P` is the value as it travels, encoded.
#[derive(Debug)]
pub(crate) struct LockMachine<P> {
    /// What the last committing holder left.
    value: P,
    holder: Option<Holder>,
    line: Line<()>,
    /// The lock was abandoned and no holder has been told so yet.
    notice: bool,
    closed: bool,
}

/// The one that holds the lock.
#[derive(Debug)]
struct Holder {
    ticket: Ticket,
    /// Its grant carried the notice of abandonment. Kept because a cancel may show that nobody read it.
    noticed: bool,
}

impl<P: Clone> LockMachine<P> {
    /// A free, open lock with its first value.
    pub(crate) fn new(value: P) -> Self {
        Self { value, holder: None, line: Line::default(), notice: false, closed: false }
    }

    /// Asks for the lock. With `wait`, the ticket joins the line when the lock is held.
    pub(crate) fn acquire(&mut self, ticket: Ticket, wait: bool, out: &mut Vec<Output<P>>) {
        if self.holder() == Some(ticket) || self.line.contains(ticket) {
            return;
        }
        if self.closed {
            out.push(Output::Closed(ticket));
        } else if self.holder.is_none() {
            self.grant(ticket, out);
        } else if wait {
            self.line.join(ticket, ());
        } else {
            out.push(Output::WouldBlock(ticket));
        }
    }

    /// Gives the lock back: the request `ticket` ends what its client's call `held` was granted. The answer comes
    /// before the next grant. A release that nobody waits for (a dropped guard) is answered like another; its host may
    /// let the answer fall.
    pub(crate) fn release(&mut self, ticket: Ticket, held: u64, verdict: Release<P>, out: &mut Vec<Output<P>>) {
        let held = Ticket { client: ticket.client, call: held };
        if self.holder.take_if(|holder| holder.ticket == held).is_none() {
            out.push(Output::NotHeld(ticket));
            return;
        }
        match verdict {
            Release::Commit(value) => self.value = value,
            Release::Keep => {}
            Release::Abandon => self.notice = true,
        }
        out.push(Output::Released(ticket));
        self.hand_over(out);
    }

    /// The client no longer wants what it asked for with `ticket`. A waiting request is forgotten. A granted one, whose
    /// grant crossed with the cancel, is released unchanged: nobody saw the value, so nothing was abandoned.
    pub(crate) fn cancel(&mut self, ticket: Ticket, out: &mut Vec<Output<P>>) {
        if let Some(holder) = self.holder.take_if(|holder| holder.ticket == ticket) {
            self.notice = holder.noticed;
            self.hand_over(out);
        } else {
            self.line.leave(ticket);
        }
    }

    /// The client has ended: what it waits for is forgotten and what it holds is abandoned.
    pub(crate) fn gone(&mut self, client: u64, out: &mut Vec<Output<P>>) {
        self.line.leave_all(client);
        if self.holder.take_if(|holder| holder.ticket.client == client).is_some() {
            self.notice = true;
            self.hand_over(out);
        }
    }

    /// Closes the lock: who waits, and who asks later, is told `Closed`; the holder may still release. A second close
    /// changes nothing.
    pub(crate) fn close(&mut self, out: &mut Vec<Output<P>>) {
        self.closed = true;
        while let Some((ticket, ())) = self.line.next() {
            out.push(Output::Closed(ticket));
        }
    }

    /// The ticket that holds the lock.
    pub(crate) fn holder(&self) -> Option<Ticket> {
        self.holder.as_ref().map(|holder| holder.ticket)
    }

    /// How many requests wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.line.len()
    }

    /// Whether the lock was closed.
    #[cfg(test)]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Makes `ticket` the holder. The caller has made sure that there is none.
    fn grant(&mut self, ticket: Ticket, out: &mut Vec<Output<P>>) {
        let abandoned = std::mem::take(&mut self.notice);
        self.holder = Some(Holder { ticket, noticed: abandoned });
        out.push(Output::Granted { ticket, value: self.value.clone(), abandoned });
    }

    /// Grants the lock, which has just come free, to the first in line.
    fn hand_over(&mut self, out: &mut Vec<Output<P>>) {
        if let Some((ticket, ())) = self.line.next() {
            self.grant(ticket, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The machine with a list to answer to; each call returns the answers of that step.
    struct Bench(LockMachine<i32>);

    impl Bench {
        fn new() -> Self {
            Self(LockMachine::new(0))
        }

        fn step(&mut self, run: impl FnOnce(&mut LockMachine<i32>, &mut Vec<Output<i32>>)) -> Vec<Output<i32>> {
            let mut out = Vec::new();
            run(&mut self.0, &mut out);
            out
        }

        fn acquire(&mut self, ticket: Ticket) -> Vec<Output<i32>> {
            self.step(|lock, out| lock.acquire(ticket, true, out))
        }

        fn try_acquire(&mut self, ticket: Ticket) -> Vec<Output<i32>> {
            self.step(|lock, out| lock.acquire(ticket, false, out))
        }

        fn release(&mut self, ticket: Ticket, held: u64, verdict: Release<i32>) -> Vec<Output<i32>> {
            self.step(|lock, out| lock.release(ticket, held, verdict, out))
        }

        fn cancel(&mut self, ticket: Ticket) -> Vec<Output<i32>> {
            self.step(|lock, out| lock.cancel(ticket, out))
        }

        fn gone(&mut self, client: u64) -> Vec<Output<i32>> {
            self.step(|lock, out| lock.gone(client, out))
        }

        fn close(&mut self) -> Vec<Output<i32>> {
            self.step(|lock, out| lock.close(out))
        }
    }

    fn t(client: u64, call: u64) -> Ticket {
        Ticket { client, call }
    }

    fn granted(ticket: Ticket, value: i32) -> Output<i32> {
        Output::Granted { ticket, value, abandoned: false }
    }

    fn granted_abandoned(ticket: Ticket, value: i32) -> Output<i32> {
        Output::Granted { ticket, value, abandoned: true }
    }

    // covers 47
    #[test]
    fn acquired_once_refused_without_waiting_released_once() {
        let mut lock = Bench::new();
        assert_eq!(lock.acquire(t(1, 1)), [granted(t(1, 1), 0)]);
        assert_eq!(lock.try_acquire(t(2, 1)), [Output::WouldBlock(t(2, 1))]);
        assert_eq!(lock.try_acquire(t(1, 2)), [Output::WouldBlock(t(1, 2))]);
        assert_eq!(lock.release(t(1, 3), 1, Release::Keep), [Output::Released(t(1, 3))]);
        assert_eq!(lock.release(t(1, 4), 1, Release::Keep), [Output::NotHeld(t(1, 4))]);
        assert_eq!(lock.try_acquire(t(2, 2)), [granted(t(2, 2), 0)]);
    }

    // covers 51: a timed wait is a wait that its handle cancels
    #[test]
    fn a_timed_out_wait_leaves_the_line() {
        let mut lock = Bench::new();
        lock.acquire(t(1, 1));
        assert_eq!(lock.acquire(t(2, 1)), []);
        assert_eq!(lock.acquire(t(3, 1)), []);
        assert_eq!(lock.cancel(t(2, 1)), []);
        assert_eq!(lock.0.waiting(), 1);
        assert_eq!(lock.release(t(1, 2), 1, Release::Keep), [Output::Released(t(1, 2)), granted(t(3, 1), 0)]);
    }

    #[test]
    fn waiters_are_granted_in_order_with_the_value_left_before() {
        let mut lock = Bench::new();
        lock.acquire(t(3, 1));
        lock.acquire(t(2, 1));
        lock.acquire(t(1, 1));
        assert_eq!(lock.release(t(3, 2), 1, Release::Commit(7)), [Output::Released(t(3, 2)), granted(t(2, 1), 7)]);
        assert_eq!(lock.release(t(2, 2), 1, Release::Keep), [Output::Released(t(2, 2)), granted(t(1, 1), 7)]);
        assert_eq!(lock.0.holder(), Some(t(1, 1)));
        assert_eq!(lock.0.waiting(), 0);
    }

    // covers 64
    #[test]
    fn a_dead_holder_abandons_the_lock_to_the_next_with_the_last_committed_value() {
        let mut lock = Bench::new();
        lock.acquire(t(1, 1));
        lock.release(t(1, 2), 1, Release::Commit(5));
        lock.acquire(t(1, 3));
        lock.acquire(t(2, 1));
        lock.acquire(t(3, 1));
        assert_eq!(lock.gone(1), [granted_abandoned(t(2, 1), 5)]);
        assert_eq!(lock.release(t(2, 2), 1, Release::Keep), [Output::Released(t(2, 2)), granted(t(3, 1), 5)]);
    }

    // covers 64
    #[test]
    fn abandonment_is_told_to_a_holder_that_comes_later() {
        let mut lock = Bench::new();
        lock.acquire(t(1, 1));
        assert_eq!(lock.release(t(1, 2), 1, Release::Abandon), [Output::Released(t(1, 2))]);
        assert_eq!(lock.try_acquire(t(2, 1)), [granted_abandoned(t(2, 1), 0)]);
        lock.release(t(2, 2), 1, Release::Keep);
        assert_eq!(lock.try_acquire(t(2, 3)), [granted(t(2, 3), 0)]);
    }

    // covers 64
    #[test]
    fn a_dead_client_is_never_granted_its_own_lock() {
        let mut lock = Bench::new();
        lock.acquire(t(1, 1));
        lock.acquire(t(1, 2));
        lock.acquire(t(2, 1));
        lock.acquire(t(1, 3));
        assert_eq!(lock.gone(1), [granted_abandoned(t(2, 1), 0)]);
        assert_eq!(lock.0.waiting(), 0);
    }

    // covers 64
    #[test]
    fn a_dead_waiter_is_forgotten() {
        let mut lock = Bench::new();
        lock.acquire(t(1, 1));
        lock.acquire(t(2, 1));
        assert_eq!(lock.gone(2), []);
        assert_eq!(lock.release(t(1, 2), 1, Release::Keep), [Output::Released(t(1, 2))]);
        assert_eq!(lock.0.holder(), None);
    }

    #[test]
    fn a_grant_that_crossed_with_its_cancel_is_taken_back_and_not_abandoned() {
        let mut lock = Bench::new();
        lock.acquire(t(1, 1));
        lock.acquire(t(2, 1));
        assert_eq!(lock.cancel(t(1, 1)), [granted(t(2, 1), 0)]);
        assert_eq!(lock.release(t(1, 2), 1, Release::Commit(9)), [Output::NotHeld(t(1, 2))]);
        assert_eq!(lock.release(t(2, 2), 1, Release::Keep), [Output::Released(t(2, 2))]);
        assert_eq!(lock.acquire(t(1, 3)), [granted(t(1, 3), 0)]);
    }

    #[test]
    fn a_notice_that_a_cancelled_grant_carried_is_not_lost() {
        let mut lock = Bench::new();
        lock.acquire(t(1, 1));
        lock.acquire(t(2, 1));
        lock.acquire(t(3, 1));
        assert_eq!(lock.gone(1), [granted_abandoned(t(2, 1), 0)]);
        assert_eq!(lock.cancel(t(2, 1)), [granted_abandoned(t(3, 1), 0)]);
    }

    #[test]
    fn close_ends_the_waiting_and_lets_the_holder_finish() {
        let mut lock = Bench::new();
        lock.acquire(t(1, 1));
        lock.acquire(t(2, 1));
        lock.acquire(t(3, 1));
        assert_eq!(lock.close(), [Output::Closed(t(2, 1)), Output::Closed(t(3, 1))]);
        assert_eq!(lock.close(), []);
        assert_eq!(lock.acquire(t(2, 2)), [Output::Closed(t(2, 2))]);
        assert_eq!(lock.try_acquire(t(2, 3)), [Output::Closed(t(2, 3))]);
        assert_eq!(lock.release(t(1, 2), 1, Release::Commit(1)), [Output::Released(t(1, 2))]);
        assert_eq!(lock.acquire(t(2, 4)), [Output::Closed(t(2, 4))]);
        assert!(lock.0.is_closed());
    }

    #[test]
    fn strange_requests_change_nothing() {
        let mut lock = Bench::new();
        assert_eq!(lock.release(t(1, 1), 0, Release::Commit(9)), [Output::NotHeld(t(1, 1))]);
        assert_eq!(lock.cancel(t(1, 1)), []);
        assert_eq!(lock.gone(1), []);
        lock.acquire(t(1, 2));
        lock.acquire(t(2, 1));
        // Another client's hold, a ticket that still waits, and tickets in use.
        assert_eq!(lock.release(t(2, 2), 2, Release::Commit(9)), [Output::NotHeld(t(2, 2))]);
        assert_eq!(lock.release(t(2, 3), 1, Release::Commit(9)), [Output::NotHeld(t(2, 3))]);
        assert_eq!(lock.acquire(t(1, 2)), []);
        assert_eq!(lock.acquire(t(2, 1)), []);
        assert_eq!(lock.0.waiting(), 1);
        assert_eq!(lock.release(t(1, 3), 2, Release::Keep), [Output::Released(t(1, 3)), granted(t(2, 1), 0)]);
    }

    /// Would take minutes if a cancel, or the end of a client, looked at all who wait.
    #[test]
    fn a_long_line_is_not_searched() {
        const LINE: u64 = 200_000;
        let mut lock = Bench::new();
        lock.acquire(t(0, 0));
        for call in 0..LINE {
            lock.acquire(t(1 + call % 2, call));
        }
        for call in (0..LINE).rev().filter(|call| call % 2 == 0) {
            assert_eq!(lock.cancel(t(1, call)), []);
        }
        assert_eq!(lock.0.waiting() as u64, LINE / 2);
        assert_eq!(lock.gone(2), []);
        assert_eq!(lock.0.waiting(), 0);
    }

    /// Random schedules against a model that is too simple to be wrong, and a ledger kept from the answers alone.
    mod schedules {
        use std::collections::BTreeSet;

        use proptest::prelude::*;
        use proptest::sample::Index;

        use super::*;

        #[derive(Debug, Clone)]
        enum Op {
            Acquire {
                client: u64,
                wait: bool,
            },
            /// The holder, if there is one, gives the lock back.
            Release(Verdict),
            /// Any client names any ticket that was ever issued.
            StrangeRelease {
                client: u64,
                of: Index,
                verdict: Verdict,
            },
            Cancel(Index),
            CancelHolder,
            /// An acquire under a ticket that was issued before.
            Again {
                of: Index,
                wait: bool,
            },
            Gone(u64),
            GoneHolder,
            Close,
        }

        #[derive(Debug, Clone, Copy)]
        enum Verdict {
            Commit,
            Keep,
            Abandon,
        }

        const CLIENTS: u64 = 5;

        fn verdict() -> impl Strategy<Value = Verdict> {
            prop_oneof![3 => Just(Verdict::Commit), 2 => Just(Verdict::Keep), 1 => Just(Verdict::Abandon)]
        }

        fn op() -> impl Strategy<Value = Op> {
            let index = any::<Index>;
            prop_oneof![
                120 => (0..CLIENTS, prop::bool::weighted(0.8)).prop_map(|(client, wait)| Op::Acquire { client, wait }),
                60 => verdict().prop_map(Op::Release),
                10 => (0..CLIENTS, index(), verdict())
                    .prop_map(|(client, of, verdict)| Op::StrangeRelease { client, of, verdict }),
                30 => index().prop_map(Op::Cancel),
                10 => Just(Op::CancelHolder),
                10 => (index(), any::<bool>()).prop_map(|(of, wait)| Op::Again { of, wait }),
                8 => (0..=CLIENTS).prop_map(Op::Gone),
                4 => Just(Op::GoneHolder),
                1 => Just(Op::Close),
            ]
        }

        /// The rules in their shortest form: everyone waits, and one rule settles what can be settled.
        #[derive(Default)]
        struct Model {
            value: i32,
            holder: Option<Ticket>,
            told: bool,
            abandoned: bool,
            closed: bool,
            waiting: Vec<Ticket>,
        }

        impl Model {
            fn settle(&mut self, out: &mut Vec<Output<i32>>) {
                while !self.waiting.is_empty() && (self.closed || self.holder.is_none()) {
                    let ticket = self.waiting.remove(0);
                    if self.closed {
                        out.push(Output::Closed(ticket));
                    } else {
                        out.push(Output::Granted { ticket, value: self.value, abandoned: self.abandoned });
                        (self.holder, self.told, self.abandoned) = (Some(ticket), self.abandoned, false);
                    }
                }
            }

            fn acquire(&mut self, ticket: Ticket, wait: bool, out: &mut Vec<Output<i32>>) {
                if self.holder == Some(ticket) || self.waiting.contains(&ticket) {
                    return;
                }
                self.waiting.push(ticket);
                self.settle(out);
                if !wait && self.waiting.contains(&ticket) {
                    self.waiting.retain(|waiting| *waiting != ticket);
                    out.push(Output::WouldBlock(ticket));
                }
            }

            fn release(&mut self, ticket: Ticket, held: Ticket, verdict: Release<i32>, out: &mut Vec<Output<i32>>) {
                if self.holder != Some(held) || held.client != ticket.client {
                    return out.push(Output::NotHeld(ticket));
                }
                self.holder = None;
                self.abandoned = verdict == Release::Abandon;
                if let Release::Commit(value) = verdict {
                    self.value = value;
                }
                out.push(Output::Released(ticket));
                self.settle(out);
            }

            fn cancel(&mut self, ticket: Ticket, out: &mut Vec<Output<i32>>) {
                self.waiting.retain(|waiting| *waiting != ticket);
                if self.holder == Some(ticket) {
                    (self.holder, self.abandoned) = (None, self.told);
                }
                self.settle(out);
            }

            fn gone(&mut self, client: u64, out: &mut Vec<Output<i32>>) {
                self.waiting.retain(|waiting| waiting.client != client);
                if self.holder.is_some_and(|holder| holder.client == client) {
                    (self.holder, self.abandoned) = (None, true);
                }
                self.settle(out);
            }
        }

        /// The machine, the model, and what the clients can know from the answers they got.
        struct World {
            machine: LockMachine<i32>,
            model: Model,
            /// Every acquire that was issued.
            issued: Vec<Ticket>,
            /// Requests whose answer is still to come.
            open: BTreeSet<Ticket>,
            /// Who holds the lock, as far as the clients know.
            believed: Option<Ticket>,
            /// What was committed last, as far as the clients know.
            committed: i32,
            calls: u64,
        }

        impl World {
            fn new() -> Self {
                Self {
                    machine: LockMachine::new(0),
                    model: Model::default(),
                    issued: Vec::new(),
                    open: BTreeSet::new(),
                    believed: None,
                    committed: 0,
                    calls: 0,
                }
            }

            fn ticket(&mut self, client: u64) -> Ticket {
                self.calls += 1;
                let ticket = t(client, self.calls);
                self.open.insert(ticket);
                ticket
            }

            fn pick(&self, index: &Index) -> Ticket {
                if self.issued.is_empty() { t(0, 0) } else { *index.get(&self.issued) }
            }

            /// A ticket that was answered or forgotten is a new request when it comes again.
            fn reissue(&mut self, ticket: Ticket) {
                if self.believed != Some(ticket) {
                    self.open.insert(ticket);
                }
            }

            fn run(&mut self, op: &Op) {
                let (mut out, mut expected) = (Vec::new(), Vec::new());
                let mut commit = None;
                match op {
                    Op::Acquire { client, wait } => {
                        let ticket = self.ticket(*client);
                        self.issued.push(ticket);
                        self.machine.acquire(ticket, *wait, &mut out);
                        self.model.acquire(ticket, *wait, &mut expected);
                    }
                    Op::Again { of, wait } => {
                        if !self.issued.is_empty() {
                            let ticket = self.pick(of);
                            self.reissue(ticket);
                            self.machine.acquire(ticket, *wait, &mut out);
                            self.model.acquire(ticket, *wait, &mut expected);
                        }
                    }
                    Op::Release(verdict) => {
                        if let Some(held) = self.believed {
                            commit = self.release(held.client, held, *verdict, &mut out, &mut expected);
                        }
                    }
                    Op::StrangeRelease { client, of, verdict } => {
                        let of = self.pick(of);
                        commit = self.release(*client, of, *verdict, &mut out, &mut expected);
                    }
                    Op::Cancel(of) => self.cancel(self.pick(of), &mut out, &mut expected),
                    Op::CancelHolder => {
                        if let Some(holder) = self.believed {
                            self.cancel(holder, &mut out, &mut expected);
                        }
                    }
                    Op::Gone(client) => self.gone(*client, &mut out, &mut expected),
                    Op::GoneHolder => {
                        if let Some(holder) = self.believed {
                            self.gone(holder.client, &mut out, &mut expected);
                        }
                    }
                    Op::Close => {
                        self.machine.close(&mut out);
                        self.model.closed = true;
                        self.model.settle(&mut expected);
                    }
                }
                assert_eq!(out, expected, "the machine and the model differ after {op:?}");
                for answer in &out {
                    self.hear(answer, &mut commit);
                }
                self.check();
            }

            /// Returns the value that is committed if the release is carried out.
            fn release(
                &mut self,
                client: u64,
                held: Ticket,
                verdict: Verdict,
                out: &mut Vec<Output<i32>>,
                expected: &mut Vec<Output<i32>>,
            ) -> Option<i32> {
                let ticket = self.ticket(client);
                let value = ticket.call as i32;
                let verdict = match verdict {
                    Verdict::Commit => Release::Commit(value),
                    Verdict::Keep => Release::Keep,
                    Verdict::Abandon => Release::Abandon,
                };
                self.machine.release(ticket, held.call, verdict.clone(), out);
                // Call ids are unique in a schedule, so the call alone names the ticket that is meant.
                self.model.release(ticket, t(client, held.call), verdict.clone(), expected);
                if matches!(out.first(), Some(Output::Released(_))) {
                    assert_eq!(self.believed.take(), Some(held));
                }
                matches!(verdict, Release::Commit(_)).then_some(value)
            }

            fn cancel(&mut self, ticket: Ticket, out: &mut Vec<Output<i32>>, expected: &mut Vec<Output<i32>>) {
                self.open.remove(&ticket);
                self.believed.take_if(|holder| *holder == ticket);
                self.machine.cancel(ticket, out);
                self.model.cancel(ticket, expected);
            }

            fn gone(&mut self, client: u64, out: &mut Vec<Output<i32>>, expected: &mut Vec<Output<i32>>) {
                self.open.retain(|ticket| ticket.client != client);
                self.believed.take_if(|holder| holder.client == client);
                self.machine.gone(client, out);
                self.model.gone(client, expected);
            }

            fn hear(&mut self, answer: &Output<i32>, commit: &mut Option<i32>) {
                let ticket = match answer {
                    Output::Granted { ticket, value, .. } => {
                        assert_eq!(self.believed.replace(*ticket), None, "two holders");
                        assert_eq!(*value, self.committed, "not the last committed value");
                        ticket
                    }
                    Output::Released(ticket) => {
                        self.committed = commit.take().unwrap_or(self.committed);
                        ticket
                    }
                    Output::WouldBlock(ticket) | Output::Closed(ticket) | Output::NotHeld(ticket) => ticket,
                };
                assert!(self.open.remove(ticket), "a second answer, or one that nobody asked for: {answer:?}");
            }

            fn check(&self) {
                let line = &self.machine.line;
                assert_eq!(self.machine.holder(), self.believed);
                assert!(self.machine.holder().is_some() || self.machine.waiting() == 0, "waiting for a free lock");
                assert!(!self.machine.closed || self.machine.waiting() == 0, "waiting for a closed lock");
                assert!(line.by_arrival.values().map(|(ticket, ())| ticket).eq(&self.model.waiting), "not in order");
                assert!(line.by_ticket.keys().eq(&self.open), "waits without need, or is lost");
                assert!(line.by_ticket.iter().all(|(ticket, arrival)| line.by_arrival.get(arrival) == Some(&(*ticket, ()))));
                assert_eq!(line.by_ticket.len(), line.by_arrival.len());
            }
        }

        proptest! {
            #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

            #[test]
            fn keep_every_rule(ops in prop::collection::vec(op(), 1..120)) {
                let mut world = World::new();
                for op in &ops {
                    world.run(op);
                }
                // Whatever happened, everyone who still waits gets the lock when each holder gives it back.
                while world.believed.is_some() {
                    world.run(&Op::Release(Verdict::Keep));
                }
                prop_assert!(world.open.is_empty());
            }
        }
    }
}
