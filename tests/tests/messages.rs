//! Messages: they arrive in order, every ask ends in exactly one way, nothing is lost silently, and a slow actor slows only those who
//! talk to it.

use std::future::IntoFuture;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use procession::prelude::*;
use procession::{AskError, JoinError, KillReason, Outcome, RecvTimeout, TellReason};

/// Longer than anything here takes on a loaded machine, shorter than a test run's patience.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest body of a message.
const CAP: usize = 256 << 20;

#[derive(Debug, Serialize, Deserialize)]
enum Talk {
    /// Remembered, in order.
    Note(u64, String),
    Notes(Reply<Vec<u64>>),
    Echo(String, Reply<String>),
    /// Kept until the actor ends, or `Answer`.
    Hold(Reply<u64>),
    Held(Reply<usize>),
    /// Answers everything held.
    Answer(u64),
    /// Drops everything held.
    Forget,
    /// Hands the reply to somebody else.
    Pass(Reply<u64>, ActorRef<Talk>),
    /// Hands a request on, with the reply inside.
    Ask(Box<Talk>, ActorRef<Talk>),
    /// Keeps a handle, and gives it out again.
    Keep(ActorRef<Talk>),
    Kept(Reply<Option<ActorRef<Talk>>>),
    /// A value that cannot travel: the inner `None` would arrive as the outer one.
    Nothing(Option<Option<u8>>),
    /// Asks the actor behind the handle and says what came of it.
    Try(ActorRef<Talk>, Reply<String>),
    Panic(Reply<u64>),
}

#[derive(Default)]
struct Memory {
    notes: Vec<u64>,
    held: Vec<Reply<u64>>,
    kept: Option<ActorRef<Talk>>,
}

/// What every talker does with a message that needs no waiting; one that does comes back.
fn take(message: Talk, memory: &mut Memory) -> Option<Talk> {
    match message {
        Talk::Note(note, _) => memory.notes.push(note),
        Talk::Notes(reply) => reply.send(memory.notes.clone()),
        Talk::Echo(text, reply) => reply.send(text),
        Talk::Hold(reply) => memory.held.push(reply),
        Talk::Held(reply) => reply.send(memory.held.len()),
        Talk::Answer(value) => memory.held.drain(..).for_each(|reply| reply.send(value)),
        Talk::Forget => memory.held.clear(),
        Talk::Keep(handle) => memory.kept = Some(handle),
        Talk::Kept(reply) => reply.send(memory.kept.clone()),
        Talk::Nothing(_) => {}
        Talk::Panic(_reply) => panic!("as asked"),
        other => return Some(other),
    }
    None
}

#[process_actor]
async fn talker(mut mailbox: Mailbox<Talk>) -> Vec<u64> {
    let mut memory = Memory::default();
    while let Some(message) = mailbox.recv().await {
        match take(message, &mut memory) {
            Some(Talk::Pass(reply, to)) => to.tell(Talk::Hold(reply)).await.expect("the third takes it"),
            Some(Talk::Ask(message, to)) => to.tell(*message).await.expect("the third takes it"),
            Some(Talk::Try(to, reply)) => {
                let answer = to.ask(|reply| Talk::Echo("hello".into(), reply)).timeout(PATIENCE).await;
                reply.send(answer.unwrap_or_else(|error| format!("{error:?}")));
            }
            _ => {}
        }
    }
    memory.notes
}

#[process_actor]
fn sync_talker(mailbox: Mailbox<Talk>) -> Vec<u64> {
    let mut memory = Memory::default();
    for message in mailbox {
        match take(message, &mut memory) {
            Some(Talk::Pass(reply, to)) => to.tell(Talk::Hold(reply)).blocking().expect("the third takes it"),
            Some(Talk::Ask(message, to)) => to.tell(*message).blocking().expect("the third takes it"),
            Some(Talk::Try(to, reply)) => {
                let answer = to.ask(|reply| Talk::Echo("hello".into(), reply)).timeout(PATIENCE).blocking();
                reply.send(answer.unwrap_or_else(|error| format!("{error:?}")));
            }
            _ => {}
        }
    }
    memory.notes
}

/// One of each kind: what a test says of mailboxes holds for both.
async fn talkers() -> [Actor<Vec<u64>, Talk>; 2] {
    [SyncTalker::spawn().await.expect("a spawn"), Talker::spawn().await.expect("a spawn")]
}

