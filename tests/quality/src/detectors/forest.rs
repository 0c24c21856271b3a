//! Isolation forest over windows of lines: how often each kind of line occurs in a window, and which windows are easy to
//! tell from all others. Written here and small, because the crates there are draw from the thread's randomness and so
//! give other figures each time.

use fastrand::Rng;
use oddline_engine::{Level, mask::Masked};

use crate::detector::{Answer, Detector, Event};

/// Lines of a window.
const WINDOW: usize = 10;
/// Kinds of line, by hash of the masked text.
const KINDS: usize = 64;
const TREES: usize = 100;
/// Windows that a tree is grown from.
const SAMPLE: usize = 256;
/// Windows seen before the first forest is grown without a baseline.
const WARM_UP: usize = 30;
/// The usual mark: from here a window is easier to isolate than chance.
const ODD: f32 = 0.6;

type Window = [f32; KINDS];

enum Tree {
    Leaf { windows: usize },
    Split { kind: usize, at: f32, below: Box<Tree>, above: Box<Tree> },
}

/// The forest, and the windows that it is grown from.
pub(crate) struct Forest {
    has_baseline: bool,
    masked: Masked,
    windows: Vec<Window>,
    /// How many of `windows` the trees have seen.
    grown_at: usize,
    trees: Vec<Tree>,
    rng: Rng,
}

impl Forest {
    pub(crate) fn new(has_baseline: bool) -> Forest {
        Forest {
            has_baseline,
            masked: Masked::default(),
            windows: Vec::new(),
            grown_at: 0,
            trees: Vec::new(),
            rng: Rng::with_seed(7),
        }
    }

    fn window(&mut self, events: &[Event]) -> Window {
        let mut window = [0.0; KINDS];
        for event in events {
            self.masked.mask(&event.line);
            let hash = self.masked.text.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
            });
            window[(hash % KINDS as u64) as usize] += 1.0;
        }
        window
    }

    fn grow(&mut self) {
        let depth = (SAMPLE as f32).log2().ceil() as usize;
        self.trees.clear();
        for _ in 0..TREES {
            let size = SAMPLE.min(self.windows.len());
            let sample: Vec<Window> =
                (0..size).map(|_| self.windows[self.rng.usize(..self.windows.len())]).collect();
            self.trees.push(tree(&sample, depth, &mut self.rng));
        }
        self.grown_at = self.windows.len();
    }

    /// 0.5 where the window is like the others, towards 1 the easier it is to isolate.
    fn score(&self, window: &Window) -> f32 {
        if self.trees.is_empty() {
            return 0.0;
        }
        let mean = self.trees.iter().map(|tree| path(tree, window)).sum::<f32>() / self.trees.len() as f32;
        2.0f32.powf(-mean / expected_path(SAMPLE.min(self.grown_at)))
    }
}

fn tree(windows: &[Window], depth: usize, rng: &mut Rng) -> Tree {
    let varying: Vec<(usize, f32, f32)> = (0..KINDS)
        .map(|kind| {
            let values = windows.iter().map(|window| window[kind]);
            (kind, values.clone().fold(f32::MAX, f32::min), values.fold(f32::MIN, f32::max))
        })
        .filter(|(_, low, high)| low < high)
        .collect();
    if depth == 0 || windows.len() < 2 || varying.is_empty() {
        return Tree::Leaf { windows: windows.len() };
    }
    let (kind, low, high) = varying[rng.usize(..varying.len())];
    let at = low + rng.f32() * (high - low);
    let (below, above): (Vec<Window>, Vec<Window>) = windows.iter().partition(|window| window[kind] <= at);
    Tree::Split {
        kind,
        at,
        below: Box::new(tree(&below, depth - 1, rng)),
        above: Box::new(tree(&above, depth - 1, rng)),
    }
}

fn path(mut tree: &Tree, window: &Window) -> f32 {
    let mut length = 0.0;
    loop {
        match tree {
            Tree::Leaf { windows } => return length + expected_path(*windows),
            Tree::Split { kind, at, below, above } => {
                tree = if window[*kind] <= *at { below } else { above };
                length += 1.0;
            }
        }
    }
}

/// Mean length of a path to one of `windows` in a random tree.
fn expected_path(windows: usize) -> f32 {
    match windows {
        0 | 1 => 0.0,
        2 => 1.0,
        n => 2.0 * ((n as f32 - 1.0).ln() + 0.577_215_7) - 2.0 * (n as f32 - 1.0) / n as f32,
    }
}

impl Detector for Forest {
    fn learn(&mut self, events: &[Event]) -> anyhow::Result<()> {
        for chunk in events.chunks(WINDOW) {
            let window = self.window(chunk);
            self.windows.push(window);
        }
        if !self.windows.is_empty() {
            self.grow();
        }
        Ok(())
    }

    fn judge(&mut self, events: &[Event]) -> anyhow::Result<Vec<Answer>> {
        let mut answers = Vec::with_capacity(events.len());
        for chunk in events.chunks(WINDOW) {
            let window = self.window(chunk);
            let score = self.score(&window);
            let level = if score >= ODD { Level::High } else { Level::None };
            answers.extend(chunk.iter().map(|_| Answer { score, level, ..Answer::default() }));
            if !self.has_baseline {
                self.windows.push(window);
                // Grown anew as the stream doubles: it costs no more than twice the last one.
                if self.windows.len() >= WARM_UP.max(self.grown_at * 2) {
                    self.grow();
                }
            }
        }
        Ok(answers)
    }
}
