//! The figures in the project's README: what stands between two marks is what the last `cargo xtask bench --write` measured. Takes
//! the rows that benches print; knows no bench, only the names of their figures.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context as _;
use serde_json::Value;

const BEGIN: &str = "<!-- bench: written by `cargo xtask bench --write` -->";
const END: &str = "<!-- bench: end -->";
/// In the place of figures of a program that was not found.
const MISSING: &str = "not measured";

/// A figure's aim: at least, or at most so much.
#[derive(Clone, Copy, Debug)]
enum Aim {
    Least(&'static str, f64),
    Most(&'static str, f64),
}

use Aim::{Least, Most};

/// What is told: a text, its figures, and the aims. Each `{bench.name}` is a figure; one with `?` behind its name may be missing though
/// its bench ran, because it needs a program more.
struct Row(&'static str, &'static str, &'static [Aim]);

/// All rows, in the order of the table.
const ROWS: &[Row] = &[
    Row(
        "engine, {peers.rules} rules and everything on, one core; on two",
        "{peers.engine_lines_per_second}; {peers.engine_two_cores_lines_per_second} lines a second",
        &[Least("peers.engine_lines_per_second", 1e6)],
    ),
    Row(
        "speed of all that against the `drain3` crate's matching alone; against Python's Drain3",
        "{peers.engine_over_drain3_match} times (of {peers.drain3_match_ns} ns); {peers.engine_over_drain3_python_match?} times ({peers.drain3_python?})",
        &[Least("peers.engine_over_drain3_match", 1.1)],
    ),
    Row(
        "the rules' part of it, a line; with ten times the rules",
        "{peers.rules_ns} ns; {peers.rules_10x_over_rules} times",
        &[Most("peers.rules_ns", 500.0), Most("peers.rules_10x_over_rules", 1.5)],
    ),
    Row(
        "`RegexSet` over the same patterns, against the rules' part",
        "{peers.regex_set_over_rules} times",
        &[],
    ),
    Row(
        "the rules: read and compiled, kept",
        "{rules.read_and_compile_ms} ms; {rules.kept_kib} KiB",
        &[Most("rules.read_and_compile_ms", 150.0), Most("rules.kept_kib", 16_384.0)],
    ),
    Row(
        "a structured record of nine fields; with a list of 5, of 50 elements that a rule looks into",
        "{engine.structured_ns} ns; {engine.structured_with_list_of_5_ns}, {engine.structured_with_list_of_50_ns} ns",
        &[],
    ),
    Row(
        "a line of 64 KiB that was made to cost the most: the slowest of {hostile.lines}, the mean",
        "{hostile.slowest_ms} ms; {hostile.mean_ms} ms",
        &[Most("hostile.slowest_ms", 5.0)],
    ),
    Row(
        "memory per template; growth over an hour's replay",
        "{engine.bytes_per_template} bytes; {engine.growth_in_an_hour_bytes} bytes",
        &[Most("engine.bytes_per_template", 2_048.0)],
    ),
    Row(
        "codec: a record of {codec.msgpack_bytes} bytes of msgpack read, tagged",
        "{codec.msgpack_read_ns} ns, {codec.msgpack_append_ns} ns",
        &[],
    ),
    Row(
        "codec: the same as JSON; against serde_json, which rebuilds it",
        "{codec.json_read_ns} ns, {codec.json_append_ns} ns; {codec.serde_json_over_json} times as quick",
        &[],
    ),
    Row(
        "Fluent Bit's pipeline, CPU a record; its own grep with four patterns, added",
        "{fluent-bit.pipeline_us} us ({fluent-bit.version}); {fluent-bit.grep of 4_added_us} us",
        &[],
    ),
    Row(
        "native filter, added CPU a record; once, at its start",
        "{fluent-bit.native_added_us} us; {fluent-bit.native_start_ms} ms",
        &[Most("fluent-bit.native_added_us", 1.5)],
    ),
    Row(
        "wasm filter interpreted, added CPU a record; once, to compile the rules",
        "{fluent-bit.wasm_added_us} us; {fluent-bit.wasm_start_ms} ms",
        &[Most("fluent-bit.wasm_added_us", 25.0), Most("fluent-bit.wasm_start_ms", 3_000.0)],
    ),
    Row(
        "wasm filter [compiled ahead of time](plugin/README.md#compiled-ahead-of-time), likewise",
        "{fluent-bit.wasm ahead of time_added_us?} us; {fluent-bit.wasm ahead of time_start_ms?} ms",
        &[Most("fluent-bit.wasm ahead of time_added_us", 25.0)],
    ),
    Row(
        "Vector: the VRL program with all rules, added CPU an event; once, to load",
        "{vector.vrl_added_us} us ({vector.version}); {vector.vrl_load_s} s",
        &[Most("vector.vrl_added_us", 8.0), Most("vector.vrl_load_s", 2.0)],
    ),
    Row(
        "of it: masking, verdict and tags without any rule; three tags set, and nothing else",
        "{vector.vrl_without_rules_us} us; {vector.vrl_tags_only_us} us",
        &[],
    ),
    Row("the same rules as Vector's own `match_any`, added", "{vector.match_any_added_us} us", &[]),
    Row(
        "`lua` transform with the whole engine, against one that only emits",
        "{vector.lua_ratio} times (of {vector.lua_empty_us} us)",
        &[Most("vector.lua_ratio", 1.2)],
    ),
    Row(
        "a `lua` transform that sets three tags, and nothing else, likewise",
        "{vector.lua_tags_only_ratio} times",
        &[],
    ),
    Row(
        "one event in a hundred to the sidecar over gRPC and back, share of CPU; of all, an event",
        "{vector.detour_share} of {vector.detour_us} us",
        &[Most("vector.detour_share", 0.1)],
    ),
    Row(
        "a detector as a component, a record: by itself; of 100 in a call; with 8 fields; the engine called directly",
        "{component.observe_ns} ns; {component.observe_all_100_ns} ns; {component.observe_8_fields_ns} ns; {component.native_ns} ns",
        &[],
    ),
    Row(
        "sidecar, 2,000 questionable records a second for a minute, half of them never seen before",
        "{sidecar.arrived} of {sidecar.records} back, {sidecar.skipped} skipped",
        &[],
    ),
    Row(
        "the same, added latency: p50, p99",
        "{sidecar.p50_ms} ms, {sidecar.p99_ms} ms",
        &[Most("sidecar.p99_ms", 20.0)],
    ),
    Row(
        "the same, resident memory with the model; the sidecar's start",
        "{sidecar.rss_mib} MiB; {vector.sidecar_start_s} s",
        &[Most("sidecar.rss_mib", 256.0)],
    ),
    Row(
        "embeddings a second: static, one thread; Ollama",
        "{embeddings static.a_second_one_by_one}; {embeddings ollama.a_second_in_batches}",
        &[],
    ),
    Row(
        "nearest of 1,000 templates, p50 and p99: embedded; Qdrant",
        "{nearest embedded 1000.p50_ms} and {nearest embedded 1000.p99_ms} ms; {nearest qdrant 1000.p50_ms} and {nearest qdrant 1000.p99_ms} ms",
        &[],
    ),
    Row(
        "of 10,000",
        "{nearest embedded 10000.p50_ms} and {nearest embedded 10000.p99_ms} ms; {nearest qdrant 10000.p50_ms} and {nearest qdrant 10000.p99_ms} ms",
        &[],
    ),
    Row(
        "of 100,000",
        "{nearest embedded 100000.p50_ms} and {nearest embedded 100000.p99_ms} ms; {nearest qdrant 100000.p50_ms} and {nearest qdrant 100000.p99_ms} ms",
        &[],
    ),
];

/// What the benches of a run printed.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    machine: String,
    /// By `bench.name`, where a bench that prints several rows is named with what tells them apart.
    all: BTreeMap<String, Value>,
}

impl Figures {
    /// Takes what a bench printed; what is no JSON object is none of its figures.
    pub(crate) fn take(&mut self, row: &str) {
        let Ok(Value::Object(fields)) = serde_json::from_str(row) else { return };
        let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut bench = text("bench").to_owned();
        if bench == "machine" {
            text("what").clone_into(&mut self.machine);
        }
        if let Some(by) = text("by").split('/').next().filter(|by| !by.is_empty()) {
            bench = format!("{bench} {by}");
            if let Some(rows) = fields.get("rows") {
                bench = format!("{bench} {rows}");
            }
        }
        self.all.extend(fields.into_iter().map(|(name, value)| (format!("{bench}.{name}"), value)));
    }

    /// Writes the table into the README.
    ///
    /// # Errors
    /// If it cannot be read or written, or has no marks, or a bench that ran gave no figure of a name that the table tells.
    pub(crate) fn write(&self, readme: &Path) -> anyhow::Result<()> {
        let absent = self.absent();
        anyhow::ensure!(absent.is_empty(), "no figures named {}: the README stays", absent.join(", "));
        let named = || readme.display().to_string();
        let text = fs::read_to_string(readme).with_context(named)?;
        let written = between_marks(&text, &self.table())
            .with_context(|| format!("{} lacks the marks `{BEGIN}` and `{END}`", named()))?;
        fs::write(readme, written).with_context(named)
    }

    fn table(&self) -> String {
        let rows = ROWS.iter().map(|Row(what, figures, aims)| {
            let aims: Vec<_> = aims.iter().map(|aim| self.told(*aim)).collect();
            let parts =
                figures.split("; ").map(|part| self.filled(part).unwrap_or_else(|| MISSING.to_owned()));
            let what = self.filled(what).unwrap_or_else(|| (*what).to_owned());
            format!("| {what} | {} | {} |\n", parts.collect::<Vec<_>>().join("; "), aims.join("; "))
        });
        let stolen =
            self.filled(", {meanwhile.stolen_percent} % of its busy time stolen by its host meanwhile");
        let machine = self.machine.clone() + &stolen.unwrap_or_default();
        format!("{machine}.\n\n| | measured | aim |\n|---|---|---|\n{}", rows.collect::<String>())
    }

    /// The figures of the table that a bench did not print, though it printed others.
    fn absent(&self) -> Vec<&'static str> {
        let told = ROWS.iter().flat_map(|Row(what, figures, _)| [what, figures]);
        let names = told.flat_map(|text| text.split('{').skip(1).filter_map(|part| part.split('}').next()));
        let has_run = |name: &str| {
            let bench = name.split_once('.').map_or(name, |(bench, _)| bench);
            self.all.keys().any(|name| name.split_once('.').is_some_and(|(other, _)| other == bench))
        };
        let is_absent = |name: &&str| !name.ends_with('?') && !self.all.contains_key(*name) && has_run(name);
        names.filter(is_absent).collect()
    }

    /// The aim, and whether it is missed.
    fn told(&self, aim: Aim) -> String {
        let (name, sign, limit) = match aim {
            Least(name, limit) => (name, ">=", limit),
            Most(name, limit) => (name, "<=", limit),
        };
        let is_missed = self.all.get(name).and_then(Value::as_f64).is_some_and(|value| match aim {
            Least(..) => value < limit,
            Most(..) => value > limit,
        });
        format!("{sign} {}{}", number(limit), if is_missed { ", **missed**" } else { "" })
    }

    /// The text with each `{name}` replaced by its figure; `None` if there is no such figure.
    fn filled(&self, text: &str) -> Option<String> {
        let mut parts = text.split('{');
        let mut filled = parts.next()?.to_owned();
        for part in parts {
            let (name, after) = part.split_once('}')?;
            match self.all.get(name.trim_end_matches('?'))? {
                Value::String(text) => filled += text,
                value => filled += &number(value.as_f64()?),
            }
            filled += after;
        }
        Some(filled)
    }
}

/// A number as people write it: thousands apart, and no more digits behind the point than there were.
fn number(value: f64) -> String {
    let text = value.abs().to_string();
    let (whole, rest) = text.split_once('.').map_or((&*text, None), |(whole, rest)| (whole, Some(rest)));
    let mut out = String::from(if value < 0.0 { "-" } else { "" });
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) && whole.len() > 3 {
            out.push(',');
        }
        out.push(digit);
    }
    match rest {
        Some(rest) => format!("{out}.{rest}"),
        None => out,
    }
}

