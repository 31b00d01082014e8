//! The queue as a plain state machine: the items in it, who waits for one, and who waits for room.
//!
//! It takes requests of clients (and 'this request is cancelled', 'this client is gone') and pushes the answers to a
//! list. It does no I/O, reads no clock and spawns nothing, so that the tests below can run thousands of schedules. A
//! timeout is not known here: it is a cancel, sent by the handle that waited long enough.
//!
//! One put and one get, from request to answer, and where an item goes:
//!
//! ```text
//!  put ─┬─ room ──────────────────────────────▶ in the queue ── a get ──▶ on its way to its getter
//!       ├─ full, waits ──▶ waiting put ─ room ─▲     ▲                       │
//!       │                     │                      └──────── unget ────────┘
//!       │                     ├─ cancel ──▶ Cancelled
//!       │                     ├─ close ───▶ Closed
//!       │                     └─ gone ────▶ (dropped, no answer)
//!       ├─ full, may not wait ──▶ Full
//!       └─ closed ──────────────▶ Closed
//!
//!  get ─┬─ an item ─────────────▶ Item
//!       ├─ none, waits ──▶ waiting get ─┬─ an item comes ──▶ Item
//!       │                               ├─ cancel ─────────▶ Cancelled
//!       │                               ├─ close ──────────▶ Closed
//!       │                               └─ gone ───────────▶ (forgotten, no answer)
//!       ├─ none, may not wait ──▶ Empty
//!       └─ none, closed ────────▶ Closed
//! ```
//!
//! What holds after every step:
//!
//! 1. *Progress.* No get waits while there is an item. No put waits while there is room. So the two lines are never
//!    filled at once, and after a close both are empty.
//! 2. *Order.* Items leave in the order in which they entered, and enter in the order of their puts: waiting puts are
//!    taken in turn, and a put that comes later finds no room that it could steal from them. So the items of one
//!    producer keep their order. Waiting gets are served in turn as well.
//! 3. *One answer.* A put gets exactly one of `Accepted`, `Full`, `Closed`, `Cancelled`; a get exactly one of `Item`,
//!    `Empty`, `Closed`, `Cancelled`. None is sent to a client that is gone.
//! 4. *Nothing is lost or doubled.* An item is in exactly one place: waiting with its put, in the queue, handed out, or
//!    back with its producer. Each answer that refuses a put carries the item home. `Accepted` means that the queue has
//!    the item, whatever happens to the producer afterwards; before that it is the producer's, and dies with it.
//! 5. *Capacity.* A put never makes a bounded queue longer than its capacity. Returned items may.
//! 6. *Returned items* come before all others, in the order in which they are returned; who returns several does so in
//!    the order in which they came. One that finds a waiting get goes straight to the one that has waited longest.
//! 7. *Closed* is final: nothing enters any more but what is returned. Gets take what is left, then get `Closed`.
//!
//! # Why a cancel is answered
//!
//! A put or get that ran into its timeout must know how it ended: an item that entered all the same must not be put
//! again, and one that is on its way must not be lost. Since each ticket has one answer, the answer that comes after
//! the cancel says it. `Cancelled` means that the cancel was in time. Any other answer had been given before, and the
//! cancel was ignored; an `Item` that nobody wants any more is then returned with `unget`. A handle that asks again
//! before it knows can be served a later item first, so one that cares for order waits for that answer.
//!
//! # How strange requests end
//!
//! Never in a panic. A cancel of an unknown ticket, or the end of an unknown client, changes nothing. A request under a
//! ticket that waits already is ignored, and its item dropped, since that ticket will have its one answer. The machine
//! does not remember what it handed out, so an `unget` is believed: it is for the host to say who may return what.
//!
//! From its host the machine expects that `gone` is the last it hears of a client. A request delivered after it would
//! be taken for that of a living one.
//!
//! Every operation is O(log n) in the number of waiters; the end of a client is so for each request that it had waiting.
//! Closing takes its time once for each waiter.

use std::collections::VecDeque;
use std::num::NonZeroUsize;

use crate::service::host::Ticket;
use crate::service::line::Line;

