//! The attribute goes on a function with a body.

use procession::process_actor;

trait Area {
    #[process_actor]
    fn area(side: f64) -> f64;
}

fn main() {}
