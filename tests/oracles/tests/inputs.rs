//! Every check on its seeds and on what is left of them after a few random changes: a fuzzer's first second, always run.

use oddline_oracles::{ALL, Check, seeds};

/// Changed forms of each seed.
const CHANGED: usize = 3;
/// Most inputs of one check, so that those with many seeds do not take all the time.
const MOST: usize = 300;

/// Changes a few places: bytes become others, leave, come twice.
fn changed(seed: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut input = seed.to_vec();
    for _ in 0..random.usize(1..5) {
        let at = random.usize(0..=input.len());
        let end = random.usize(at..=input.len()).min(at + 16);
        match random.u8(0..5) {
            0 if at < input.len() => input[at] = random.u8(..),
            1 if at < input.len() => input[at] ^= 1 << random.u8(0..8),
            2 => drop(input.drain(at..end)),
            3 => {
                let again = input[at..end].to_vec();
                drop(input.splice(at..at, again));
            }
            _ => input.truncate(input.len().max(2) - 1),
        }
    }
    input
}

fn run(name: &str, check: Check) {
    let seeds = seeds::all().remove(name).unwrap_or_default();
    assert!(!seeds.is_empty(), "{name} has nothing to begin with");
    let mut random = fastrand::Rng::with_seed(7);
    for seed in seeds.iter().step_by(seeds.len().div_ceil(MOST)) {
        check(seed);
        (0..CHANGED).for_each(|_| check(&changed(seed, &mut random)));
    }
    check(&[]);
}

#[test]
fn every_check_holds_near_its_seeds() {
    std::thread::scope(|scope| {
        for (name, check) in ALL {
            scope.spawn(move || run(name, check));
        }
    });
}
