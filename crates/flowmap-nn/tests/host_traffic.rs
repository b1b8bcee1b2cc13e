//! A loss and its gradient send one table of times, and read nothing, whatever the method and the number of tiles.
//!
//! One test to a process: what goes to the device and back is counted for all of it.
#![allow(clippy::unwrap_used)]

#[path = "nn/support/mlps.rs"]
#[allow(dead_code, reason = "this test needs a part of it")]
mod mlps;

use std::num::NonZeroUsize;
use std::sync::Arc;

use candle_core::{DType, Device};
use flowmap_core::{InterpolantKind, Stream};
use flowmap_dual::host;
use flowmap_nn::loss::{Combination, Term};
use flowmap_nn::method::METHODS;
use flowmap_nn::net::{Conditioning, MlpConfig};
use flowmap_nn::{Batch, ParamBuilder, StepKey, Teacher, loss_and_gradient};

use mlps::{Case, normals};

const N: usize = 12;

/// Choices by which a method takes other times than by default.
const CHOICES: [&str; 9] = [
    "kind = \"psd\"\nmiddle = \"uniform\"\ntime_weight = { kind = \"width\", power = -1.0 }",
    "kind = \"mean_flow\"\nvelocity = \"model\"",
    "kind = \"alpha_flow\"\nend = 2",
    "kind = \"consistency\"\ntrajectory = \"heun\"",
    "kind = \"ctm\"\ntrajectory = \"rk4\"",
    "kind = \"scm\"\nvelocity = \"teacher\"",
    "kind = \"pfmm\"\nn_steps = 3",
    "kind = \"map_distillation\"\nsolver = \"rk4\"\nn_steps = 2",
    "kind = \"shortcut\"\nclip = 1.0",
];

#[test]
fn a_step_sends_one_table_and_reads_nothing() {
    let config = MlpConfig { width: 8, hidden: 1, label_features: 3, ..MlpConfig::default() };
    let case = Case { name: String::new(), config, conditioning: Conditioning::from(3) };
    let (model, params) = case.fresh(DType::F32);
    let frozen = || case.build(ParamBuilder::frozen(params.tensors(), DType::F32, &Device::Cpu)).0;
    let teacher = frozen();
    let (x0, x1) = (normals(Stream::Base, N, DType::F32), normals(Stream::Data, N, DType::F32));
    let condition = case.condition(N, DType::F32);
    let interpolant = InterpolantKind::Trigonometric;
    let batch =
        Batch { x0: &x0, x1: &x1, condition: (&condition).into(), interpolant: &interpolant, unit: 1.0 };

    let by_default = METHODS.iter().map(|method| format!("kind = \"{}\"", method.name));
    for text in by_default.chain(CHOICES.map(str::to_owned)) {
        // Beside flow matching, as in a recipe: two terms with times of their own.
        let half = |text: &str| toml::from_str::<Term>(&format!("share = 0.5\n{text}")).unwrap();
        let terms = vec![half("kind = \"flow_matching\""), half(&text)];
        for rows in [None, NonZeroUsize::new(3)] {
            let combination = Combination::new(terms.clone()).unwrap().with_null_label(case.null_label());
            let combination =
                combination.with_teacher(Teacher::Map(Arc::new(frozen()))).with_micro_batch(rows);
            let (reads, sends) = (host::n_reads(), host::n_sends());
            // Step 1: α-Flow is between its ends.
            loss_and_gradient(&combination, &model, &teacher, &params, &batch, StepKey::of_step(4, 1, N))
                .unwrap();
            assert_eq!(host::n_sends() - sends, 1, "sends of {text}, at most {rows:?} rows at once");
            assert_eq!(host::n_reads(), reads, "reads of {text}");
        }
    }
}
