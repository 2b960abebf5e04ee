//! FID through a TorchScript module with the interface of the FID network.

use std::io::Write as _;
use std::path::Path;

use approx::assert_relative_eq;
use eps_metrics::SampleShape;
use eps_metrics::networks::{Inception, MetricNetwork, evaluate_networks};
use tch::{Device, Kind, Tensor};
use zip::write::FileOptions;

/// Writes a TorchScript archive of a module without parameters, whose `forward` is `code`.
fn write_module(path: &Path, code: &str) {
    let code = format!(
        "class Net(Module):\n  __parameters__ = []\n  __buffers__ = []\n  training : bool\n  \
         def forward(self: __torch__.Net,\n    img: Tensor,\n    return_features: bool=False) \
         -> Tensor:\n{code}"
    );
    let object = b"\x80\x02c__torch__\nNet\n)\x81}X\x08\0\0\0training\x89sb.";
    let mut archive = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    // libtorch wants members that are not compressed.
    let options = FileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, contents) in [
        ("net/data.pkl", &object[..]),
        ("net/code/__torch__.py", code.as_bytes()),
        ("net/constants.pkl", b"\x80\x02)."),
        ("net/version", b"3\n"),
    ] {
        archive.start_file(name, options).unwrap();
        archive.write_all(contents).unwrap();
    }
    archive.finish().unwrap();
}

/// Features that all are the mean of the red channel, in grey levels from 0 to 255.
const MEAN_OF_RED: &str = "    mean = torch.mean(torch.to(img, 6), [2, 3])\n    \
                           red = torch.slice(mean, 1, 0, 1)\n    \
                           if return_features:\n      \
                           out = torch.repeat(red, [1, 2048])\n    \
                           else:\n      \
                           out = torch.repeat(red, [1, 1008])\n    \
                           return out\n";

#[test]
fn fid_of_a_module_with_known_features() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("net.pt");
    write_module(&path, MEAN_OF_RED);
    let network = Inception::load(&path, Device::Cpu).unwrap();
    // -1, 0 and 1 are the bytes 0, 128 and 255; 0.1 is 140, rounded down from 140.75.
    let images = Tensor::from_slice(&[-1.0_f32, 0.0, 1.0, 0.1]).view([4, 1, 1, 1]);
    let features = network.features(&images).unwrap();
    assert_eq!(features.size(), [4, 2048]);
    let column: Vec<f64> = Vec::try_from(features.select(1, 2047).to_kind(Kind::Double)).unwrap();
    assert_eq!(column, [0.0, 128.0, 255.0, 140.0]);

    // Flat grey images of the bytes 118 and 138 against 128, 148, 128, 148: means 128 and 138,
    // variances 200 and 400/3.
    let value = |byte: f32| byte / 127.5 - 1.0 + 1e-4;
    let truth: Vec<f32> = [118.0, 138.0].into_iter().flat_map(|b| vec![value(b); 12]).collect();
    let samples: Vec<f32> =
        [128.0, 148.0, 128.0, 148.0].into_iter().flat_map(|b| vec![value(b); 12]).collect();
    let shape = SampleShape { images: 2, samples: 2, channels: 3, height: 2, width: 2 };
    let networks = [MetricNetwork::Inception(network)];
    let scores = evaluate_networks(&truth, &samples, shape, &networks).unwrap().remove(0);
    let names: Vec<String> = scores.values().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["fid", "mmd2_inception", "energy_score_inception"]);
    assert_eq!(scores.lpips, None);
    // All features are alike, so both covariances are s² 1 1ᵀ and FID is D ((m₁−m₂)² + (s₁−s₂)²).
    let expected = 2048.0 * (100.0 + (200.0_f64.sqrt() - (400.0_f64 / 3.0).sqrt()).powi(2));
    assert_relative_eq!(scores.frechet.unwrap(), expected, max_relative = 1e-10);
    // |f_j − f₀| = √D · {10, 30} and {10, 10}, the pair term √D · 20 / 4.
    let expected = 2048.0_f64.sqrt() * ((20.0 - 5.0) + (10.0 - 5.0)) / 2.0;
    assert_relative_eq!(scores.energy_score.unwrap(), expected, max_relative = 1e-10);
    assert!(scores.conventions["fid"].contains("Fréchet Inception distance"));
    assert!(scores.conventions["fid"].contains("2x2 resized to 299x299 by the network"));
    assert!(scores.cautions["fid"].contains("2 truths for 2048 features"));
}

#[test]
fn other_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("net.pt");
    let refused = |words: &str| {
        let error = Inception::load(&path, Device::Cpu).unwrap_err().to_string();
        assert!(error.contains("net.pt") && error.contains(words), "{error}");
        assert!(!error.contains('\n'), "{error}");
    };
    refused("No such file");
    std::fs::write(&path, "no archive").unwrap();
    refused("cannot read it as TorchScript");
    std::fs::write(&path, "").unwrap();
    refused("inception-2015-12-05.pt");
    write_module(&path, "    return torch.mean(torch.to(img, 6), [2, 3])\n");
    refused("gives a tensor of dimensions [1, 3], needed are 2048");
    write_module(&path, "    return torch.reshape(img, [7, 7])\n");
    refused("is not the FID network");
}
