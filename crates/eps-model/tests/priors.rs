//! Priors of any parameterisation, as closures and as TorchScript modules, against the exact denoiser.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::PathBuf;

use eps_math::operator::{Mask, Operator};
use eps_math::parameterisation::{
    Parameterisation, PixelRange, Prediction, StateScale, TimeInput, Translation,
};
use eps_math::prior::{Gaussian, Mixture};
use eps_math::rng::Stream;
use eps_math::timesteps::{Betas, Between, Timesteps};
use eps_math::{Interpolant, Level, Shape};
use eps_model::{
    AdaptedDenoiser, ClassInput, Classes, Denoiser, Measurement, ModelError, Oracle, Precision,
    PriorDescription, Query, QueryNoise, ScriptedPrior, TensorOperator, batch, level_fields,
};
use tch::{CModule, Device, Kind, Tensor};

const CPU: Device = Device::Cpu;
const S2: f64 = 0.09;

fn shape() -> Shape {
    Shape::new(1, 2, 3).unwrap()
}

/// The mode m of the prior ½ N(m, s² I) + ½ N(−m, s² I).
fn mode() -> [f64; 6] {
    [0.5, 0.3, -0.2, 0.6, -0.4, 0.1]
}

fn prior() -> Mixture {
    let covariance = || faer::Mat::from_fn(6, 6, |i, j| if i == j { S2 } else { 0.0 });
    let gaussian =
        |sign: f64| Gaussian::new(mode().map(|value| sign * value).to_vec(), covariance()).unwrap();
    Mixture::new(&[0.5, 0.5], vec![gaussian(1.0), gaussian(-1.0)]).unwrap()
}

/// m as an image.
fn mode_image(kind: Kind) -> Tensor {
    Tensor::from_slice(&mode()).to_kind(kind).view([1, 1, 2, 3])
}

/// The prior's exact denoiser in operations of libtorch, σ `[B, 1, 1, 1]`:
///
/// D(μ) = w μ + (1 − w) m tanh(mᵀμ/(s² + σ²)), w = s²/(s² + σ²).
fn exact(m: &Tensor, mu: &Tensor, sigma: &Tensor) -> Tensor {
    let total = sigma.square() + S2;
    let inner = (mu * m).sum_dim_intlist([1i64, 2, 3].as_slice(), true, mu.kind());
    let w = total.reciprocal() * S2;
    mu * &w + (1.0 - w) * m * (inner / total).tanh()
}

/// The noise level, on the network's range, that a network recognises by the time it reads.
fn recognised(time: &TimeInput, read: &Tensor) -> Tensor {
    let per_value = |level: &dyn Fn(f64) -> f64| {
        let values: Vec<f64> = Vec::try_from(read.to_kind(Kind::Double)).unwrap();
        Tensor::from_slice(&values.into_iter().map(level).collect::<Vec<_>>())
    };
    let sigma = match *time {
        TimeInput::Sigma => read.shallow_clone(),
        TimeInput::QuarterLogSigma => (read * 4.0).exp(),
        TimeInput::Timestep { betas, .. } => {
            let steps = Timesteps::new(&betas).unwrap();
            per_value(&|read| {
                let (n, part) = (read.floor() as usize, read.fract());
                let next = steps.sigma((n + 1).min(steps.count() - 1));
                (steps.sigma(n).ln() * (1.0 - part) + next.ln() * part).exp()
            })
        }
        TimeInput::Time { path, at_data, at_noise } => {
            per_value(&|read| path.level((read - at_data) / (at_noise - at_data)).sigma())
        }
    };
    sigma.to_kind(read.kind()).view([-1, 1, 1, 1])
}

