//! What a child is born with, and what happens where a birth fails.

use std::collections::BTreeSet;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::task::Poll;
use std::time::{Duration, Instant};

use procession::prelude::*;
use procession::{SpawnError, Stream};
use procession_tests::{PATIENCE, Program, wait_until};

const SOON: Duration = Duration::from_secs(2);

// covers 1, 5
#[procession::test]
async fn it_knows_itself_and_its_parent() {
    #[process_actor]
    fn describes() -> (String, u32, u32, Option<(String, u32)>) {
        let current = procession::current();
        (current.name().to_owned(), current.pid(), current.id().slot(), current.parent().map(|parent| (parent.name, parent.pid)))
    }
    #[process_actor]
    async fn nests() -> (String, u32, u32, Option<(String, u32)>) {
        Describes::builder().name("inner").spawn().await.unwrap().join().await.unwrap()
    }
    assert_eq!(procession::current().parent(), None);
    let process = Describes::builder().name("test").spawn().await.unwrap();
    let (pid, slot) = (process.pid(), process.id().slot());
    assert_eq!(process.join().await.unwrap(), ("test".into(), pid, slot, Some(("main".into(), std::process::id()))));
    let outer = Nests::builder().name("outer").spawn().await.unwrap();
    let outer_pid = outer.pid();
    let (name, _, _, parent) = outer.join().await.unwrap();
    assert_eq!((name.as_str(), parent), ("inner", Some(("outer".into(), outer_pid))));
}

// covers 7, 11
#[procession::test]
async fn the_living_are_listed() {
    #[process_actor]
    async fn serves(mut mailbox: Mailbox<()>) {
        while mailbox.recv().await.is_some() {}
    }
    let listed = |pid: u32| procession::children().iter().any(|child| child.pid == pid);
    let actor = Serves::builder().name("listed").spawn().await.unwrap();
    assert!(listed(actor.pid()));
    assert!(procession::children().iter().any(|child| child.name == "listed"));
    actor.stop().await.unwrap();
    assert!(!listed(actor.pid()));
}

#[procession::test]
async fn a_bad_directory_is_an_io_error() {
    #[process_actor]
    fn brief() {}
    for path in ["/no/such/directory", "/dev/null"] {
        let start = Instant::now();
        let error = Brief::builder().current_dir(path).spawn().await.unwrap_err();
        assert!(matches!(error, SpawnError::Io(_)), "{error}");
        assert!(start.elapsed() < SOON);
    }
}

#[test]
fn a_death_before_the_first_word_is_an_error_at_once() {
    for (how, says) in [("kill", "SIGKILL"), ("exit", "exited with code 7")] {
        let start = Instant::now();
        let mut program = Program::start(env!("CARGO_BIN_EXE_dies_early"), &[how]);
        let lines = program.rest();
        assert!(lines[..3].iter().all(|line| line.starts_with("not spawned: ") && line.contains(says)), "{lines:?}");
        assert_eq!(lines[3..], ["25"]);
        assert!(program.wait().success());
        assert!(start.elapsed() < SOON);
    }
}

#[procession::test]
async fn arguments_that_kill_their_reader() {
    #[derive(Serialize)]
    struct Deadly(u8);
    impl<'de> Deserialize<'de> for Deadly {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            match u8::deserialize(deserializer)? {
                0 => Err(serde::de::Error::custom("nothing will do")),
                1 => panic!("as told"),
                _ => std::process::exit(5),
            }
        }
    }
    #[process_actor]
    fn takes(deadly: Deadly) {
        let Deadly(_) = deadly;
    }
    for (how, says) in [(0, "nothing will do"), (1, "as told"), (2, "exited with code 5")] {
        let start = Instant::now();
        let process = Takes::builder().stderr(Stream::Null).spawn(Deadly(how)).await;
        let said = match process {
            Ok(process) => process.join().timeout(PATIENCE).await.unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(said.contains(says), "{said}");
        assert!(start.elapsed() < SOON);
    }
}

#[procession::test]
async fn a_spawn_that_nobody_waits_for_leaves_no_process() {
    #[process_actor]
    fn waits() {
        loop {
            std::thread::park();
        }
    }
    for _ in 0..20 {
        let mut spawn = Waits::builder().name("forgotten").spawn().into_future();
        // Begun, and dropped before the child can have answered, or just after.
        let first_poll = std::future::poll_fn(|context| Poll::Ready(spawn.as_mut().poll(context))).await;
        if let Poll::Ready(quick) = first_poll {
            quick.unwrap().kill();
        }
        drop(spawn);
    }
    let spawn = Waits::builder().name("forgotten").spawn().timeout(Duration::ZERO).await;
    match spawn {
        Ok(quick) => quick.kill(),
        Err(error) => assert!(matches!(error, SpawnError::Timeout), "{error}"),
    }
    wait_until("the forgotten are gone", PATIENCE, || !procession::children().iter().any(|child| child.name == "forgotten"));
}

