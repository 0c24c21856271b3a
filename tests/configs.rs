//! Holds what people copy: every configuration file loads, with the settings that keep records safe. Takes the files and,
//! where there is one, the real Fluent Bit; gives all faults at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The files' own paths of what `cargo xtask test` builds, and the variable that says where it lies.
const ARTIFACTS: [(&str, &str); 2] =
    [("flb-filter_oddline.so", "ODDLINE_NATIVE_FILTER"), ("oddline.wasm", "ODDLINE_WASM_FILTER")];

#[test]
fn configurations_keep_records_safe() {
    let mut faults = Vec::new();
    for (path, text) in configurations() {
        let configuration = parse(&path, &text);
        let found = unsafe_settings(&configuration);
        faults.extend(found.into_iter().map(|fault| format!("{}: {fault}", path.display())));
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn unsafe_settings_are_seen() {
    let faults = |text: &str| unsafe_settings(&parse(Path::new("sample.yaml"), text));
    let safe = "pipeline: {outputs: [{name: forward, require_ack_response: true, retry_limit: no_limits}]}";
    assert_eq!(faults(safe), [""; 0]);
    assert_eq!(faults("pipeline: {outputs: [{name: forward}]}").len(), 2);
    assert_eq!(faults("pipeline: {inputs: [{Name: Forward, listen: 0.0.0.0, threaded: on}]}").len(), 1);
    assert_eq!(faults("service: {http_server: on}").len(), 1);
    assert_eq!(faults("service: {http_server: on, http_listen: 127.0.0.1, storage.checksum: on}").len(), 1);
    assert_eq!(faults("pipeline: {filters: [{name: wasm}]}").len(), 3);
    let two = |first: &str, second: &str| {
        let input =
            |options: &str| format!("{{name: dummy, processors: {{logs: [{{name: oddline, {options}}}]}}}}");
        faults(&format!("pipeline: {{inputs: [{}, {}]}}", input(first), input(second))).len()
    };
    assert_eq!(two("node: a, state_file: /a", "node: b, state_file: /b"), 0);
    assert_eq!(
        (two("mode: divert", "mode: divert"), two("mode: divert", "summary_interval_seconds: 0")),
        (1, 0)
    );
    assert_eq!(
        two("node: a, state_file: /a, emitter_name: x", "node: a, state_file: /a, emitter_name: x"),
        3
    );
    assert_eq!(faults("pipeline: {inputs: [{name: tail, processors: {logs: [{name: wasm}]}}]}").len(), 3);
}

#[test]
fn fluent_bit_accepts_every_configuration() {
    let Some(fluent_bit) = acceptance::fluent_bit() else {
        return acceptance::skipped("fluent_bit_accepts_every_configuration", "no fluent-bit");
    };
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in configurations() {
        let local = folder.path().join("configuration.yaml");
        std::fs::write(&local, with_built_artifacts(&parse(&path, &text), text)).unwrap();
        let mut command = Command::new(&fluent_bit);
        let output =
            command.current_dir(folder.path()).arg("--dry-run").arg("-c").arg(&local).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} is refused:\n{said}", path.display());
    }
}

/// What would lose records, or open a port to the network, by the hosts' defaults.
fn unsafe_settings(configuration: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let service = lowercase(&configuration["service"]);
    let is = |settings: &BTreeMap<String, String>, name: &str, wanted: &[&str]| {
        settings.get(name).is_some_and(|value| wanted.contains(&value.as_str()))
    };
    const ON: &[&str] = &["on", "true", "yes"];
    const LOOPBACK: &[&str] = &["127.0.0.1", "::1"];
    if is(&service, "http_server", ON) && !is(&service, "http_listen", LOOPBACK) {
        faults.push("http_server without http_listen: 127.0.0.1 is open to the network".to_owned());
    }
    if is(&service, "storage.checksum", ON) {
        faults.push("storage.checksum loses acknowledged records when the shipper is killed".to_owned());
    }
    let all = plugins(&configuration["pipeline"]);
    faults.extend(shared_names(&all));
    for (kind, plugin) in all {
        let name = plugin.get("name").map(String::as_str).unwrap_or_default();
        let mut needs = |setting: &str, fine: bool| {
            if !fine {
                faults.push(format!("{kind} {name} needs {setting}"));
            }
        };
        match (kind, name) {
            ("outputs", "forward") => {
                needs("require_ack_response: true", is(&plugin, "require_ack_response", ON));
                needs("retry_limit: no_limits", is(&plugin, "retry_limit", &["no_limits", "false"]));
            }
            ("inputs", "forward") => {
                needs("listen: 127.0.0.1", is(&plugin, "listen", LOOPBACK));
                // A thread of its own acknowledges what a kill still takes; without one, filters need a larger stack.
                let threaded = is(&plugin, "threaded", ON) || plugin.contains_key("workers");
                needs(
                    "threaded: on, or coro_stack_size",
                    threaded || service.contains_key("coro_stack_size"),
                );
            }
            (_, "wasm") => {
                needs("event_format: json", is(&plugin, "event_format", &["json"]));
                needs("wasm_stack_size", plugin.contains_key("wasm_stack_size"));
                needs("accessible_paths", plugin.contains_key("accessible_paths"));
            }
            _ => {}
        }
    }
    faults
}

/// Names that each instance must have for itself: Fluent Bit refuses a second emitter of a name, the sidecar tells plugins
/// apart by their nodes, and two that keep their state in one file forget each other's.
fn shared_names(plugins: &[(&str, BTreeMap<String, String>)]) -> Vec<String> {
    let mut faults = Vec::new();
    let reports = |plugin: &BTreeMap<String, String>| {
        plugin.get("name").is_some_and(|name| name == "oddline")
            && plugin.get("summary_interval_seconds").is_none_or(|seconds| seconds != "0")
    };
    let mut taken = BTreeSet::new();
    for (_, plugin) in plugins {
        let node = reports(plugin).then(|| ("node", plugin.get("node").cloned().unwrap_or_default()));
        let named = ["emitter_name", "state_file", "db"].map(|key| Some((key, plugin.get(key)?.clone())));
        for (key, name) in named.into_iter().flatten().chain(node) {
            if !taken.insert((key, name.clone())) {
                faults.push(format!("two instances share {key} `{name}`"));
            }
        }
    }
    faults
}

/// Every plugin of the pipeline with its section; processors of inputs and outputs too.
fn plugins(value: &Value) -> Vec<(&str, BTreeMap<String, String>)> {
    let Value::Object(sections) = value else { return Vec::new() };
    let listed = |plugin: &Value| plugin.as_object().is_some();
    let mut found = Vec::new();
    for (section, content) in sections {
        for plugin in content.as_array().into_iter().flatten().filter(|it| listed(it)) {
            found.push((section.as_str(), lowercase(plugin)));
            found.extend(plugins(&plugin["processors"]));
        }
    }
    found
}

/// Settings as Fluent Bit reads them: names in any case, values as text.
fn lowercase(settings: &Value) -> BTreeMap<String, String> {
    let settings = settings.as_object().into_iter().flatten();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned).to_lowercase();
    settings.map(|(name, value)| (name.to_lowercase(), text(value))).collect()
}