/// The network that the exact denoiser is in a parameterisation.
fn network(p: Parameterisation) -> impl Fn(&Tensor, &Tensor) -> Tensor {
    move |x: &Tensor, time: &Tensor| {
        let sigma = recognised(&p.time, time).to_kind(x.kind());
        let (h, c) = p.range.scale_and_offset();
        let alpha = match p.state {
            StateScale::Unscaled => sigma.ones_like(),
            StateScale::VariancePreserving => (sigma.square() + 1.0).rsqrt(),
            StateScale::RectifiedFlow => (&sigma + 1.0).reciprocal(),
        };
        let mu = x / &alpha;
        let x_0 = (exact(&mode_image(x.kind()), &(&mu * h + c), &(&sigma * h)) - c) / h;
        let noise = (mu - &x_0) / &sigma;
        match (p.prediction, p.time) {
            (Prediction::X0, _) => x_0,
            (Prediction::Epsilon, _) => noise,
            (Prediction::V, _) => (noise - x_0 * sigma) * alpha,
            (Prediction::Velocity, TimeInput::Time { at_data, at_noise, .. })
                if at_data > at_noise =>
            {
                x_0 - noise
            }
            (Prediction::Velocity, _) => noise - x_0,
        }
    }
}

/// Networks as they are published: EDM, DDPM, v-prediction, flows.
fn published() -> Vec<Parameterisation> {
    use PixelRange::{MinusOneToOne, ZeroToOne};
    use Prediction::{Epsilon, V, Velocity, X0};
    use StateScale::{RectifiedFlow, Unscaled, VariancePreserving};
    let timestep = |betas, between| TimeInput::Timestep { betas, between };
    let time = |path, at_data, at_noise| TimeInput::Time { path, at_data, at_noise };
    [
        (X0, Unscaled, TimeInput::QuarterLogSigma, MinusOneToOne),
        (Epsilon, Unscaled, TimeInput::Sigma, ZeroToOne),
        (Epsilon, VariancePreserving, timestep(Betas::linear(), Between::Nearest), MinusOneToOne),
        (V, VariancePreserving, timestep(Betas::cosine(), Between::Interpolate), ZeroToOne),
        (V, VariancePreserving, time(Interpolant::vp_cosine(), 0.0, 1.0), MinusOneToOne),
        (Epsilon, VariancePreserving, time(Interpolant::vp_linear(), 0.0, 999.0), MinusOneToOne),
        (Velocity, RectifiedFlow, time(Interpolant::RectifiedFlow, 0.0, 1000.0), MinusOneToOne),
        (Velocity, RectifiedFlow, time(Interpolant::RectifiedFlow, 1.0, 0.0), ZeroToOne),
        (X0, RectifiedFlow, time(Interpolant::RectifiedFlow, 0.0, 1.0), ZeroToOne),
    ]
    .map(|(prediction, state, time, range)| Parameterisation { prediction, state, time, range })
    .to_vec()
}

const SIGMAS: [f64; 4] = [0.05, 0.6, 3.0, 70.0];

/// A state of every noise level, around both modes.
fn states() -> Tensor {
    let prior = prior();
    let values: Vec<f64> = (0u64..)
        .zip(SIGMAS)
        .flat_map(|(i, sigma)| {
            let x_0 = prior.sample(&Stream::new(0, i, 0, 0));
            let noise = Stream::new(1, i, 0, 0).normals(6);
            x_0.into_iter().zip(noise).map(move |(x, z)| x + sigma * z)
        })
        .collect();
    batch(&values, shape(), CPU)
}

fn largest(x: &Tensor) -> f64 {
    x.abs().max().double_value(&[])
}

