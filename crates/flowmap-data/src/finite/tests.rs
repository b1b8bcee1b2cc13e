//! Tests of sets of finitely many samples.

use flowmap_core::Stream;
use proptest::prelude::*;

use super::*;

fn stream(seed: u64) -> NoiseStream {
    NoiseStream::new(seed, Stream::Data)
}

/// n points (i, -i) with label i modulo 3.
fn numbered(n: u16) -> FiniteSet {
    let values = (0..n).flat_map(|i| [f32::from(i), -f32::from(i)]).collect();
    let labels = (0..n).map(|i| u32::from(i) % 3).collect();
    FiniteSet::new("numbered", vec![2], values, Some(labels)).unwrap()
}

proptest! {
    #[test]
    fn each_epoch_visits_each_sample_once(n in 2u16..200, epoch in 0u64..1_000_000, seed: u64) {
        let set = numbered(n);
        let first = epoch * u64::from(n);
        let mut seen: Vec<u32> = (first..first + u64::from(n))
            .map(|index| {
                let mut x = [0.0; 2];
                let label = set.draw(&stream(seed), index, &mut x).unwrap();
                assert_eq!((x[0], label), (-x[1], x[0] as u32 % 3));
                x[0] as u32
            })
            .collect();
        seen.sort_unstable();
        prop_assert!(seen.into_iter().eq(0..u32::from(n)));
    }
}

#[test]
fn class_shares_are_counted_and_a_class_without_samples_has_none() {
    let values = (0..10).map(f64::from).map(|x| x as f32).collect();
    let labels = vec![1, 1, 1, 1, 1, 1, 1, 3, 3, 3];
    let set = FiniteSet::new("from_one", vec![1], values, Some(labels)).unwrap();
    assert_eq!(set.class_shares(), [0.0, 0.7, 0.0, 0.3]);
    let set = FiniteSet::new("x", vec![1], vec![1.0, 2.0], None).unwrap();
    assert!(set.class_shares().is_empty());
}

#[test]
fn noise_stays_with_its_sample() {
    let noise: Vec<f32> = (0..50).flat_map(|i| [i as f32 + 0.5, 1.0]).collect();
    let noise = FiniteSet::new("noise", vec![2], noise, None).unwrap();
    let set = numbered(50).with_noise(noise).unwrap();
    let mut pairs = 0;
    for index in 0..120 {
        let (mut x, mut x0) = ([0.0; 2], [0.0; 2]);
        set.draw(&stream(1), index, &mut x);
        assert!(set.draw_noise(&stream(1), index, &mut x0));
        pairs += u32::from(x0 == [x[0] + 0.5, 1.0]);
    }
    assert_eq!(pairs, 120);
    let mut untouched = [7.0; 2];
    assert!(!numbered(5).draw_noise(&stream(1), 0, &mut untouched));
    assert_eq!(untouched, [7.0; 2]);
}

#[test]
fn noise_of_another_shape_is_refused_and_sigma_is_that_of_the_noise() {
    let noise = |shape: usize, n: usize| {
        let values = (0..shape * n).map(|i| if i % 2 == 0 { 3.0 } else { -3.0 }).collect();
        FiniteSet::new("noise", vec![shape], values, None).unwrap()
    };
    let refusal = |noise| numbered(2).with_noise(noise).unwrap_err().to_string();
    assert_eq!(
        refusal(noise(2, 3)),
        "noise: expected 2 rows of shape [2], as many as samples, found 3 of shape [2]"
    );
    assert!(refusal(noise(4, 1)).ends_with("found 1 of shape [4]"));
    assert_eq!(numbered(2).with_noise(noise(2, 2)).unwrap().sigma(), 3.0);
}

#[test]
fn epochs_and_streams_differ_in_order() {
    let set = numbered(50);
    let order = |stream: NoiseStream, epoch: u64| -> Vec<f32> {
        let mut x = [0.0; 2];
        (0..50).map(|i| (set.draw(&stream, 50 * epoch + i, &mut x), x[0]).1).collect()
    };
    let base = order(stream(1), 0);
    assert_ne!(base, order(stream(1), 1));
    assert_ne!(base, order(stream(2), 0));
    assert_ne!(base, order(NoiseStream::new(1, Stream::Evaluation), 0));
    assert_eq!(base, order(stream(1), 0));
}

#[test]
fn a_slice_of_the_wrong_length_is_no_panic() {
    let mut long = [7.0; 4];
    numbered(5).draw(&stream(1), 0, &mut long);
    assert_eq!(long[2..], [7.0, 7.0]);
    numbered(5).draw(&stream(1), 0, &mut []);
}

#[test]
fn sigma_is_that_of_all_coordinates_about_one_mean() {
    let set = FiniteSet::new("x", vec![2], vec![0.0, 10.0, 0.0, 10.0], None).unwrap();
    assert_eq!(set.sigma(), 5.0);
    assert!(set.extent().is_some_and(|extent| extent > 10.0));
}

#[test]
fn bad_values_are_named() {
    let message = |shape: Vec<usize>, values: Vec<f32>, labels: Option<Vec<u32>>| {
        FiniteSet::new("x.npy", shape, values, labels).unwrap_err().to_string()
    };
    let cases = [
        (message(vec![2], vec![], None), "x.npy: expected at least one sample, found none"),
        (
            message(vec![2], vec![1.0; 3], None),
            "x.npy: expected a multiple of 2 values for shape [2], found 3",
        ),
        (
            message(vec![0], vec![1.0; 3], None),
            "x.npy: expected a multiple of 0 values for shape [0], found 3",
        ),
        (
            message(vec![2], vec![1.0, 2.0, 3.0, f32::NAN], None),
            "x.npy, sample 1, coordinate 1: expected a finite number (f32), found NaN",
        ),
        (
            message(vec![1], vec![0.1; 3], None),
            "x.npy: expected data that vary, found 0.10000000149011612 in every coordinate of every sample",
        ),
        (
            message(vec![1], vec![1.0, 2.0], Some(vec![0])),
            "x.npy: expected 2 labels, one for each sample, found 1",
        ),
        (
            message(vec![1], vec![1.0, 2.0], Some(vec![0, 65_536])),
            "x.npy, sample 1: expected a whole number from 0 to 65535, found 65536",
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
    for scale in [1e-31, 1e31] {
        let message = message(vec![1], vec![scale, -scale], None);
        let expected = "x.npy: expected a standard deviation from 1e-30 to 1e30, found ";
        assert!(message.starts_with(expected) && message.ends_with("; rescale the data"), "{message}");
    }
    for scale in [1e-29, 1e29] {
        assert!(FiniteSet::new("x", vec![1], vec![scale, -scale], None).is_ok());
    }
    assert!(FiniteSet::new("x", vec![usize::MAX, 2], vec![1.0, 2.0], None).is_err());
}
