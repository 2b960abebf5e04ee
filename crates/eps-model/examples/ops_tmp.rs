use std::time::Instant;
use eps_model::channels_last;
use tch::{Device, Kind, Tensor};
fn time(name: &str, flops: f64, mut f: impl FnMut()) { let mut best=f64::MAX; for _ in 0..3 {f();} for _ in 0..25 { let t=Instant::now(); f(); best=best.min(t.elapsed().as_secs_f64()); } println!("{name:40} {:8.3} ms {:.0} GF/s", best*1e3, flops/best/1e9); }
fn main(){
  for (ci,c,hw) in [(32i64,32i64,28i64),(64,32,28),(64,64,14),(128,64,14),(64,64,7)] {
  for kind in [Kind::Float, Kind::BFloat16] { for cl in [true,false] {
    let lay=|t:Tensor| if cl {channels_last(&t)} else {t};
    let x = lay(Tensor::rand([32,ci,hw,hw],(Kind::Float,Device::Cpu)).to_kind(kind));
    let w = lay(Tensor::rand([c,ci,3,3],(Kind::Float,Device::Cpu)).to_kind(kind));
    let go = lay(Tensor::rand([32,c,hw,hw],(Kind::Float,Device::Cpu)).to_kind(kind));
    let xg = lay(x.copy()).detach().set_requires_grad(true);
    let wg = w.copy().detach().set_requires_grad(true);
    let tag=format!("{ci}->{c} {hw} {kind:?} cl={cl}");
    let fl=32.0*(hw*hw*ci*c*9*2) as f64;
    time(&format!("{tag} conv fwd"), fl, || { let _g=tch::no_grad_guard(); let _=x.conv2d(&w,None::<&Tensor>,[1,1],[1,1],[1,1],1); });
    time(&format!("{tag} f+bdata"), 2.*fl, || { let y=xg.conv2d(&w,None::<&Tensor>,[1,1],[1,1],[1,1],1); let s=(y*&go).sum(kind); let _=Tensor::run_backward(&[s],&[&xg],false,false); });
    time(&format!("{tag} f+bweight"), 2.*fl,|| { let y=x.conv2d(&wg,None::<&Tensor>,[1,1],[1,1],[1,1],1); let s=(y*&go).sum(kind); let _=Tensor::run_backward(&[s],&[&wg],false,false); });
  }}}
}
