//! The system calls main with nothing.

#[procession::main]
async fn main(arguments: Vec<String>) {
    drop(arguments);
}