#[test]
fn adapters_give_the_exact_denoiser_back() {
    let prior = prior();
    let oracle = Oracle::new(&prior);
    let mu = states();
    let cotangent = batch(&Stream::named(2, "cotangent").normals(24), shape(), CPU);
    for p in published() {
        for (kind, unit) in [(Kind::Double, 1e-15), (Kind::Float, 1e-6)] {
            let adapted = AdaptedDenoiser::new(network(p), &p, kind).unwrap();
            let translation = Translation::new(&p).unwrap();
            let level = level_fields(&SIGMAS.map(Level::edm), CPU);
            let query = Query { mu: &mu, level: &level, noise: QueryNoise::Isotropic };
            let c = |_: &Tensor| cotangent.shallow_clone();
            let (d, vjp) = adapted.denoise_vjp(&query, &c).unwrap();
            assert!(d.equal(&adapted.denoise(&query).unwrap()) && !vjp.requires_grad());
            // A network of noise that is told another level σ' finds the noise of its state there,
            // ε' = (μ' − D(μ'; σ'))/σ', μ' = μ √((1 + σ'²)/(1 + σ²)); the answer is μ − σ ε'.
            let told = SIGMAS.map(|sigma| match p.time {
                TimeInput::Timestep { betas, between: Between::Nearest } => {
                    let time = translation.call(sigma).time;
                    Timesteps::new(&betas).unwrap().sigma(time as usize)
                }
                _ => sigma,
            });
            let each = |of: &dyn Fn(usize) -> f64| {
                let values: Vec<f64> = (0..SIGMAS.len()).map(of).collect();
                Tensor::from_slice(&values).view([-1, 1, 1, 1])
            };
            let gain = each(&|i| ((1.0 + told[i].powi(2)) / (1.0 + SIGMAS[i].powi(2))).sqrt());
            let ratio = each(&|i| SIGMAS[i] / told[i]);
            let (state, level) = (&mu * &gain, level_fields(&told.map(Level::edm), CPU));
            let at = Query { mu: &state, level: &level, noise: QueryNoise::Isotropic };
            let (x_0, back) = oracle.denoise_vjp(&at, &c).unwrap();
            let d_exact = &mu - &ratio * (&state - x_0);
            let vjp_exact = &cotangent - &ratio * &gain * (&cotangent - back);
            // D is the difference of μ and σ F, each rounded at the size of the noise; a time of
            // a path loses ε σ near its end, and one of a thousand steps in f32 6e-5 of a step.
            let time = match p.time {
                TimeInput::Sigma | TimeInput::QuarterLogSigma => 1.0,
                TimeInput::Timestep { .. } | TimeInput::Time { .. } => 10.0,
            };
            for (i, sigma) in (0i64..).zip(SIGMAS) {
                let bound = unit * time * (1.0 + sigma);
                let off = largest(&(d.get(i) - d_exact.get(i)));
                assert!(off < bound, "{p:?} {kind:?} σ {sigma}: {off}");
                let off = largest(&(vjp.get(i) - vjp_exact.get(i)));
                assert!(off < bound * (1.0 + 1.0 / sigma), "{p:?} {kind:?} σ {sigma}: {off}");
            }
        }
    }
}

#[test]
fn the_vjp_is_the_derivative() {
    let mu = states();
    let draw = |name| batch(&Stream::named(3, name).normals(24), shape(), CPU);
    let (cotangent, direction) = (draw("cotangent"), draw("direction"));
    let level = level_fields(&SIGMAS.map(Level::edm), CPU);
    for p in published() {
        let adapted = AdaptedDenoiser::new(network(p), &p, Kind::Double).unwrap();
        let query = Query { mu: &mu, level: &level, noise: QueryNoise::Isotropic };
        let along = |h: f64| {
            let moved = &mu + &direction * h;
            let answer = adapted.denoise(&Query { mu: &moved, ..query }).unwrap();
            (answer * &cotangent).sum(Kind::Double).double_value(&[])
        };
        let (_, vjp) = adapted.denoise_vjp(&query, &|_| cotangent.shallow_clone()).unwrap();
        let expected = (vjp * &direction).sum(Kind::Double).double_value(&[]);
        let h = 1e-5;
        let slope = (along(h) - along(-h)) / (2.0 * h);
        // h² of a third derivative below 1/s³ = 37 and ε σ/h.
        assert!((slope - expected).abs() < 1e-7 * (1.0 + expected.abs()), "{slope} {expected}");
    }
}

