//! The functions that a host calls. One engine per instance: an instance has one thread, and ends with its host's wish.

use std::cell::RefCell;

use oddline_engine::{Engine, Settings, UnixNanos};

use crate::{
    bindings::{
        Component,
        exports::oddline::detector::detection::{Description, Entry, Guest, OptionSetting, Verdict},
    },
    entry, options, verdict,
};

/// What hosts keep of a component's state; the sources that are longest silent are left out beyond it.
const MAX_SNAPSHOT_BYTES: usize = 4 << 20;

thread_local! {
    static ENGINE: RefCell<Option<Engine>> = const { RefCell::new(None) };
}

/// Runs on the instance's engine; without configuration it has the defaults.
fn with_engine<T>(work: impl FnOnce(&mut Engine) -> T) -> T {
    ENGINE.with_borrow_mut(|engine| work(engine.get_or_insert_with(|| options::builtin(Settings::default()))))
}

impl Guest for Component {
    /// Name and version joined by `/` are what the other shells write as `model`.
    fn describe() -> Description {
        let model = with_engine(|engine| engine.model().clone());
        let (name, version) = model.split_once('/').unwrap_or(("oddline", &model));
        Description { name: name.to_owned(), version: version.to_owned() }
    }

    fn configure(settings: Vec<OptionSetting>) -> Result<(), String> {
        let settings = settings.iter().map(|option| (option.name.as_str(), option.value.as_str()));
        let engine = options::engine(settings)?;
        ENGINE.set(Some(engine));
        Ok(())
    }

    fn observe(entry: Entry) -> Verdict {
        with_engine(|engine| judge(engine, &entry))
    }

    fn observe_all(entries: Vec<Entry>) -> Vec<Verdict> {
        with_engine(|engine| entries.iter().map(|entry| judge(engine, entry)).collect())
    }

    fn snapshot() -> Vec<u8> {
        with_engine(|engine| {
            let mut saving = engine.start_saving(MAX_SNAPSHOT_BYTES);
            while !engine.save_some(&mut saving, usize::MAX) {}
            saving.finish().concat()
        })
    }

    fn restore(snapshot: Vec<u8>) -> Result<(), String> {
        with_engine(|engine| engine.restore(&snapshot)).map_err(|error| error.to_string())
    }
}

fn judge(engine: &mut Engine, entry: &Entry) -> Verdict {
    let picker = engine.picker();
    let record = entry::record(entry, &picker);
    verdict::of(engine.observe(&record, UnixNanos(entry.time)))
}