/// An answer, to be delivered to its ticket's client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output<P> {
    /// The put's item is in the queue, or with a getter already.
    Accepted(Ticket),
    /// There is no room and the put was not to wait.
    Full {
        /// The put.
        ticket: Ticket,
        /// Its item, which did not enter.
        item: P,
    },
    /// The get's item.
    Item {
        /// The get.
        ticket: Ticket,
        /// The item, which is no longer in the queue.
        item: P,
    },
    /// There is nothing in the queue and the get was not to wait.
    Empty(Ticket),
    /// The queue is closed to puts, or closed and drained for gets.
    Closed {
        /// The put or get.
        ticket: Ticket,
        /// The put's item, which did not enter. `None` for a get.
        item: Option<P>,
    },
    /// The put or get waited until it was cancelled.
    Cancelled {
        /// The put or get.
        ticket: Ticket,
        /// The put's item, which did not enter. `None` for a get.
        item: Option<P>,
    },
}

/// The state of one queue. `P` is an item as it travels, encoded.
#[derive(Debug)]
pub(crate) struct QueueMachine<P> {
    /// `None`: always room.
    capacity: Option<NonZeroUsize>,
    /// Items that were handed out and came back; they go first.
    returned: VecDeque<P>,
    items: VecDeque<P>,
    getters: Line<()>,
    putters: Line<P>,
    closed: bool,
}

impl<P> QueueMachine<P> {
    /// An open queue that takes `capacity` items before its puts wait.
    pub(crate) fn bounded(capacity: NonZeroUsize) -> Self {
        Self::with(Some(capacity))
    }

    /// An open queue whose puts never wait.
    pub(crate) fn unbounded() -> Self {
        Self::with(None)
    }

    fn with(capacity: Option<NonZeroUsize>) -> Self {
        Self {
            capacity,
            returned: VecDeque::new(),
            items: VecDeque::new(),
            getters: Line::default(),
            putters: Line::default(),
            closed: false,
        }
    }

    /// Offers an item. With `wait`, it stands in line when there is no room.
    pub(crate) fn put(&mut self, ticket: Ticket, item: P, wait: bool, out: &mut Vec<Output<P>>) {
        if self.is_waiting(ticket) {
            return;
        }
        if self.closed {
            out.push(Output::Closed { ticket, item: Some(item) });
        } else if let Some((getter, ())) = self.getters.next() {
            out.push(Output::Accepted(ticket));
            out.push(Output::Item { ticket: getter, item });
        } else if !self.is_full() {
            self.items.push_back(item);
            out.push(Output::Accepted(ticket));
        } else if wait {
            self.putters.join(ticket, item);
        } else {
            out.push(Output::Full { ticket, item });
        }
    }

    /// Asks for an item. With `wait`, the ticket stands in line when there is none.
    pub(crate) fn get(&mut self, ticket: Ticket, wait: bool, out: &mut Vec<Output<P>>) {
        if self.is_waiting(ticket) {
            return;
        }
        if let Some(item) = self.returned.pop_front().or_else(|| self.items.pop_front()) {
            out.push(Output::Item { ticket, item });
            self.admit(out);
        } else if self.closed {
            out.push(Output::Closed { ticket, item: None });
        } else if wait {
            self.getters.join(ticket, ());
        } else {
            out.push(Output::Empty(ticket));
        }
    }

    /// Takes back an item whose getter no longer wanted it: its get was cancelled, or its client died, when the item was
    /// on its way. Several are returned in the order in which they went out. Allowed when full and when closed; getters
    /// that were told `Closed` meanwhile do not come back for it, later ones find it.
    pub(crate) fn unget(&mut self, item: P, out: &mut Vec<Output<P>>) {
        match self.getters.next() {
            Some((ticket, ())) => out.push(Output::Item { ticket, item }),
            None => self.returned.push_back(item),
        }
    }

    /// The client no longer wants what it asked for with `ticket`. A waiting put or get is answered `Cancelled`; the
    /// item never enters. One that was answered already is left as it is.
    pub(crate) fn cancel(&mut self, ticket: Ticket, out: &mut Vec<Output<P>>) {
        if let Some(item) = self.putters.leave(ticket) {
            out.push(Output::Cancelled { ticket, item: Some(item) });
        } else if self.getters.leave(ticket).is_some() {
            out.push(Output::Cancelled { ticket, item: None });
        }
    }

    /// The client has ended: its waiting gets are forgotten, and its waiting puts with their items, which had not
    /// entered. What it put before stays. Nobody is answered: a client's leaving makes neither an item nor room.
    pub(crate) fn gone(&mut self, client: u64) {
        self.getters.leave_all(client);
        self.putters.leave_all(client);
    }