/// The text with the table between its marks; `None` if it has none.
fn between_marks(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}\n{END}{after}", table.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(rows: &[&str]) -> Figures {
        let mut figures = Figures::default();
        for row in rows {
            figures.take(row);
        }
        figures
    }

    #[test]
    fn rows_are_filled_and_missed_aims_are_said() {
        let table = figures(&[
            r#"{"bench":"machine","what":"two cores"}"#,
            r#"{"bench":"peers","rules":810,"engine_lines_per_second":1042000,"engine_two_cores_lines_per_second":2054000,"rules_ns":501,"rules_10x_over_rules":1.4}"#,
            r#"{"bench":"embeddings","by":"static/all-MiniLM","a_second_one_by_one":230393}"#,
            r#"{"bench":"nearest","by":"embedded","rows":1000,"p50_ms":0.05,"p99_ms":0.085}"#,
            r#"{"bench":"vector","version":"vector 0.58.0","vrl_added_us":7,"vrl_load_s":2.5}"#,
            "round 1 of 7",
            r#"{"bench":"meanwhile","stolen_percent":11.5}"#,
        ])
        .table();
        let machine = "two cores, 11.5 % of its busy time stolen by its host meanwhile";
        assert!(table.starts_with(&format!("{machine}.\n\n| | measured | aim |")), "{table}");
        for row in [
            "| engine, 810 rules and everything on, one core; on two | 1,042,000; 2,054,000 lines a second | >= 1,000,000 |",
            "| 501 ns; 1.4 times | <= 500, **missed**; <= 1.5 |",
            "| 230,393; not measured |",
            "| 0.05 and 0.085 ms; not measured |",
            "| not measured; not measured | <= 1.5 |",
            "| 7 us (vector 0.58.0); 2.5 s | <= 8; <= 2, **missed** |",
        ] {
            assert!(table.contains(row), "{row}\n{table}");
        }
    }

    #[test]
    fn a_figure_that_its_bench_no_longer_prints_is_an_error_and_one_that_needs_a_program_more_is_not() {
        let absent = |rows: &[&str]| figures(rows).absent();
        assert_eq!(absent(&[r#"{"bench":"machine","what":"two cores"}"#]), [""; 0], "nothing ran");
        let codec =
            r#"{"bench":"codec","msgpack_bytes":1,"msgpack_read_ns":1,"json_read_ns":1,"json_append_ns":1}"#;
        assert_eq!(absent(&[codec]), ["codec.msgpack_append_ns", "codec.serde_json_over_json"]);
        let fluent_bit = r#"{"bench":"fluent-bit","version":"5","pipeline_us":1,"grep of 4_added_us":1,"native_added_us":1,"native_start_ms":1,"wasm_added_us":1,"wasm_start_ms":1}"#;
        assert_eq!(absent(&[fluent_bit]), [""; 0], "compiled ahead of time or not");
        let readme = Path::new("/nowhere/README.md");
        assert!(figures(&[codec]).write(readme).unwrap_err().to_string().contains("codec.msgpack_append_ns"));
    }

    #[test]
    fn numbers_are_written_as_people_do() {
        let written = [0.0, 184.0, -184.0, 1_042_000.0, -29_845.0, 0.5, 16_384.25].map(number);
        assert_eq!(written, ["0", "184", "-184", "1,042,000", "-29,845", "0.5", "16,384.25"]);
    }

    #[test]
    fn an_aim_is_about_a_figure_of_its_row() {
        for Row(what, figures, aims) in ROWS {
            for Least(name, _) | Most(name, _) in *aims {
                let is_told =
                    [format!("{{{name}}}"), format!("{{{name}?}}")].iter().any(|it| figures.contains(it));
                assert!(is_told, "{what}: {name}");
            }
        }
    }

    #[test]
    fn numbers_are_written_as_people_write_them() {
        let numbers = [0.0, 0.05, 14.24, 999.0, 1000.0, 120_000.0, 1_042_000.0, 3261.5];
        let expected = ["0", "0.05", "14.24", "999", "1,000", "120,000", "1,042,000", "3,261.5"];
        assert_eq!(numbers.map(number), expected);
    }

    #[test]
    fn only_what_stands_between_the_marks_changes() {
        let text = format!("above\n{BEGIN}\nold\n{END}\nbelow\n");
        assert_eq!(
            between_marks(&text, "| new |\n\n").unwrap(),
            format!("above\n{BEGIN}\n| new |\n{END}\nbelow\n")
        );
        assert_eq!(between_marks("no marks", "x"), None);
    }

    #[test]
    fn the_readme_has_its_marks() {
        let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
        assert!(between_marks(&readme, "").is_some());
    }
}
