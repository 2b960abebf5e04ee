use eps_model::channels_last;
use tch::{Device, Kind, Tensor};
fn cpu()->f64{ std::fs::read_to_string("/proc/thread-self/schedstat").unwrap().split(' ').next().unwrap().parse::<f64>().unwrap()/1e9 }
fn time(name: &str, mut f: impl FnMut()) -> f64 { let mut best=f64::MAX; for _ in 0..3 {f();} for _ in 0..25 { let t=cpu(); f(); best=best.min(cpu()-t); } println!("{name:40} {:8.3} ms", best*1e3); best }
fn main(){
  tch::set_num_threads(1);
  for (c,hw) in [(64i64,28i64),(32,28)] {
  for kind in [Kind::Float, Kind::BFloat16] { for cl in [true,false] {
    let lay=|t:Tensor| if cl {channels_last(&t)} else {t};
    let r=|| lay(Tensor::rand([32,c,hw,hw],(Kind::Float,Device::Cpu)).to_kind(kind));
    let x = r().set_requires_grad(true); let x2=r();
    let w = lay(Tensor::rand([c,c,3,3],(Kind::Float,Device::Cpu)).to_kind(kind)).set_requires_grad(true);
    let w1 = lay(Tensor::rand([c,c,1,1],(Kind::Float,Device::Cpu)).to_kind(kind)).set_requires_grad(true);
    let g = Tensor::ones([c],(Kind::Float,Device::Cpu)).set_requires_grad(true);
    let b = Tensor::ones([c],(Kind::Float,Device::Cpu)).set_requires_grad(true);
    let bk=b.to_kind(kind).detach().set_requires_grad(true);
    let sh = Tensor::rand([32,c,1,1],(kind,Device::Cpu)).set_requires_grad(true);
    let go = r();
    let tag=format!("{c}x{hw} {kind:?} cl={cl}");
    // backward with an explicit output gradient, through autograd::grad of (y*go) avoided: y.backward(go) is not in tch
    let bw=|y:Tensor, ins:&[&Tensor]| { let s=(&y*&go).sum(kind); let _ = Tensor::run_backward(&[s], ins, false, false); };
    let ng=|f: &dyn Fn()->Tensor| { let _g=tch::no_grad_guard(); let _=f(); };
    let base=time(&format!("{tag} baseline"), || bw(x.shallow_clone(), &[&x]));
    let mut both=|name:&str, f:&dyn Fn()->Tensor, ins:&[&Tensor]| { let a=time(&format!("{tag} {name} fwd"), || ng(f)); let t=time(&format!("{tag} {name} f+b"), || bw(f(), ins)); println!("      -> {name} bwd {:.3}", (t-base-a)*1e3); };
    both("conv3", &|| x.conv2d(&w,None::<&Tensor>,[1,1],[1,1],[1,1],1), &[&x,&w]);
    both("conv3+bias", &|| x.conv2d(&w,Some(&bk),[1,1],[1,1],[1,1],1), &[&x,&w,&bk]);
    both("conv1+bias", &|| x.conv2d(&w1,Some(&bk),[1,1],[0,0],[1,1],1), &[&x,&w1,&bk]);
    both("gn", &|| x.group_norm(c/4,Some(&g),Some(&b),1e-6,true), &[&x,&g,&b]);
    both("silu", &|| x.silu(), &[&x]);
    both("add/", &|| (&x+&x2)/1.414, &[&x]);
    both("addshift", &|| &x+&sh, &[&x,&sh]);
    both("cat", &|| Tensor::cat(&[&x,&x2],1).narrow(1,0,c), &[&x]);
  }}}
}
