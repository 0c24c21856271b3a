//! Good and bad configurations.

use engine::{OPTIONS, OptionSpec};

use super::*;

fn load(file: &str, environment: &[(&str, &str)], flags: &[&str]) -> Result<Config, ConfigErrors> {
    let mut environment: Vec<_> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    environment.push(("HOME".into(), "/home/someone".into()));
    Config::load(&Sources {
        file: Some(("oddline.toml".into(), file.into())),
        environment,
        flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
    })
}

fn faults(file: &str) -> Vec<String> {
    load(file, &[], &[]).unwrap_err().0
}

#[test]
fn the_defaults_are_whole_and_loopback_only() {
    let config = load("", &[], &[]).unwrap();
    assert!(config.forward.unwrap().listen.ip().is_loopback());
    assert!(
        config.http.unwrap().listen.ip().is_loopback() && config.admin.unwrap().listen.ip().is_loopback()
    );
    assert_eq!(config.state_dir, Path::new("/home/someone/.local/state/oddline"));
    assert_eq!(config.advice_dir, Path::new("/home/someone/.local/state/oddline/advice"));
    assert_eq!(config.analysis, analyze::Settings::default(), "the file and the code have the same defaults");
    assert_eq!(config.engine, engine::Settings::default());
    let limits = Limits::default();
    assert_eq!(format!("{:?}", config.limits), format!("{limits:?}"));
}

#[test]
fn the_printed_defaults_are_a_valid_file_that_changes_nothing() {
    let printed = defaults_text();
    let unchanged = format!("{:?}", load("", &[], &[]).unwrap());
    assert_eq!(format!("{:?}", load(&printed, &[], &[]).unwrap()), unchanged);
    // Each option of the engine can be had by taking the `# ` away: for the sidecar and for all who read the file.
    let mut options = 0;
    let all: Vec<String> = printed
        .lines()
        .map(|line| match line.strip_prefix("# ").and_then(|line| Some((line, line.split_once(" = ")?))) {
            Some((line, (name, value))) if OptionSpec::find(name).is_some() && value != "not set" => {
                options += 1;
                line.to_owned()
            }
            _ => line.to_owned(),
        })
        .collect();
    let all = all.join("\n");
    assert_eq!(options, OPTIONS.iter().filter(|spec| !spec.default.is_empty()).count());
    assert_eq!(format!("{:?}", load(&all, &[], &[]).unwrap()), unchanged);
    let engine = engine::Settings::new(&engine::Options::from_toml(&all).unwrap()).unwrap();
    assert_eq!(engine, engine::Settings::default());
}

#[test]
fn detectors_can_be_appended_to_the_printed_defaults() {
    let appended = defaults_text() + "\n[[detectors.files]]\npath = \"slow.wasm\"\n";
    assert_eq!(load(&appended, &[], &[]).unwrap().detectors.files.len(), 1);
}

#[test]
fn what_is_logged_is_checked_with_the_rest() {
    for (text, part) in [("foo=bar=baz", "run.log is `foo=bar=baz`: "), ("info,[", "run.log is `info,[`: ")] {
        let faults = faults(&format!("[run]\nlog = \"{text}\""));
        assert!(faults.len() == 1 && faults[0].starts_with(part), "{faults:?}");
    }
    load("[run]\nlog = \"warn,oddline_ingest=debug\"", &[], &[]).unwrap();
}

#[test]
fn later_layers_win() {
    let file = "[analysis]\ndeadline_ms = 10\nqueue_templates = 11\nbatch_wait_ms = 12\n[engine]\nmessage_paths = [\"a\", \"b.c\"]";
    let variables =
        [("ODDLINE__ANALYSIS__QUEUE_TEMPLATES", "21"), ("ODDLINE__ANALYSIS__BATCH_WAIT_MS", "22")];
    let config = load(file, &variables, &["analysis.batch_wait_ms=32", "engine.threshold=0.7"]).unwrap();
    let expected = analyze::Options {
        deadline_ms: Some(10),
        queue_templates: Some(21),
        batch_wait_ms: Some(32),
        ..analyze::Options::default()
    };
    assert_eq!(config.analysis, analyze::Settings::new(&expected).unwrap());
    assert_eq!(config.engine.message_paths(), ["a", "b.c"]);
}

#[test]
fn every_fault_is_named_at_once() {
    let file = r#"
        color = "blue"
        [forwards]
        listen = "127.0.0.1:1"
        [forward]
        listn = "127.0.0.1:1"
        shared_key = 7
        [analysis]
        deadline_ms = 0
        batch_wait_ms = -1
        [embedder]
        kind = "magic"
        [engine]
        treshold = 0.5
    "#;
    let variables = [("ODDLINE__LIMITS__FRAME_BYTES", "many"), ("ODDLINE__NONSENSE", "1")];
    let ConfigErrors(faults) = load(file, &variables, &["run.drain_seconds"]).unwrap_err();
    assert_eq!(
        faults,
        [
            "oddline.toml: `analysis.batch_wait_ms` is `-1`, wanted: a whole number, not negative",
            "oddline.toml: `color` is string, not a section",
            "oddline.toml: engine: unknown option `treshold`; did you mean `threshold`?",
            "oddline.toml: no setting `forward.listn`; did you mean `listen`?",
            "oddline.toml: `forward.shared_key` is `…`, wanted: text",
            "oddline.toml: no section `forwards`; did you mean `forward`?",
            "ODDLINE__LIMITS__FRAME_BYTES: `limits.frame_bytes` is `many`, wanted: a whole number, not negative",
            "ODDLINE__NONSENSE: the name of a setting is ODDLINE__SECTION__KEY",
            "--set: `run.drain_seconds` is not SECTION.KEY=VALUE",
            "embedder.kind is `magic`, wanted: static, ollama, openai",
            "analysis: deadline_ms is 0, not within 1..=60000",
        ]
    );
}