fn note(number: u64) -> Talk {
    Talk::Note(number, String::new())
}

/// Asks again until the answer is as it should be.
async fn until<T>(mut ask: impl AsyncFnMut() -> T, good: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask().await;
        if good(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "it never came to that");
        tokio::task::yield_now().await;
    }
}

async fn held(actor: &ActorRef<Talk>, count: usize) {
    until(async || actor.ask(Talk::Held).timeout(PATIENCE).await.expect("an answer"), |held| *held == count).await;
}

// --- order ---

#[process_actor]
async fn sender(to: ActorRef<Talk>, sender: u64, count: u64) {
    for number in 0..count {
        // Every size there is: small, a few pages, and one that is written from its own buffer.
        let size = match number % 50 {
            7 => 10_000,
            23 => 200_000,
            _ => 3,
        };
        to.tell(Talk::Note(sender << 32 | number, "x".repeat(size))).await.expect("a message");
    }
}

#[process_actor]
fn sync_sender(to: ActorRef<Talk>, sender: u64, count: u64) {
    for number in 0..count {
        to.tell(note(sender << 32 | number)).blocking().expect("a message");
    }
}

#[procession::test]
async fn messages_of_one_sender_arrive_in_order() {
    for actor in talkers().await {
        let async_senders =
            [Sender::spawn(actor.reference(), 1, 300).await.unwrap(), Sender::spawn(actor.reference(), 2, 300).await.unwrap()];
        let sync_senders =
            [SyncSender::spawn(actor.reference(), 3, 5000).await.unwrap(), SyncSender::spawn(actor.reference(), 4, 5000).await.unwrap()];
        for process in async_senders.iter().chain(&sync_senders) {
            process.join().timeout(PATIENCE).await.unwrap();
        }
        // What a sender that has returned told before has arrived: here, or in the socket that is read before the next line is answered.
        let notes = until(async || actor.ask(Talk::Notes).timeout(PATIENCE).await.unwrap(), |notes| notes.len() == 10_600).await;
        for (sender, count) in [(1, 300), (2, 300), (3, 5000), (4, 5000)] {
            let its: Vec<u64> = notes.iter().filter(|note| *note >> 32 == sender).map(|note| note & 0xffff_ffff).collect();
            assert_eq!(its, (0..count).collect::<Vec<u64>>());
        }
    }
}

// --- how an ask ends ---

#[procession::test]
async fn an_ask_ends_with_its_reply() {
    for actor in talkers().await {
        assert_eq!(actor.ask(|reply| Talk::Echo("hello".into(), reply)).await.unwrap(), "hello");
        // An answer that comes later, after others.
        let waiting = tokio::spawn(actor.ask(Talk::Hold).into_future());
        held(&actor, 1).await;
        actor.tell(Talk::Answer(5)).await.unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), 5);
    }
}

#[procession::test]
async fn ten_waiters_get_the_report_of_one_death() {
    for actor in talkers().await {
        let waiting: Vec<_> = (0..10).map(|_| tokio::spawn(actor.ask(Talk::Hold).timeout(PATIENCE).into_future())).collect();
        held(&actor, 10).await;
        actor.kill();
        let expected = actor.exit().await.unwrap();
        assert!(matches!(expected.outcome, Outcome::Killed { signal: 9, reason: KillReason::Killed }), "{expected}");
        for waiting in waiting {
            match waiting.await.unwrap() {
                Err(AskError::Died(report)) => assert_eq!(*report, *expected),
                other => panic!("{other:?}"),
            }
        }
        // One that comes too late hears the same.
        match actor.ask(Talk::Hold).timeout(PATIENCE).await {
            Err(AskError::Died(report)) => assert_eq!(*report, *expected),
            other => panic!("{other:?}"),
        }
    }
}