#[test]
fn every_question_is_asked_as_an_isotropic_one() {
    let p = published()[0];
    let adapted = AdaptedDenoiser::new(network(p), &p, Kind::Double).unwrap();
    let mask = Mask::new(shape(), vec![true, false, true, false, true, false]).unwrap();
    let operator = TensorOperator::new(vec![Operator::Mask(mask); 4], CPU).unwrap();
    let y = Tensor::zeros([4, 1, 2, 3], (Kind::Double, CPU));
    let measurement = Measurement::new(operator, &y, 0.1).unwrap();
    let (mu, level) = (states(), level_fields(&[Level { alpha: 0.5, beta: 0.4 }], CPU));
    let sigma_star = &measurement.sigma_star(&level);
    let ask = |noise| adapted.denoise(&Query { mu: &mu, level: &level, noise }).unwrap();
    let isotropic = ask(QueryNoise::Isotropic);
    assert!(isotropic.equal(&ask(QueryNoise::Observed(&measurement))));
    let noise = QueryNoise::Anisotropic { measurement: &measurement, sigma_star };
    assert!(isotropic.equal(&ask(noise)));
}

/// A folder with a module of the exact denoiser that predicts ε on EDM's variable, asked by ¼ ln σ.
struct Scripts(tempfile::TempDir);

impl Scripts {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn description(script: &str) -> PriorDescription {
        PriorDescription {
            format_version: 1,
            name: "bimodal".to_owned(),
            script: script.into(),
            images: shape(),
            parameterisation: Parameterisation {
                prediction: Prediction::Epsilon,
                state: StateScale::Unscaled,
                time: TimeInput::QuarterLogSigma,
                range: PixelRange::MinusOneToOne,
            },
            sigma_min: 0.01,
            sigma_max: 80.0,
            classes: None,
            batch: None,
        }
    }

    /// Writes a description.
    fn describe(&self, description: &PriorDescription) -> PathBuf {
        let path = self.path("prior.json");
        std::fs::write(&path, serde_json::to_string(description).unwrap()).unwrap();
        path
    }

    /// Traces a function of states, times and more.
    fn trace(&self, name: &str, more: &[Tensor], f: impl Fn(&Tensor, &[Tensor]) -> Tensor) {
        self.trace_at(0.0, name, more, f);
    }

    /// The same at another time than 0.
    fn trace_at(
        &self,
        time: f64,
        name: &str,
        more: &[Tensor],
        f: impl Fn(&Tensor, &[Tensor]) -> Tensor,
    ) {
        let _guard = tch::no_grad_guard();
        let mut inputs = vec![
            Tensor::ones([2, 1, 2, 3], (Kind::Float, CPU)),
            Tensor::full([2], time, (Kind::Float, CPU)),
        ];
        inputs.extend(more.iter().map(Tensor::shallow_clone));
        let m = mode_image(Kind::Float);
        let mut closure = |inputs: &[Tensor]| vec![f(&m, inputs)];
        let module = CModule::create_by_tracing("prior", "forward", &inputs, &mut closure).unwrap();
        module.save(self.path(name)).unwrap();
    }
}

/// ε, from states and times; a trace takes up `m` as it is when it was made before.
fn epsilon(m: &Tensor, inputs: &[Tensor]) -> Tensor {
    let sigma = (&inputs[1] * 4.0).exp().view([-1, 1, 1, 1]);
    (&inputs[0] - exact(m, &inputs[0], &sigma)) / sigma
}

