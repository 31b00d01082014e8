//! Programs of every kind: without async, without `init`, with a late one, with closed streams, with a preload.

use procession_tests::Program;

#[test]
fn a_plain_main_without_any_async() {
    let mut program = Program::start(env!("CARGO_BIN_EXE_plain"), &[]);
    // What stands before `init` runs in the nursery too, where it is not heard.
    assert_eq!(program.rest(), ["before", "25", "0", "1", "4", "9", "16", "25", "36", "49", "1", "3", "6", "6"]);
    assert!(program.wait().success());
}

#[test]
fn a_panic_is_reported() {
    let mut program = Program::start(env!("CARGO_BIN_EXE_plain"), &["panic"]);
    let lines = program.rest();
    assert!(lines[1].starts_with("None panicked at ") && lines[1].ends_with(": as told"), "{lines:?}");
    assert!(program.wait().success());
}

// covers 28
#[test]
fn without_init_nothing_is_started() {
    let mut program = Program::start(env!("CARGO_BIN_EXE_forgets_init"), &[]);
    let lines = program.rest();
    assert_eq!(lines[0], "main");
    assert!(lines[1].contains("not initialised") && lines[1].contains("#[procession::main]"), "{lines:?}");
    assert_eq!(lines[2], lines[1]);
    assert_eq!(lines[3..], ["0"]);
    assert!(program.wait().success());
}

// covers 28
#[test]
fn init_under_threads_says_so() {
    let mut program = Program::start(env!("CARGO_BIN_EXE_late_init"), &[]);
    let lines = program.rest();
    assert!(lines[0].contains("threads existed already") && lines[0].contains("#[tokio::main]"), "{lines:?}");
    assert_eq!(lines[1], lines[0]);
    assert_eq!(lines[2..], ["0"]);
    assert!(program.wait().success());
}

// covers 19, 25
#[test]
fn closed_standard_streams() {
    for when in ["early", "late"] {
        let path = std::env::temp_dir().join(format!("procession-{}-{when}", std::process::id()));
        let mut program = Program::start(env!("CARGO_BIN_EXE_closed_stdio"), &[&path.display().to_string(), when]);
        assert!(program.wait().success());
        let results = std::fs::read_to_string(&path).expect("its results");
        std::fs::remove_file(&path).expect("its file");
        assert_eq!(results, "[\"/dev/null\", \"/dev/null\", \"/dev/null\"]\n".repeat(6));
    }
}

// covers 35
#[test]
fn a_preload_is_shared() {
    let mut program = Program::start(env!("CARGO_BIN_EXE_preloads"), &["share"]);
    let sum = (0..4u64 << 20).sum::<u64>();
    let (first, nested) = (format!("Some({sum}) true Some(\"yes\")"), "true true Some(\"yes\")".to_owned());
    let expected = [first.clone(), nested.clone(), first, nested, "None true None".to_owned(), "false false".to_owned()];
    assert_eq!(program.rest(), expected);
    assert!(program.wait().success());
}

// covers 35
#[test]
fn a_preload_that_cannot_be_forked_says_so() {
    for (mode, says) in [("thread", "left a thread running"), ("panic", "panicked")] {
        let mut program = Program::start(env!("CARGO_BIN_EXE_preloads"), &[mode]);
        let lines = program.rest();
        assert!(lines[..2].iter().all(|line| line.contains(says)), "{lines:?}");
        assert_eq!(lines[2..], ["false false"]);
        assert!(program.wait().success());
    }
}
