//! A method has a `self` that would have to travel.

use procession::process_actor;

struct Account(i64);

impl Account {
    #[process_actor]
    fn deposit(&mut self, amount: i64) {
        self.0 += amount;
    }

    #[process_actor]
    fn open(amount: i64) -> Self {
        Self(amount)
    }
}

fn main() {}
