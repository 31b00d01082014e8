//! A web server that lets its users compute what they like. The work is done by a pool: what takes too long is answered with 504,
//! what crashes with 500 and the report, what the server has no room for with 503; and when the client hangs up, the computation ends.
//!
//! `cargo run --release --example server -- 8080` serves <http://localhost:8080/fibonacci/30>; without a port it asks itself some
//! questions and ends.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use std::{env, io};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use procession::prelude::*;
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// How long one computation may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// How long a request waits for a place.
const PATIENCE: Duration = Duration::from_millis(200);
/// How many requests are worked on or wait for a worker.
const PLACES: usize = 4;

/// Quick up to 40, slow from there on; below 0 there is no bottom, and the stack overflows.
#[process_actor]
fn fibonacci(n: i64) -> u64 {
    if n == 0 || n == 1 { n as u64 } else { fibonacci(n - 1) + fibonacci(n - 2) }
}

async fn answer(State(pool): State<Pool>, Path(n): Path<i64>) -> (StatusCode, String) {
    // When the client goes away, this future is dropped, and its task with it.
    let Ok(submitted) = timeout(PATIENCE, pool.submit(Fibonacci, n).timeout(DEADLINE)).await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "try again later".to_owned());
    };
    let task = match submitted {
        Ok(task) => task.cancel_on_drop(),
        Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    match task.await {
        Ok(number) => (StatusCode::OK, number.to_string()),
        Err(error) if error.is_timeout() => (StatusCode::GATEWAY_TIMEOUT, error.failure.to_string()),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.failure.to_string()),
    }
}

#[procession::main]
async fn main() -> procession::Result<()> {
    let port = env::args().nth(1).map(|port| port.parse()).transpose()?;
    let pool = Pool::builder().workers(2).name("fibonacci").max_pending(PLACES).build()?;
    let routes = Router::new().route("/fibonacci/{n}", get(answer)).with_state(pool.clone());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.unwrap_or(0))).await?;
    let address = listener.local_addr()?;
    let server = async { axum::serve(listener, routes).await };
    if port.is_some() {
        println!("http://{address}/fibonacci/30");
        server.await?;
    } else {
        tokio::spawn(server);
        spawn_blocking(move || try_out(address, &pool)).await??;
    }
    Ok(())
}

/// What a user would see, and a few who do not wait for it.
fn try_out(address: SocketAddr, pool: &Pool) -> io::Result<()> {
    for n in [30, -1, 90] {
        println!("{n}: {}", ask(address, n)?);
    }

    let began = Instant::now();
    let crowd = (0..PLACES).map(|_| request(address, 90)).collect::<io::Result<Vec<_>>>()?;
    wait_until(|| pool.stats().running + pool.stats().queued == PLACES);
    println!("{} users ask for 90; one more asks for 30: {}", crowd.len(), ask(address, 30)?);
    drop(crowd);
    wait_until(|| pool.stats().running + pool.stats().queued == 0);
    let early = if began.elapsed() < DEADLINE { "long before the deadline" } else { "late" };
    println!("they hang up, and {early} there is room again: {}", ask(address, 30)?);
    Ok(())
}

fn wait_until(mut reached: impl FnMut() -> bool) {
    while !reached() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn request(address: SocketAddr, n: i64) -> io::Result<TcpStream> {
    let mut connection = TcpStream::connect(address)?;
    write!(connection, "GET /fibonacci/{n} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    Ok(connection)
}

/// The answer's status line and body.
fn ask(address: SocketAddr, n: i64) -> io::Result<String> {
    let mut response = String::new();
    request(address, n)?.read_to_string(&mut response)?;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    let status = head.lines().next().unwrap_or("").trim_start_matches("HTTP/1.1 ");
    Ok(format!("{status}: {body}"))
}
