//! Mailbox actors, sync and async, with arguments and without.

use procession::{Actor, Mailbox, MailboxActor, ProcessActor, Spawn, process_actor};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub enum Count {
    Add(i64),
}

#[process_actor]
async fn counter(mut mailbox: Mailbox<Count>, start: i64) -> i64 {
    let mut n = start;
    while let Some(message) = mailbox.recv().await {
        match message {
            Count::Add(k) => n += k,
        }
    }
    n
}

#[process_actor]
fn sink(_: procession::Mailbox<Vec<u8>>) {}

#[process_actor]
pub fn named(mailbox: Mailbox<(u8, String)>, name: &str, _: &[u8]) -> anyhow::Result<String> {
    drop(mailbox);
    Ok(name.to_owned())
}

fn is<A, Message, Arguments, Output>(_: A)
where
    A: MailboxActor<Message = Message>
        + ProcessActor<Arguments = Arguments, Output = Output, Handle = Actor<Output, Message>>,
{
}

fn main() {
    is::<_, Count, i64, i64>(Counter);
    is::<_, Vec<u8>, (), ()>(Sink);
    is::<_, (u8, String), (String, Vec<u8>), Result<String, procession::ErrorChain>>(Named);

    let _: fn(i64) -> Spawn<Counter> = Counter::spawn;
    let _: fn(&str, &[u8]) -> Spawn<Named> = Named::spawn;
}
