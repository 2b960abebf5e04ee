fn main(){ for a in std::env::args().skip(1) { let t=std::time::Instant::now(); println!("{:?} {:?}", eps_model::verify::verify(a.as_ref()), t.elapsed()); } }
