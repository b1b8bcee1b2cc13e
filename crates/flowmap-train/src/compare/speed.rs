//! How long a step takes, measured before the run whose length follows from it.

use std::time::{Duration, Instant};

use candle_core::Device;

use crate::{Config, Result, Trainer};

/// Places of the run where its speed is measured: methods that warm up or anneal cost more in the end.
const PLACES: [f64; 5] = [0.1, 0.3, 0.5, 0.7, 0.9];
/// Steps at each place that do not count: the first ones find caches cold and memory unmapped.
const N_WARMUP: u32 = 3;
/// The measurement takes this share of the time of the run, within the bounds below.
const SHARE: f64 = 0.05;
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(3);

/// Seconds of a step of this run, by a throw-away run that is stopped at five places of it.
///
/// # Errors
/// As [`Trainer::new`] and [`Trainer::step`].
pub(super) fn seconds_per_step(config: &Config, time: Duration, device: &Device) -> Result<f64> {
    let turn = time.mul_f64(SHARE).clamp(SHORTEST, LONGEST).div_f64(PLACES.len() as f64);
    let mut trainer = Trainer::new(config.clone(), device)?;
    let mut sum = 0.0;
    for place in PLACES {
        trainer.go_to((place * config.train.steps as f64) as u64);
        for _ in 0..N_WARMUP {
            trainer.step()?;
        }
        let began = Instant::now();
        let mut n = 0;
        while n == 0 || began.elapsed() < turn {
            trainer.step()?;
            n += 1;
        }
        sum += began.elapsed().as_secs_f64() / f64::from(n);
    }
    Ok(sum / PLACES.len() as f64)
}
