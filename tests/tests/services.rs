//! Locks, queues and pipes between real processes, and what becomes of them when their users die.

use std::time::{Duration, Instant};

use procession::prelude::*;
use procession::{GetError, LockError, PipeError, PutReason, ServiceError};

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(20);

#[process_actor]
fn increment(lock: Lock<u64>, times: u32) -> procession::Result<()> {
    for _ in 0..times {
        let mut n = lock.lock().blocking()?;
        *n += 1;
        n.release().blocking()?;
    }
    Ok(())
}

// covers 47, 65, 87
#[procession::test]
async fn increments_from_several_processes_are_all_there() {
    let lock = Lock::new(0u64);
    let mut processes = Vec::new();
    for _ in 0..4 {
        processes.push(Increment::spawn(lock.clone(), 250).await.unwrap());
    }
    for process in processes {
        process.join().timeout(LONG).await.unwrap().unwrap();
    }
    assert_eq!(*lock.lock().await.unwrap(), 1000);
}

#[process_actor]
fn hold(lock: Lock<String>, held: PipeEnd<u32>) {
    let mut value = lock.lock().blocking().unwrap();
    value.push_str(" and never committed");
    held.send(1).blocking().unwrap();
    loop {
        std::thread::park();
    }
}

// covers 64
#[procession::test]
async fn a_lock_whose_holder_is_killed_is_abandoned_with_the_last_committed_value() {
    let lock = Lock::new("committed".to_owned());
    let (mine, theirs) = Pipe::new();
    let holder = Hold::spawn(lock.clone(), theirs).await.unwrap();
    assert_eq!(mine.recv().timeout(LONG).await.unwrap(), 1);
    assert!(matches!(lock.try_lock().await, Err(LockError::WouldBlock)));
    assert!(matches!(lock.lock().timeout(SHORT).await, Err(LockError::Timeout)));
    let waiting = tokio::spawn(lock.lock().timeout(LONG).into_future());
    holder.kill();
    let guard = waiting.await.unwrap().unwrap();
    assert!(guard.is_abandoned());
    assert_eq!(*guard, "committed");
    guard.release().await.unwrap();
    assert!(!lock.lock().await.unwrap().is_abandoned(), "the notice is given once");
}

#[process_actor]
fn panic_with(lock: Lock<u32>) {
    let mut guard = lock.lock().blocking().unwrap();
    *guard = 99;
    panic!("on purpose");
}

// covers 64
#[procession::test]
async fn a_guard_dropped_in_a_panic_commits_nothing() {
    let lock = Lock::new(7u32);
    let process = PanicWith::spawn(lock.clone()).await.unwrap();
    assert!(process.join().timeout(LONG).await.is_err());
    let guard = lock.lock().timeout(LONG).await.unwrap();
    assert_eq!((*guard, guard.is_abandoned()), (7, true));
}

#[process_actor]
fn try_once(lock: Lock<u32>) -> String {
    match lock.lock().blocking() {
        Ok(_) => "locked".to_owned(),
        Err(LockError::Service(ServiceError::Closed)) => "closed".to_owned(),
        Err(error) => format!("{error}"),
    }
}

// covers 45
#[procession::test]
async fn a_service_ends_with_the_value_that_new_returned() {
    let lock = Lock::new(1u32);
    let spare = lock.clone();
    drop(lock);
    assert_eq!(TryOnce::spawn(spare.clone()).await.unwrap().join().timeout(LONG).await.unwrap(), "locked");
    let late = TryOnce::builder();
    let handle: Lock<u32> = serde_json::from_str(&serde_json::to_string(&spare).unwrap()).unwrap();
    drop(spare);
    assert_eq!(late.spawn(handle).await.unwrap().join().timeout(LONG).await.unwrap(), "closed");
}

// covers 39, 40, 42, 51
#[procession::test]
async fn a_bounded_queue_refuses_waits_and_counts() {
    let queue = Queue::bounded(2);
    assert!(matches!(queue.try_get().await, Err(GetError::Empty)));
    let start = Instant::now();
    assert!(matches!(queue.get().timeout(SHORT).await, Err(GetError::Timeout)));
    assert!(start.elapsed() >= SHORT, "never early");
    queue.put(1).await.unwrap();
    queue.put(2).await.unwrap();
    assert_eq!(queue.len().await.unwrap(), 2);
    let full = queue.try_put(3).await.unwrap_err();
    assert!(matches!(full.reason, PutReason::Full));
    assert_eq!(full.item, 3);
    let late = queue.put(4).timeout(SHORT).await.unwrap_err();
    assert!(matches!(late.reason, PutReason::Timeout));
    assert_eq!((queue.get().await.unwrap(), queue.get().await.unwrap()), (1, 2));
    assert!(queue.is_empty().await.unwrap(), "what was refused never enters");
}

#[process_actor]
fn produce(queue: Queue<(u32, u32)>, who: u32, count: u32) {
    for n in 0..count {
        queue.put((who, n)).blocking().unwrap();
    }
}

// covers 41, 87
#[procession::test]
async fn a_producer_that_exits_at_once_loses_nothing_and_keeps_its_order() {
    let queue = Queue::bounded(10);
    for who in 0..3 {
        Produce::spawn(queue.clone(), who, 100).await.unwrap();
    }
    let mut next = [0; 3];
    for _ in 0..300 {
        let (who, n) = queue.get().timeout(LONG).await.unwrap();
        assert_eq!(next[who as usize], n);
        next[who as usize] += 1;
    }
}