#[procession::test]
async fn a_panic_with_the_reply_in_hand_is_a_death() {
    for actor in talkers().await {
        match actor.ask(Talk::Panic).timeout(PATIENCE).await {
            Err(AskError::Died(report)) => {
                assert!(matches!(&report.outcome, Outcome::Panicked(panic) if panic.message == "as asked"), "{report}")
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(actor.join().await, Err(JoinError::Died(_))));
    }
}

#[procession::test]
async fn a_dropped_reply_is_said_to_be_dropped() {
    for actor in talkers().await {
        let waiting = tokio::spawn(actor.ask(Talk::Hold).timeout(PATIENCE).into_future());
        held(&actor, 1).await;
        actor.tell(Talk::Forget).await.unwrap();
        assert!(matches!(waiting.await.unwrap(), Err(AskError::NoReply)));
        // One that was never put into its request is dropped before anything is sent, or as soon as that is known.
        let forgotten = actor.ask(|reply: Reply<u64>| {
            drop(reply);
            Talk::Forget
        });
        assert!(matches!(forgotten.timeout(PATIENCE).await, Err(AskError::NoReply)));
    }
}

#[procession::test]
async fn an_ask_ends_at_its_timeout() {
    for actor in talkers().await {
        let begin = Instant::now();
        assert!(matches!(actor.ask(Talk::Hold).timeout(Duration::from_millis(30)).await, Err(AskError::Timeout)));
        assert!(begin.elapsed() >= Duration::from_millis(30));
        // The late answer finds nobody, and above all not the next one that asks.
        actor.tell(Talk::Answer(1)).await.unwrap();
        assert_eq!(actor.ask(|reply| Talk::Echo("next".into(), reply)).timeout(PATIENCE).await.unwrap(), "next");
    }
}

/// Takes one message, drops its mailbox, and lives until the gate says that it may end.
#[process_actor]
fn closing(mut mailbox: Mailbox<Talk>, gate: ActorRef<Talk>) {
    let first = mailbox.recv().blocking();
    drop(mailbox);
    drop(first);
    let _ = gate.ask(Talk::Hold).blocking();
}

#[process_actor]
async fn async_closing(mut mailbox: Mailbox<Talk>, gate: ActorRef<Talk>) {
    let first = mailbox.recv().await;
    drop(mailbox);
    drop(first);
    let _ = gate.ask(Talk::Hold).await;
}

#[procession::test]
async fn a_closed_mailbox_says_so() {
    let gate = Talker::spawn().await.unwrap();
    for actor in [Closing::spawn(gate.reference()).await.unwrap(), AsyncClosing::spawn(gate.reference()).await.unwrap()] {
        actor.tell(note(1)).await.unwrap();
        held(&gate, 1).await;
        match actor.ask(Talk::Notes).timeout(PATIENCE).await {
            Err(AskError::Closed) => {}
            other => panic!("{other:?}"),
        }
        let refused = actor.tell(note(2)).timeout(PATIENCE).await;
        assert!(matches!(refused, Err(ref error) if matches!(error.reason, TellReason::Closed)), "{refused:?}");
        assert!(matches!(refused.unwrap_err().message, Some(Talk::Note(2, _))), "the message comes back");
        assert!(actor.process().is_alive());
        gate.tell(Talk::Answer(0)).await.unwrap();
        actor.join().timeout(PATIENCE).await.unwrap();
    }
}

// --- replies on their way ---

#[procession::test]
async fn a_reply_may_be_sent_by_a_third_process() {
    for (actor, third) in talkers().await.into_iter().zip(talkers().await) {
        let handle = third.reference();
        let waiting = tokio::spawn(actor.ask(move |reply| Talk::Pass(reply, handle)).timeout(PATIENCE).into_future());
        held(&third, 1).await;
        // Whoever handed it on owes nothing any more.
        actor.stop().await.unwrap();
        third.tell(Talk::Answer(7)).await.unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), 7);
    }
}

#[procession::test]
async fn a_reply_may_be_dropped_by_a_third_process() {
    for (actor, third) in talkers().await.into_iter().zip(talkers().await) {
        let handle = third.reference();
        let waiting = tokio::spawn(actor.ask(move |reply| Talk::Pass(reply, handle)).timeout(PATIENCE).into_future());
        held(&third, 1).await;
        third.tell(Talk::Forget).await.unwrap();
        assert!(matches!(waiting.await.unwrap(), Err(AskError::NoReply)));
    }
}

#[procession::test]
async fn a_reply_ends_with_the_third_process_that_holds_it() {
    for (actor, third) in talkers().await.into_iter().zip(talkers().await) {
        let handle = third.reference();
        let waiting = tokio::spawn(actor.ask(move |reply| Talk::Pass(reply, handle)).timeout(PATIENCE).into_future());
        held(&third, 1).await;
        third.kill();
        match waiting.await.unwrap() {
            Err(AskError::Died(report)) => assert_eq!(*report, *third.exit().await.unwrap()),
            other => panic!("{other:?}"),
        }
        assert!(actor.process().is_alive());
    }
}

