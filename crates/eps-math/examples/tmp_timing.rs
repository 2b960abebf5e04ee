use eps_math::{operator::*, rng::Stream, *};
use std::time::Instant;
fn main() {
    let n = 784;
    let shape = Shape::new(1, 28, 28).unwrap();
    let b = Stream::new(0, 0, 0, 0).normals(n * 900);
    let t = Instant::now();
    let (mean, cov) = lmmse::sample_moments(
        n,
        (0..20000).map(|i| {
            let s = (i * 7) % (n * 899);
            b[s..s + n].to_vec()
        }),
    )
    .unwrap();
    println!("moments of 20000: {:?}", t.elapsed());
    for task in Task::ALL {
        let t = Instant::now();
        for k in 0..10 {
            let a = task.draw(Draw::Test, shape, &Stream::new(0, k, 0, 0)).unwrap();
            let l = LinearMmse::new(&mean, &cov, &a, 0.05).unwrap();
            let y = vec![0.1; a.range().len()];
            std::hint::black_box(l.estimate(&y));
        }
        println!("{}: {:?} each", task.name(), t.elapsed() / 10);
    }
    let a = Task::MotionBlur.draw(Draw::Test, shape, &Stream::new(0, 1, 0, 0)).unwrap();
    let x = mean.clone();
    let t = Instant::now();
    for _ in 0..1000 {
        std::hint::black_box(a.apply(&x));
    }
    println!("apply {:?}", t.elapsed() / 1000);
    more(&cov, &a);
}
#[allow(dead_code)]
pub fn more(cov: &faer::Mat<f64>, a: &Operator) {
    let n = 784;
    let t = Instant::now();
    let mut seen = faer::Mat::<f64>::zeros(n, n);
    for j in 0..n {
        seen.col_as_slice_mut(j).copy_from_slice(&a.apply(cov.col_as_slice(j)));
    }
    println!("n applies {:?}", t.elapsed());
    let t = Instant::now();
    let mut all = seen.transpose().to_owned();
    println!("transpose {:?}", t.elapsed());
    let t = Instant::now();
    let c2 = faer::Mat::from_fn(n, n, |i, k| all[(i, k)]);
    println!("from_fn {:?}", t.elapsed());
    for i in 0..n {
        all[(i, i)] += 1000.0;
    }
    let all = &all + all.transpose();
    let t = Instant::now();
    let f = all.llt(faer::Side::Lower).unwrap();
    println!("llt {:?} {:?}", t.elapsed(), f.L()[(1, 1)]);
    faer::set_global_parallelism(faer::Par::Seq);
    let t = Instant::now();
    let f = all.llt(faer::Side::Lower).unwrap();
    println!("llt seq {:?} {:?}", t.elapsed(), f.L()[(1, 1)]);
    let t = Instant::now();
    let mut d = 0.0f64;
    for j in 0..n {
        for i in j..n {
            d = d.max((c2[(i, j)] - c2[(j, i)]).abs());
        }
    }
    println!("symm {:?} {}", t.elapsed(), d);
}
