//! Function actors: every form of parameter, and what the arguments and the output then are.

use procession::{FunctionActor, Process, ProcessActor, Spawn, process_actor};

#[process_actor]
fn nothing() {}

#[process_actor]
fn square(x: i64) -> i64 {
    x * x
}

#[process_actor]
async fn power(base: i64, mut exponent: u32) -> i64 {
    exponent += 1;
    base.pow(exponent)
}

#[process_actor(Tally, name = "tally")]
pub async fn count(text: &str, lines: &[String], r#type: u8) -> usize {
    text.len() + lines.len() + usize::from(r#type)
}

#[process_actor]
fn patterns((a, b): (i64, i64), _: u8, [c, _]: [i64; 2], patterns: i64) -> i64 {
    a + b + c + patterns
}

#[process_actor]
fn documented(
    /// How often.
    times: usize,
    /// What,
    /// if anything.
    what: Option<String>,
) -> String {
    what.unwrap_or_default().repeat(times)
}

#[process_actor]
#[rustfmt::skip]
fn sixteen(
    a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8, j: u8, k: u8, l: u8, m: u8, n: u8, o: u8, p: u8,
) -> u8 {
    a + b + c + d + e + f + g + h + i + j + k + l + m + n + o + p
}

#[process_actor]
fn r#match(r#type: u8) -> u8 {
    r#type
}

#[process_actor]
#[deprecated = "for the sake of old programs"]
#[must_use]
fn old(x: u8) -> u8 {
    x
}

#[process_actor]
#[cfg(target_os = "none")]
fn elsewhere(x: Missing) -> Missing {
    x
}

fn is<A, Arguments, Output>(_: A)
where
    A: FunctionActor
        + ProcessActor<Arguments = Arguments, Output = Output, Handle = Process<Output>>,
{
}

#[allow(deprecated)]
fn main() {
    is::<_, (), ()>(Nothing);
    is::<_, i64, i64>(Square);
    is::<_, (i64, u32), i64>(Power);
    is::<_, (String, Vec<String>, u8), usize>(Tally);
    is::<_, ((i64, i64), u8, [i64; 2], i64), i64>(Patterns);
    is::<_, (usize, Option<String>), String>(Documented);
    is::<_, u8, u8>(Match);
    is::<_, u8, u8>(Old);

    let _: fn() -> Spawn<Nothing> = Nothing::spawn;
    let _: fn(i64) -> Spawn<Square> = Square::spawn;
    let _: fn(&str, &[String], u8) -> Spawn<Tally> = Tally::spawn;
    let _: fn(TallyBuilder, &str, &[String], u8) -> Spawn<Tally> = TallyBuilder::spawn;
    let _: fn() -> SquareBuilder = Square::builder;

    // The struct is a plain value, and the function is what it was.
    assert_eq!(Square, Square::default());
    assert_eq!(format!("{Square:?}"), "Square");
    assert_eq!(square(7), 49);
    assert_eq!(patterns((1, 2), 0, [3, 4], 5), 11);

    // Inside a function too.
    #[process_actor]
    fn inner(x: u8) -> u8 {
        x
    }
    is::<_, u8, u8>(Inner);
}