// --- handles on their way ---

#[process_actor]
fn descend(depth: u32, to: ActorRef<Talk>) -> u32 {
    if depth == 0 {
        to.tell(note(77)).blocking().expect("a message from below");
        return 0;
    }
    let below = Descend::spawn(depth - 1, to).blocking().expect("a spawn from below");
    1 + below.join().blocking().expect("a return from below")
}

#[procession::test]
async fn handles_travel_and_work_where_they_arrive() {
    let [a, b] = talkers().await;
    // As an argument, three levels down.
    assert_eq!(Descend::spawn(3, a.reference()).await.unwrap().join().timeout(PATIENCE).await.unwrap(), 3);
    until(async || a.ask(Talk::Notes).timeout(PATIENCE).await.unwrap(), |notes| *notes == [77]).await;
    for (one, other) in [(&a, &b), (&b, &a)] {
        // Inside a message, to a sibling, which uses it.
        let handle = other.reference();
        assert_eq!(one.ask(move |reply| Talk::Try(handle, reply)).timeout(PATIENCE).await.unwrap(), "hello");
        // Inside a reply; it is the same handle.
        one.tell(Talk::Keep(other.reference())).await.unwrap();
        let kept = one.ask(Talk::Kept).timeout(PATIENCE).await.unwrap().unwrap();
        assert_eq!(kept, other.reference());
        assert_eq!(kept.ask(|reply| Talk::Echo("back".into(), reply)).timeout(PATIENCE).await.unwrap(), "back");
        // Inside a message inside a message, with the reply.
        let handle = other.reference();
        let echo = one.ask(move |reply| Talk::Ask(Box::new(Talk::Echo("through".into(), reply)), handle));
        assert_eq!(echo.timeout(PATIENCE).await.unwrap(), "through");
    }
}

#[procession::test]
async fn a_handle_that_was_made_up_reaches_nothing() {
    let [a, b] = talkers().await;
    let real = serde_json::to_value(a.reference()).unwrap();
    let made = |change: fn(&mut serde_json::Value)| {
        let mut address = real.clone();
        change(&mut address);
        assert_ne!(address, real);
        serde_json::from_value::<ActorRef<Talk>>(address).unwrap()
    };
    let made_up = [
        made(|address| address["key"] = serde_json::json!([1, 2])),
        made(|address| address["actor"]["slot"] = 4_000_000.into()),
        made(|address| address["actor"]["generation"] = 7.into()),
    ];
    for handle in made_up {
        assert!(matches!(handle.ask(Talk::Notes).timeout(PATIENCE).await, Err(AskError::Unknown)));
        let told = handle.tell(note(1)).timeout(PATIENCE).await.unwrap_err();
        assert!(matches!((told.reason, told.message), (TellReason::Unknown, Some(Talk::Note(1, _)))));
        // Nor from another process.
        assert_eq!(b.ask(move |reply| Talk::Try(handle, reply)).timeout(PATIENCE).await.unwrap(), "Unknown");
    }
    // A port that its process never opened, and the root's own, are closed.
    let ports = [made(|address| address["port"] = 9.into()), made(|address| address["actor"]["slot"] = 0.into())];
    for handle in ports {
        let answer = handle.ask(Talk::Notes).timeout(PATIENCE).await;
        assert!(matches!(answer, Err(AskError::Closed | AskError::Unknown)), "{answer:?}");
    }
    assert!(a.ask(Talk::Notes).await.unwrap().is_empty());
}

// --- backpressure ---

/// Receives nothing until the gate says so; then everything.
#[process_actor]
fn late(mailbox: Mailbox<Talk>, gate: ActorRef<Talk>) -> Vec<u64> {
    let _ = gate.ask(Talk::Hold).blocking();
    mailbox.filter_map(|message| if let Talk::Note(note, _) = message { Some(note) } else { None }).collect()
}

