//! Networks of random weights: every formula, without any file that must be fetched.

use approx::{assert_abs_diff_eq, assert_relative_eq};
use eps_metrics::networks::{
    Backbone, FeatureNetwork, MetricNetwork, NetworkError, WeightArray, WeightsOrigin,
    evaluate_networks, input_sides, serialize,
};
use eps_metrics::{MetricsError, SampleShape};
use tch::{Device, Kind, Tensor};

use crate::inputs::{u01, u11};
use crate::naive::{self, Image};

fn origin() -> WeightsOrigin {
    WeightsOrigin { source: "random".into(), sha256: "00".into(), licence: "MIT".into() }
}

/// Weights that keep the size of what goes through (He et al.); positive heads.
pub(crate) fn weights(backbone: Backbone) -> Vec<WeightArray> {
    let array = |(name, dims): (String, Vec<usize>)| {
        let count = dims.iter().product();
        let values = if name.starts_with("head") {
            u01(&name, count).into_iter().map(|u| u as f32).collect()
        } else {
            let fan_in: usize = dims[1..].iter().product();
            let scale = if dims.len() == 4 { (6.0 / fan_in as f64).sqrt() } else { 0.1 };
            u11(&name, count).into_iter().map(|u| (scale * u) as f32).collect()
        };
        WeightArray { name, dims, values }
    };
    backbone.weight_shapes().into_iter().map(array).collect()
}

pub(crate) fn network(backbone: Backbone) -> FeatureNetwork {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("net.safetensors");
    std::fs::write(&path, serialize(backbone, &weights(backbone), &origin()).unwrap()).unwrap();
    FeatureNetwork::load(&path, Device::Cpu).unwrap()
}

fn image(name: &str, sides: [usize; 3]) -> Image {
    Image { sides, values: u11(name, sides.iter().product()) }
}

fn batch(images: &[&Image]) -> Tensor {
    let [channels, height, width] = images[0].sides.map(|side| side as i64);
    let values: Vec<f64> = images.iter().flat_map(|image| image.values.clone()).collect();
    Tensor::from_slice(&values).view([-1, channels, height, width])
}

fn vector(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.to_kind(Kind::Double).flatten(0, -1)).unwrap()
}

#[test]
fn networks_equal_the_naive_ones() {
    // As they are, upsampled, not square, grey.
    for (backbone, sides) in [
        (Backbone::Alex, [3, 64, 64]),
        (Backbone::Alex, [1, 28, 28]),
        (Backbone::Alex, [3, 70, 95]),
        (Backbone::Alex, [3, 20, 33]),
        (Backbone::Vgg, [1, 28, 30]),
    ] {
        let (weights, network) = (weights(backbone), network(backbone));
        let [a, b] = ["a", "b"].map(|name| image(name, sides));
        let stages = [&a, &b].map(|image| naive::stages(backbone, &weights, image));
        let expected = naive::lpips(&weights, &stages[0], &stages[1]);
        let found = vector(&network.lpips(&batch(&[&a]), &batch(&[&b])).unwrap())[0];
        // f32: some hundred roundings of 6e-8.
        assert_relative_eq!(found, expected, max_relative = 2e-5);
        let features = vector(&network.features(&batch(&[&a])).unwrap());
        assert_eq!(features.len(), backbone.feature_count());
        let expected = naive::features(&stages[0]);
        let largest = expected.iter().copied().fold(0.0, f64::max);
        for (found, expected) in features.iter().zip(&expected) {
            assert_abs_diff_eq!(*found, *expected, epsilon = 2e-5 * largest);
        }
    }
}

#[test]
fn lpips_is_a_symmetric_distance_whatever_the_batch() {
    for backbone in Backbone::ALL {
        let network = network(backbone);
        let [a, b, c] = ["a", "b", "c"].map(|name| image(name, [3, 40, 40]));
        let (left, right) = (batch(&[&a, &b, &c]), batch(&[&b, &b, &a]));
        let forwards = vector(&network.lpips(&left, &right).unwrap());
        let backwards = vector(&network.lpips(&right, &left).unwrap());
        assert_eq!(forwards, backwards);
        assert_eq!(forwards[1], 0.0);
        assert!(forwards[0] > 0.0 && forwards[2] > 0.0);
        let alone = vector(&network.lpips(&batch(&[&a]), &batch(&[&b])).unwrap());
        // A batch of another size adds in another order.
        assert_relative_eq!(alone[0], forwards[0], max_relative = 1e-5);
    }
}

