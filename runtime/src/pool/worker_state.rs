//! What a worker keeps from task to task: a database connection, a loaded model.

use std::any::{Any, TypeId, type_name};
use std::cell::RefCell;
use std::collections::HashMap;

thread_local! {
    static STATE: RefCell<HashMap<TypeId, Box<dyn Any>>> = RefCell::default();
}

/// Keeps `value` in this worker; its tasks reach it by its type with [`with`]. What was kept of that type before is given back.
///
/// Called by a pool's initializer, or by a task for those that follow. Nothing is shared between workers, and what is kept ends with
/// its worker; tasks and initializers run on the thread that they all share.
///
/// ```no_run
/// use procession::prelude::*;
///
/// struct Model(Vec<f64>);
///
/// #[process_actor]
/// fn load(path: String) -> std::io::Result<()> {
///     let weights = std::fs::read_to_string(path)?.lines().filter_map(|line| line.parse().ok()).collect();
///     procession::worker_state::set(Model(weights));
///     Ok(())
/// }
///
/// #[process_actor]
/// fn score(x: f64) -> f64 {
///     procession::worker_state::with(|model: &mut Model| model.0.iter().map(|weight| weight * x).sum())
/// }
///
/// # async fn example() -> procession::Result<()> {
/// let pool = Pool::builder().workers(4).initializer(Load, "weights.txt".to_owned()).build()?;
/// let scores = pool.map(Score, [0.1, 0.2]).await?;
/// # Ok(()) }
/// ```
pub fn set<T: 'static>(value: T) -> Option<T> {
    let before = STATE.with_borrow_mut(|state| state.insert(TypeId::of::<T>(), Box::new(value)));
    before.and_then(|before| before.downcast().ok()).map(|before| *before)
}

/// Calls `use_it` with what this worker keeps of the type `T`.
///
/// # Panics
///
/// If nothing of that type is kept here, or it is in use already: `use_it` called `with` for the same type again.
#[track_caller]
pub fn with<T: 'static, R>(use_it: impl FnOnce(&mut T) -> R) -> R {
    match try_with(use_it) {
        Some(result) => result,
        None => panic!(
            "this worker keeps no `{0}`, or it is in use: keep one with `worker_state::set` in the pool's initializer, and do not \
             call `with` for it inside `with`",
            type_name::<T>()
        ),
    }
}

/// Like [`with`]; `None` where nothing of that type is kept here, or it is in use already.
pub fn try_with<T: 'static, R>(use_it: impl FnOnce(&mut T) -> R) -> Option<R> {
    // Taken out meanwhile, so that `use_it` may reach for other types.
    let taken = STATE.with_borrow_mut(|state| state.remove(&TypeId::of::<T>()))?;
    let mut kept = Kept(Some(taken.downcast::<T>().ok()?));
    kept.0.as_mut().map(|value| use_it(value))
}

/// Puts the value back, also where its user panics.
struct Kept<T: 'static>(Option<Box<T>>);

impl<T: 'static> Drop for Kept<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            STATE.with_borrow_mut(|state| {
                state.entry(TypeId::of::<T>()).or_insert(value);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_reached_by_its_type() {
        assert_eq!(set(7u8), None);
        set("text".to_owned());
        with(|number: &mut u8| {
            *number += 1;
            assert!(try_with(|_: &mut u8| ()).is_none());
            with(|text: &mut String| text.push('!'));
        });
        assert_eq!((set(0u8), try_with(|text: &mut String| text.clone())), (Some(8), Some("text!".to_owned())));
        assert!(try_with(|_: &mut u64| ()).is_none());
    }
}
