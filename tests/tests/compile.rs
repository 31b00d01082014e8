//! What the attributes accept, and what they refuse in which words.
//!
//! Each file of `compile/pass` builds and runs. Each file of `compile/fail` does not build, and the compiler says exactly
//! what the `.stderr` file beside it says. After a change of words: `TRYBUILD=overwrite cargo test --test compile`.
//! The texts are those of the toolchain that `rust-version` names; another compiler may use other words.

#[test]
fn attributes_accept_and_refuse() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/compile/pass/*.rs");
    cases.compile_fail("tests/compile/fail/*.rs");
}