#[process_actor]
async fn async_late(mut mailbox: Mailbox<Talk>, gate: ActorRef<Talk>) -> Vec<u64> {
    // Its reading tasks are at work, and stop at the mailbox's bound.
    assert!(mailbox.try_recv().is_none());
    let _ = gate.ask(Talk::Hold).await;
    let mut notes = Vec::new();
    while let Some(message) = mailbox.recv().await {
        if let Talk::Note(note, _) = message {
            notes.push(note);
        }
    }
    notes
}

#[procession::test]
async fn a_slow_actor_slows_its_senders_and_nobody_else() {
    let other = SyncTalker::spawn().await.unwrap();
    let gates = [Talker::spawn().await.unwrap(), Talker::spawn().await.unwrap()];
    let late = [Late::spawn(gates[0].reference()).await.unwrap(), AsyncLate::spawn(gates[1].reference()).await.unwrap()];
    for (actor, gate) in late.into_iter().zip(gates) {
        held(&gate, 1).await;
        let big = |number| Talk::Note(number, "x".repeat(1000));
        let mut sent = 0;
        // The first use of the handle introduces; after that, `Full` means full.
        actor.tell(big(0)).await.unwrap();
        // An async mailbox reads until its own bound; then nothing goes for as long as the gate is shut.
        let refused = loop {
            sent += 1;
            assert!(sent < 1_000_000, "it is never full");
            if actor.tell(big(sent)).timeout(Duration::from_millis(300)).await.is_err()
                && let Err(full) = actor.try_tell(big(sent))
            {
                break full;
            }
        };
        assert!(matches!(refused.reason, TellReason::Full), "{refused:?}");
        assert!(matches!(refused.message, Some(Talk::Note(number, _)) if number == sent), "the message comes back");
        // It waits, and gives up when it is told to; the message comes back then too.
        let refused = actor.tell(big(sent)).timeout(Duration::from_millis(20)).await.unwrap_err();
        assert!(matches!(refused.reason, TellReason::Timeout), "{refused:?}");
        assert!(matches!(refused.message, Some(Talk::Note(number, _)) if number == sent));
        // Others are not affected.
        assert_eq!(other.ask(|reply| Talk::Echo("free".into(), reply)).timeout(PATIENCE).await.unwrap(), "free");
        // One that waits goes through as soon as there is room.
        let handle = actor.reference();
        let waiting = tokio::spawn(async move { handle.tell(big(sent)).timeout(PATIENCE).await });
        gate.tell(Talk::Answer(0)).await.unwrap();
        waiting.await.unwrap().unwrap();
        let notes = actor.stop().await.unwrap();
        assert_eq!(notes, (0..=sent).collect::<Vec<u64>>());
    }
}

// --- large, wrong and impossible messages ---

#[procession::test]
async fn a_message_of_sixteen_mebibytes_arrives() {
    for actor in talkers().await {
        let text = "sixteen bytes ok".repeat(1 << 20);
        let sent = text.clone();
        assert!(actor.ask(move |reply| Talk::Echo(sent, reply)).timeout(PATIENCE).await.unwrap() == text);
        assert!(actor.ask(Talk::Notes).timeout(PATIENCE).await.unwrap().is_empty());
    }
}

#[process_actor]
fn measure(mailbox: Mailbox<Vec<u8>>) -> Vec<u64> {
    mailbox.map(|bytes| bytes.len() as u64).collect()
}

#[procession::test]
async fn a_message_over_the_cap_is_refused_before_anything_is_written() {
    // A block, which would be written from its own buffer.
    let actor = Measure::spawn().await.unwrap();
    let refused = actor.tell(vec![0; CAP + 1]).await.unwrap_err();
    assert!(matches!(&refused.reason, TellReason::Encode(error) if error.reason.contains("at most 268435456")), "{refused}");
    assert_eq!(refused.message.map(|bytes| bytes.len()), Some(CAP + 1));
    actor.tell(vec![0; 5]).await.unwrap();
    assert_eq!(actor.stop().await.unwrap(), [5]);
    // An encoded one.
    let actor = Talker::spawn().await.unwrap();
    let text = String::from_utf8(vec![b' '; CAP]).unwrap();
    match actor.ask(move |reply| Talk::Echo(text, reply)).await {
        Err(AskError::Encode(error)) => assert!(error.reason.contains("at most 268435456"), "{error}"),
        other => panic!("{other:?}"),
    }
    // The link is as good as before.
    assert_eq!(actor.ask(|reply| Talk::Echo("well".into(), reply)).await.unwrap(), "well");
}

