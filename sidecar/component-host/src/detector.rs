//! A component that can be asked about records: loaded, started and configured. After a fault it starts anew, with what it
//! had learned when it was saved last.

use std::path::PathBuf;

use oddline_analyze::ports::Seen;
use oddline_engine::Verdict;

use crate::{
    bindings::exports::oddline::detector::detection::{Description, Entry, OptionSetting},
    convert::{self, shown},
    limits,
    load::{Component, Refused},
    sandbox::{Fault, Runtime, Sandbox},
};

/// Which component, and how it is set up.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// What it is called in reasons, logs and metrics.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// 0 to 1: its scores are multiplied by this.
    pub weight: f32,
    /// What is set on it.
    pub options: Vec<(String, String)>,
}

/// A component that runs.
#[derive(Debug)]
pub struct Detector {
    component: Component,
    options: Vec<OptionSetting>,
    description: Description,
    /// `None`: it failed, and has to start anew.
    sandbox: Option<Sandbox>,
    saved: Vec<u8>,
}

impl Detector {
    /// Loads, starts and configures a component.
    ///
    /// # Errors
    /// Says what is wrong with the file, its content or the options.
    pub fn open(runtime: &Runtime, spec: &Spec) -> Result<Detector, Refused> {
        Detector::start(&Component::load(runtime, &spec.path)?, &spec.options)
    }

    /// Starts and configures an instance of a component.
    ///
    /// # Errors
    /// If it does not start, or does not take the options.
    pub fn start(component: &Component, options: &[(String, String)]) -> Result<Detector, Refused> {
        let bytes: usize = options.iter().map(|(name, value)| name.len() + value.len()).sum();
        if options.len() > limits::MAX_OPTIONS || bytes > limits::MAX_OPTION_BYTES {
            return Err(Refused::Options(format!(
                "{} options of {bytes} bytes, more than the limit of {} options and {} bytes",
                options.len(),
                limits::MAX_OPTIONS,
                limits::MAX_OPTION_BYTES
            )));
        }
        let setting =
            |(name, value): &(String, String)| OptionSetting { name: name.clone(), value: value.clone() };
        let options: Vec<OptionSetting> = options.iter().map(setting).collect();
        let mut sandbox = start(component, &options)?;
        let described = sandbox.describe().map_err(Refused::Start)?;
        let description = Description {
            name: shown(&described.name, limits::MAX_NAME),
            version: shown(&described.version, limits::MAX_NAME),
        };
        let component = component.clone();
        Ok(Detector { component, options, description, sandbox: Some(sandbox), saved: Vec::new() })
    }

    /// `name/version`, as it says itself.
    pub fn description(&self) -> String {
        format!("{}/{}", self.description.name, self.description.version)
    }

    /// Judges one record at a time in nanoseconds since the Unix epoch.
    ///
    /// # Errors
    /// If it fails, or its answer makes no sense; then the next call is to a fresh instance.
    pub fn observe(&mut self, record: Seen, now: i64) -> Result<Verdict, Fault> {
        self.observe_entry(&convert::entry(record, now))
    }

    /// Judges several records in one call.
    ///
    /// # Errors
    /// As [`Detector::observe`]; then none of them is judged.
    pub fn observe_all(&mut self, records: Vec<Seen>, now: i64) -> Result<Vec<Verdict>, Fault> {
        let entries: Vec<Entry> = records.into_iter().map(|record| convert::entry(record, now)).collect();
        self.ask(|sandbox| {
            let verdicts = sandbox.observe_all(&entries)?;
            if verdicts.len() != entries.len() {
                let (given, asked) = (verdicts.len(), entries.len());
                return Err(Fault::Answer(format!("{given} verdicts for {asked} records")));
            }
            verdicts.into_iter().map(convert::verdict).collect()
        })
    }

    pub(crate) fn observe_entry(&mut self, entry: &Entry) -> Result<Verdict, Fault> {
        self.ask(|sandbox| sandbox.observe(entry).and_then(convert::verdict))
    }

    /// What it has learned; also what it starts from after a fault.
    ///
    /// # Errors
    /// As [`Detector::observe`].
    pub fn snapshot(&mut self) -> Result<Vec<u8>, Fault> {
        let saved = self.ask(Sandbox::snapshot)?;
        self.saved.clone_from(&saved);
        Ok(saved)
    }

    /// Gives it what it had learned.
    ///
    /// # Errors
    /// If it does not take it.
    pub fn restore(&mut self, snapshot: Vec<u8>) -> Result<(), Refused> {
        self.ask(|sandbox| sandbox.restore(&snapshot))
            .map_err(Refused::Start)?
            .map_err(told)
            .map_err(Refused::State)?;
        self.saved = snapshot;
        Ok(())
    }

    fn ask<T>(&mut self, ask: impl FnOnce(&mut Sandbox) -> Result<T, Fault>) -> Result<T, Fault> {
        // An instance that has failed may be in any state: it is not asked again.
        let mut sandbox = match self.sandbox.take() {
            Some(sandbox) => sandbox,
            None => self.start_anew()?,
        };
        let answer = ask(&mut sandbox)?;
        self.sandbox = Some(sandbox);
        Ok(answer)
    }

    fn start_anew(&self) -> Result<Sandbox, Fault> {
        let failed = |refused: Refused| Fault::Trap(format!("does not start again: {refused}"));
        let mut sandbox = start(&self.component, &self.options).map_err(failed)?;
        if !self.saved.is_empty() {
            sandbox.restore(&self.saved)?.map_err(|why| failed(Refused::State(told(why))))?;
        }
        Ok(sandbox)
    }
}

fn start(component: &Component, options: &[OptionSetting]) -> Result<Sandbox, Refused> {
    let mut sandbox = Sandbox::start(component).map_err(Refused::Start)?;
    // Whoever sets nothing need not be asked, but a detector may do its costly preparations here.
    sandbox.configure(options).map_err(Refused::Start)?.map_err(told).map_err(Refused::Options)?;
    Ok(sandbox)
}

/// A guest's own words, cut.
fn told(words: String) -> String {
    shown(&words, limits::MAX_REASON)
}
