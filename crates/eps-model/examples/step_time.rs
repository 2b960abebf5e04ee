use std::time::Instant;
use eps_model::{Mode, Precision, SongUNet, SongUNetConfig};
use tch::{Device, Kind, Tensor};
fn main() {
    let mut c = SongUNetConfig::ddpmpp(28, 1, 1);
    c.model_channels = 32; c.channel_mult = vec![1,2,2]; c.num_blocks = 2; c.attn_resolutions = vec![7]; c.dropout = 0.0;
    let net = SongUNet::new(&c, Device::Cpu, 1).unwrap();
    println!("params {} threads {}", net.parameter_count(), tch::get_num_threads());
    for p in [Precision::F32, Precision::Bf16] { for b in [32i64, 64] {
        let x = Tensor::rand([b,1,28,28], (Kind::Float, Device::Cpu));
        let cn = Tensor::rand([b], (Kind::Float, Device::Cpu));
        let mut best = f64::MAX; let mut fbest = f64::MAX;
        for _ in 0..8 {
            let t = Instant::now();
            let y = net.forward(&x.to_kind(p.kind()), &cn, None, None, Mode::Eval).to_kind(Kind::Float);
            let f = t.elapsed().as_secs_f64();
            (&y - &x).square().mean(Kind::Float).backward();
            best = best.min(t.elapsed().as_secs_f64()); fbest = fbest.min(f);
            for v in net.variables().trainable_variables() { v.grad(); let mut v = v; v.zero_grad(); }
        }
        let _g = tch::no_grad_guard();
        let t = Instant::now();
        let y = net.forward(&x.to_kind(p.kind()), &cn, None, None, Mode::Eval);
        println!("{p} batch {b}: step {best:.3} (fwd {fbest:.3}) eval {:.3} {:?}", t.elapsed().as_secs_f64(), y.size());
    }}
}
