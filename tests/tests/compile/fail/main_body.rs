//! A fault in the body is shown where it is, once.

#[procession::main]
async fn main() -> std::io::Result<()> {
    let number: i64 = "five".parse()?;
    let _: String = number;
}
