//! The judge learns, gives the same numbers again, and says what does not fit.

use flowmap_core::{NoiseStream, Stream};
use flowmap_metrics::{Classifier, Labelled};

const SHAPE: [usize; 3] = [1, 8, 8];
const N_CLASSES: usize = 4;

/// Noise with a bright quarter, which is the class.
fn quarters(n: usize, seed: u64) -> (Vec<f32>, Vec<u32>) {
    let stream = NoiseStream::new(seed, Stream::Data);
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for sample in 0..n {
        let mut noise = stream.at(sample as u64);
        let label = noise.below(4) as usize;
        for at in 0..64 {
            let is_bright = (at / 8 / 4, at % 8 / 4) == (label / 2, label % 2);
            images.push((noise.normal() + if is_bright { 1.0 } else { 0.0 }) as f32);
        }
        labels.push(label as u32);
    }
    (images, labels)
}

#[test]
fn quarters_are_told_apart_by_the_same_weights_each_time() {
    let ((images, labels), (test_images, test_labels)) = (quarters(2000, 1), quarters(500, 2));
    let data = Labelled { images: &images, labels: &labels };
    let judge = Classifier::train(SHAPE, N_CLASSES, data, 7).unwrap();
    let accuracy = judge.accuracy(Labelled { images: &test_images, labels: &test_labels }).unwrap();
    // Quarters differ by √(2 · 16) standard deviations; 98 % leaves room for what 2000 images cannot teach.
    assert!(accuracy.accuracy > 0.98, "{accuracy:?}");
    assert!(accuracy.by_class.iter().all(|share| share.is_some_and(|share| share > 0.95)));
    let verdict = judge.judge(&test_images).unwrap();
    assert_eq!(verdict.features.len(), 500 * verdict.dim);
    let again = Classifier::from_tensors(SHAPE, N_CLASSES, judge.tensors().clone()).unwrap();
    assert_eq!(again.judge(&test_images).unwrap(), verdict);
}

#[test]
fn what_does_not_fit_is_refused_with_its_numbers() {
    let refusal = |images: &[f32], labels: &[u32], n_classes| {
        Classifier::train(SHAPE, n_classes, Labelled { images, labels }, 0).unwrap_err().to_string()
    };
    assert_eq!(refusal(&[0.0; 64], &[0], 1), "expected at least 2 classes, got 1");
    assert_eq!(refusal(&[0.0; 65], &[0], 2), "expected whole images of 64 values, got 65 values");
    assert_eq!(refusal(&[0.0; 64], &[0, 1], 2), "expected 1 labels, one for each image, got 2");
    assert_eq!(refusal(&[0.0; 64], &[2], 2), "expected labels below 2, got 2 for image 0");
}
