//! scratch
use eps_train::*; use tch::Kind;
fn main(){
  let cfg: TrainConfig = serde_json::from_reader(std::fs::File::open(std::env::args().nth(1).unwrap()).unwrap()).unwrap();
  let idx = std::fs::read(std::env::args().nth(2).unwrap()).unwrap();
  let all = tch::Tensor::from_slice(&idx[16..]).view([-1,1,28,28]).to_kind(Kind::Uint8);
  let n = all.size()[0]; let images = Images{ train: all.narrow(0,0,n-5000), validation: all.narrow(0,n-5000,5000)};
  train(&cfg, None, &images, std::path::Path::new(&std::env::args().nth(3).unwrap()), tch::Device::Cpu).unwrap();
}
