//! The system cannot choose types for main.

#[procession::main]
fn main<T>()
where
    T: Default,
{
    let _ = T::default();
}
