//! Agreement with POT, SciPy, dcor and NumPy on small inputs; `golden/make.py` made the numbers.

use flowmap_metrics::{
    Bandwidths, CellMasses, Directions, PaperTarget, Samples, column_distances, energy_distance, exact_kl,
    mmd2, paper_kl, sliced_wasserstein, wasserstein,
};
use serde_json::Value;

/// Both sides compute in f64 on the same inputs; only the order of sums differs.
const TOLERANCE: f64 = 1e-12;

fn reference() -> Value {
    serde_json::from_str(include_str!("../golden/reference.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn singles(value: &Value) -> Vec<f32> {
    numbers(value).into_iter().map(|v| v as f32).collect()
}

/// Calls `check` with x, y and the record of every pair of sets.
fn for_each_pair(check: impl Fn(Samples<'_>, Samples<'_>, &Value)) {
    for record in reference()["pairs"].as_array().unwrap() {
        let dim = record["dim"].as_u64().unwrap() as usize;
        let (x, y) = (singles(&record["x"]), singles(&record["y"]));
        check(Samples::new(&x, dim).unwrap(), Samples::new(&y, dim).unwrap(), record);
    }
}

fn assert_close(ours: f64, theirs: &Value) {
    let theirs = theirs.as_f64().unwrap();
    assert!((ours - theirs).abs() < TOLERANCE * (1.0 + theirs.abs()), "{ours} and {theirs}");
}

#[test]
fn sliced_distance_is_that_of_pot_along_the_same_directions() {
    for_each_pair(|x, y, record| {
        let directions = Directions::from_rows(numbers(&record["directions"]), x.dim()).unwrap();
        assert_close(sliced_wasserstein(x, y, &directions).unwrap().distance, &record["sliced"]);
    });
}

#[test]
fn exact_distance_is_the_root_of_emd2_of_pot_and_of_the_assignment_of_scipy() {
    for_each_pair(|x, y, record| match record.get("w2_emd") {
        Some(emd) => {
            let ours = wasserstein(x, y).unwrap().distance;
            assert_close(ours, emd);
            assert_close(ours, &record["w2_assignment"]);
        }
        None => assert!(wasserstein(x, y).is_err()),
    });
}

#[test]
fn distances_of_columns_are_those_of_scipy_and_correlations_those_of_numpy() {
    for_each_pair(|x, y, record| {
        let (ours, theirs) = (column_distances(x, y).unwrap(), &record["columns"]);
        for (k, column) in ours.columns.iter().enumerate() {
            assert_close(column.w1, &theirs["w1"][k]);
            assert_close(column.ks, &theirs["ks"][k]);
        }
        match ours.correlation_error {
            Some(error) => assert_close(error, &theirs["correlation_error"]),
            None => assert_eq!(x.dim(), 1),
        }
    });
}

#[test]
fn energy_distance_is_that_of_dcor() {
    for_each_pair(|x, y, record| {
        assert_close(energy_distance(x, y).unwrap().value, &record["energy_dcor"]);
    });
}

#[test]
fn energy_distance_is_the_square_of_that_of_scipy_in_one_dimension() {
    for_each_pair(|x, y, record| {
        if let Some(root) = record.get("energy_scipy") {
            assert_close(energy_distance(x, y).unwrap().value.sqrt(), root);
        }
    });
}

#[test]
fn mmd_is_the_formula_written_in_numpy() {
    for_each_pair(|x, y, record| {
        let bandwidths = Bandwidths::median_heuristic(y).unwrap();
        for (ours, theirs) in bandwidths.sigmas().iter().zip(record["mmd2"]["sigmas"].as_array().unwrap()) {
            assert_close(*ours, theirs);
        }
        let ours = mmd2(x, y, &bandwidths).unwrap();
        assert_close(ours.unbiased, &record["mmd2"]["unbiased"]);
        assert_close(ours.biased, &record["mmd2"]["biased"]);
    });
}

#[test]
fn histogram_kl_is_the_formula_written_in_numpy() {
    let record = &reference()["histogram"];
    let values = singles(&record["samples"]);
    let samples = Samples::new(&values, 2).unwrap();
    assert_close(paper_kl(samples, &PaperTarget::checkerboard()).unwrap().kl, &record["paper_kl"]);
    let exact = exact_kl(samples, &CellMasses::checkerboard()).unwrap();
    assert_close(exact.kl, &record["exact_kl"]["kl"]);
    assert_close(exact.reverse_kl, &record["exact_kl"]["reverse_kl"]);
    assert_close(exact.mass_off_support, &record["exact_kl"]["mass_off_support"]);
}
