//! Which results are values like others, and which arrive with their error as a chain of texts.

use std::error::Error;
use std::io;
use std::sync::Arc;

use procession::{ErrorChain, ProcessActor, process_actor};

#[process_actor]
fn plain() -> Result<u8, String> {
    Err("no".into())
}

#[process_actor]
fn any() -> anyhow::Result<u8> {
    anyhow::bail!("no")
}

#[process_actor]
fn any_error() -> Result<u8, anyhow::Error> {
    anyhow::bail!("no")
}

#[process_actor]
fn input() -> io::Result<u8> {
    Err(io::Error::other("no"))
}

#[process_actor]
async fn input_error() -> std::result::Result<u8, std::io::Error> {
    Err(io::Error::other("no"))
}

#[process_actor]
fn boxed() -> Result<u8, Box<dyn Error>> {
    Err("no".into())
}

#[process_actor]
async fn boxed_send() -> Result<u8, Box<dyn Error + Send + Sync + 'static>> {
    Err("no".into())
}

trait Refusal: Error {}

#[process_actor]
fn boxed_refusal() -> Result<u8, Box<dyn Refusal>> {
    Ok(1)
}

#[process_actor]
fn shared() -> Result<u8, Arc<dyn Error + Send + Sync>> {
    Ok(1)
}

mod alias {
    pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

    pub mod local {
        pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
    }

    pub mod text {
        pub type Result<T> = std::result::Result<T, String>;
    }
}

#[process_actor]
fn alias_of_box() -> alias::Result<u8> {
    Err("no".into())
}

#[process_actor]
fn alias_of_local_box() -> alias::local::Result<u8> {
    Err("no".into())
}

#[process_actor]
async fn alias_of_text() -> alias::text::Result<u8> {
    Err("no".into())
}

fn is<A: ProcessActor<Output = Output>, Output>(_: A) {}

fn main() {
    is::<_, Result<u8, String>>(Plain);
    is::<_, Result<u8, ErrorChain>>(Any);
    is::<_, Result<u8, ErrorChain>>(AnyError);
    is::<_, Result<u8, ErrorChain>>(Input);
    is::<_, Result<u8, ErrorChain>>(InputError);
    is::<_, Result<u8, ErrorChain>>(Boxed);
    is::<_, Result<u8, ErrorChain>>(BoxedSend);
    is::<_, Result<u8, ErrorChain>>(BoxedRefusal);
    is::<_, Result<u8, ErrorChain>>(Shared);
    is::<_, Result<u8, ErrorChain>>(AliasOfBox);
    is::<_, Result<u8, ErrorChain>>(AliasOfLocalBox);
    is::<_, Result<u8, ErrorChain>>(AliasOfText);
}
