//! The kinds of labelled data: how a folder of each is recognised, read and scored. A folder is known by the shape of its
//! files, so that other folders of the same layout are measured without a change here.

mod burden;
mod cidiff;
mod crowdsec;
mod labelled;
mod nezha;
mod openstack;
mod parsing;
mod sessions;

use crate::{harness::Bench, input::Folder};

/// A kind of labelled data.
#[derive(Debug)]
pub struct Set {
    /// The name for `--set` and in reports.
    pub name: &'static str,
    /// Whether a folder is of this kind.
    pub recognises: fn(&Folder) -> bool,
    /// Reads a folder of this kind.
    pub load: fn(&Folder) -> anyhow::Result<Bench>,
}

/// All kinds, in the order of the report.
pub const ALL: &[Set] = &[
    Set { name: "parsing", recognises: parsing::recognises, load: parsing::load },
    Set { name: "build logs", recognises: cidiff::recognises, load: cidiff::load },
    Set { name: "fault injection", recognises: openstack::recognises, load: openstack::load },
    Set { name: "sessions", recognises: sessions::recognises, load: sessions::load },
    Set { name: "services", recognises: nezha::recognises, load: nezha::load },
    Set { name: "alert levels", recognises: labelled::has_levels, load: labelled::load_levels },
    Set { name: "cases", recognises: crowdsec::recognises, load: crowdsec::load },
    Set { name: "lines", recognises: labelled::has_lines, load: labelled::load_lines },
    Set { name: "events", recognises: labelled::has_events, load: labelled::load_events },
    Set { name: "payloads", recognises: labelled::has_payloads, load: labelled::load_payloads },
    Set { name: "web access", recognises: burden::has_access_logs, load: burden::load_access_logs },
    Set { name: "ordinary lines", recognises: burden::has_systems, load: burden::load_systems },
];
