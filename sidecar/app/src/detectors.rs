//! From configuration to detectors: components that look at records beside the analysis. Where they are not built in,
//! asking for them is an error.

use std::{path::Path, sync::Arc};

use oddline_analyze::ports::Detectors as Port;

use crate::config::Detectors;

/// How often what they learned is saved, if records came.
#[cfg(feature = "detectors")]
const KEEP_EVERY: std::time::Duration = std::time::Duration::from_secs(60);

/// The configured detectors, being loaded; `None`: there are none.
///
/// # Errors
/// If components cannot be run at all. One that is refused is logged and left out.
#[cfg(feature = "detectors")]
pub(crate) fn start(config: &Detectors, state_dir: &Path) -> anyhow::Result<Option<Arc<dyn Port>>> {
    use oddline_component_host::{FaultLimit, Host, HostSettings, Spec};

    if config.files.is_empty() {
        return Ok(None);
    }
    let specs = config.files.iter().cloned().map(|file| Spec {
        name: file.name,
        path: file.path,
        weight: file.weight,
        options: file.options,
    });
    let limit = FaultLimit { faults: config.faults, within: config.within };
    let keep = Some((state_dir.join("detectors"), KEEP_EVERY));
    let host = Host::start(specs.collect(), HostSettings { wait: config.wait, limit, keep });
    let host = host.map_err(|error| anyhow::anyhow!("detectors.files: {error}"))?;
    Ok(Some(Arc::new(host)))
}

/// See above.
#[cfg(not(feature = "detectors"))]
pub(crate) fn start(config: &Detectors, _: &Path) -> anyhow::Result<Option<Arc<dyn Port>>> {
    anyhow::ensure!(
        config.files.is_empty(),
        "detectors.files: this build runs no detectors; build it with the feature `detectors`"
    );
    Ok(None)
}