#[test]
fn a_script_is_a_prior() {
    let scripts = Scripts::new();
    scripts.trace("epsilon.pt", &[], epsilon);
    let path = scripts.describe(&Scripts::description("epsilon.pt"));
    let scripted = ScriptedPrior::load(&path, None, CPU, Precision::F32).unwrap();
    let prior = prior();
    let (mu, level) = (states(), level_fields(&SIGMAS.map(Level::edm), CPU));
    let query = Query { mu: &mu, level: &level, noise: QueryNoise::Isotropic };
    let cotangent = |d: &Tensor| d * 2.0;
    let (d, vjp) = scripted.denoise_vjp(&query, &cotangent).unwrap();
    let (d_exact, vjp_exact) = Oracle::new(&prior).denoise_vjp(&query, &cotangent).unwrap();
    for (i, sigma) in (0i64..).zip(SIGMAS) {
        let (off, off_vjp) =
            (largest(&(d.get(i) - d_exact.get(i))), largest(&(vjp.get(i) - vjp_exact.get(i))));
        // An f32 network whose prediction is multiplied by σ, in its derivative over s² too.
        assert!(off < 1e-6 * (1.0 + sigma), "σ {sigma}: {off}");
        assert!(off_vjp < 1e-5 * (1.0 + sigma), "σ {sigma}: {off_vjp}");
    }

    // A module for two images at once: five are asked about in three calls.
    let fixed = |m: &Tensor, inputs: &[Tensor]| epsilon(m, inputs).view([2, 6]).view([2, 1, 2, 3]);
    scripts.trace("fixed.pt", &[], fixed);
    let description = Scripts::description("fixed.pt");
    let error = ScriptedPrior::load(&scripts.describe(&description), None, CPU, Precision::F32)
        .unwrap_err();
    assert!(matches!(error, ModelError::ScriptCall { images: 1, .. }), "{error}");
    let path = scripts.describe(&PriorDescription { batch: Some(2), ..description });
    let fixed = ScriptedPrior::load(&path, None, CPU, Precision::F32).unwrap();
    let five = Tensor::cat(&[&mu, &mu.narrow(0, 0, 1)], 0);
    let sigmas = [SIGMAS.as_slice(), &SIGMAS[..1]].concat();
    let level = level_fields(&sigmas.iter().map(|s| Level::edm(*s)).collect::<Vec<_>>(), CPU);
    let query = Query { mu: &five, level: &level, noise: QueryNoise::Isotropic };
    let found = fixed.denoise(&query).unwrap();
    assert_eq!(found.size(), [5, 1, 2, 3]);
    assert!(largest(&(found - scripted.denoise(&query).unwrap())) < 1e-4);
}

#[test]
fn classes_reach_the_script() {
    let scripts = Scripts::new();
    // Class k of three predicts k ε.
    let weights = Tensor::from_slice(&[0f32, 1.0, 2.0]);
    let one_hot = |m: &Tensor, inputs: &[Tensor]| {
        let k = (&inputs[2] * &weights).sum_dim_intlist([1i64].as_slice(), false, Kind::Float);
        epsilon(m, inputs) * k.view([-1, 1, 1, 1])
    };
    scripts.trace("one-hot.pt", &[Tensor::zeros([2, 3], (Kind::Float, CPU))], one_hot);
    let index = |m: &Tensor, inputs: &[Tensor]| {
        epsilon(m, inputs) * inputs[2].to_kind(Kind::Float).view([-1, 1, 1, 1])
    };
    scripts.trace("index.pt", &[Tensor::zeros([2], (Kind::Int64, CPU))], index);
    let (mu, level) = (states(), level_fields(&[Level::edm(0.6)], CPU));
    let query = Query { mu: &mu, level: &level, noise: QueryNoise::Isotropic };
    let load = |script: &str, input, class| {
        let classes = Some(Classes { count: 3, input });
        let description = PriorDescription { classes, ..Scripts::description(script) };
        ScriptedPrior::load(&scripts.describe(&description), class, CPU, Precision::F32)
    };
    let answer =
        |script, input, class| load(script, input, class).unwrap().denoise(&query).unwrap();
    let (one, two) = (
        answer("one-hot.pt", ClassInput::OneHot, Some(1)),
        answer("one-hot.pt", ClassInput::OneHot, Some(2)),
    );
    // D = μ − k σ ε.
    assert!(largest(&(two - (&one * 2.0 - &mu))) < 1e-5);
    assert!(answer("one-hot.pt", ClassInput::OneHot, None).equal(&mu));
    assert!(one.equal(&answer("index.pt", ClassInput::Index, Some(1))));
    for (class, words) in [(Some(3), "0 to 2"), (None, "give one of 0 to 2")] {
        let error = load("index.pt", ClassInput::Index, class).unwrap_err().to_string();
        assert!(error.contains("prior.json") && error.contains(words), "{error}");
    }
}

