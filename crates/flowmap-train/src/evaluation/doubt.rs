//! Warnings about a file of samples: units that differ from the data's, classes in other shares.

use flowmap_data::Warning;

use super::{Drawn, Reference};

/// Samples of the reference whose values are looked at.
const N_SEEN: usize = 4_000;
/// The share of values out of the range of the other side from which two sides hardly have one unit.
const MOST_OUTSIDE: f64 = 0.25;
/// How far from a range a value is out of it, in widths of the range: pixels of a model go a little beyond black.
const BEYOND: f32 = 0.25;
/// The total variation of the shares of classes from which a distance says more of the shares than of the samples.
const MOST_APART: f64 = 0.05;

impl Reference {
    /// What is probably not meant as it is in these samples, which `subject` names.
    pub(super) fn doubts(&self, subject: &str, drawn: Drawn<'_>, seed: u64) -> Vec<Warning> {
        let data = self.draw(seed, 0, self.n_different(N_SEEN));
        let other_units = other_units(subject, drawn.x, &data);
        let shares = drawn.labels.and_then(|labels| self.other_shares(subject, labels));
        other_units.into_iter().chain(shares).collect()
    }

    /// Classes in other shares than in the data, beyond what chance does.
    fn other_shares(&self, subject: &str, labels: &[u32]) -> Option<Warning> {
        let expected = self.data().class_shares();
        let n = labels.len() as f64;
        let mut found = vec![0.0; expected.len()];
        for label in labels {
            *found.get_mut(*label as usize)? += 1.0 / n;
        }
        // The mean of |share − p| of n draws is at most √(p/n); three times that is beyond chance.
        let chance: f64 = expected.iter().map(|p| 1.5 * (p / n).sqrt()).sum();
        let apart: f64 = found.iter().zip(&expected).map(|(a, b)| 0.5 * (a - b).abs()).sum();
        let (class, _) = found
            .iter()
            .zip(&expected)
            .map(|(a, b)| (a - b).abs())
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(&b.1))?;
        (apart > MOST_APART + chance).then(|| Warning {
            subject: subject.to_owned(),
            seen: format!(
                "{:.1} % of the samples have the label {class}, and {:.1} % of the data",
                100.0 * found[class],
                100.0 * expected[class]
            ),
            consequence: "distances to the data measure the shares of the classes too".into(),
            remedy: "draw samples with the shares of the data, as `flowmap sample` without `--class` does"
                .into(),
        })
    }
}

/// Values in another range than the data have.
fn other_units(subject: &str, x: &[f32], data: &[f32]) -> Option<Warning> {
    let range = |values: &[f32]| {
        values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(lo, hi), v| (lo.min(*v), hi.max(*v)))
    };
    let outside = |values: &[f32], (lo, hi): (f32, f32)| {
        let beyond = BEYOND * (hi - lo);
        values.iter().filter(|v| **v < lo - beyond || **v > hi + beyond).count() as f64
            / values.len().max(1) as f64
    };
    let (of_x, of_data) = (range(x), range(data));
    let far = outside(x, of_data).max(outside(data, of_x));
    (far > MOST_OUTSIDE).then(|| Warning {
        subject: subject.to_owned(),
        seen: format!(
            "values from {} to {}, where the data have {} to {}",
            of_x.0, of_x.1, of_data.0, of_data.1
        ),
        consequence: "if the units differ, every distance measures the difference of the units".into(),
        remedy: "write the samples in the units of the data; pixels are in [-1, 1]".into(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use flowmap_data::DataConfig;

    use super::*;

    fn doubts(kind: &str, change: impl Fn(f32) -> f32, labels: Option<&[u32]>) -> Vec<String> {
        let config: DataConfig = toml::from_str(kind).unwrap();
        let reference = Reference::new(&config).unwrap();
        let x: Vec<f32> = reference.draw(1, 0, 1000).into_iter().map(change).collect();
        let drawn = Drawn { labels, ..Drawn::new(&x) };
        reference.doubts("x.npz", drawn, 0).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn other_units_are_doubted_and_a_poor_model_is_not() {
        for kind in ["kind = 'digits'", "kind = 'moons'"] {
            assert_eq!(doubts(kind, |x| x, None), [""; 0], "{kind}");
            assert_eq!(doubts(kind, |x| 1.2 * x + 0.1, None), [""; 0], "{kind}");
            assert!(doubts(kind, |x| 1000.0 * x, None)[0].contains("the data have"), "{kind}");
            assert!(doubts(kind, |x| 0.01 * x, None)[0].starts_with("x.npz: values from"), "{kind}");
        }
        assert!(doubts("kind = 'digits'", |x| 0.5 * (x + 1.0), None)[0].contains("[-1, 1]"));
        assert!(doubts("kind = 'digits'", |x| 127.5 * (x + 1.0), None)[0].contains("to 255"));
    }

    #[test]
    fn other_shares_of_classes_are_doubted_and_those_of_chance_are_not() {
        let weighted =
            "kind = 'gaussian_mixture'\nmeans = [[0.0], [1.0]]\nstds = [1.0]\nweights = [0.9, 0.1]";
        let labels = |every: usize| (0..1000).map(|i| u32::from(i % every == 0)).collect::<Vec<_>>();
        assert_eq!(doubts(weighted, |x| x, Some(&labels(10))), [""; 0]);
        assert_eq!(doubts(weighted, |x| x, Some(&labels(9))), [""; 0]);
        let doubt = doubts(weighted, |x| x, Some(&labels(2)));
        assert!(
            doubt[0].contains("50.0 % of the samples have the label") && doubt[0].contains("% of the data")
        );
        assert_eq!(doubts(weighted, |x| x, Some(&[5; 1000])), [""; 0]);
    }
}