/// The configuration with the installed filters' paths replaced by those of the filters just built.
fn with_built_artifacts(configuration: &Value, mut text: String) -> String {
    let mut open = vec![configuration];
    while let Some(value) = open.pop() {
        match value {
            Value::String(path) => {
                for (_, variable) in ARTIFACTS.iter().filter(|(name, _)| path.ends_with(name)) {
                    text = text.replace(path, &acceptance::built(variable));
                }
            }
            Value::Array(values) => open.extend(values),
            Value::Object(values) => open.extend(values.values()),
            _ => {}
        }
    }
    text
}

/// All of them; there is no way of use without one.
fn configurations() -> Vec<(PathBuf, String)> {
    let mut paths = under(&root().join("fluentbit-config"), "yaml");
    assert!(
        paths.len() >= 3,
        "fluentbit-config/ has {} configurations, one per way of use expected",
        paths.len()
    );
    paths.extend(under(&root().join("examples"), "yaml"));
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path.strip_prefix(root()).unwrap().to_owned(), text)
    };
    paths.into_iter().map(read).collect()
}

fn parse(path: &Path, text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn under(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let visible = |entry: &walkdir::DirEntry| entry.file_name() != "target" && entry.file_name() != ".git";
    let entries = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().filter_entry(visible);
    let paths = entries.map(|entry| entry.unwrap().into_path());
    paths.filter(|path| path.extension().is_some_and(|it| it == extension)).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
