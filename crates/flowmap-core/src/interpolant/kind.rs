//! The interpolants by name, for configuration files and command lines.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Custom, Interpolant, Linear, NoisyLinear, Trigonometric, VariancePreserving};
use crate::Error;

/// An interpolant that has a name; behaves as the one it names.
///
/// A file has its name, or a table for one with a number, `{ noisy_linear = { sigma_min = 1e-5 } }`, and for one of
/// another crate, `{ own = { name = "mine" } }`.
///
/// ```
/// use flowmap_core::{Interpolant, InterpolantKind};
/// let kind: InterpolantKind = "linear".parse()?;
/// assert_eq!(kind.alpha(0.25), 0.75);
/// assert_eq!(kind.to_string(), "linear");
/// # Ok::<(), flowmap_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InterpolantKind {
    /// [`Linear`].
    #[default]
    Linear,
    /// [`Trigonometric`].
    Trigonometric,
    /// [`VariancePreserving`].
    VariancePreserving,
    /// [`NoisyLinear`].
    NoisyLinear(NoisyLinear),
    /// An interpolant of another crate, see [`Self::own`].
    Own(OwnInterpolant),
}

impl InterpolantKind {
    /// Every interpolant that its name alone determines.
    pub const ALL: [Self; 3] = [Self::Linear, Self::Trigonometric, Self::VariancePreserving];

    /// The names of [`Self::ALL`] for messages.
    const KNOWN: &'static str = "linear, trigonometric, variance_preserving";

    /// An interpolant of another crate under a name, which configs write down.
    ///
    /// ```
    /// use flowmap_core::{Custom, Interpolant, InterpolantKind};
    /// let squared = Custom::new(|t| 1.0 - t * t, |t| t * t, |t| -2.0 * t, |t| 2.0 * t)?;
    /// let kind = InterpolantKind::own("squared", squared)?;
    /// assert_eq!((kind.to_string(), kind.beta(0.5)), ("squared".to_owned(), 0.25));
    /// # Ok::<(), flowmap_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Custom::of`], which checks the interpolant.
    pub fn own(name: &str, interpolant: impl Interpolant + 'static) -> Result<Self, Error> {
        Ok(Self::Own(OwnInterpolant { name: name.to_owned(), interpolant: Some(Custom::of(interpolant)?) }))
    }

    /// Checks that this program has the interpolant, and not its name alone.
    ///
    /// # Errors
    /// [`Error::UnknownOwnInterpolant`].
    pub fn check_known(&self) -> Result<(), Error> {
        match self {
            Self::Own(OwnInterpolant { name, interpolant: None }) => {
                Err(Error::UnknownOwnInterpolant { name: name.clone() })
            }
            _ => Ok(()),
        }
    }

    fn interpolant(&self) -> &dyn Interpolant {
        match self {
            Self::Own(own) => own,
            Self::Linear => &Linear,
            Self::Trigonometric => &Trigonometric,
            Self::VariancePreserving => &VariancePreserving,
            Self::NoisyLinear(noisy) => noisy,
        }
    }
}

/// An interpolant of another crate by its name.
///
/// Configs write the name down; a program that reads the config without having the interpolant gets coefficients that
/// are not a number, and an error from [`InterpolantKind::check_known`].
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnInterpolant {
    name: String,
    #[serde(skip)]
    interpolant: Option<Custom>,
}

impl OwnInterpolant {
    fn coefficient(&self, of: impl Fn(&Custom) -> f64) -> f64 {
        self.interpolant.as_ref().map_or(f64::NAN, of)
    }
}

impl Interpolant for OwnInterpolant {
    fn alpha(&self, t: f64) -> f64 {
        self.coefficient(|known| known.alpha(t))
    }

    fn beta(&self, t: f64) -> f64 {
        self.coefficient(|known| known.beta(t))
    }

    fn alpha_dot(&self, t: f64) -> f64 {
        self.coefficient(|known| known.alpha_dot(t))
    }

    fn beta_dot(&self, t: f64) -> f64 {
        self.coefficient(|known| known.beta_dot(t))
    }
}

/// Interpolants of one name are equal.
impl PartialEq for OwnInterpolant {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for OwnInterpolant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.interpolant {
            Some(known) => known.fmt(f),
            None => write!(f, "Own({})", self.name),
        }
    }
}

impl Interpolant for InterpolantKind {
    fn alpha(&self, t: f64) -> f64 {
        self.interpolant().alpha(t)
    }

