//! The program of the escape suite: `run` tries every technique, `outside` is the process beyond the walls,
//! anything else is an order of a technique that executes this program again.

use guard_tests::escape::world::{VARIABLE, World};
use guard_tests::escape::{outside, runner};

fn main() -> std::process::ExitCode {
    let world = std::env::var(VARIABLE)
        .ok()
        .and_then(|text| serde_json::from_str::<World>(&text).ok());
    let Some(world) = world else {
        return 2.into();
    };
    let mut arguments = std::env::args().skip(1);
    let order = arguments.next().unwrap_or_default();
    match order.as_str() {
        "run" => runner::run(&world),
        "outside" => outside::run(world),
        order => {
            let number = arguments.next().and_then(|number| number.parse().ok());
            let done = number.is_some_and(|number| runner::ordered(&world, order, number));
            return u8::from(!done).into();
        }
    }
    0.into()
}
