//! Class numbers of a file: which are classes, and which classes have no sample.

use std::num::NonZeroU32;

use crate::{Error, FiniteSet, Result, ValueFault, Warning};

/// How many classes a warning names.
const N_SHOWN: usize = 10;

/// Which numbers of a file are which classes: label `first` is class 0, label `first` + 1 is class 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Numbering {
    /// The label of class 0; 0 if absent.
    pub first: Option<i32>,
    /// The number of classes; if absent, one more than the largest class there is.
    pub classes: Option<NonZeroU32>,
}

impl Numbering {
    /// The label of class 0.
    pub fn min(self) -> i64 {
        self.first.unwrap_or(0).into()
    }

    /// The largest label.
    pub fn max(self) -> i64 {
        self.min() + i64::from(self.classes.map_or(FiniteSet::MAX_LABEL, |n| n.get() - 1))
    }

    /// The class of a label; `None` if it is not a class.
    pub fn class_of(self, label: i64) -> Option<u32> {
        let is_class = (self.min()..=self.max()).contains(&label);
        is_class.then(|| u32::try_from(label - self.min()).ok()).flatten()
    }

    /// The class of the label of a sample.
    ///
    /// # Errors
    /// [`ValueFault::NoClass`] for what is not a whole number or beyond the classes.
    pub fn class(self, place: &str, sample: usize, label: f64) -> Result<u32> {
        let whole = (label.fract() == 0.0).then_some(label as i64);
        whole.and_then(|label| self.class_of(label)).ok_or_else(|| {
            Error::from(ValueFault::NoClass {
                place: place.into(),
                sample: sample as u64,
                min: self.min(),
                max: self.max(),
                found: label,
            })
        })
    }

    /// The number of the classes that these are from.
    pub fn count(self, classes: &[u32]) -> usize {
        let seen = || classes.iter().max().map_or(0, |class| *class as usize + 1);
        self.classes.map_or_else(seen, |n| n.get() as usize)
    }

    /// Names the classes without any sample, which are trained on nothing.
    pub fn empty_classes(self, place: &str, classes: &[u32]) -> Option<Warning> {
        let mut has_samples = vec![false; self.count(classes)];
        classes.iter().for_each(|class| {
            if let Some(has_samples) = has_samples.get_mut(*class as usize) {
                *has_samples = true;
            }
        });
        let empty: Vec<usize> = (0..has_samples.len()).filter(|class| !has_samples[*class]).collect();
        let n_seen = has_samples.len() - empty.len();
        if empty.is_empty() || n_seen == 0 {
            return None;
        }
        let smallest = has_samples.iter().position(|has| *has).unwrap_or(0);
        let largest = has_samples.iter().rposition(|has| *has).unwrap_or(0);
        let mut keys = Vec::new();
        if smallest > 0 {
            keys.push(format!("set `data.first_label` to {}", self.min() + smallest as i64));
        }
        if largest + 1 < has_samples.len() {
            keys.push(format!("set `data.classes` to {}", largest + 1 - smallest));
        }
        if (smallest..largest).any(|class| !has_samples[class]) {
            keys.push("number the classes without gaps".into());
        }
        let shown: Vec<String> = empty.iter().take(N_SHOWN).map(usize::to_string).collect();
        let more = empty.len() - shown.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let (are, n) = (if empty.len() == 1 { "class" } else { "classes" }, has_samples.len());
        Some(Warning {
            subject: place.into(),
            seen: format!("no sample of {are} {}{more}, of {n} classes in all", shown.join(", ")),
            consequence:
                "a conditional model learns nothing for them, and what it gives for them is meaningless"
                    .into(),
            remedy: keys.join(", and "),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn numbering(first: Option<i32>, classes: u32) -> Numbering {
        Numbering { first, classes: NonZeroU32::new(classes) }
    }

    #[test]
    fn labels_count_from_the_first_one() {
        let from_one = numbering(Some(1), 3);
        assert_eq!([0, 1, 3, 4].map(|label| from_one.class_of(label)), [None, Some(0), Some(2), None]);
        let from_minus_one = numbering(Some(-1), 0);
        assert_eq!([-2, -1, 5].map(|label| from_minus_one.class_of(label)), [None, Some(0), Some(6)]);
        assert_eq!(Numbering::default().class_of(65_536), None);
        let message = |label| from_one.class("x", 7, label).unwrap_err().to_string();
        let hint = "; the key `first_label` says which label is the first class";
        assert_eq!(message(0.0), format!("x, sample 7: expected a whole number from 1 to 3, found 0{hint}"));
        assert_eq!(message(4.0), format!("x, sample 7: expected a whole number from 1 to 3, found 4{hint}"));
        assert_eq!(message(1.5), "x, sample 7: expected a whole number from 1 to 3, found 1.5");
        assert!(message(f64::NAN).ends_with("found NaN"));
        assert!(message(f64::INFINITY).ends_with("found inf"));
    }

    #[test]
    fn classes_without_samples_are_named_with_what_settles_them() {
        let said = |numbering: Numbering, classes: &[u32]| {
            numbering.empty_classes("x.npz", classes).map(|warning| (warning.seen, warning.remedy))
        };
        let pair = |seen: &str, remedy: &str| Some((seen.to_owned(), remedy.to_owned()));
        assert_eq!(said(Numbering::default(), &[0, 1, 2, 1]), None);
        assert_eq!(said(numbering(Some(1), 0), &[2, 1, 0]), None);
        assert_eq!(
            said(Numbering::default(), &[1, 2, 3]),
            pair("no sample of class 0, of 4 classes in all", "set `data.first_label` to 1")
        );
        assert_eq!(
            said(numbering(None, 4), &[0, 1]),
            pair("no sample of classes 2, 3, of 4 classes in all", "set `data.classes` to 2")
        );
        assert_eq!(
            said(numbering(Some(-1), 0), &[0, 4]),
            pair("no sample of classes 1, 2, 3, of 5 classes in all", "number the classes without gaps")
        );
        assert_eq!(
            said(numbering(Some(5), 4), &[1]),
            pair(
                "no sample of classes 0, 2, 3, of 4 classes in all",
                "set `data.first_label` to 6, and set `data.classes` to 1"
            )
        );
        let (seen, _) = said(Numbering::default(), &[48_213]).unwrap();
        assert_eq!(
            seen,
            "no sample of classes 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 48203 more, of 48214 classes in all"
        );
    }
}