#[test]
fn sides_of_upsampled_images() {
    assert_eq!(input_sides(28, 28), [64, 64]);
    assert_eq!(input_sides(32, 48), [64, 96]);
    assert_eq!(input_sides(63, 100), [64, 102]);
    assert_eq!(input_sides(100, 7), [914, 64]);
    assert_eq!(input_sides(64, 64), [64, 64]);
    assert_eq!(input_sides(64, 500), [64, 500]);
}

#[test]
fn the_record_is_what_its_parts_are() {
    // 64 images are seen at once: more samples than that, more truths, and neither.
    for (images, per_image) in [(3, 2), (3, 30), (70, 1)] {
        check_record(images, per_image);
    }
}

fn check_record(images: usize, per_image: usize) {
    let sides = [1, 16, 16];
    let dim = 256;
    let shape = SampleShape { images, samples: per_image, channels: 1, height: 16, width: 16 };
    let truth: Vec<f32> = u11("truth", images * dim).iter().map(|x| *x as f32).collect();
    // Beyond the range in places, which is clipped.
    let samples: Vec<f32> =
        u11("samples", images * per_image * dim).iter().map(|x| 1.2 * *x as f32).collect();
    let networks = [MetricNetwork::Perceptual(network(Backbone::Alex))];
    let scores = evaluate_networks(&truth, &samples, shape, &networks).unwrap();
    let [scores] = &scores[..] else { panic!("{scores:?}") };

    let picture = |values: &[f32]| {
        let values = values.iter().map(|x| f64::from(x.clamp(-1.0, 1.0))).collect();
        Image { sides, values }
    };
    let truths: Vec<Image> = truth.chunks(dim).map(picture).collect();
    let samples: Vec<Image> = samples.chunks(dim).map(picture).collect();
    let network = network(Backbone::Alex);
    let features = |images: &[Image]| {
        vector(&network.features(&batch(&images.iter().collect::<Vec<_>>())).unwrap())
    };
    let (f_truth, f_samples) = (features(&truths), features(&samples));
    let repeated: Vec<&Image> =
        truths.iter().flat_map(|truth| std::iter::repeat_n(truth, per_image)).collect();
    let lpips = vector(
        &network.lpips(&batch(&repeated), &batch(&samples.iter().collect::<Vec<_>>())).unwrap(),
    );
    let mean = lpips.iter().sum::<f64>() / lpips.len() as f64;
    assert_relative_eq!(scores.lpips.unwrap(), mean, max_relative = 1e-5);
    let expected = eps_metrics::frechet::frechet_distance(&f_samples, &f_truth, 256).unwrap();
    assert_relative_eq!(scores.frechet.unwrap(), expected, max_relative = 1e-4);
    let expected = eps_metrics::mmd::mmd2(&f_samples, &f_truth, 256).unwrap().mmd2;
    assert_abs_diff_eq!(scores.mmd2.unwrap(), expected, epsilon = 1e-5);
    let pair_term = eps_metrics::energy::PairTerm::VStatistic;
    let expected: f64 = (f_truth.chunks(256).zip(f_samples.chunks(per_image * 256)))
        .map(|(t, s)| eps_metrics::energy::energy_score(t, s, pair_term).unwrap() / images as f64)
        .sum();
    assert_relative_eq!(scores.energy_score.unwrap(), expected, max_relative = 1e-4);

    let names: Vec<String> = scores.values().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["lpips_alex", "fd_alex", "mmd2_alex", "energy_score_alex"]);
    assert!(names.iter().all(|name| {
        let convention = &scores.conventions[name];
        convention.contains("16x16 upsampled to 64x64 bilinearly") && convention.contains("grey")
    }));
    assert_eq!(scores.conventions.len(), 4);
    assert!(scores.cautions["fd_alex"].contains(&format!("{images} truths for 256 features")));
}

#[test]
fn too_few_images_are_no_error() {
    let shape = SampleShape { images: 1, samples: 1, channels: 3, height: 64, width: 64 };
    let image: Vec<f32> = u11("one", 3 * 64 * 64).iter().map(|x| *x as f32).collect();
    let networks = [MetricNetwork::Perceptual(network(Backbone::Alex))];
    let scores = evaluate_networks(&image, &image, shape, &networks).unwrap().remove(0);
    assert_eq!(scores.lpips, Some(0.0));
    assert_eq!(scores.energy_score, Some(0.0));
    assert_eq!((scores.frechet, scores.mmd2), (None, None));
    assert!(scores.undefined["fd_alex"].contains("at least 2") && scores.cautions.is_empty());
    assert!(!scores.conventions["lpips_alex"].contains("upsampled"));
}

