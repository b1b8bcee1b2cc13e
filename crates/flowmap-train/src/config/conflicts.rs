//! Parts of a config that are right by themselves and wrong together.
//!
//! Without these checks each conflict would be found during the run, or not at all.

use std::borrow::Cow;

use flowmap_core::Coupling;
use flowmap_data::{Augmentation, DataConfig};
use flowmap_nn::loss::{Term, rows_of};
use flowmap_nn::method::{Method, Objective, TeacherNeed};

use super::Config;
use crate::error::range;
use crate::{Error, Result, TeacherConfig};

impl Config {
    /// Checks the parts of the config against each other.
    pub(super) fn validate_together(&self) -> Result<()> {
        for term in &self.objective {
            self.validate_objective(&term.objective)?;
        }
        let rows = rows_of(&self.objective, self.train.batch);
        for (index, (term, n_rows)) in self.objective.iter().zip(rows).enumerate() {
            if term.share > 0.0 && n_rows == 0 {
                return Err(Error::NoRows { term: index, share: term.share, batch: self.train.batch });
            }
            let least = term.times.min_rows();
            let expected =
                "a batch whose share of each objective has a row for every width that its `times` count";
            let found = format!("{}, of which {n_rows} rows for {least} widths", self.train.batch);
            range("train.batch", least == 1 || n_rows >= least, expected, found)?;
        }
        self.validate_teacher()?;
        let is_paired = matches!(self.coupling, Coupling::Paired {});
        let has_pairs = matches!(self.data, DataConfig::Points(_));
        let expected = "`paired` only with `data.kind = \"points\"`, whose file holds the noise as well";
        range("coupling.kind", !is_paired || has_pairs, expected, "paired")?;
        let is_augmented = self.augmentation != Augmentation::default();
        let expected = "`none`, since latents are no pixels that could be moved";
        let is_latent = matches!(self.data, DataConfig::Latents(_));
        range("augmentation.kind", !is_augmented || !is_latent, expected, "edm")?;
        let expected = "`none`, since the noise of a pair belongs to the sample as it is";
        range("augmentation.kind", !is_augmented || !is_paired, expected, "edm")?;
        let (takes, gives) = (self.network.augment_dim(), self.augmentation.n_labels());
        let expected = "0, or as many numbers as [augmentation] tells of an image";
        let found = format!("{takes}, where it tells {gives}");
        range("network.augment_dim", takes == 0 || takes == gives, expected, found)
    }

    /// What a method needs of the rest.
    fn validate_objective(&self, objective: &Objective) -> Result<()> {
        let (name, needs) = (objective.name(), objective.needs());
        if let Some(interpolant) = needs.interpolant {
            let expected = format!("`{interpolant}`, since the objective `{name}` is defined for it alone");
            range("interpolant", self.interpolant == interpolant, expected, &self.interpolant)?;
        }
        if needs.labels {
            let expected = format!("`true`, since the objective `{name}` guides toward labels");
            range("conditional", self.conditional, expected, "false")?;
            let expected =
                format!("a positive number, since the objective `{name}` guides away from hidden labels");
            self.needs_hidden_labels(expected)?;
        }
        Ok(())
    }

    /// Refuses a training that hides no label; `expected` says what hidden ones are for.
    pub(super) fn needs_hidden_labels(&self, expected: impl Into<Cow<'static, str>>) -> Result<()> {
        let own = self.train.label_dropout;
        let hides = self.objective.iter().any(|term| self.train.label_dropout_of(term) > 0.0);
        let (key, found) = match own > 0.0 {
            true => ("objective", "`label_dropout` 0 in every term".to_owned()),
            false => ("train.label_dropout", own.to_string()),
        };
        range(key, hides, expected, found)
    }

    /// Refuses a teacher that no method learns from, which a layer of a config may have and a run may not.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for the key `teacher`.
    pub fn refuse_unused_teacher(&self) -> Result<()> {
        let is_used = self.objective.iter().any(|term| term.objective.needs().teacher.is_some());
        let expected = "an objective that distills from it, or no such table";
        range("teacher", is_used || self.teacher.is_none(), expected, "none")
    }

