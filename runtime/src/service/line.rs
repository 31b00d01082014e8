//! Requests that wait in line, in the order in which they came.

use std::collections::BTreeMap;

use super::host::Ticket;

/// A line of waiting requests and what each brought along, kept twice: by arrival, to serve in order, and by ticket, to
/// find one request, or all those of one client, without looking at the others.
#[derive(Debug)]
pub(crate) struct Line<T> {
    arrivals: u64,
    pub(super) by_arrival: BTreeMap<u64, (Ticket, T)>,
    pub(super) by_ticket: BTreeMap<Ticket, u64>,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { arrivals: 0, by_arrival: BTreeMap::new(), by_ticket: BTreeMap::new() }
    }
}

impl<T> Line<T> {
    /// Joins at the end. The caller has made sure that the ticket is not in line.
    pub(crate) fn join(&mut self, ticket: Ticket, brought: T) {
        self.by_arrival.insert(self.arrivals, (ticket, brought));
        self.by_ticket.insert(ticket, self.arrivals);
        self.arrivals += 1;
    }

    /// Takes the first out of the line.
    pub(crate) fn next(&mut self) -> Option<(Ticket, T)> {
        let (_, first) = self.by_arrival.pop_first()?;
        self.by_ticket.remove(&first.0);
        Some(first)
    }

    /// Takes one ticket out, wherever it stands.
    pub(crate) fn leave(&mut self, ticket: Ticket) -> Option<T> {
        let arrival = self.by_ticket.remove(&ticket)?;
        self.by_arrival.remove(&arrival).map(|(_, brought)| brought)
    }

    /// Takes all tickets of a client out.
    pub(crate) fn leave_all(&mut self, client: u64) {
        let all = Ticket { client, call: u64::MIN }..=Ticket { client, call: u64::MAX };
        while let Some((&ticket, _)) = self.by_ticket.range(all.clone()).next() {
            self.leave(ticket);
        }
    }

    /// Whether this ticket waits.
    pub(crate) fn contains(&self, ticket: Ticket) -> bool {
        self.by_ticket.contains_key(&ticket)
    }

    /// How many wait.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.by_arrival.len()
    }
}