/// The environment, the mask and the directory are of the whole process: one test, no two at once.
#[procession::test]
async fn what_is_not_set_is_the_spawners_at_that_moment() {
    type Seen = (Option<String>, Option<String>, u32, String);
    #[process_actor]
    fn places() -> Seen {
        let file = std::env::temp_dir().join(format!("procession-mask-{}", std::process::id()));
        let mode = std::fs::File::create(&file).unwrap().metadata().unwrap().permissions().mode() & 0o777;
        std::fs::remove_file(&file).unwrap();
        let directory = std::env::current_dir().unwrap().display().to_string();
        (std::env::var("PROCESSION_TEST_ONE").ok(), std::env::var("PROCESSION_TEST_TWO").ok(), mode, directory)
    }
    #[process_actor]
    fn nests(change: bool) -> Seen {
        if change {
            // SAFETY: no other thread of this process reads the environment.
            unsafe {
                std::env::set_var("PROCESSION_TEST_ONE", "nested");
                std::env::remove_var("PROCESSION_TEST_TWO");
                libc::umask(0o077);
            }
            std::env::set_current_dir("/usr").unwrap();
        }
        Places::spawn().blocking().unwrap().join().blocking().unwrap()
    }
    async fn seen() -> Seen {
        Places::spawn().await.unwrap().join().await.unwrap()
    }
    let home = std::env::current_dir().unwrap();
    let before = seen().await;
    assert_eq!((before.0, before.1, before.3), (None, None, home.display().to_string()));
    // SAFETY: the other tests of this binary do not read the environment.
    unsafe {
        std::env::set_var("PROCESSION_TEST_ONE", "1");
        std::env::set_var("PROCESSION_TEST_TWO", "2");
    }
    // SAFETY: umask takes and gives an integer.
    let mask = unsafe { libc::umask(0o027) };
    std::env::set_current_dir("/").unwrap();
    let one = || Some("1".to_owned());
    let two = || Some("2".to_owned());
    assert_eq!(seen().await, (one(), two(), 0o640, "/".into()));
    let fresh = Places::builder().fresh().spawn().await.unwrap().join().await.unwrap();
    assert_eq!(fresh, (one(), two(), 0o640, "/".into()));
    let nested = Nests::spawn(false).await.unwrap().join().await.unwrap();
    assert_eq!(nested, (one(), two(), 0o640, "/".into()));
    let nested = Nests::spawn(true).await.unwrap().join().await.unwrap();
    assert_eq!(nested, (Some("nested".into()), None, 0o600, "/usr".into()));
    let nested = Nests::builder().fresh().spawn(true).await.unwrap().join().await.unwrap();
    assert_eq!(nested, (Some("nested".into()), None, 0o600, "/usr".into()));
    // SAFETY: as above.
    unsafe {
        std::env::remove_var("PROCESSION_TEST_ONE");
        libc::umask(mask);
    }
    let given = Places::builder().env("PROCESSION_TEST_ONE", "given").env_remove("PROCESSION_TEST_TWO").current_dir("/tmp");
    let given = given.spawn().await.unwrap().join().await.unwrap();
    assert_eq!((given.0.as_deref(), given.1, given.3.as_str()), (Some("given"), None, "/tmp"));
    std::env::set_current_dir(home).unwrap();
}

#[procession::test]
async fn streams_lead_where_they_are_told() {
    use std::io::{Read, Write};
    #[process_actor]
    fn upper() {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).unwrap();
        print!("{}", text.to_uppercase());
        eprint!("done");
    }
    let ((stdin, mut input), (mut output, stdout), (mut errors, stderr)) =
        (std::io::pipe().unwrap(), std::io::pipe().unwrap(), std::io::pipe().unwrap());
    let process = Upper::builder().stdin(stdin).stdout(stdout).stderr(stderr).spawn().await.unwrap();
    input.write_all(b"quiet").unwrap();
    drop(input);
    let mut said = [String::new(), String::new()];
    output.read_to_string(&mut said[0]).unwrap();
    errors.read_to_string(&mut said[1]).unwrap();
    assert_eq!(said, ["QUIET", "done"]);
    process.join().await.unwrap();
    let nothing = Upper::builder().stdin(Stream::Null).stdout(Stream::Null).stderr(Stream::Null).spawn().await.unwrap();
    nothing.join().timeout(PATIENCE).await.unwrap();
}

#[procession::test]
async fn a_fresh_one_has_a_memory_layout_of_its_own() {
    #[process_actor]
    fn address() -> usize {
        address as fn() -> usize as usize
    }
    let mut forked = BTreeSet::new();
    let mut fresh = BTreeSet::new();
    for _ in 0..4 {
        forked.insert(Address::spawn().await.unwrap().join().await.unwrap());
        fresh.insert(Address::builder().fresh().spawn().await.unwrap().join().await.unwrap());
    }
    assert_eq!(forked.len(), 1);
    assert!(fresh.len() > 1);
}