// covers 45
#[procession::test]
async fn a_closed_queue_gives_out_what_is_left() {
    let queue = Queue::bounded(10);
    queue.put("left".to_owned()).await.unwrap();
    queue.close().await.unwrap();
    queue.close().await.unwrap();
    let refused = queue.put("late".to_owned()).await.unwrap_err();
    assert!(matches!(refused.reason, PutReason::Closed));
    assert_eq!(refused.item, "late");
    assert_eq!(queue.get().await.unwrap(), "left");
    assert!(matches!(queue.get().await, Err(GetError::Closed)));
}

// A get that is dropped, or times out, at any moment loses no item.
#[procession::test]
async fn gets_that_are_given_up_lose_nothing() {
    let queue = Queue::bounded(1000);
    let mut got = Vec::new();
    for n in 0..200u32 {
        queue.put(n).await.unwrap();
        if n % 3 == 0 {
            // Given up somewhere between the request and the response.
            let mut get = Box::pin(queue.get().into_future());
            for _ in 0..n % 5 {
                tokio::select! {
                    biased;
                    item = &mut get => { got.push(item.unwrap()); break; }
                    () = tokio::task::yield_now() => {}
                }
            }
        }
        if n % 7 == 0
            && let Ok(item) = queue.get().timeout(Duration::from_micros(u64::from(n))).await
        {
            got.push(item);
        }
    }
    while got.len() < 200 {
        got.push(queue.get().timeout(LONG).await.unwrap());
    }
    got.sort_unstable();
    assert_eq!(got, (0..200).collect::<Vec<_>>());
}

#[process_actor]
fn blocking_get(queue: Queue<u32>, short: bool) -> Option<u32> {
    let get = queue.get();
    let get = if short { get.timeout(Duration::from_millis(1)) } else { get };
    get.blocking().ok()
}

// covers 40
#[procession::test]
async fn gets_from_blocking_threads_time_out_and_take() {
    let queue = Queue::bounded(4);
    assert_eq!(BlockingGet::spawn(queue.clone(), true).await.unwrap().join().timeout(LONG).await.unwrap(), None);
    let waiting = BlockingGet::spawn(queue.clone(), false).await.unwrap();
    queue.put(5).await.unwrap();
    assert_eq!(waiting.join().timeout(LONG).await.unwrap(), Some(5));
}

#[process_actor]
fn echo(pipe: PipeEnd<Vec<u8>>) {
    while let Ok(message) = pipe.recv().blocking() {
        pipe.send(message).blocking().unwrap();
    }
}

// covers 110, 114, 118
#[procession::test]
async fn a_pipe_echoes_messages_of_all_sizes_and_ends_with_its_far_end() {
    let (mine, theirs) = Pipe::new();
    let process = Echo::spawn(theirs).await.unwrap();
    for size in [0usize, 1, 100, 65_535, 65_536, 1 << 20, 16 << 20] {
        let message = vec![size as u8; size];
        mine.send(message.clone()).timeout(LONG).await.unwrap();
        assert!(mine.recv().timeout(LONG).await.unwrap() == message, "{size} bytes came back changed");
    }
    assert!(matches!(mine.recv().timeout(SHORT).await, Err(PipeError::Timeout)));
    drop(mine);
    process.join().timeout(LONG).await.unwrap();
}

#[process_actor]
fn say(pipe: PipeEnd<String>) {
    for word in ["first", "second", "third"] {
        pipe.send(word.to_owned()).blocking().unwrap();
    }
}

#[process_actor]
fn pass_down(pipe: PipeEnd<String>, depth: u32) -> Vec<String> {
    if depth > 0 {
        let child = PassDown::spawn(pipe, depth - 1).blocking().unwrap();
        return child.join().blocking().unwrap();
    }
    std::iter::from_fn(|| pipe.recv().blocking().ok()).collect()
}

// covers 114, 119
#[procession::test]
async fn an_end_moves_with_what_has_arrived_at_it() {
    let (left, right) = Pipe::new();
    Say::spawn(left).await.unwrap().join().timeout(LONG).await.unwrap();
    assert_eq!(right.recv().timeout(LONG).await.unwrap(), "first");
    // The other two have arrived here, and move along, through two processes, to a third.
    let words = PassDown::spawn(right, 2).await.unwrap().join().timeout(LONG).await.unwrap();
    assert_eq!(words, ["second", "third"]);
}

// covers 110
#[procession::test]
async fn the_far_end_of_a_killed_process_is_gone() {
    let (mine, theirs) = Pipe::new();
    let process = Echo::spawn(theirs).await.unwrap();
    mine.send(vec![1]).await.unwrap();
    mine.recv().timeout(LONG).await.unwrap();
    process.kill();
    assert!(matches!(mine.recv().timeout(LONG).await, Err(PipeError::Closed)));
    assert!(matches!(mine.send(vec![2]).timeout(LONG).await, Err(PipeError::Closed)));
}

// covers 37, 82
#[procession::test]
async fn handles_inside_values_keep_working() {
    let inner = Queue::bounded(3);
    inner.put(11u32).await.unwrap();
    let outer = Queue::bounded(3);
    outer.put(inner.clone()).await.unwrap();
    let taken: Queue<u32> = outer.get().await.unwrap();
    assert_eq!(BlockingGet::spawn(taken, false).await.unwrap().join().timeout(LONG).await.unwrap(), Some(11));
}

#[process_actor]
fn host() -> (Lock<u32>, u32) {
    // The lock's owner ends with this process.
    (Lock::new(5), 0)
}

// covers 64
#[procession::test]
async fn a_service_whose_host_has_ended_is_an_error_and_no_hang() {
    let (lock, _) = Host::spawn().await.unwrap().join().timeout(LONG).await.unwrap();
    let error = lock.lock().timeout(LONG).await.unwrap_err();
    assert!(matches!(error, LockError::Service(ServiceError::Died(_) | ServiceError::Closed)), "{error}");
}
