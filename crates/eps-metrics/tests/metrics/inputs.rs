//! Inputs that any language can make: the rule of `golden.json`.

/// Uniform numbers on [0, 1): the output mix of splitmix64 on the FNV-1a hash of `name` plus
/// multiples of the golden ratio.
pub(crate) fn u01(name: &str, n: usize) -> Vec<f64> {
    let hash = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |h, byte| {
        (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    let value = |i: u64| {
        let mut z = hash.wrapping_add((i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        (z >> 11) as f64 / (1_u64 << 53) as f64
    };
    (0..n as u64).map(value).collect()
}

/// The same on [-1, 1).
pub(crate) fn u11(name: &str, n: usize) -> Vec<f64> {
    u01(name, n).into_iter().map(|u| 2.0 * u - 1.0).collect()
}

/// Standard normal numbers, by Box and Muller.
pub(crate) fn normal(name: &str, n: usize) -> Vec<f64> {
    let u = u01(name, 2 * n);
    u.as_chunks::<2>()
        .0
        .iter()
        .map(|[u, v]| (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos())
        .collect()
}

/// A closure that returns uniform numbers of its own stream.
pub(crate) fn stream(name: &str) -> impl FnMut() -> f64 {
    let values = u01(name, 100_000);
    let mut next = values.into_iter();
    move || next.next().expect("the stream of the test is long enough")
}

/// The two images of the rule, [3, 64, 64] on [-1, 1]: one of blurred noise, and the same with some
/// white noise.
pub(crate) fn image_pair(salt: &str) -> [Vec<f64>; 2] {
    let n = 3 * 64 * 64;
    let p: Vec<f64> = smooth(u11(&format!("{salt}a"), n)).iter().map(|x| 2.0 * x).collect();
    let noisy = p.iter().zip(u11(&format!("{salt}b"), n)).map(|(p, e)| p + 0.1 * e).collect();
    [p, noisy].map(|image: Vec<f64>| image.iter().map(|x| x.clamp(-1.0, 1.0)).collect())
}

/// Two passes of a circular 5×5 box mean over [C, 64, 64].
fn smooth(mut image: Vec<f64>) -> Vec<f64> {
    const SIDE: usize = 64;
    for _ in 0..2 {
        let mean = |at: usize| {
            let (channel, y, x) = (at / (SIDE * SIDE), at / SIDE % SIDE, at % SIDE);
            let mut sum = 0.0;
            for i in 0..5 {
                for j in 0..5 {
                    let (y, x) = ((y + SIDE + i - 2) % SIDE, (x + SIDE + j - 2) % SIDE);
                    sum += image[(channel * SIDE + y) * SIDE + x];
                }
            }
            sum / 25.0
        };
        image = (0..image.len()).map(mean).collect();
    }
    image
}