#[test]
fn wrong_images_are_named() {
    let network = network(Backbone::Alex);
    let images = |dims: &[i64]| Tensor::zeros(dims, (Kind::Float, Device::Cpu));
    let error = network.features(&images(&[1, 2, 64, 64])).unwrap_err().to_string();
    assert!(error.contains("[1, 2, 64, 64]") && error.contains("C = 3"), "{error}");
    let error = network.lpips(&images(&[1, 3, 64, 64]), &images(&[2, 3, 64, 64])).unwrap_err();
    assert!(matches!(error, NetworkError::Pairs { .. }));
    let shape = SampleShape { images: 1, samples: 1, channels: 1, height: 2, width: 2 };
    let networks = [MetricNetwork::Perceptual(network)];
    let error = evaluate_networks(&[0.0; 4], &[f32::NAN; 4], shape, &networks).unwrap_err();
    assert!(matches!(
        error,
        NetworkError::Metrics(MetricsError::NotFinite { what: "samples", index: 0, .. })
    ));
    let error = evaluate_networks(&[0.0; 4], &[0.0; 5], shape, &networks).unwrap_err().to_string();
    assert!(error.contains("5 values where 4"), "{error}");
}

#[test]
fn files_of_weights_are_read_strictly() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alex.safetensors");
    let whole = weights(Backbone::Alex);
    let refused = |change: &dyn Fn(&mut Vec<WeightArray>), words: &str| {
        let mut changed = whole.clone();
        change(&mut changed);
        let error = serialize(Backbone::Alex, &changed, &origin()).unwrap_err().to_string();
        assert!(error.contains("alex") && error.contains(words), "{error}");
    };
    refused(&|w| drop(w.pop()), "is missing");
    refused(&|w| w.push(w[0].clone()), "comes twice");
    refused(&|w| w[0].dims.reverse(), "has shape");
    refused(&|w| w[0].values[7] = f32::NAN, "conv0.weight\" is not finite at flat index 7");

    let bytes = serialize(Backbone::Alex, &whole, &origin()).unwrap();
    let load = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        FeatureNetwork::load(&path, Device::Cpu)
    };
    assert_eq!(*load(&bytes).unwrap().origin(), origin());
    let replaced = |from: &str, to: &str| {
        let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()
    };
    let last = bytes.len();
    let spoilt = |mut bytes: Vec<u8>| {
        bytes[last - 4..].copy_from_slice(&f32::INFINITY.to_le_bytes());
        bytes
    };
    let mut flipped = bytes.clone();
    flipped[last - 3] ^= 1;
    // As in a file of before digests were written: spaces at the end of the header.
    let place = |from: usize, words: &[u8]| {
        from + bytes[from..].windows(words.len()).position(|window| window == words).unwrap()
    };
    let start = place(0, b",\\\"sha256\\\":{\\\"conv");
    let end = place(start, b"}") + 1;
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let spaces = vec![b' '; end - start];
    let former = [&bytes[..start], &bytes[end..header], &spaces, &bytes[header..]].concat();
    assert_eq!(*load(&former).unwrap().origin(), origin());
    for (bytes, words) in [
        (bytes[..last - 1].to_vec(), "damaged or no safetensors file"),
        (b"PK".to_vec(), "damaged or no safetensors file"),
        (
            replaced("\"conv0.bias\":{", "\"conv9.bias\":{"),
            "tensor \"conv0.bias\" of shape [64] is missing",
        ),
        (replaced("\\\"alex\\\"", "\\\"alox\\\""), "its network is \"alox\""),
        (replaced("\"eps\"", "\"spe\""), "no entry \"eps\""),
        (replaced("version\\\":1", "version\\\":2"), "format version is 2"),
        (spoilt(former), "is not finite"),
        (spoilt(bytes.clone()), "is not what was written"),
        (flipped, "is not what was written"),
    ] {
        let error = load(&bytes).unwrap_err().to_string();
        let named = error.contains("alex.safetensors") && error.contains("fetch the weights");
        assert!(named && error.contains(words), "{words}: {error}");
    }
    let error = FeatureNetwork::load(&dir.path().join("no"), Device::Cpu).unwrap_err();
    assert!(matches!(error, NetworkError::Io { .. }));
}