    /// Closes the queue to puts. Those that wait get their items back. Gets that wait are told at once, since they wait
    /// only where nothing is left. A second close changes nothing.
    pub(crate) fn close(&mut self, out: &mut Vec<Output<P>>) {
        self.closed = true;
        while let Some((ticket, item)) = self.putters.next() {
            out.push(Output::Closed { ticket, item: Some(item) });
        }
        while let Some((ticket, ())) = self.getters.next() {
            out.push(Output::Closed { ticket, item: None });
        }
    }

    /// How many items are in the queue. Those of waiting puts are not.
    pub(crate) fn len(&self) -> usize {
        self.returned.len() + self.items.len()
    }

    /// Whether a get would have to wait.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a put would have to wait. Never, where there is no capacity.
    pub(crate) fn is_full(&self) -> bool {
        self.capacity.is_some_and(|capacity| self.len() >= capacity.get())
    }

    /// How many items puts may fill it with; `None` for an unbounded queue.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> Option<usize> {
        self.capacity.map(NonZeroUsize::get)
    }

    /// Whether the queue was closed. It may still hold items.
    #[cfg(test)]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// How many gets wait for an item.
    #[cfg(test)]
    pub(crate) fn waiting_gets(&self) -> usize {
        self.getters.len()
    }

    /// How many puts wait for room.
    #[cfg(test)]
    pub(crate) fn waiting_puts(&self) -> usize {
        self.putters.len()
    }

    /// Lets the first waiting put in, if there is room. One is enough: the step before took one item out.
    fn admit(&mut self, out: &mut Vec<Output<P>>) {
        if !self.is_full()
            && let Some((ticket, item)) = self.putters.next()
        {
            self.items.push_back(item);
            out.push(Output::Accepted(ticket));
        }
    }

    fn is_waiting(&self, ticket: Ticket) -> bool {
        self.getters.contains(ticket) || self.putters.contains(ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Answers = Vec<Output<u64>>;

    /// The machine with a list to answer to; each call returns the answers of that step.
    struct Bench(QueueMachine<u64>);

    impl Bench {
        fn bounded(capacity: usize) -> Self {
            Self(QueueMachine::bounded(NonZeroUsize::new(capacity).unwrap()))
        }

        fn step(&mut self, run: impl FnOnce(&mut QueueMachine<u64>, &mut Answers)) -> Answers {
            let mut out = Vec::new();
            run(&mut self.0, &mut out);
            out
        }

        fn put(&mut self, ticket: Ticket, item: u64) -> Answers {
            self.step(|queue, out| queue.put(ticket, item, true, out))
        }

        fn try_put(&mut self, ticket: Ticket, item: u64) -> Answers {
            self.step(|queue, out| queue.put(ticket, item, false, out))
        }

        fn get(&mut self, ticket: Ticket) -> Answers {
            self.step(|queue, out| queue.get(ticket, true, out))
        }

        fn try_get(&mut self, ticket: Ticket) -> Answers {
            self.step(|queue, out| queue.get(ticket, false, out))
        }

        fn unget(&mut self, item: u64) -> Answers {
            self.step(|queue, out| queue.unget(item, out))
        }

        fn cancel(&mut self, ticket: Ticket) -> Answers {
            self.step(|queue, out| queue.cancel(ticket, out))
        }

        fn close(&mut self) -> Answers {
            self.step(|queue, out| queue.close(out))
        }
    }

    fn t(client: u64, call: u64) -> Ticket {
        Ticket { client, call }
    }

    fn accepted(ticket: Ticket) -> Output<u64> {
        Output::Accepted(ticket)
    }

    fn item(ticket: Ticket, item: u64) -> Output<u64> {
        Output::Item { ticket, item }
    }

    fn closed(ticket: Ticket, item: Option<u64>) -> Output<u64> {
        Output::Closed { ticket, item }
    }

    fn cancelled(ticket: Ticket, item: Option<u64>) -> Output<u64> {
        Output::Cancelled { ticket, item }
    }

    // covers 39: a timed put is one that waits until its handle cancels it
    #[test]
    fn six_enter_then_it_is_full_then_it_drains() {
        let mut queue = Bench::bounded(6);
        for n in 0..6 {
            assert!(!queue.0.is_full());
            let answer = if n % 2 == 0 { queue.put(t(1, n), n) } else { queue.try_put(t(1, n), n) };
            assert_eq!(answer, [accepted(t(1, n))]);
        }
        assert!(queue.0.is_full());
        assert_eq!(queue.try_put(t(1, 6), 6), [Output::Full { ticket: t(1, 6), item: 6 }]);
        assert_eq!(queue.put(t(1, 7), 7), []);
        assert_eq!(queue.cancel(t(1, 7)), [cancelled(t(1, 7), Some(7))]);
        for n in 0..6 {
            assert_eq!(queue.get(t(2, n)), [item(t(2, n), n)]);
        }
        assert!(queue.0.is_empty());
        assert_eq!(queue.try_get(t(2, 6)), [Output::Empty(t(2, 6))]);
        assert_eq!(queue.0.capacity(), Some(6));
    }

    // covers 40: never early, since only a cancel or an item ends the wait
    #[test]
    fn gets_are_served_in_order_or_empty_at_once_or_cancelled() {
        let mut queue = Bench::bounded(4);
        assert_eq!(queue.try_get(t(1, 1)), [Output::Empty(t(1, 1))]);
        assert_eq!(queue.get(t(1, 2)), []);
        assert_eq!(queue.get(t(2, 1)), []);
        assert_eq!(queue.get(t(3, 1)), []);
        assert_eq!(queue.cancel(t(1, 2)), [cancelled(t(1, 2), None)]);
        assert_eq!(queue.0.waiting_gets(), 2);
        assert_eq!(queue.put(t(4, 1), 10), [accepted(t(4, 1)), item(t(2, 1), 10)]);
        assert_eq!(queue.put(t(4, 2), 11), [accepted(t(4, 2)), item(t(3, 1), 11)]);
        queue.put(t(4, 3), 12);
        queue.put(t(4, 4), 13);
        assert_eq!(queue.try_get(t(1, 3)), [item(t(1, 3), 12)]);
        assert_eq!(queue.try_get(t(1, 4)), [item(t(1, 4), 13)]);
    }

    // covers 41
    #[test]
    fn what_was_accepted_outlives_its_producer_and_keeps_its_order() {
        let mut queue = Bench::bounded(2);
        queue.put(t(1, 1), 1);
        queue.put(t(1, 2), 2);
        assert_eq!(queue.put(t(1, 3), 3), []);
        assert_eq!(queue.put(t(2, 1), 4), []);
        assert_eq!(queue.put(t(1, 4), 5), []);
        assert_eq!(queue.get(t(3, 1)), [item(t(3, 1), 1), accepted(t(1, 3))]);
        // 5 had not entered, and goes with its producer; 2 and 3 had.
        queue.0.gone(1);
        assert_eq!(queue.0.waiting_puts(), 1);
        assert_eq!(queue.get(t(3, 2)), [item(t(3, 2), 2), accepted(t(2, 1))]);
        assert_eq!(queue.get(t(3, 3)), [item(t(3, 3), 3)]);
        assert_eq!(queue.get(t(3, 4)), [item(t(3, 4), 4)]);
        assert!(queue.0.is_empty());
    }

    // covers 42
    #[test]
    fn the_length_is_exact() {
        let mut queue = Bench::bounded(2);
        assert_eq!(queue.0.len(), 0);
        queue.put(t(1, 1), 1);
        assert_eq!(queue.0.len(), 1);
        queue.put(t(1, 2), 2);
        assert_eq!(queue.0.len(), 2);
        queue.put(t(1, 3), 3);
        assert_eq!((queue.0.len(), queue.0.waiting_puts()), (2, 1));
        queue.cancel(t(1, 3));
        queue.get(t(2, 1));
        assert_eq!(queue.0.len(), 1);
        queue.get(t(2, 2));
        assert_eq!(queue.0.len(), 0);
    }

    // covers 45
    #[test]
    fn after_a_close_puts_are_refused_and_gets_take_what_is_left() {
        let mut queue = Bench::bounded(1);
        queue.put(t(1, 1), 1);
        queue.put(t(1, 2), 2);
        queue.put(t(2, 1), 3);
        assert_eq!(queue.close(), [closed(t(1, 2), Some(2)), closed(t(2, 1), Some(3))]);
        assert_eq!(queue.put(t(1, 3), 4), [closed(t(1, 3), Some(4))]);
        assert_eq!(queue.try_put(t(1, 4), 5), [closed(t(1, 4), Some(5))]);
        assert_eq!(queue.get(t(3, 1)), [item(t(3, 1), 1)]);
        assert_eq!(queue.get(t(3, 2)), [closed(t(3, 2), None)]);
        assert_eq!(queue.try_get(t(3, 3)), [closed(t(3, 3), None)]);
    }

    // covers 45, 46
    #[test]
    fn an_unused_queue_closes_twice_and_tells_who_waits_once() {
        let mut queue = Bench(QueueMachine::unbounded());
        assert_eq!((queue.0.capacity(), queue.0.is_full()), (None, false));
        queue.get(t(1, 1));
        queue.get(t(2, 1));
        assert_eq!(queue.close(), [closed(t(1, 1), None), closed(t(2, 1), None)]);
        assert_eq!(queue.close(), []);
        assert!(queue.0.is_closed() && queue.0.is_empty());
    }

    #[test]
    fn a_returned_item_goes_first() {
        let mut queue = Bench::bounded(3);
        for n in 1..=3 {
            queue.put(t(1, n), n);
        }
        queue.get(t(2, 1));
        queue.get(t(2, 2));
        queue.put(t(1, 4), 4);
        queue.put(t(1, 5), 5);
        assert_eq!(queue.unget(1), []);
        assert_eq!(queue.unget(2), []);
        assert_eq!(queue.0.len(), 5);
        // A put waits until the queue is back under its capacity.
        assert_eq!(queue.put(t(1, 6), 6), []);
        for n in 1..=2 {
            assert_eq!(queue.get(t(3, n)), [item(t(3, n), n)]);
        }
        assert_eq!(queue.get(t(3, 3)), [item(t(3, 3), 3), accepted(t(1, 6))]);
        for n in 4..=6 {
            assert_eq!(queue.get(t(3, n)), [item(t(3, n), n)]);
        }
    }

    #[test]
    fn a_returned_item_goes_straight_to_the_longest_waiting_getter() {
        let mut queue = Bench::bounded(1);
        queue.put(t(1, 1), 1);
        queue.get(t(2, 1));
        queue.get(t(3, 1));
        queue.get(t(2, 2));
        // Too late: the item is on its way, and there is nothing more to say.
        assert_eq!(queue.cancel(t(2, 1)), []);
        assert_eq!(queue.unget(1), [item(t(3, 1), 1)]);
        assert_eq!(queue.0.waiting_gets(), 1);
    }

    #[test]
    fn an_item_may_come_back_after_the_close() {
        let mut queue = Bench::bounded(1);
        queue.put(t(1, 1), 1);
        queue.get(t(2, 1));
        queue.close();
        assert_eq!(queue.get(t(3, 1)), [closed(t(3, 1), None)]);
        assert_eq!(queue.unget(1), []);
        assert_eq!(queue.get(t(3, 2)), [item(t(3, 2), 1)]);
        assert_eq!(queue.get(t(3, 3)), [closed(t(3, 3), None)]);
    }

    #[test]
    fn the_dead_get_nothing() {
        let mut queue = Bench::bounded(1);
        queue.get(t(1, 1));
        queue.get(t(2, 1));
        queue.get(t(1, 2));
        queue.0.gone(1);
        assert_eq!(queue.0.waiting_gets(), 1);
        assert_eq!(queue.put(t(3, 1), 1), [accepted(t(3, 1)), item(t(2, 1), 1)]);
        assert_eq!(queue.put(t(3, 2), 2), [accepted(t(3, 2))]);
        assert_eq!(queue.0.len(), 1);
    }

    #[test]
    fn strange_requests_change_nothing() {
        let mut queue = Bench::bounded(1);
        assert_eq!(queue.cancel(t(1, 1)), []);
        queue.0.gone(1);
        // A ticket that waits for an item, then one that waits for room, used again in both ways.
        queue.get(t(1, 1));
        assert_eq!(queue.get(t(1, 1)), []);
        assert_eq!(queue.put(t(1, 1), 9), []);
        assert_eq!(queue.put(t(2, 1), 1), [accepted(t(2, 1)), item(t(1, 1), 1)]);
        queue.put(t(2, 2), 2);
        queue.put(t(2, 3), 3);
        assert_eq!(queue.put(t(2, 3), 9), []);
        assert_eq!(queue.get(t(2, 3)), []);
        assert_eq!(queue.get(t(1, 2)), [item(t(1, 2), 2), accepted(t(2, 3))]);
        assert_eq!(queue.get(t(1, 3)), [item(t(1, 3), 3)]);
    }

    /// Would take minutes if a cancel, or the end of a client, looked at all who wait.
    #[test]
    fn a_long_line_is_not_searched() {
        const LINE: u64 = 200_000;
        let mut queue = Bench::bounded(1);
        queue.put(t(0, 0), 0);
        for call in 0..LINE {
            queue.put(t(1 + call % 2, call), call);
        }
        for call in (0..LINE).rev().filter(|call| call % 2 == 0) {
            assert_eq!(queue.cancel(t(1, call)), [cancelled(t(1, call), Some(call))]);
        }
        assert_eq!(queue.0.waiting_puts() as u64, LINE / 2);
        queue.0.gone(2);
        assert_eq!(queue.0.waiting_puts(), 0);
    }

    /// Random schedules against a model that is too simple to be wrong, and a ledger kept from the answers alone.
    mod schedules {
        use std::collections::{BTreeMap, BTreeSet};

        use proptest::prelude::*;
        use proptest::sample::Index;

        use super::*;

        #[derive(Debug, Clone)]
        enum Op {
            Put {
                client: u64,
                wait: bool,
            },
            Get {
                client: u64,
                wait: bool,
            },
            /// An item that is on its way comes back.
            Unget(Index),
            Cancel(Index),
            CancelWaiting(Index),
            /// A request under a ticket that was issued before.
            PutAgain {
                of: Index,
                wait: bool,
            },
            GetAgain {
                of: Index,
                wait: bool,
            },
            Gone(u64),
            Close,
        }

        const CLIENTS: u64 = 5;

        /// `puts` and `gets` are weights, so that both sides get their share of waiting.
        fn op(puts: u32, gets: u32) -> impl Strategy<Value = Op> {
            let index = any::<Index>;
            let asked = || (0..CLIENTS, prop::bool::weighted(0.8));
            let again = || (index(), any::<bool>());
            prop_oneof![
                puts => asked().prop_map(|(client, wait)| Op::Put { client, wait }),
                gets => asked().prop_map(|(client, wait)| Op::Get { client, wait }),
                25 => index().prop_map(Op::Unget),
                10 => index().prop_map(Op::Cancel),
                20 => index().prop_map(Op::CancelWaiting),
                5 => again().prop_map(|(of, wait)| Op::PutAgain { of, wait }),
                5 => again().prop_map(|(of, wait)| Op::GetAgain { of, wait }),
                8 => (0..=CLIENTS).prop_map(Op::Gone),
                1 => Just(Op::Close),
            ]
        }

        fn ops() -> impl Strategy<Value = Vec<Op>> {
            let run = |puts, gets| prop::collection::vec(op(puts, gets), 0..50);
            // A stretch where puts wait, one where gets do, and one where neither does for long.
            (run(100, 40), run(40, 100), run(70, 70)).prop_map(|(a, b, c)| [a, b, c].concat())
        }

        /// The rules in their shortest form: everyone waits, and two rules settle what can be settled.
        struct Model {
            capacity: usize,
            closed: bool,
            /// Each with whether it was returned, so that the next returned one finds its place.
            items: Vec<(bool, u64)>,
            /// Puts with their items, gets without.
            waiting: Vec<(Ticket, Option<u64>)>,
        }

        impl Model {
            fn settle(&mut self, out: &mut Answers) {
                loop {
                    let get = self.waiting.iter().position(|(_, brought)| brought.is_none());
                    let put = self.waiting.iter().position(|(_, brought)| brought.is_some());
                    if let (Some(get), false) = (get, self.items.is_empty()) {
                        let (ticket, _) = self.waiting.remove(get);
                        out.push(item(ticket, self.items.remove(0).1));
                    } else if let (Some(put), true) = (put, self.closed) {
                        let (ticket, brought) = self.waiting.remove(put);
                        out.push(closed(ticket, brought));
                    } else if let (Some(get), true) = (get, self.closed) {
                        out.push(closed(self.waiting.remove(get).0, None));
                    } else if let (Some(put), true) = (put, self.items.len() < self.capacity) {
                        let (ticket, brought) = self.waiting.remove(put);
                        self.items.extend(brought.map(|brought| (false, brought)));
                        out.push(accepted(ticket));
                    } else {
                        return;
                    }
                }
            }

            fn ask(&mut self, ticket: Ticket, brought: Option<u64>, wait: bool, out: &mut Answers) {
                if self.waiting.iter().any(|(waiting, _)| *waiting == ticket) {
                    return;
                }
                self.waiting.push((ticket, brought));
                self.settle(out);
                if !wait && self.waiting.pop_if(|(waiting, _)| *waiting == ticket).is_some() {
                    out.push(match brought {
                        Some(item) => Output::Full { ticket, item },
                        None => Output::Empty(ticket),
                    });
                }
            }

            fn unget(&mut self, item: u64, out: &mut Answers) {
                let place = self.items.iter().filter(|(returned, _)| *returned).count();
                self.items.insert(place, (true, item));
                self.settle(out);
            }

            fn cancel(&mut self, ticket: Ticket, out: &mut Answers) {
                if let Some(at) = self.waiting.iter().position(|(waiting, _)| *waiting == ticket) {
                    out.push(cancelled(ticket, self.waiting.remove(at).1));
                }
                self.settle(out);
            }
        }

        /// The machine, the model, and what the clients can know from the answers they got. Items are numbered, so
        /// that each is followed from its put to where it ends.
        struct World {
            machine: QueueMachine<u64>,
            model: Model,
            /// Every ticket that was issued.
            issued: Vec<Ticket>,
            /// Requests whose answer is still to come, with the item of a put.
            open: BTreeMap<Ticket, Option<u64>>,
            /// Accepted and not handed out yet, in order of acceptance.
            entered: VecDeque<u64>,
            /// Came back and was not handed out again yet.
            returned: BTreeSet<u64>,
            /// Handed out and not returned.
            out: Vec<u64>,
            numbers: u64,
        }

        impl World {
            fn new(capacity: Option<usize>) -> Self {
                Self {
                    machine: QueueMachine::with(capacity.and_then(NonZeroUsize::new)),
                    model: Model { capacity: capacity.unwrap_or(usize::MAX), closed: false, items: Vec::new(), waiting: Vec::new() },
                    issued: Vec::new(),
                    open: BTreeMap::new(),
                    entered: VecDeque::new(),
                    returned: BTreeSet::new(),
                    out: Vec::new(),
                    numbers: 0,
                }
            }

            fn number(&mut self) -> u64 {
                self.numbers += 1;
                self.numbers
            }

            fn issue(&mut self, client: u64) -> Ticket {
                let ticket = t(client, self.number());
                self.issued.push(ticket);
                ticket
            }

            fn pick(&self, index: &Index) -> Ticket {
                if self.issued.is_empty() { t(0, 0) } else { *index.get(&self.issued) }
            }

            fn run(&mut self, op: &Op) {
                let (mut out, mut expected) = (Vec::new(), Vec::new());
                match op {
                    Op::Put { client, wait } => {
                        let ticket = self.issue(*client);
                        self.put(ticket, *wait, &mut out, &mut expected);
                    }
                    Op::Get { client, wait } => {
                        let ticket = self.issue(*client);
                        self.get(ticket, *wait, &mut out, &mut expected);
                    }
                    // A ticket that was answered or forgotten is a new request when it comes again.
                    Op::PutAgain { of, wait } => self.put(self.pick(of), *wait, &mut out, &mut expected),
                    Op::GetAgain { of, wait } => self.get(self.pick(of), *wait, &mut out, &mut expected),
                    Op::Unget(of) => {
                        if !self.out.is_empty() {
                            let item = self.out.swap_remove(of.index(self.out.len()));
                            self.returned.insert(item);
                            self.machine.unget(item, &mut out);
                            self.model.unget(item, &mut expected);
                        }
                    }
                    Op::Cancel(of) => self.cancel(self.pick(of), &mut out, &mut expected),
                    Op::CancelWaiting(of) => {
                        if !self.open.is_empty() {
                            let nth = of.index(self.open.len());
                            let ticket = self.open.keys().nth(nth).copied();
                            self.cancel(ticket.unwrap(), &mut out, &mut expected);
                        }
                    }
                    Op::Gone(client) => {
                        self.open.retain(|ticket, _| ticket.client != *client);
                        self.machine.gone(*client);
                        self.model.waiting.retain(|(ticket, _)| ticket.client != *client);
                        self.model.settle(&mut expected);
                    }
                    Op::Close => {
                        self.machine.close(&mut out);
                        self.model.closed = true;
                        self.model.settle(&mut expected);
                    }
                }
                assert_eq!(out, expected, "the machine and the model differ after {op:?}");
                for answer in &out {
                    self.hear(answer);
                }
                self.check();
            }

            fn put(&mut self, ticket: Ticket, wait: bool, out: &mut Answers, expected: &mut Answers) {
                let item = self.number();
                self.open.entry(ticket).or_insert(Some(item));
                self.machine.put(ticket, item, wait, out);
                self.model.ask(ticket, Some(item), wait, expected);
            }

            fn get(&mut self, ticket: Ticket, wait: bool, out: &mut Answers, expected: &mut Answers) {
                self.open.entry(ticket).or_insert(None);
                self.machine.get(ticket, wait, out);
                self.model.ask(ticket, None, wait, expected);
            }

            fn cancel(&mut self, ticket: Ticket, out: &mut Answers, expected: &mut Answers) {
                self.machine.cancel(ticket, out);
                self.model.cancel(ticket, expected);
            }

            fn hear(&mut self, answer: &Output<u64>) {
                let ticket = match answer {
                    Output::Accepted(ticket) | Output::Empty(ticket) => ticket,
                    Output::Full { ticket, .. } | Output::Item { ticket, .. } => ticket,
                    Output::Closed { ticket, .. } | Output::Cancelled { ticket, .. } => ticket,
                };
                let Some(brought) = self.open.remove(ticket) else {
                    panic!("a second answer, or one that nobody asked for: {answer:?}");
                };
                match answer {
                    Output::Accepted(_) => self.entered.extend(brought),
                    Output::Item { item, .. } => {
                        assert_eq!(brought, None, "an item for a put");
                        assert!(
                            self.returned.remove(item) || self.returned.is_empty() && self.entered.pop_front() == Some(*item),
                            "not the first in order: {answer:?}"
                        );
                        self.out.push(*item);
                    }
                    Output::Empty(_) => assert_eq!(brought, None, "a put found the queue empty"),
                    Output::Full { item, .. } => {
                        assert_eq!(brought, Some(*item), "not its own item")
                    }
                    Output::Closed { item, .. } | Output::Cancelled { item, .. } => {
                        assert_eq!(brought, *item, "not its own item");
                    }
                }
            }

            fn check(&self) {
                let queue = &self.machine;
                assert!(queue.is_empty() || queue.waiting_gets() == 0, "a get waits for an item that is there");
                assert!(queue.is_full() || queue.waiting_puts() == 0, "a put waits for room that is there");
                assert!(queue.waiting_gets() == 0 || queue.waiting_puts() == 0);
                assert!(!queue.is_closed() || queue.waiting_gets() + queue.waiting_puts() == 0, "waits in vain");
                assert!(queue.items.len() <= queue.capacity().unwrap_or(usize::MAX), "puts went past the capacity");
                // Each item is where the answers say that it is, and each request waits that was not answered.
                assert!(queue.items.iter().eq(&self.entered), "lost, doubled or out of order");
                assert_eq!(queue.returned.iter().copied().collect::<BTreeSet<_>>(), self.returned);
                assert_eq!(queue.len(), self.entered.len() + self.returned.len());
                let gets = queue.getters.by_arrival.values().map(|(ticket, ())| (*ticket, None));
                let puts = queue.putters.by_arrival.values().map(|(ticket, item)| (*ticket, Some(*item)));
                assert_eq!(gets.chain(puts).collect::<BTreeMap<_, _>>(), self.open);
                whole(&queue.getters);
                whole(&queue.putters);
            }
        }

        /// The two sides of a line tell the same.
        fn whole<T>(line: &Line<T>) {
            assert_eq!(line.by_ticket.len(), line.by_arrival.len());
            assert!(line.by_ticket.iter().all(|(ticket, arrival)| line.by_arrival[arrival].0 == *ticket));
        }

        proptest! {
            #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

            #[test]
            fn keep_every_rule(capacity in prop::option::weighted(0.85, 1usize..5), ops in ops()) {
                let mut world = World::new(capacity);
                for op in &ops {
                    world.run(op);
                }
                // Whatever happened, all that is left comes out, and nobody waits any more.
                while !world.machine.is_empty() {
                    world.run(&Op::Get { client: 0, wait: false });
                }
                world.run(&Op::Close);
                prop_assert!(world.open.is_empty() && world.entered.is_empty() && world.returned.is_empty());
            }
        }
    }
}
