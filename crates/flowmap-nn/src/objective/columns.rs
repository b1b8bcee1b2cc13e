//! What each term takes of its times, so that all of a step goes to the device in one piece.
//!
//! A column that is missing here is sent by itself: the test `host_traffic` of flowmap-train counts.

use super::{
    AlphaFlow, MeanFlowVelocity, Objective, Scm, ScmVelocity, Shortcut, SmallestStep, Term, Trajectory,
    TrigFlow, pfmm,
};
use crate::loss::TimeWeight;
use crate::times::{At, Column, JumpFn, TimeFn};

/// α and β at a time, those of I.
fn i(at: At) -> [Column; 2] {
    [TimeFn::Alpha, TimeFn::Beta].map(|f| Column::Of(at, f))
}

/// α̇ and β̇ at a time, those of İ.
fn di(at: At) -> [Column; 2] {
    [TimeFn::AlphaDot, TimeFn::BetaDot].map(|f| Column::Of(at, f))
}

impl Term {
    /// What the objective and the weight take at a step.
    pub(super) fn columns(&self, step: u64) -> Vec<Column> {
        let mut columns = self.objective.columns(step);
        if let TimeWeight::Width { power } = self.time_weight {
            columns.push(Column::Jump(JumpFn::Width(power)));
        }
        columns
    }
}

impl Objective {
    /// What it takes at a step.
    fn columns(&self, step: u64) -> Vec<Column> {
        match *self {
            Self::FlowMatching {} | Self::Fmm { .. } => [i(At::T), di(At::T)].concat(),
            Self::Lsd { .. }
            | Self::Esd { .. }
            | Self::Lmd { .. }
            | Self::Emd { .. }
            | Self::AlignYourFlow(_)
            | Self::MeanFlow { velocity: MeanFlowVelocity::Model } => i(At::S).to_vec(),
            Self::MeanFlow { velocity: MeanFlowVelocity::Data } | Self::ImprovedMeanFlow {} => {
                [i(At::S), di(At::S)].concat()
            }
            Self::Psd { .. } => with(&i(At::S), [JumpFn::Gamma]),
            Self::Shortcut(choices) => shortcut(choices),
            Self::GuidedMeanFlow(guidance) => {
                let within = Column::Of(At::S, TimeFn::Within(guidance.interval));
                [&i(At::S)[..], &di(At::S), &[within]].concat()
            }
            Self::AlphaFlow(choices) => alpha_flow(choices, step),
            Self::Tvm {} => [i(At::S), i(At::T), di(At::T)].concat(),
            Self::Consistency { trajectory, .. } | Self::Ctm { trajectory } => along(trajectory),
            Self::Scm(choices) => scm(choices),
            Self::Pfmm { n_steps } => with(&i(At::S), (1..n_steps).map(|step| pfmm::part_way(step, n_steps))),
            Self::MapDistillation { solver, n_steps } => with(&i(At::S), solver.times(At::T, n_steps)),
        }
    }
}

/// Columns and functions of jumps, each once.
fn with(columns: &[Column], jumps: impl IntoIterator<Item = JumpFn>) -> Vec<Column> {
    let mut columns = columns.to_vec();
    for jump in jumps.into_iter().map(Column::Jump) {
        if !columns.contains(&jump) {
            columns.push(jump);
        }
    }
    columns
}

fn alpha_flow(choices: AlphaFlow, step: u64) -> Vec<Column> {
    let both = [i(At::S), di(At::S)].concat();
    match choices.alpha(step) {
        0.0 | 1.0 => both,
        part => with(&both, [JumpFn::Part { to: At::T, part }]),
    }
}

fn along(trajectory: Trajectory) -> Vec<Column> {
    match trajectory.solver() {
        None => [i(At::S), i(At::U)].concat(),
        Some(solver) => with(&i(At::S), solver.times(At::U, 1)),
    }
}

fn scm(choices: Scm) -> Vec<Column> {
    let own = TrigFlow::ALL.map(|f| Column::Of(At::S, TimeFn::TrigFlow(f)));
    match choices.velocity {
        ScmVelocity::Data => [&i(At::S)[..], &di(At::S), &own].concat(),
        ScmVelocity::Teacher => [&i(At::S)[..], &own].concat(),
    }
}

fn shortcut(choices: Shortcut) -> Vec<Column> {
    let own = choices.step_fns().into_iter().map(JumpFn::Step);
    match choices.smallest {
        SmallestStep::Velocity => with(&i(At::S), own),
        SmallestStep::Data => with(&[i(At::S), di(At::S)].concat(), own),
    }
}
