//! An async main of one thread that gives back nothing; its future need not be `Send`.

use std::rc::Rc;

#[procession::main(flavor = "current_thread")]
pub async fn main() {
    let shared = Rc::new(1);
    std::future::ready(()).await;
    assert_eq!(*shared, 1);
}