#[test]
fn what_is_no_prior_is_told() {
    let scripts = Scripts::new();
    scripts.trace("epsilon.pt", &[], epsilon);
    scripts.trace("pair.pt", &[], |m, inputs| {
        Tensor::cat(&[epsilon(m, inputs), epsilon(m, inputs)], 1)
    });
    scripts.trace("nan.pt", &[], |m, inputs| epsilon(m, inputs) / (&inputs[0] * 0.0));
    scripts.trace("more.pt", &[Tensor::zeros([2], (Kind::Int64, CPU))], |m, inputs| {
        epsilon(m, inputs) + inputs[2].to_kind(Kind::Float).view([-1, 1, 1, 1])
    });
    std::fs::write(scripts.path("weights.pt"), "no module").unwrap();
    let fails = |description: &PriorDescription, words: &[&str]| {
        let path = scripts.describe(description);
        let error = ScriptedPrior::load(&path, None, CPU, Precision::F32).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "no {word:?} in: {error}");
        }
        assert!(!error.contains('\n') && error.len() < 500, "{error}");
    };
    let of = Scripts::description;
    fails(&of("gone.pt"), &["gone.pt", "relative to the description"]);
    fails(&of("weights.pt"), &["weights.pt", "no TorchScript module", "torch.jit"]);
    fails(&of("pair.pt"), &["pair.pt", "[2, 2, 2, 3]", "[2, 1, 2, 3]", "variances"]);
    fails(&of("nan.pt"), &["nan.pt", "NaN", "f32"]);
    fails(&of("more.pt"), &["more.pt", "times [2] in f32", "description"]);
    fails(&PriorDescription { sigma_min: 90.0, ..of("epsilon.pt") }, &["90", "0 < min < max"]);
    let mut short = of("epsilon.pt");
    short.parameterisation.time =
        TimeInput::Timestep { betas: Betas::linear(), between: Between::Nearest };
    short.sigma_min = 0.002;
    fails(&short, &["sigma_min 0.002", "within 0.0100"]);
    let path = scripts.path("bad.json");
    for (text, words) in [("{", "docs/priors.md"), ("{\"name\": 3}", "string")] {
        std::fs::write(&path, text).unwrap();
        let error = ScriptedPrior::load(&path, None, CPU, Precision::F32).unwrap_err().to_string();
        assert!(error.contains("bad.json") && error.contains(words), "{error}");
    }
    let path = scripts.describe(&of("epsilon.pt"));
    let error = ScriptedPrior::load(&path, None, CPU, Precision::F16).unwrap_err().to_string();
    assert!(error.contains("f16") && error.contains("bf16"), "{error}");
    let low = ScriptedPrior::load(&path, None, CPU, Precision::Bf16).unwrap();
    let (mu, level) = (states(), level_fields(&[Level::edm(0.6)], CPU));
    let query = Query { mu: &mu, level: &level, noise: QueryNoise::Isotropic };
    let high = ScriptedPrior::load(&path, None, CPU, Precision::F32).unwrap();
    let off = largest(&(low.denoise(&query).unwrap() - high.denoise(&query).unwrap()));
    // ε is of order one and rounded to 8 bits, the state before it at the size of its values.
    assert!(off > 0.0 && off < 2f64.powi(-8) * (1.0 + largest(&mu)), "{off}");
}