#[procession::test]
async fn a_message_that_cannot_be_encoded_comes_back() {
    for actor in talkers().await {
        let refused = actor.tell(Talk::Nothing(Some(None))).await.unwrap_err();
        assert!(matches!(refused.reason, TellReason::Encode(_)), "{refused}");
        assert!(matches!(refused.message, Some(Talk::Nothing(Some(None)))));
        let refused = actor.try_tell(Talk::Nothing(Some(None))).unwrap_err();
        assert!(matches!((refused.reason, refused.message), (TellReason::Encode(_), Some(Talk::Nothing(Some(None))))));
        assert_eq!(actor.ask(|reply| Talk::Echo("well".into(), reply)).await.unwrap(), "well");
    }
}

/// Even numbers only.
#[derive(Debug, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
struct Even(u64);

impl Clone for Even {
    fn clone(&self) -> Even {
        Even(self.0)
    }
}

impl TryFrom<u64> for Even {
    type Error = String;

    fn try_from(number: u64) -> Result<Even, String> {
        if number.is_multiple_of(2) { Ok(Even(number)) } else { Err(format!("{number} is odd")) }
    }
}

impl From<Even> for u64 {
    fn from(even: Even) -> u64 {
        even.0
    }
}

#[derive(Serialize, Deserialize)]
enum Half {
    Of(Even, Reply<u64>),
    /// Gives back a number of twice the size.
    Double(u64, Reply<Even>),
    Ignore(Even),
    /// Answers with something that cannot travel.
    Impossible(Reply<Option<Option<u8>>>),
}

fn halve(message: Half) {
    match message {
        Half::Of(number, reply) => reply.send(number.0 / 2),
        Half::Double(number, reply) => reply.send(Even(number)),
        Half::Ignore(_) => {}
        Half::Impossible(reply) => assert!(reply.try_send(Some(None)).is_err()),
    }
}

#[process_actor]
fn halves(mailbox: Mailbox<Half>) {
    mailbox.for_each(halve);
}

#[process_actor]
async fn async_halves(mut mailbox: Mailbox<Half>) {
    while let Some(message) = mailbox.recv().await {
        halve(message);
    }
}

#[procession::test]
async fn a_message_that_cannot_be_decoded_is_rejected_alone() {
    for actor in [Halves::spawn().await.unwrap(), AsyncHalves::spawn().await.unwrap()] {
        match actor.ask(|reply| Half::Of(Even(7), reply)).timeout(PATIENCE).await {
            Err(AskError::Rejected(why)) => assert!(why.contains("7 is odd"), "{why}"),
            other => panic!("{other:?}"),
        }
        actor.tell(Half::Ignore(Even(5))).await.unwrap();
        assert_eq!(actor.ask(|reply| Half::Of(Even(8), reply)).timeout(PATIENCE).await.unwrap(), 4);
        // A reply that cannot be read is the asker's to know.
        match actor.ask(|reply| Half::Double(3, reply)).timeout(PATIENCE).await {
            Err(AskError::Decode(error)) => assert!(error.to_string().contains("3 is odd"), "{error}"),
            other => panic!("{other:?}"),
        }
        // One that cannot be sent ends the ask, with the reason.
        match actor.ask(Half::Impossible).timeout(PATIENCE).await {
            Err(AskError::Rejected(_)) => {}
            other => panic!("{other:?}"),
        }
        actor.stop().await.unwrap();
    }
}

// --- receiving ---

#[procession::test]
async fn a_stop_gives_out_what_was_told_before() {
    for actor in talkers().await {
        for number in 0..5000 {
            actor.tell(note(number)).await.unwrap();
        }
        assert_eq!(actor.stop().await.unwrap(), (0..5000).collect::<Vec<u64>>());
    }
}

#[procession::test]
fn a_stop_from_a_thread_gives_out_what_was_told_before() {
    for actor in [SyncTalker::spawn().blocking().unwrap(), Talker::spawn().blocking().unwrap()] {
        for number in 0..5000 {
            actor.tell(note(number)).blocking().unwrap();
        }
        assert_eq!(actor.stop().blocking().unwrap(), (0..5000).collect::<Vec<u64>>());
    }
}

