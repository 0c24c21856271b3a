//! What the program says: of templates that the sidecar knows and does not know, with and without a rule, in every style.

use oddline_engine::{Mode, Options, Profile, TemplateId, advice::row::SIDECAR_KEY};
use serde_json::{Value, json};

use crate::{default_program, program};

const LOST: &str = "CRITICAL: Failed to connect to primary database after 5 retries.";
const MASKED: &str = "CRITICAL: Failed to connect to primary database after <*> retries.";

#[test]
fn without_a_sidecar_a_rule_speaks_alone() {
    let (event, metadata) = default_program().json(json!({"message": LOST, "service": "db"}));
    let tags = &event["anomaly"];
    assert_eq!(tags["status"], "skipped");
    assert_eq!((&tags["template"], &tags["flags"]), (&json!(MASKED), &json!(["pattern"])));
    assert!(
        tags["reason"].as_str().unwrap().ends_with("; sidecar absent, judged in the plugin alone"),
        "{tags}"
    );
    let id = TemplateId::of(MASKED).to_string();
    assert_eq!(tags["template_id"], json!(id));
    assert_eq!(metadata["oddline"], json!({"tag": "db", "template_id": id}));
}

#[test]
fn a_heartbeat_that_is_old_or_a_farewell_closes_the_detour() {
    for at in [json!(0), json!(0.0), json!(1.7e9), json!("soon"), json!(null), json!([])] {
        let vrl = default_program();
        vrl.put(SIDECAR_KEY, json!({"at": at}));
        let (event, metadata) = vrl.json(json!({"message": "never heard of"}));
        assert_eq!(event["anomaly"]["score"], 0.0);
        assert_eq!(metadata["oddline"].get("detour"), None, "{at}");
    }
}

#[test]
fn what_the_sidecar_does_not_know_goes_on_the_detour() {
    let vrl = default_program();
    vrl.open();
    let (event, metadata) = vrl.json(json!({"message": "worker 7 is idle", "file": "/var/log/w.log"}));
    let tags = &event["anomaly"];
    assert_eq!(
        (&tags["status"], &tags["level"], &tags["flags"]),
        (&json!("pending"), &json!("none"), &json!(["new"]))
    );
    assert_eq!(
        (&metadata["oddline"]["detour"], &metadata["oddline"]["tag"]),
        (&json!(true), &json!("/var/log/w.log"))
    );
    let (event, metadata) = vrl.json(json!({"message": "==== 5 %"}));
    assert_eq!(event["anomaly"]["level"], "none");
    assert_eq!(metadata["oddline"].get("detour"), None, "punctuation says nothing");
}

#[test]
fn what_is_known_stays() {
    let vrl = default_program();
    vrl.open();
    let row = |class: &str| json!({"id": "00000000000000aa", "class": class, "score": 0.9});
    let say = |row: Value, text: &str| {
        vrl.put("worker <*> is idle", row.clone());
        vrl.put(MASKED, row);
        let (event, metadata) = vrl.json(json!({"message": text}));
        assert_eq!(metadata["oddline"].get("detour"), None);
        event["anomaly"].clone()
    };
    let quiet = json!({"score": 0.0, "level": "none", "template_id": "00000000000000aa"});
    assert_eq!(say(row("normal"), "worker 7 is idle"), quiet);
    assert_eq!(say(row("seen"), "worker 7 is idle"), quiet);
    assert_eq!(say(row("exception"), "worker 7 is idle"), quiet);
    let tags = say(row("anomalous"), "worker 7 is idle");
    assert_eq!(
        (&tags["status"], &tags["flags"], &tags["score"]),
        (&json!("confirmed"), &json!(["semantic"]), &json!(0.9))
    );
    let near = json!({"id": "00000000000000aa", "class": "anomalous", "score": 0.9, "similarity": 0.47, "nearest": "all is well"});
    let tags = say(near, "worker 7 is idle");
    assert_eq!(tags["reason"], "unlike anything known (nearest 0.47: \"all is well\")");
    assert_eq!((&tags["similarity"], &tags["nearest"]), (&json!(0.47), &json!("all is well")));
    let expired = json!({"id": "00000000000000aa", "class": "exception", "score": 0.9, "expires": 1});
    vrl.put("worker <*> is idle", expired);
    let (event, _) = vrl.json(json!({"message": "worker 7 is idle"}));
    assert_eq!(event["anomaly"]["status"], "pending", "an expired row is no row");
}