#[test]
fn threads_share_a_module() {
    let scripts = Scripts::new();
    scripts.trace("epsilon.pt", &[], epsilon);
    let path = scripts.describe(&Scripts::description("epsilon.pt"));
    let prior = ScriptedPrior::load(&path, None, CPU, Precision::F32).unwrap();
    let asked = |prior: &ScriptedPrior| {
        let (mu, level) = (states(), level_fields(&[Level::edm(0.6)], CPU));
        let query = Query { mu: &mu, level: &level, noise: QueryNoise::Isotropic };
        Vec::<f64>::try_from(prior.denoise(&query).unwrap().flatten(0, -1)).unwrap()
    };
    let own = asked(&prior);
    let others = [prior.another(), prior.another()];
    let threads = others.map(|other| std::thread::spawn(move || asked(&other)));
    for thread in threads {
        assert_eq!(thread.join().unwrap(), own);
    }
}

/// A module whose answers are not a function of its input shows wrong samples without a word.
#[test]
fn modules_that_vary_are_refused() {
    let scripts = Scripts::new();
    // Traced in training mode: the masks of dropout are drawn at every call, here of so many different values that no two
    // calls agree by chance.
    let inside = Tensor::linspace(0.0, 1.0, 256, (Kind::Float, CPU));
    scripts.trace("dropout.pt", &[], |m, inputs| {
        epsilon(m, inputs) * inside.dropout(0.5, true).mean(Kind::Float)
    });
    scripts.trace("random.pt", &[], |m, inputs| {
        let e = epsilon(m, inputs);
        let noise = e.randn_like();
        e + noise * 0.01
    });
    // The statistics of the batch normalise, as batch normalisation does in training mode.
    scripts.trace("batch.pt", &[], |m, inputs| {
        let e = epsilon(m, inputs);
        let mean = e.mean_dim([0i64].as_slice(), true, Kind::Float);
        e - mean * 0.5
    });
    // A state that every call adds to.
    let calls = Tensor::zeros([1, 1, 1, 1], (Kind::Float, CPU));
    scripts.trace("state.pt", &[], |m, inputs| {
        let mut kept = calls.shallow_clone();
        let _ = kept.g_add_scalar_(1.0);
        epsilon(m, inputs) * (1.0 + &calls * 0.01)
    });
    let load = |script: &str, batch| {
        let description = PriorDescription { batch, ..Scripts::description(script) };
        ScriptedPrior::load(&scripts.describe(&description), None, CPU, Precision::F32)
    };
    for script in ["dropout.pt", "random.pt", "batch.pt", "state.pt"] {
        for batch in [None, Some(2)] {
            let error = load(script, batch).unwrap_err();
            assert!(matches!(error, ModelError::ScriptVaries { .. }), "{script}: {error}");
            let words = error.to_string();
            assert!(words.contains(script) && words.contains("network.eval()"), "{words}");
        }
    }
    scripts.trace("eval.pt", &[], |m, inputs| epsilon(m, inputs).dropout(0.1, false));
    load("eval.pt", None).unwrap();
}

/// What is decided by the time fails between the ends of the levels, not at them.
#[test]
fn modules_that_fail_between_their_levels_are_refused() {
    let scripts = Scripts::new();
    // c_noise = ¼ ln σ is −1.15 at the lowest level, 1.10 at the highest and 0 in the trace; an index out of range
    // raises, and a length that depends on the time changes the shape.
    let inside = |time: &Tensor| (time.abs() - 0.7).abs().lt(0.2);
    scripts.trace("raises.pt", &[], |m, inputs| {
        let inside = inside(&inputs[1]).to_kind(Kind::Int64);
        let table = Tensor::ones([1], (Kind::Float, CPU));
        epsilon(m, inputs) * table.index_select(0, &inside).view([-1, 1, 1, 1])
    });
    scripts.trace("shape.pt", &[], |m, inputs| {
        let e = epsilon(m, inputs);
        let outside = inside(&inputs[1]).logical_not().nonzero().flatten(0, -1);
        e.index_select(0, &outside)
    });
    let load = |script: &str| {
        let path = scripts.describe(&Scripts::description(script));
        ScriptedPrior::load(&path, None, CPU, Precision::F32).unwrap_err()
    };
    let error = load("raises.pt");
    assert!(matches!(error, ModelError::ScriptCall { images: 1, .. }), "{error}");
    assert!(error.to_string().contains("out of range"), "{error}");
    let error = load("shape.pt");
    assert!(matches!(error, ModelError::ScriptOutput { .. }), "{error}");
}

