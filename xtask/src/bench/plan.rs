//! Which benches there are: takes what a person asked for, gives the benches in their order, how each is started, and
//! what must be built for it first. Starts nothing.

use clap::ValueEnum;

/// One bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Bench {
    /// Nanoseconds a line, bytes a template, growth over an hour [as the filters are built].
    Engine,
    /// Milliseconds that one record costs at most [as the filters are built].
    Hostile,
    /// Reading and compiling the rules, memory kept [as the filters are built].
    Rules,
    /// Reading a record and writing its tags into it [as the filters are built].
    Codec,
    /// The engine and its rules beside drain3 and `RegexSet` [as the filters are built].
    Peers,
    /// Detectors as WebAssembly components in the sidecar.
    Components,
    /// Embeddings a second, look-ups among 1k, 10k and 100k templates.
    Backends,
    /// Questionable records through `oddline run` for a minute: latency, resident memory.
    Sidecar,
    /// The native and the wasm filter in a real Fluent Bit.
    FluentBit,
    /// The VRL program and the Lua module in a real Vector.
    Vector,
}

/// What a bench loads or starts, built by a command of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Artifact {
    NativeFilter,
    WasmFilter,
    /// Only where its compiler is.
    CompiledFilter,
    LuaModule,
    Detector,
    ExampleDetector,
    Program,
}

impl Artifact {
    /// The variable that tells a bench where it lies.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Self::NativeFilter => "ODDLINE_NATIVE_FILTER",
            Self::WasmFilter => "ODDLINE_WASM_FILTER",
            Self::CompiledFilter => "ODDLINE_WASM_COMPILED",
            Self::LuaModule => "ODDLINE_LUA_MODULE",
            Self::Detector => "ODDLINE_DETECTOR",
            Self::ExampleDetector => "ODDLINE_EXAMPLE_DETECTOR",
            Self::Program => "ODDLINE_BIN",
        }
    }

    /// Its name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NativeFilter => "flb-filter_oddline.so",
            Self::WasmFilter => "oddline.wasm",
            Self::CompiledFilter => "oddline.aot",
            Self::LuaModule => "lua/oddline.so",
            Self::Detector => "oddline-detector.wasm",
            Self::ExampleDetector => "the detector of examples/",
            Self::Program => "oddline",
        }
    }
}

impl Bench {
    /// Its name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What is built before it.
    pub(crate) fn needs(self) -> &'static [Artifact] {
        match self {
            Self::Engine | Self::Hostile | Self::Rules | Self::Codec | Self::Peers | Self::Backends => &[],
            Self::Components => &[Artifact::Detector, Artifact::ExampleDetector],
            Self::Sidecar => &[Artifact::Program],
            Self::FluentBit => &[Artifact::NativeFilter, Artifact::WasmFilter, Artifact::CompiledFilter],
            Self::Vector => &[Artifact::Program, Artifact::LuaModule],
        }
    }

    /// Cargo's arguments that build it, and with [`Bench::start`] run it. What ships inside the filters is built as they
    /// are: that is what users run. The rest is the program's own, and measured as the program is built.
    pub(crate) fn build(self) -> &'static [&'static str] {
        match self {
            Self::Engine => {
                &["bench", "--profile", "plugin", "-p", "oddline-engine", "--bench", "observe", "--no-run"]
            }
            Self::Hostile => {
                &["bench", "--profile", "plugin", "-p", "oddline-engine", "--bench", "hostile", "--no-run"]
            }
            Self::Rules => {
                &["bench", "--profile", "plugin", "-p", "oddline-engine", "--bench", "compile", "--no-run"]
            }
            Self::Codec => {
                &["bench", "--profile", "plugin", "-p", "oddline-codec", "--bench", "record", "--no-run"]
            }
            Self::Peers => &["build", "--profile", "plugin", "-p", "oddline-peers"],
            Self::Components => &["bench", "-p", "oddline-component-host", "--bench", "observe", "--no-run"],
            Self::Backends => &["bench", "-p", "oddline-backends", "--bench", "figures", "--no-run"],
            Self::Sidecar => &["bench", "-p", "acceptance", "--bench", "sidecar", "--no-run"],
            Self::FluentBit => &["bench", "-p", "acceptance", "--bench", "fluent_bit", "--no-run"],
            Self::Vector => &["bench", "-p", "acceptance", "--bench", "vector", "--no-run"],
        }
    }

    /// Cargo's arguments that run it.
    pub(crate) fn start(self) -> Vec<&'static str> {
        let build = self.build().iter().filter(|word| **word != "--no-run");
        build.map(|word| if *word == "build" { "run" } else { *word }).collect()
    }
}

/// The benches asked for, all of them without a wish, each once and in the order of the list.
pub(crate) fn selected(only: &[Bench]) -> Vec<Bench> {
    let all = Bench::value_variants().iter().copied();
    all.filter(|bench| only.is_empty() || only.contains(bench)).collect()
}

/// What these benches need, each thing once.
pub(crate) fn needed(benches: &[Bench]) -> Vec<Artifact> {
    let mut needed: Vec<Artifact> = benches.iter().flat_map(|bench| bench.needs()).copied().collect();
    needed.sort_unstable();
    needed.dedup();
    needed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_wish_all_are_selected_and_a_wish_keeps_their_order() {
        assert_eq!(selected(&[]), Bench::value_variants());
        assert_eq!(selected(&[Bench::Vector, Bench::Engine, Bench::Vector]), [Bench::Engine, Bench::Vector]);
    }

    #[test]
    fn only_what_the_selected_need_is_built_and_nothing_twice() {
        assert_eq!(needed(&[Bench::Engine, Bench::Peers, Bench::Backends]), []);
        assert_eq!(needed(&[Bench::Sidecar, Bench::Vector]), [Artifact::LuaModule, Artifact::Program]);
        assert_eq!(needed(&selected(&[])).len(), 7);
    }

    #[test]
    fn what_ships_in_the_filters_is_built_as_they_are_and_the_rest_is_not() {
        for bench in selected(&[]) {
            let inside =
                matches!(bench, Bench::Engine | Bench::Hostile | Bench::Rules | Bench::Codec | Bench::Peers);
            assert_eq!(bench.build().windows(2).any(|words| words == ["--profile", "plugin"]), inside);
        }
    }

    #[test]
    fn what_is_built_is_what_runs() {
        assert_eq!(Bench::Vector.start(), ["bench", "-p", "acceptance", "--bench", "vector"]);
        assert_eq!(Bench::Peers.start(), ["run", "--profile", "plugin", "-p", "oddline-peers"]);
        assert_eq!(Bench::FluentBit.name(), "fluent-bit");
    }
}
