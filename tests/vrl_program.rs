//! The VRL program for Vector, compiled and run by the `vrl` crate: what it says of known and unknown templates, what it
//! does to events of any shape, what it keeps from the detour, and that it masks and matches as the engine does.

#[path = "vrl_program/detour.rs"]
mod detour;
#[path = "hosts/vrl.rs"]
mod host;
#[path = "vrl_program/masking.rs"]
mod masking;
#[path = "vrl_program/rules.rs"]
mod rules;
#[path = "vrl_program/shapes.rs"]
mod shapes;
#[path = "vrl_program/verdicts.rs"]
mod verdicts;

use std::sync::OnceLock;

use host::Vrl;
use oddline_engine::{Options, Settings, rules::builtin_rules};

/// The program for some options and the built-in rules.
fn text(options: &Options) -> String {
    oddline_vrl::program(&Settings::new(options).unwrap(), &builtin_rules()).text
}

/// The same, compiled, with a table of its own.
fn program(options: &Options) -> Vrl {
    Vrl::compile(&text(options)).unwrap_or_else(|faults| panic!("{faults}"))
}

/// The program for default options: its text is made once.
fn default_program() -> Vrl {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| text(&Options::default()));
    Vrl::compile(text).unwrap_or_else(|faults| panic!("{faults}"))
}