#[test]
fn the_documented_descriptions_are_read() {
    for text in [include_str!("../../../docs/priors.md"), include_str!("../src/scripted_prior.rs")]
    {
        let plain: Vec<&str> = text.lines().map(|line| line.trim_start_matches("//! ")).collect();
        let plain = plain.join("\n");
        let json = plain.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
        let description: PriorDescription = serde_json::from_str(&json.replace("//!", "")).unwrap();
        assert_eq!(description.format_version, 1);
        let reach = Translation::new(&description.parameterisation).unwrap().reach();
        let (min, max) = description.sigmas();
        assert!(reach.0 <= min && max <= reach.1, "{reach:?}");
    }
    // The times of the table of networks.
    for row in include_str!("../../../docs/priors.md").lines() {
        for json in row.split('`').filter(|part| part.starts_with("{\"time\"")) {
            let time: TimeInput = serde_json::from_str(json).unwrap();
            let p = Parameterisation { time, ..Scripts::description("").parameterisation };
            Translation::new(&p).unwrap();
        }
    }
}

/// A module is tried out at some of its levels; what it does between them is told when it does it.
#[test]
fn a_script_that_fails_between_its_levels_is_an_error() {
    let scripts = Scripts::new();
    // ¼ ln 0.93: none of the levels in equal steps of ln σ between 0.01 and 80 is so near to it.
    let near = |time: &Tensor| (time + 0.0181).abs().lt(0.005);
    // Row 1 there, which the table has not.
    let raises = |_: &Tensor, inputs: &[Tensor]| {
        let table = Tensor::ones([1, 1, 1, 1], (Kind::Float, CPU));
        &inputs[0] * table.index_select(0, &near(&inputs[1]).to_kind(Kind::Int64))
    };
    scripts.trace_at(1.0, "raises.pt", &[], raises);
    // No image there.
    let drops = |_: &Tensor, inputs: &[Tensor]| {
        inputs[0].index_select(0, &near(&inputs[1]).logical_not().nonzero().view([-1]))
    };
    scripts.trace_at(1.0, "drops.pt", &[], drops);
    let mu = states();
    let count = mu.size()[0];
    for (script, said) in [
        ("raises.pt", "raises.pt: the module failed: ".to_owned()),
        ("drops.pt", format!("returned a tensor [0, 1, 2, 3] for images [{count}, 1, 2, 3]")),
    ] {
        let path = scripts.describe(&Scripts::description(script));
        let prior = ScriptedPrior::load(&path, None, CPU, Precision::F32).unwrap();
        let ask = |sigma_t: f64| {
            let level = level_fields(&[Level::edm(sigma_t)], CPU);
            let query = Query { mu: &mu, level: &level, noise: QueryNoise::Isotropic };
            let vjp = prior.denoise_vjp(&query, &|d| d.ones_like()).map(drop);
            (prior.denoise(&query), vjp)
        };
        let (answer, vjp) = ask(80.0);
        assert!(answer.is_ok() && vjp.is_ok(), "{script}");
        let (answer, vjp) = ask(0.93);
        for error in [answer.unwrap_err(), vjp.unwrap_err()] {
            let text = error.to_string();
            assert!(text.contains(&said), "{text}");
            assert!(text.lines().count() == 1 && !text.contains("frame #"), "{text}");
        }
    }
}
