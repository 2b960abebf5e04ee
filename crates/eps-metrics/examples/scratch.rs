use std::time::Instant;
fn main() {
    let mut s = 1u64;
    let mut r = |n: usize| -> Vec<f64> { (0..n).map(|_| { s ^= s << 13; s ^= s >> 7; s ^= s << 17; (s >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0 }).collect() };
    for (n, j, c, h) in [(1000, 10, 1, 28), (100, 10, 3, 64)] {
        let d = c * h * h;
        let t = r(n * d);
        let x = r(n * j * d);
        let t0 = Instant::now();
        let m = eps_metrics::mmd::mmd2(&x, &t, d).unwrap();
        println!("mmd {n} {j} {d}: {:?} {:?}", t0.elapsed(), m);
        let t0 = Instant::now();
        let e = eps_metrics::evaluate(&t, &x, eps_metrics::SampleShape { images: n, samples: j, channels: c, height: h, width: h }).unwrap();
        println!("evaluate: {:?} {:?}", t0.elapsed(), e.ssim);
    }
    let (a, b) = (r(2000 * 512), r(2000 * 512));
    let t0 = Instant::now();
    println!("fd {:?} {:?}", eps_metrics::frechet::frechet_distance(&a, &b, 512).unwrap(), t0.elapsed());
}
