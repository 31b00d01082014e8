//! Work of a known length: rounds of arithmetic, each of which waits for the one before.
//!
//! Not a loop that watches the clock: that would be done in time also where it was kept from its core.

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// In the environment of the helper, so that both sides have one measure.
pub const ROUNDS: &str = "PROCESSION_BENCHES_ROUNDS";

/// Does so many rounds.
pub fn spin(rounds: u64) -> u64 {
    let mut state = black_box(rounds) | 1;
    for _ in 0..rounds {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    black_box(state)
}

/// How many rounds take a microsecond where nothing else disturbs them: of some tries the best.
pub fn rounds_of_a_microsecond() -> f64 {
    static MEASURED: OnceLock<f64> = OnceLock::new();
    *MEASURED.get_or_init(|| {
        let said = std::env::var(ROUNDS).ok().and_then(|rounds| rounds.parse().ok());
        said.unwrap_or_else(|| {
            const TRIED: u64 = 1_000_000;
            let one = || {
                let begin = Instant::now();
                spin(TRIED);
                begin.elapsed()
            };
            let best = (0..30).map(|_| one()).min().unwrap_or(Duration::from_millis(1));
            TRIED as f64 / best.as_secs_f64() / 1e6
        })
    })
}

/// How long tasks are.
#[derive(Clone, Copy)]
pub enum Length {
    Micros(f64),
    /// From 0.1 to 100 ms, as many between 1 and 2 as between 10 and 20, in an order with no pattern.
    Mixed,
}

impl Length {
    /// The rounds of each of so many tasks.
    pub fn rounds(self, tasks: usize, each: f64) -> Vec<u64> {
        (0..tasks).map(|task| (self.micros(task) * each) as u64).collect()
    }

    fn micros(self, task: usize) -> f64 {
        match self {
            Length::Micros(micros) => micros,
            Length::Mixed => 100.0 * 1000_f64.powf((task as f64 * 0.618_033_988_749_895).fract()),
        }
    }

    /// As the script knows it.
    pub fn word(self) -> String {
        match self {
            Length::Micros(micros) => micros.to_string(),
            Length::Mixed => "mixed".into(),
        }
    }
}