#[procession::test]
async fn a_fresh_one_writes_nothing_of_its_own() {
    use std::io::Read;
    #[process_actor]
    fn says() {
        println!("only this");
    }
    let (mut output, stdout) = std::io::pipe().unwrap();
    Says::builder().fresh().stdout(stdout).spawn().await.unwrap().join().await.unwrap();
    let mut said = String::new();
    output.read_to_string(&mut said).unwrap();
    assert_eq!(said, "only this\n");
}

#[procession::test]
async fn children_share_no_random_seeds() {
    #[process_actor]
    fn random() -> u64 {
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one(1)
    }
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        seen.insert(Random::spawn().await.unwrap().join().await.unwrap());
    }
    assert_eq!(seen.len(), 20);
}

fn descriptors() -> BTreeSet<(u32, String)> {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    open.filter_map(|entry| {
        let to = std::fs::read_link(entry.path()).ok()?.display().to_string();
        Some((entry.file_name().to_str()?.parse().ok()?, to))
    })
    .collect()
}

// covers 17, 27
#[procession::test]
async fn a_child_holds_nothing_of_others() {
    #[process_actor]
    fn lists(mailbox: Mailbox<Reply<BTreeSet<(u32, String)>>>) {
        let mut mailbox = mailbox;
        while let Some(reply) = mailbox.recv().blocking() {
            reply.send(descriptors());
        }
    }
    // Open in the root, and not close-on-exec: no child is to have it.
    let unrelated = std::fs::File::open("/proc/self/status").unwrap();
    // SAFETY: clears a flag of a descriptor that this test owns.
    unsafe { libc::fcntl(unrelated.as_raw_fd(), libc::F_SETFD, 0) };
    let mut actors = Vec::new();
    let mut counts = Vec::new();
    for _ in 0..8 {
        let actor = Lists::spawn().await.unwrap();
        let open = actor.ask(|reply| reply).await.unwrap();
        assert!(!open.iter().any(|(_, to)| to.contains("status")), "{open:?}");
        counts.push(open.len());
        actors.push(actor);
    }
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
    // The streams, the control link, the lifeline, the link of the question, the library's event loop (two), and the listing's own.
    assert_eq!(counts[0], 9, "{:?}", actors[0].ask(|reply| reply).await.unwrap());
}

// covers 15
#[procession::test(flavor = "multi_thread")]
async fn many_at_once() {
    #[process_actor]
    fn double(x: u32) -> u32 {
        x * 2
    }
    #[process_actor]
    fn waits() {
        loop {
            std::thread::park();
        }
    }
    let tasks: Vec<_> = (0..100).map(|x| tokio::spawn(async move { Double::spawn(x).await.unwrap().join().await.unwrap() })).collect();
    for (x, task) in (0..100).zip(tasks) {
        assert_eq!(tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap(), x * 2);
    }
    let mut waiting = Vec::new();
    for _ in 0..100 {
        let process = Waits::spawn().await.unwrap();
        process.terminate();
        waiting.push(process);
    }
    for process in waiting {
        assert_eq!(process.exit().timeout(PATIENCE).await.unwrap().code(), Some(-libc::SIGTERM));
    }
}

// covers 12, 31
#[procession::test]
async fn three_deep_from_sync_and_async_actors() {
    #[process_actor]
    fn sync(depth: u32) -> u32 {
        if depth == 0 { 0 } else { 1 + Async::spawn(depth - 1).blocking().unwrap().join().blocking().unwrap() }
    }
    #[process_actor]
    async fn r#async(depth: u32) -> u32 {
        if depth == 0 { 0 } else { 1 + Sync::spawn(depth - 1).await.unwrap().join().await.unwrap() }
    }
    assert_eq!(Sync::spawn(3).await.unwrap().join().timeout(PATIENCE).await.unwrap(), 3);
    assert_eq!(Async::spawn(3).await.unwrap().join().timeout(PATIENCE).await.unwrap(), 3);
}

#[procession::test]
async fn names_need_not_differ() {
    #[process_actor]
    fn brief() {}
    let (one, two) = (Brief::builder().name("same").spawn().await.unwrap(), Brief::builder().name("same").spawn().await.unwrap());
    assert_eq!((one.name(), two.name()), ("same", "same"));
    assert_ne!(one.id(), two.id());
    one.join().await.unwrap();
    two.join().await.unwrap();
    let unnamed = Brief::spawn().await.unwrap();
    assert_eq!(unnamed.name(), format!("brief-{}", unnamed.id().slot()));
    unnamed.join().await.unwrap();
}
