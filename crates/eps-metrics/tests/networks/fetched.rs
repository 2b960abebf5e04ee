//! The published weights.

use std::path::Path;

use approx::assert_abs_diff_eq;
use eps_metrics::SampleShape;
use eps_metrics::networks::{Backbone, FeatureNetwork, MetricNetwork, evaluate_networks};
use tch::{Device, Kind, Tensor};

use crate::inputs::{image_pair, normal};

/// The network of `cargo xtask fetch lpips`, if it was run.
#[expect(clippy::print_stderr, reason = "whoever runs the tests should know what was skipped")]
fn fetched(backbone: Backbone) -> Option<FeatureNetwork> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.deps/lpips"));
    let path = folder.join(backbone.name()).with_extension("safetensors");
    if !path.exists() {
        eprintln!("skipped: {} is not there (`cargo xtask fetch lpips`)", path.display());
        return None;
    }
    Some(FeatureNetwork::load(&path, Device::Cpu).unwrap())
}

/// LPIPS v0.1 of the images of the rule in tests/metrics/golden.json, by an independent implementation
/// in another language from the same published weights.
#[test]
fn lpips_has_its_reference_values() {
    for (backbone, expected) in
        [(Backbone::Alex, 0.08780980110168457), (Backbone::Vgg, 0.1749715954065323)]
    {
        let Some(network) = fetched(backbone) else { continue };
        let [a, b] =
            image_pair("open-").map(|image| Tensor::from_slice(&image).view([1, 3, 64, 64]));
        let found = network.lpips(&a, &b).unwrap().double_value(&[0]);
        // Both are in f32.
        assert_abs_diff_eq!(found, expected, epsilon = 1e-6);
    }
}

/// The more noise, the farther: in every value of both networks.
#[test]
fn values_grow_with_the_noise() {
    let images = 24;
    let shape = SampleShape { images, samples: 1, channels: 3, height: 32, width: 32 };
    // Smooth images, cut out of the pictures of the rule.
    let truth: Vec<f64> = (0..images)
        .flat_map(|i| {
            let [whole, _] = image_pair(&format!("noise-{}-", i / 4));
            let (top, left) = (i / 2 % 2 * 32, i % 2 * 32);
            (0..3 * 32 * 32).map(move |at| {
                let (channel, y, x) = (at / 1024, at / 32 % 32, at % 32);
                whole[(channel * 64 + top + y) * 64 + left + x]
            })
        })
        .collect();
    let noise = normal("noise", truth.len());
    let floats = |values: Vec<f64>| values.into_iter().map(|x| x as f32).collect::<Vec<f32>>();
    for backbone in Backbone::ALL {
        let Some(network) = fetched(backbone) else { continue };
        let networks = [MetricNetwork::Perceptual(network)];
        let values: Vec<Vec<f64>> = [0.05, 0.2, 0.6]
            .into_iter()
            .map(|sd| {
                let samples = truth.iter().zip(&noise).map(|(x, z)| x + sd * z).collect();
                let scores =
                    evaluate_networks(&floats(truth.clone()), &floats(samples), shape, &networks);
                let values = scores.unwrap().remove(0).values();
                values.into_iter().map(|(_, value)| value.unwrap()).collect()
            })
            .collect();
        for pair in values.windows(2) {
            assert!(pair[0].iter().zip(&pair[1]).all(|(a, b)| a < b), "{values:?}");
        }
    }
}

#[test]
fn features_are_not_negative_and_not_all_alike() {
    for backbone in Backbone::ALL {
        let Some(network) = fetched(backbone) else { continue };
        let [a, _] = image_pair("open-");
        let image = Tensor::from_slice(&a).view([1, 3, 64, 64]);
        let features = network.features(&image).unwrap();
        assert_eq!(features.size(), [1, backbone.feature_count() as i64]);
        assert!(features.min().double_value(&[]) >= 0.0);
        assert!(features.std(true).double_value(&[]) > 0.0);
        assert_eq!(features.kind(), Kind::Float);
    }
}
