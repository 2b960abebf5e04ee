//! scratch
use eps_model::*;
use eps_train::*;
use tch::{Device, Kind, Tensor};
fn cfg(p: &str) -> TrainConfig {
    serde_json::from_reader(std::fs::File::open(p).unwrap()).unwrap()
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let c = cfg(&a[1]);
    let idx = std::fs::read(&a[2]).unwrap();
    let all = Tensor::from_slice(&idx[16..]).view([-1, 1, 28, 28]).to_kind(Kind::Uint8);
    let n = all.size()[0];
    let images =
        Images { train: all.narrow(0, 0, n - 5000), validation: all.narrow(0, n - 5000, 5000) };
    let start = if a.len() > 4 {
        let pc = cfg(&a[4]);
        let prior = SongUNet::new(&pc.network, Device::Cpu, 0).unwrap();
        let avg = Tensor::read_safetensors(&a[5])
            .unwrap()
            .into_iter()
            .find(|(k, _)| k == "average")
            .unwrap()
            .1
            .to_kind(Kind::Half)
            .to_kind(Kind::Float);
        let _g = tch::no_grad_guard();
        let mut at = 0;
        for mut p in prior.variables().trainable_variables() {
            let l = p.numel() as i64;
            p.copy_(&avg.narrow(0, at, l).view_as(&p));
            at += l;
        }
        assert_eq!(at, avg.numel() as i64);
        let net = SongUNet::new(&c.network, Device::Cpu, c.seed).unwrap();
        let src = prior.tensors();
        for (name, mut t) in net.tensors() {
            let s = &src[&name];
            if s.size() == t.size() {
                t.copy_(s);
            } else {
                println!("widen {name} {:?} {:?}", s.size(), t.size());
                let k = s.size()[1];
                let _ = t.zero_();
                t.narrow(1, 0, k).copy_(s);
            }
        }
        Some(NetworkDenoiser::new(net, c.precondition, c.conditions.clone(), c.precision))
    } else {
        None
    };
    train(&c, start, &images, std::path::Path::new(&a[3]), Device::Cpu).unwrap();
}