#[test]
fn no_fault_repeats_a_secret() {
    for file in [
        "[forward]\nshared_key = 4711",
        "[forward]\nshared_key = \"4711",
        "[forward]\nshared_key = 4711x",
        "[forward]\nshared_key = \"\"\"\n4711 \\z\n\"\"\"",
        "[return]\npassword = \"a\"\npassword = \"4711\"",
        "[http]\ntoken = [4711]",
        "[embedder]\napi_key = 4711 # as it was",
        "[index]\napi_key = { a = 4711 }",
    ] {
        let faults = faults(file);
        assert!(!faults.is_empty() && faults.iter().all(|fault| !fault.contains("4711")), "{faults:?}");
    }
    for flag in ["forward.shared_key:4711", "token=4711"] {
        let ConfigErrors(faults) = load("", &[], &[flag]).unwrap_err();
        assert_eq!(faults, ["--set: `…` is not SECTION.KEY=VALUE"]);
    }
    let faults = faults("[return]\npassword = \"4711\n");
    assert!(faults[0].starts_with("oddline.toml: TOML parse error at line 2, column "), "{faults:?}");
    assert!(faults[0].lines().count() > 1, "it says why: {faults:?}");
    let shown = self::faults("[run]\nlog = \"warn\ndrain_seconds = 1");
    assert!(shown[0].contains("log = \"warn"), "other lines are shown: {shown:?}");
}

#[test]
fn what_others_can_reach_needs_a_secret() {
    for (section, secret) in [("forward", "shared_key"), ("http", "token"), ("admin", "token")] {
        for address in ["0.0.0.0:1", "[::]:1", "192.168.1.2:1"] {
            let file = format!("[{section}]\nlisten = \"{address}\"\n");
            let wanted = format!(
                "{section}.listen is {address}, which others can reach: set {section}.{secret} or listen on 127.0.0.1"
            );
            assert_eq!(faults(&file), [wanted]);
            load(&format!("{file}{secret} = \"s\""), &[], &[]).unwrap();
        }
    }
    load("[forward]\nlisten = \"[::1]:1\"", &[], &[]).unwrap();
}

#[test]
fn what_does_not_fit_together_is_refused() {
    assert_eq!(
        faults("[forward]\nlisten = \"localhost:1\""),
        ["forward.listen is `localhost:1`, wanted: an IP address and a port, such as 127.0.0.1:24284"]
    );
    assert_eq!(faults("[return]\naddress = \"shipper\""), ["return.address is `shipper`, wanted: host:port"]);
    assert_eq!(
        faults("[forward]\ntls_key = \"k\""),
        ["forward.tls_certificate and forward.tls_key belong together: set both or none"]
    );
    assert_eq!(
        faults("[limits]\nin_flight_bytes = 100663295"),
        ["limits: in_flight_bytes is 100663295, must be at least 100663296"]
    );
    assert!(faults("[forward")[0].starts_with("oddline.toml: TOML parse error at line 1"));
    let nowhere = Config::load(&Sources::default()).unwrap_err();
    assert_eq!(nowhere.0, ["state.dir is not set, and neither are STATE_DIRECTORY, XDG_STATE_HOME or HOME"]);
}

#[test]
fn an_empty_address_turns_a_listener_off() {
    let config = load("[http]\nlisten = \"\"\n[admin]\nlisten = \"\"", &[], &[]).unwrap();
    assert!(config.http.is_none() && config.admin.is_none() && config.forward.is_some());
}

#[test]
fn addresses_of_vector_are_checked_as_far_as_they_are_used() {
    assert_eq!(
        faults("[vector]\nlisten = \"0.0.0.0:1\"\nreturn = \"h:1\""),
        [
            "vector.listen is 0.0.0.0:1, which others can reach: set vector.tls_client_ca or listen on 127.0.0.1",
            "vector.return is `h:1`, wanted: an address such as http://127.0.0.1:24290/",
        ]
    );
    assert_eq!(
        faults("[vector]\nrows = \"ftp://h\""),
        ["vector.rows is `ftp://h`, wanted: an address such as http://127.0.0.1:24290/"]
    );
    assert_eq!(
        faults("[vector]\ncounts = \"127.0.0.1:1\""),
        ["vector.counts is `127.0.0.1:1`, wanted: an address such as http://127.0.0.1:24290/"]
    );
    assert_eq!(
        faults("[vector]\nhttp_return = \"https://h\"\nreturn = \"https://h\"\ntls_client_ca = \"a\""),
        [
            "vector.tls_client_ca needs vector.tls_certificate",
            "vector.return with https:// and vector.return_tls_ca belong together",
            "vector.http_return is `https://h`, wanted: an address such as http://127.0.0.1:24291/; \
             to another machine use vector.return, which speaks TLS",
        ]
    );
    let tls = "[vector]\nlisten = \"0.0.0.0:1\"\ntls_certificate = \"c\"\ntls_key = \"k\"\n";
    assert_eq!(faults(tls).len(), 1, "anyone could send");
    assert!(load(&format!("{tls}tls_client_ca = \"a\""), &[], &[]).unwrap().vector.tls.is_some());
    let off = load("[vector]\nlisten = \"\"\nrows = \"\"\nreturn = \"\"", &[], &[]).unwrap().vector;
    assert!(off.listen.is_none() && off.rows.is_none());
}