    /// What the methods need of the teacher.
    fn validate_teacher(&self) -> Result<()> {
        let learns = |term: &&Term| term.objective.needs().teacher.is_some();
        let needs_map = |term: &&Term| term.objective.needs().teacher == Some(TeacherNeed::Map);
        let Some(learner) = self.objective.iter().find(learns) else { return Ok(()) };
        let of_map = self.objective.iter().find(needs_map).map(|term| term.objective.name());
        match &self.teacher {
            Some(TeacherConfig::Own(_)) => Ok(()),
            None => Err(Error::MissingTeacher { objective: learner.objective.name() }),
            Some(TeacherConfig::Exact {}) => {
                if let Some(name) = of_map {
                    let expected = format!(
                        "`model`, since the objective `{name}` takes jumps, and the exact flow gives a velocity"
                    );
                    range("teacher.kind", false, expected, "exact")?;
                }
                let expected = "`false`, since the exact flow of the teacher ignores labels";
                range("conditional", !self.conditional, expected, "true")
            }
            Some(TeacherConfig::Model(model)) => {
                model.validate()?;
                let Some(scale) = model.guidance else { return Ok(()) };
                if let Some(name) = of_map {
                    let expected = format!(
                        "none, since the objective `{name}` takes jumps, and guidance is exact for the velocity alone"
                    );
                    range("teacher.guidance", false, expected, scale)?;
                }
                let expected = "none, since the network takes the scale of [guidance] as an input";
                range("teacher.guidance", self.guidance.is_none(), expected, scale)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::{Config, ConfigSource, Result, resolve};

    fn set(preset: &str, sets: &[&str]) -> Result<Config> {
        let mut sources = vec![ConfigSource::preset(preset).unwrap()];
        sources.extend(sets.iter().map(|s| ConfigSource::set(s).unwrap()));
        resolve(&sources)
    }

    /// Checks that the last setting, or the one of `key`, is refused.
    #[track_caller]
    fn refuses(preset: &str, sets: &[&str], key: &str, words: &[&str]) {
        let message = set(preset, sets).unwrap_err().to_string();
        for word in words.iter().chain(&[format!("key `{key}`: ").as_str()]) {
            assert!(message.contains(word), "expected `{word}` in: {message}");
        }
    }

    const SCM: &str = "objective.1.kind=scm";
    const GUIDED: &str = "objective.1.kind=guided_mean_flow";
    const MODEL: [&str; 2] = ["teacher.kind=model", "teacher.path=somewhere"];

    #[test]
    fn scm_needs_the_trigonometric_interpolant() {
        refuses("checkerboard", &[SCM], "interpolant", &["`trigonometric`", "`scm`", "found linear"]);
        assert!(set("checkerboard", &[SCM, "interpolant=trigonometric"]).is_ok());
    }

    #[test]
    fn guidance_in_the_target_needs_labels_some_of_them_hidden() {
        refuses("checkerboard", &[GUIDED], "conditional", &["`guided_mean_flow`", "found false"]);
        let shown = [GUIDED, "train.label_dropout=0.0"];
        refuses("digits", &shown, "train.label_dropout", &["--set train.label_dropout=0.0", "found 0"]);
        assert!(set("digits", &[GUIDED]).is_ok());
        let shortcut = ["objective.1.kind=shortcut", "objective.1.guidance=1.5"];
        refuses("checkerboard", &shortcut, "conditional", &["`shortcut` guides", "found false"]);
        let shown = [&shortcut[..], &["train.label_dropout=0.0"]].concat();
        refuses("digits", &shown, "train.label_dropout", &["`shortcut` guides", "found 0"]);
        assert!(set("digits", &shortcut).is_ok());
        // Its scale of guidance cannot be an input as well.
        let message = set("digits", &[shortcut[0], shortcut[1], "guidance.max=3"]).unwrap_err().to_string();
        assert!(message.contains("`shortcut`"), "{message}");
    }

    #[test]
    fn labels_that_every_term_shows_are_not_hidden() {
        let shown: Vec<String> = (0..2).map(|k| format!("objective.{k}.label_dropout=0.0")).collect();
        let shown: Vec<&str> = [GUIDED].into_iter().chain(shown.iter().map(String::as_str)).collect();
        refuses("digits", &shown, "objective", &["`guided_mean_flow`", "found `label_dropout` 0 in every"]);
        assert!(set("digits", &shown[..2]).is_ok());
        let hidden = [GUIDED, "train.label_dropout=0.0", "objective.0.label_dropout=0.1"];
        assert!(set("digits", &hidden).is_ok());
        refuses("digits", &["objective.1.label_dropout=1.5"], "objective.1.label_dropout", &["found 1.5"]);
    }

    #[test]
    fn counted_widths_need_a_row_for_each() {
        let counted = [
            "objective.1.kind=shortcut",
            "objective.1.times={ kind = \"dyadic\", n_steps = 128, widths = \"counted\" }",
            "objective.1.share=0.25",
            "objective.0.share=0.75",
        ];
        let sets = |batch| [&counted[..], &[batch]].concat();
        let words = ["found 28, of which 7 rows for 8 widths"];
        refuses("checkerboard", &sets("train.batch=28"), "train.batch", &words);
        assert!(set("checkerboard", &sets("train.batch=32")).is_ok());
        let unknown = "objective.1.times.widths=equal";
        refuses("checkerboard", &sets(unknown), "objective.1.times.widths", &["`equal`", "counted"]);
    }

    #[test]
    fn objective_without_a_row_is_refused_by_its_share_with_the_batch() {
        let shares = |first: f64, second: f64, batch: usize| {
            [
                format!("objective.0.share={first:?}"),
                format!("objective.1.share={second:?}"),
                format!("train.batch={batch}"),
            ]
        };
        let refused = [
            (0.01, 0.99, 64, 0, "0.01 of `train.batch` = 64"),
            (0.75, 0.25, 1, 0, "0.75 of `train.batch` = 1"),
            (0.25, 0.75, 3, 0, "0.25 of `train.batch` = 3"),
            (0.9995, 0.0005, 2000, 1, "0.0005 of `train.batch` = 2000"),
        ];
        for (first, second, batch, term, words) in refused {
            // The last term takes what the others leave, so that only a rounded share leaves it without.
            let sets = shares(first, if term == 1 { 0.0005 } else { second }, batch);
            let sets = if term == 1 { shares(1.0, second, batch) } else { sets };
            let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
            refuses("checkerboard", &sets, &format!("objective.{term}.share"), &["at least one row", words]);
        }
        for (first, second, batch) in [(0.01, 0.99, 100), (0.75, 0.25, 2), (1.0, 0.0, 1), (0.0, 1.0, 1)] {
            let sets = shares(first, second, batch);
            let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
            assert!(set("checkerboard", &sets).is_ok(), "{sets:?}");
        }
    }

    #[test]
    fn rows_without_width_do_not_count_for_all_others() {
        let weight =
            |power: f64| format!("objective.1.time_weight={{ kind = \"width\", power = {power:?} }}");
        let diagonal = "objective.1.diagonal=0.5";
        let narrow = [&*weight(-2.0), diagonal];
        refuses("checkerboard", &narrow, "objective.1.diagonal", &["negative `power`", "found 0.5"]);
        assert!(set("checkerboard", &narrow[..1]).is_ok());
        assert!(set("checkerboard", &[&weight(2.0), diagonal]).is_ok());
        for power in [-1.0, 1.0] {
            let of_flow_matching = weight(power).replace("objective.1", "objective.0");
            let words = ["flow matching", "no width"];
            refuses("checkerboard", &[&of_flow_matching], "objective.0.time_weight.power", &words);
        }
    }

    #[test]
    fn judgment_by_guidance_needs_hidden_labels() {
        let shown = ["train.label_dropout=0.0", "eval.guidance=2.0"];
        refuses("digits", &shown, "train.label_dropout", &["`eval.guidance`", "found 0"]);
        assert!(set("digits", &["train.label_dropout=0.0", "eval.guidance=1.0"]).is_ok());
        assert!(set("digits", &["eval.guidance=2.0"]).is_ok());
    }

    #[test]
    fn teacher_is_guided_where_its_velocity_is_asked_for() {
        let guided = [MODEL[0], MODEL[1], "teacher.guidance=2.0"];
        assert!(set("distill-mixture", &guided).is_ok());
        let pfmm = [&guided[..], &["objective.0.kind=pfmm"]].concat();
        refuses("distill-mixture", &pfmm, "teacher.guidance", &["`pfmm`", "found 2"]);
        let interval = [MODEL[0], MODEL[1], "teacher.guidance_interval=[0.1,0.8]"];
        refuses("distill-mixture", &interval, "teacher.guidance_interval", &["`teacher.guidance`"]);
        let guide = [MODEL[0], MODEL[1], "teacher.guide=weak"];
        refuses("distill-mixture", &guide, "teacher.guide", &["`teacher.guidance`", "weak"]);
        let order = [&guided[..], &["teacher.guidance_interval=[0.8,0.1]"]].concat();
        refuses("distill-mixture", &order, "teacher.guidance_interval", &["in order", "[0.8, 0.1]"]);
        let nan = [MODEL[0], MODEL[1], "teacher.guidance=inf"];
        refuses("distill-mixture", &nan, "teacher.guidance", &["finite", "found inf"]);
        refuses("distill-mixture", &["teacher.guidance=2.0"], "teacher.guidance", &["unknown key"]);
    }

    #[test]
    fn noise_of_the_noisy_interpolant_is_a_part_of_the_base() {
        let noisy = "interpolant={ noisy_linear = { sigma_min = 1e-5 } }";
        assert!(set("checkerboard", &[noisy]).is_ok());
        assert!(set("checkerboard", &[noisy, "interpolant=trigonometric"]).is_ok());
        assert!(set("checkerboard", &[noisy, "interpolant.noisy_linear.sigma_min=0.1"]).is_ok());
        let bad = "interpolant.noisy_linear.sigma_min=2.0";
        refuses("checkerboard", &[bad], "interpolant.noisy_linear.sigma_min", &["above 0 and below 1"]);
        let word = ["--set interpolant=noisy_linear", "expected a table `{ noisy_linear = { ... } }`"];
        refuses("imagenet-latent-shortcut-b", &["interpolant=noisy_linear"], "interpolant", &word);
        let word = ["expected a table `{ ahead = { ... } }`"];
        refuses("checkerboard", &["objective.1.middle=ahead"], "objective.1.middle", &word);
    }

    #[test]
    fn teacher_and_objectives_must_suit_each_other() {
        let unused = set("checkerboard", &["teacher.kind=exact"]).unwrap();
        let message = unused.refuse_unused_teacher().unwrap_err().to_string();
        assert!(message.contains("`teacher`: expected an objective that distills"), "{message}");
        refuses("checkerboard", &["objective.1.kind=lmd"], "teacher", &["`lmd`", "[teacher]"]);
        let pfmm = "objective.0.kind=pfmm";
        refuses("distill-mixture", &[pfmm], "teacher.kind", &["`pfmm`", "found exact"]);
        refuses("distill-mixture", &["conditional=true"], "conditional", &["ignores labels", "found true"]);
        assert!(set("distill-mixture", &[pfmm, MODEL[0], MODEL[1]]).is_ok());
        assert!(set("distill-mixture", &["conditional=true", MODEL[0], MODEL[1]]).is_ok());
    }

    #[test]
    fn pairs_need_a_file() {
        let paired = "coupling.kind=paired";
        refuses("checkerboard", &[paired], "coupling.kind", &["data.kind = \"points\"", "found paired"]);
        assert!(set("checkerboard", &[paired, "data.kind=points", "data.path=pairs.npz"]).is_ok());
    }

    #[test]
    fn only_images_that_stand_alone_are_augmented() {
        let (edm, latents) = ("augmentation.kind=edm", "data.kind=latents");
        refuses("digits", &[latents, edm], "augmentation.kind", &["latents are no pixels", "found edm"]);
        let pairs = ["coupling.kind=paired", "data.kind=points", "data.path=pairs.npz", edm];
        refuses("digits", &pairs, "augmentation.kind", &["the noise of a pair", "found edm"]);
        assert!(set("digits", &[edm]).is_ok());
        let message = set("digits", &[edm, "augmentation.scale=-1.0"]).unwrap_err().to_string();
        assert!(message.contains("`augmentation.scale`: expected a number of at least 0"), "{message}");
    }

    #[test]
    fn network_takes_as_many_labels_of_augmentation_as_there_are() {
        let told =
            ["network={ kind = \"ddpmpp_unet\", size = \"tiny\", augment_dim = 9 }", "augmentation.kind=edm"];
        let expected = ["as many numbers as [augmentation]", "found 9, where it tells 8"];
        refuses("digits", &told, "network.augment_dim", &expected);
        refuses("digits", &told[..1], "network.augment_dim", &["found 9, where it tells 0"]);
        assert!(set("digits", &[told[0], told[1], "augmentation.x_flip=1e8"]).is_ok());
        assert!(set("digits", &[told[0], told[1], "network.augment_dim=0"]).is_ok());
    }

    #[test]
    fn lists_with_a_value_twice_are_refused() {
        refuses("checkerboard", &["eval.steps=[1,2,1]"], "eval.steps", &["differ", "found [1, 2, 1]"]);
        refuses("checkerboard", &["eval.steps=[]"], "eval.steps", &["found []"]);
        refuses("checkerboard", &["train.ema=[0.9,0.9]"], "train.ema", &["differ"]);
    }
}
