use eps_math::{*, rng::Stream, operator::*};
use std::time::Instant;
fn main() {
    let n = 784; let shape = Shape::new(1,28,28).unwrap();
    let b = Stream::new(0,0,0,0).normals(n*900);
    let t = Instant::now();
    let (mean, cov) = lmmse::sample_moments(n, (0..20000).map(|i| { let s=(i*7)%(n*899); b[s..s+n].to_vec() })).unwrap();
    println!("moments of 20000: {:?}", t.elapsed());
    for task in Task::ALL {
        let t = Instant::now();
        for k in 0..10 {
            let a = task.draw(Draw::Test, shape, &Stream::new(0,k,0,0)).unwrap();
            let l = LinearMmse::new(&mean,&cov,&a,0.05).unwrap();
            let y = vec![0.1; a.range().len()];
            std::hint::black_box(l.estimate(&y));
        }
        println!("{}: {:?} each", task.name(), t.elapsed()/10);
    }
    let a = Task::MotionBlur.draw(Draw::Test, shape, &Stream::new(0,1,0,0)).unwrap();
    let x = mean.clone(); let t=Instant::now();
    for _ in 0..1000 { std::hint::black_box(a.apply(&x)); }
    println!("apply {:?}", t.elapsed()/1000);
}