/// Takes notes without waiting, until something else comes.
fn until_held(notes: &mut Vec<u64>, mut receive: impl FnMut() -> Option<Talk>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match receive() {
            Some(Talk::Note(note, _)) => notes.push(note),
            Some(_) => return,
            None => std::thread::yield_now(),
        }
        assert!(Instant::now() < deadline, "it never came");
    }
}

/// Notes what receiving says, in a row.
#[process_actor]
fn patient(mut mailbox: Mailbox<Talk>, gate: ActorRef<Talk>) -> Vec<u64> {
    assert!(mailbox.try_recv().is_none());
    let begin = Instant::now();
    assert!(matches!(mailbox.recv().timeout(Duration::from_millis(20)).blocking(), Err(RecvTimeout)));
    assert!(begin.elapsed() >= Duration::from_millis(20));
    let _ = gate.ask(Talk::Hold).blocking();
    let mut notes = Vec::new();
    until_held(&mut notes, || mailbox.try_recv());
    let _ = gate.ask(Talk::Hold).blocking();
    while let Ok(Some(Talk::Note(note, _))) = mailbox.recv().timeout(PATIENCE).blocking() {
        notes.push(note);
    }
    notes
}

#[process_actor]
async fn async_patient(mut mailbox: Mailbox<Talk>, gate: ActorRef<Talk>) -> Vec<u64> {
    assert!(mailbox.try_recv().is_none());
    let begin = Instant::now();
    assert!(matches!(mailbox.recv().timeout(Duration::from_millis(20)).await, Err(RecvTimeout)));
    assert!(begin.elapsed() >= Duration::from_millis(20));
    let _ = gate.ask(Talk::Hold).await;
    let mut notes = Vec::new();
    while let Some(Talk::Note(note, _)) = until(async || mailbox.try_recv(), Option::is_some).await {
        notes.push(note);
    }
    let _ = gate.ask(Talk::Hold).await;
    while let Ok(Some(Talk::Note(note, _))) = mailbox.recv().timeout(PATIENCE).await {
        notes.push(note);
    }
    notes
}

#[procession::test]
async fn receiving_waits_as_long_as_it_is_told() {
    let gates = [Talker::spawn().await.unwrap(), Talker::spawn().await.unwrap()];
    let patient = [Patient::spawn(gates[0].reference()).await.unwrap(), AsyncPatient::spawn(gates[1].reference()).await.unwrap()];
    for (actor, gate) in patient.into_iter().zip(gates) {
        held(&gate, 1).await;
        for number in 1..=3 {
            actor.tell(note(number)).await.unwrap();
        }
        // An ask of somebody it does not answer yet is behind the notes; once it is on its way, so are they.
        let last = tokio::spawn(actor.ask(Talk::Hold).timeout(Duration::from_millis(50)).into_future());
        assert!(matches!(last.await.unwrap(), Err(AskError::Timeout)));
        gate.tell(Talk::Answer(0)).await.unwrap();
        held(&gate, 1).await;
        actor.tell(note(4)).await.unwrap();
        gate.tell(Talk::Answer(0)).await.unwrap();
        let notes = actor.stop().await.unwrap();
        assert_eq!(notes, [1, 2, 3, 4]);
    }
}

// --- the wrong way to wait ---

#[procession::test]
async fn blocking_in_async_code_says_what_to_write() {
    let actor = Talker::spawn().await.unwrap();
    let hints = [
        catch_unwind(AssertUnwindSafe(|| drop(actor.ask(Talk::Notes).blocking()))),
        catch_unwind(AssertUnwindSafe(|| drop(actor.tell(note(1)).blocking()))),
        catch_unwind(AssertUnwindSafe(|| drop(actor.join().blocking()))),
        catch_unwind(AssertUnwindSafe(|| drop(Talker::spawn().blocking()))),
    ];
    for (hint, operation) in hints.into_iter().zip(["ask", "tell", "join", "spawn"]) {
        let panic = hint.expect_err("it must not block");
        let message = panic.downcast_ref::<String>().expect("a message");
        assert!(message.contains(&format!("write `{operation}.await`")), "{message}");
    }
    // Where blocking is what the thread is for, it may.
    let handle = actor.reference();
    let notes = tokio::task::spawn_blocking(move || handle.ask(Talk::Notes).blocking()).await.unwrap();
    assert!(notes.unwrap().is_empty());
}
