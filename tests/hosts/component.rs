//! The engine as a component, in the host that the sidecar has: options as text, a record leaf by leaf, a verdict out.
//!
//! `ODDLINE_DETECTOR` names the component; `cargo xtask test` builds it and sets that. It is compiled once for all.
#![allow(dead_code, reason = "every test uses the part it needs")]

use std::{path::Path, sync::Arc, sync::OnceLock};

use oddline_analyze::ports::Seen;
use oddline_codec::json;
use oddline_component_host::{Component, Detector, Runtime};
use oddline_engine::{Picker, Settings, Verdict, rules::RuleSet};
use serde_json::{Map, Value};

/// One instance.
pub(crate) struct Host {
    detector: Detector,
    picker: Picker,
    model: Arc<str>,
}

pub(crate) fn component() -> &'static Component {
    static COMPONENT: OnceLock<Component> = OnceLock::new();
    COMPONENT.get_or_init(|| {
        let path = acceptance::built("ODDLINE_DETECTOR");
        Component::load(&Runtime::new().unwrap(), Path::new(&path))
            .unwrap_or_else(|refused| panic!("{path} {refused}"))
    })
}

impl Host {
    /// Starts an instance with these options; `rules` is what others read from a file of that name.
    pub(crate) fn start(options: &[(&str, &str)], rules: &str) -> Host {
        let owned = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let options =
            options.iter().filter(|(name, _)| *name != "rules").map(|(name, value)| owned(name, value));
        let options: Vec<_> = options.chain([owned("rules", rules)]).collect();
        let detector = Detector::start(component(), &options).unwrap_or_else(|refused| panic!("{refused}"));
        let picker = Picker::new(&Settings::default(), &RuleSet::default());
        let model = detector.description().into();
        Host { detector, picker, model }
    }

    /// The verdict on a record, and what the component says it is.
    pub(crate) fn judge(
        &mut self,
        tag: &str,
        record: &Map<String, Value>,
        nanos: i64,
    ) -> (Verdict, Arc<str>) {
        let text = serde_json::to_vec(record).unwrap();
        let seen = Seen::of(tag.as_bytes(), &self.picker, &json::Walked(&text), "");
        let verdict =
            self.detector.observe(seen, nanos).unwrap_or_else(|fault| panic!("{fault}: {record:?}"));
        (verdict, Arc::clone(&self.model))
    }
}