    fn beta(&self, t: f64) -> f64 {
        self.interpolant().beta(t)
    }

    fn alpha_dot(&self, t: f64) -> f64 {
        self.interpolant().alpha_dot(t)
    }

    fn beta_dot(&self, t: f64) -> f64 {
        self.interpolant().beta_dot(t)
    }
}

impl fmt::Display for InterpolantKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Own(own) => &own.name,
            Self::Linear => "linear",
            Self::Trigonometric => "trigonometric",
            Self::VariancePreserving => "variance_preserving",
            Self::NoisyLinear(_) => "noisy_linear",
        })
    }
}

impl FromStr for InterpolantKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.to_string() == name)
            .ok_or_else(|| Error::UnknownInterpolant { name: name.to_owned(), known: Self::KNOWN })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Config {
        interpolant: InterpolantKind,
    }

    #[test]
    fn names_round_trip_through_text_and_config() {
        for kind in InterpolantKind::ALL {
            assert_eq!(kind.to_string().parse::<InterpolantKind>().unwrap(), kind);
            let text = format!("interpolant = \"{kind}\"\n");
            assert_eq!(toml::from_str::<Config>(&text).unwrap(), Config { interpolant: kind.clone() });
            assert_eq!(toml::to_string(&Config { interpolant: kind.clone() }).unwrap(), text);
            assert!(InterpolantKind::KNOWN.split(", ").any(|known| known == kind.to_string()));
        }
    }

    #[test]
    fn interpolant_with_a_number_is_a_table_that_is_checked() {
        let text = "[interpolant.noisy_linear]\nsigma_min = 0.25\n";
        let config: Config = toml::from_str(text).unwrap();
        assert_eq!(config.interpolant, InterpolantKind::NoisyLinear(NoisyLinear::new(0.25).unwrap()));
        assert_eq!((config.interpolant.alpha(1.0), config.interpolant.alpha_dot(0.5)), (0.25, -0.75));
        assert_eq!(config.interpolant.to_string(), "noisy_linear");
        assert_eq!(toml::to_string(&config).unwrap(), text);
        for bad in ["sigma_min = 1.5", "sigma = 0.1", ""] {
            assert!(
                toml::from_str::<Config>(&format!("[interpolant.noisy_linear]\n{bad}")).is_err(),
                "{bad}"
            );
        }
        assert!(toml::from_str::<Config>("interpolant = \"noisy_linear\"").is_err());
    }

    #[test]
    fn own_interpolant_is_its_name_in_a_file_and_unknown_to_a_program_that_reads_it() {
        let own = InterpolantKind::own("mine", Trigonometric).unwrap();
        assert_eq!(
            (own.alpha(0.3), own.beta_dot(1.0)),
            (Trigonometric.alpha(0.3), Trigonometric.beta_dot(1.0))
        );
        own.check_known().unwrap();
        let text = toml::to_string(&Config { interpolant: own.clone() }).unwrap();
        assert_eq!(text, "[interpolant.own]\nname = \"mine\"\n");
        let read = toml::from_str::<Config>(&text).unwrap().interpolant;
        assert_eq!(read, own);
        assert!(read.alpha(0.3).is_nan());
        let message = read.check_known().unwrap_err().to_string();
        assert!(message.contains("the interpolant `mine` belongs to another program"), "{message}");
        assert!(InterpolantKind::own("noisy", NoisyLinear::new(0.1).unwrap()).is_err());
    }

    #[test]
    fn unknown_name_is_refused_with_the_known_ones() {
        let error = "cubic".parse::<InterpolantKind>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown interpolant `cubic`, expected one of linear, trigonometric, variance_preserving"
        );
    }

    #[test]
    fn kind_behaves_as_the_interpolant_it_names() {
        let named: [&dyn Interpolant; 3] = [&Linear, &Trigonometric, &VariancePreserving];
        for (kind, interpolant) in InterpolantKind::ALL.iter().zip(named) {
            for t in [0.0, 0.2, 0.9, 1.0] {
                assert_eq!(kind.alpha(t), interpolant.alpha(t));
                assert_eq!(kind.beta(t), interpolant.beta(t));
                assert_eq!(kind.alpha_dot(t), interpolant.alpha_dot(t));
                assert_eq!(kind.beta_dot(t), interpolant.beta_dot(t));
            }
        }
    }
}