#[test]
fn rates_are_flagged_while_the_row_tells_them() {
    let vrl = default_program();
    vrl.open();
    let burst = json!({"id": "00000000000000aa", "class": "normal", "score": 0.1, "burst": {"expected": 6, "actual": 600.5}});
    vrl.put("worker <*> is idle", burst);
    let tags = vrl.json(json!({"message": "worker 7 is idle"})).0["anomaly"].clone();
    assert_eq!(
        (&tags["flags"], &tags["level"], &tags["status"]),
        (&json!(["burst"]), &json!("medium"), &json!("inline"))
    );
    assert_eq!((&tags["expected"], &tags["actual"]), (&json!(6.0), &json!(600.5)));
    let drop = json!({"id": "00000000000000aa", "class": "normal", "score": 0.1, "drop": {"expected": 60.0, "actual": 1.0}});
    vrl.put("worker <*> is idle", drop);
    let tags = vrl.json(json!({"message": "worker 7 is idle"})).0["anomaly"].clone();
    assert_eq!((&tags["flags"], &tags["score"]), (&json!(["drop"]), &json!(0.55)));
}

#[test]
fn random_text_of_an_unknown_template_is_told() {
    let vrl = default_program();
    vrl.open();
    let random = "token q8Zx/7Kp+3vNf0aYd9LmR2tJw5HsQe1BgUoC6iXkTzVnPyMbWhEjDrGlSuAcFOI4=:?!%&$#@~^*q8Z";
    let tags = vrl.json(json!({"message": random})).0["anomaly"].clone();
    assert_eq!(tags["flags"], json!(["new", "entropy"]));
    assert_eq!(tags["level"], "low");
}

#[test]
fn a_users_field_of_our_name_is_kept_and_not_believed() {
    let vrl = default_program();
    let (event, _) =
        vrl.json(json!({"message": "fine", "anomaly": {"level": "critical"}, "anomaly_original": 7}));
    assert_eq!(event["anomaly"]["level"], "none");
    assert_eq!(
        (&event["anomaly_original"], &event["anomaly_original_2"]),
        (&json!(7), &json!({"level": "critical"}))
    );
    let full = json!({"message": "fine", "anomaly": 0, "anomaly_original": 1, "anomaly_original_2": 2,
        "anomaly_original_3": 3, "anomaly_original_4": 4});
    assert_eq!(
        vrl.json(full).0["anomaly_original_4"],
        json!([4, 0]),
        "nothing is lost, however many there are"
    );
    vrl.open();
    let (event, _) =
        vrl.json(json!({"message": "never heard of", "_oddline_tag": "forged", "_oddline": "x"}));
    assert_eq!(
        (&event["_oddline_tag_original"], &event["_oddline_original"]),
        (&json!("forged"), &json!("x"))
    );
    assert_eq!((event.get("_oddline"), event.get("_oddline_tag")), (None, None));
}

#[test]
fn what_comes_back_passes_untouched() {
    let vrl = default_program();
    vrl.open();
    let event = json!({"message": LOST, "anomaly": {"status": "confirmed"}});
    let metadata = json!({"oddline": {"marker": "any"}});
    let (passed, kept) = vrl.run(event.clone().into(), metadata.clone().into());
    assert_eq!((passed, kept), (event.into(), metadata.into()));
}

#[test]
fn copies_say_pending_and_records_never_do() {
    let vrl =
        program(&Options { mode: Some(Mode::Copy), profile: Some(Profile::Flat), ..Options::default() });
    vrl.open();
    let (event, metadata) = vrl.json(json!({"message": LOST}));
    assert_eq!((&event["anomaly_status"], &event["anomaly_template"]), (&json!("inline"), &json!(MASKED)));
    let pending = &metadata["oddline"]["pending"];
    assert_eq!((&pending["status"], &pending["template"]), (&json!("pending"), &json!(MASKED)));
    assert_eq!(metadata["oddline"]["detour"], true);
    let (event, metadata) = vrl.json(json!({"message": "worker 7 is idle"}));
    assert_eq!((&event["anomaly_level"], event.get("anomaly_status")), (&json!("none"), None));
    assert_eq!(metadata["oddline"]["pending"]["status"], "pending");
}

#[test]
fn every_profile_has_its_names_and_pending_is_nested() {
    let names = [
        (Profile::Flat, "anomaly_score", "anomaly_template"),
        (Profile::Otel, "anomaly.score", "log.record.template"),
        (Profile::Ecs, "event.risk_score_norm", "anomaly.template"),
    ];
    for (profile, score, template) in names {
        let vrl = program(&Options { profile: Some(profile), ..Options::default() });
        let (event, _) = vrl.json(json!({"message": LOST, score: "forged"}));
        assert_eq!(event[template], json!(MASKED), "{event}");
        assert!(event[score].is_number(), "{event}");
        assert_eq!(event[format!("{score}_original")], "forged");
        vrl.open();
        let (event, _) = vrl.json(json!({"message": LOST}));
        assert_eq!(event["anomaly"]["status"], "pending");
        assert_eq!(event.get(score), None);
    }
}

#[test]
fn inline_programs_ask_no_table() {
    let options = Options { mode: Some(Mode::Inline), ..Options::default() };
    assert!(!crate::text(&options).contains("enrichment"));
    let (event, _) = program(&options).json(json!({"message": LOST}));
    assert_eq!(event["anomaly"]["status"], "inline");
}
