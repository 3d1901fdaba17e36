use tesseral_nn::train::observer::*;
struct P;
impl Observer for P {
    fn on_event(&mut self, e: Event<'_>) {
        match e {
            Event::Validation(v) => eprintln!("step {} val {:.3} meV", v.step, v.loss * 1e3),
            Event::Message(m) => eprintln!("{m}"),
            Event::Step(s) if s.step % 500 == 0 => eprintln!("  step {} loss {:.3e} lr {:.2e} thr {:?}", s.step, s.loss, s.learning_rate, s.throughput),
            _ => {}
        }
    }
}
fn main() {
    tesseral_nn::kernels::memory::keep_freed_blocks();
    let a: Vec<String> = std::env::args().collect();
    tesseral_nn::train::on_large_stack(|| {
        let c = tesseral_physics::config::Config::read(a[1].as_ref(), &a[3..].to_vec()).unwrap();
        let r = tesseral_physics::training::train(&c, a[2].as_ref(), true, &mut P, &std::sync::atomic::AtomicBool::new(false));
        println!("{:#?}", r);
    }).unwrap();
}
