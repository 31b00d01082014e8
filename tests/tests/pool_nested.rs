//! A pool's handle goes to other processes, its own workers included.

use procession::prelude::*;
use procession::{Failure, PoolError};

#[process_actor]
fn square(x: i64) -> i64 {
    x * x
}

#[process_actor]
fn sum_of_squares(pool: Pool, n: i64) -> i64 {
    pool.map(Square, 0..n).blocking().unwrap().into_iter().sum()
}

#[process_actor]
async fn sum_of_squares_async(pool: Pool, n: i64) -> i64 {
    let mut tasks = Vec::new();
    for x in 0..n {
        tasks.push(pool.submit(Square, x).await.unwrap());
    }
    let mut sum = 0;
    for task in tasks {
        sum += task.await.unwrap();
    }
    sum
}

/// How deep it came, or why no deeper.
#[process_actor]
fn deeper(pool: Pool, depth: u32) -> Result<u32, String> {
    if depth == 0 {
        return Ok(0);
    }
    match pool.clone().call(Deeper, (pool, depth - 1)).blocking() {
        Ok(deep) => deep.map(|deep| deep + 1),
        Err(error) => Err(error.to_string()),
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: f64,
    y: f64,
    label: Option<String>,
}

#[process_actor]
fn mirror(point: Point) -> Point {
    Point { x: point.y, y: point.x, label: point.label.map(|label| label.to_uppercase()) }
}

#[process_actor]
fn mirror_all(pool: Pool, points: Vec<Point>) -> Vec<Point> {
    pool.map(Mirror, points).blocking().unwrap()
}

#[process_actor]
fn abort(_: ()) {
    std::process::abort();
}

#[process_actor]
fn outcomes_of_an_abort(pool: Pool) -> (String, i64) {
    let error = pool.call(Abort, ()).blocking().unwrap_err();
    assert!(matches!(error.failure, Failure::Died(_)));
    (error.to_string(), pool.call(Square, 9).blocking().unwrap())
}

#[procession::test]
async fn another_process_uses_the_pool() {
    let pool = Pool::new(2).unwrap();
    let expected: i64 = (0..1000).map(square).sum();
    assert_eq!(SumOfSquares::spawn(pool.clone(), 1000).await.unwrap().join().await.unwrap(), expected);
    assert_eq!(SumOfSquaresAsync::spawn(pool.clone(), 1000).await.unwrap().join().await.unwrap(), expected);
    let points: Vec<Point> = (0..500).map(|n| Point { x: n.into(), y: 0.5, label: (n % 2 == 0).then(|| format!("p{n}")) }).collect();
    let mirrored: Vec<Point> = points.iter().cloned().map(mirror).collect();
    assert_eq!(MirrorAll::spawn(pool.clone(), points).await.unwrap().join().await.unwrap(), mirrored);
    let (error, square) = OutcomesOfAnAbort::spawn(pool.clone()).await.unwrap().join().await.unwrap();
    assert!(error.contains("SIGABRT"), "{error}");
    assert_eq!(square, 81);
    // And so does this one.
    assert_eq!(pool.call(Square, 4).await.unwrap(), 16);
}

// pain 27
#[procession::test]
async fn tasks_use_their_own_pool() {
    let pool = Pool::new(2).unwrap();
    let expected: i64 = (0..100).map(square).sum();
    assert_eq!(pool.map(SumOfSquares, (0..8).map(|_| (pool.clone(), 100))).await.unwrap(), [expected; 8]);
    assert_eq!(pool.map(SumOfSquaresAsync, (0..8).map(|_| (pool.clone(), 100))).await.unwrap(), [expected; 8]);
}

// pain 27
#[procession::test]
async fn a_hundred_deep_on_a_pool_of_one() {
    let pool = Pool::new(1).unwrap();
    assert_eq!(pool.call(Deeper, (pool.clone(), 100)).await.unwrap(), Ok(100));
    assert_eq!(pool.call(Square, 4).await.unwrap(), 16);
}

#[procession::test]
async fn a_thousand_deep_is_an_error() {
    let pool = Pool::new(1).unwrap();
    let error = pool.call(Deeper, (pool.clone(), 1000)).await.unwrap().unwrap_err();
    assert!(error.contains(&PoolError::TooDeep { limit: 256 }.to_string()), "{error}");
    assert_eq!(pool.call(Square, 4).await.unwrap(), 16);
}

#[procession::test]
async fn a_handle_does_not_keep_the_pool() {
    let pool = Pool::new(1).unwrap();
    let expected: i64 = (0..10).map(square).sum();
    assert_eq!(SumOfSquares::spawn(pool.clone(), 10).await.unwrap().join().await.unwrap(), expected);
    pool.close().await;
    let died = SumOfSquares::spawn(pool, 10).await.unwrap().join().await.unwrap_err();
    assert!(died.to_string().contains("closed"), "{died}");
}
