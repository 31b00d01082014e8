//! The test harness calls a test with nothing, and only once.

#[procession::test]
async fn with_parameters(x: i64) {
    let _ = x;
}

#[procession::test]
fn with_generics<T: Default>() {
    let _ = T::default();
}

#[procession::test]
#[test]
fn twice() {}

fn main() {}
