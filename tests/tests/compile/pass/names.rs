//! What a module holds under the names of the standard library does not disturb the generated items, and neither do the
//! strictest lints.

#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unused_qualifications)]

#[allow(dead_code)]
mod shadowed {
    pub(crate) struct Box;
    pub(crate) struct String;
    pub(crate) struct Vec;
    pub(crate) enum Option {}
    pub(crate) trait Message {}
    pub(crate) trait Clone {}
    pub(crate) trait Into {}
    pub(crate) mod std {}
    pub(crate) mod core {}
    pub(crate) mod procession {}

    /// Squares.
    #[::procession::process_actor(name = "squares")]
    pub(crate) fn square(x: &str, y: &[i64]) -> ::std::io::Result<usize> {
        Ok(x.len() + y.len())
    }

    #[::procession::process_actor]
    async fn mailbox(argument_0: ::procession::Mailbox<u8>, argument_1: u8, arguments: u8) -> u8 {
        drop(argument_0);
        argument_1 + arguments
    }
}

macro_rules! actor {
    ($name:ident, $parameter:ident: $first:ty, $message:ty, $output:ty, $body:expr) => {
        #[procession::process_actor]
        fn $name(
            mailbox: procession::Mailbox<$message>,
            $parameter: $first,
            other: &[u8],
        ) -> $output {
            drop((mailbox, other));
            let _ = $parameter;
            $body
        }
    };
}

actor!(made, text: &str, (u8, u8), std::io::Result<u8>, Ok(1));

macro_rules! mark {
    ($function:item) => {
        #[procession::process_actor]
        $function
    };
}

mark! {
    /// Has passed through a macro.
    fn passed(x: u8) -> u8 {
        x
    }
}

fn main() {
    let _: fn(&str, &[u8]) -> procession::Spawn<Made> = Made::spawn;
    let _: fn(u8) -> procession::Spawn<Passed> = Passed::spawn;
    let _: fn(&str, &[i64]) -> procession::Spawn<shadowed::Square> = shadowed::Square::spawn;
}
