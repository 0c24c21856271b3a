//! The part of WASI preview 1 that Fluent Bit's runtime gives the module: directories opened beforehand, files in them
//! to read, a clock, standard error. No arguments, no environment.
#![allow(dead_code, reason = "every test uses the part it needs")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use wasmtime::{Caller, Extern, Linker, Memory};

const OK: i32 = 0;
const BADF: i32 = 8;
const INVAL: i32 = 28;
const NOENT: i32 = 44;
const DIRECTORY: u8 = 3;
const REGULAR: u8 = 4;
const FIRST: usize = 3;

/// What one module sees of the world.
pub(crate) struct World {
    /// `accessible_paths`.
    pub(crate) directories: Vec<PathBuf>,
    /// The wall clock.
    pub(crate) nanos: i64,
    /// What was written to standard error.
    pub(crate) stderr: Vec<u8>,
    /// Opened by the module, from [`FIRST`] past the directories.
    files: Vec<Option<Opened>>,
}

struct Opened {
    path: PathBuf,
    content: Vec<u8>,
    at: usize,
}

impl World {
    /// A world with these directories, at a time.
    pub(crate) fn new(directories: Vec<PathBuf>, nanos: i64) -> World {
        World { directories, nanos, stderr: Vec::new(), files: Vec::new() }
    }

    /// What a descriptor stands for on disk.
    fn path(&self, fd: i32) -> Option<&Path> {
        let index = usize::try_from(fd).ok()?.checked_sub(FIRST)?;
        match self.directories.get(index) {
            Some(directory) => Some(directory),
            None => self.files.get(index - self.directories.len())?.as_ref().map(|file| &*file.path),
        }
    }

    fn file(&mut self, fd: i32) -> Option<&mut Option<Opened>> {
        let index = usize::try_from(fd).ok()?.checked_sub(FIRST + self.directories.len())?;
        self.files.get_mut(index)
    }
}

fn memory(caller: &mut Caller<'_, World>) -> Memory {
    caller.get_export("memory").and_then(Extern::into_memory).expect("the module has a memory")
}

fn write(caller: &mut Caller<'_, World>, at: i32, bytes: &[u8]) {
    memory(caller).write(caller, at as u32 as usize, bytes).expect("within memory");
}

fn text(caller: &mut Caller<'_, World>, at: i32, length: i32) -> String {
    let mut bytes = vec![0; length as u32 as usize];
    memory(caller).read(caller, at as u32 as usize, &mut bytes).expect("within memory");
    String::from_utf8(bytes).expect("paths are text")
}

/// `filestat`: kind, size and time of change; the rest is not looked at.
fn filestat(path: &Path) -> Option<[u8; 64]> {
    let meta = fs::metadata(path).ok()?;
    let mut stat = [0; 64];
    stat[16] = if meta.is_dir() { DIRECTORY } else { REGULAR };
    stat[32..40].copy_from_slice(&meta.len().to_le_bytes());
    let changed = meta.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    stat[48..56].copy_from_slice(&u64::try_from(changed.as_nanos()).ok()?.to_le_bytes());
    Some(stat)
}

/// A directory's entries as `dirent`s from a cookie on.
fn dirents(path: &Path, cookie: i64) -> Vec<u8> {
    let mut names: Vec<_> = fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| (entry.file_name(), entry.path()))
        .collect();
    names.sort();
    let mut out = Vec::new();
    for (index, (name, path)) in names.into_iter().enumerate().skip(cookie as usize) {
        let name = name.to_str().unwrap().as_bytes();
        out.extend_from_slice(&(index as u64 + 1).to_le_bytes());
        out.extend_from_slice(&0u64.to_le_bytes());
        out.extend_from_slice(&(name.len() as u32).to_le_bytes());
        out.extend_from_slice(&[if path.is_dir() { DIRECTORY } else { REGULAR }, 0, 0, 0]);
        out.extend_from_slice(name);
    }
    out
}

/// Defines every function that the module may import; one that is missing fails the instantiation by name.
#[rustfmt::skip]
pub(crate) fn define(linker: &mut Linker<World>) -> wasmtime::Result<()> {
    const WASI: &str = "wasi_snapshot_preview1";
    linker.func_wrap(WASI, "fd_prestat_get", |mut caller: Caller<'_, World>, fd: i32, out: i32| -> i32 {
        let index = usize::try_from(fd).unwrap().wrapping_sub(FIRST);
        let Some(length) = caller.data().directories.get(index).map(|path| path.as_os_str().len()) else { return BADF };
        write(&mut caller, out, &[0, 0, 0, 0]);
        write(&mut caller, out + 4, &(length as u32).to_le_bytes());
        OK
    })?;
    linker.func_wrap(WASI, "fd_prestat_dir_name", |mut caller: Caller<'_, World>, fd: i32, out: i32, length: i32| -> i32 {
        let index = usize::try_from(fd).unwrap().wrapping_sub(FIRST);
        let Some(path) = caller.data().directories.get(index) else { return BADF };
        let name = path.to_str().unwrap().as_bytes().to_vec();
        if name.len() > length as usize { return INVAL }
        write(&mut caller, out, &name);
        OK
    })?;
    linker.func_wrap(WASI, "random_get", |mut caller: Caller<'_, World>, out: i32, length: i32| -> i32 {
        write(&mut caller, out, &vec![7; length as usize]);
        OK
    })?;
    linker.func_wrap(WASI, "environ_sizes_get", |mut caller: Caller<'_, World>, count: i32, bytes: i32| -> i32 {
        write(&mut caller, count, &[0; 4]);
        write(&mut caller, bytes, &[0; 4]);
        OK
    })?;
    linker.func_wrap(WASI, "environ_get", |_: Caller<'_, World>, _: i32, _: i32| -> i32 { OK })?;
    linker.func_wrap(WASI, "clock_time_get", |mut caller: Caller<'_, World>, _: i32, _: i64, out: i32| -> i32 {
        let nanos = caller.data().nanos;
        write(&mut caller, out, &nanos.to_le_bytes());
        OK
    })?;
    linker.func_wrap(WASI, "fd_close", |mut caller: Caller<'_, World>, fd: i32| -> i32 {
        caller.data_mut().file(fd).and_then(Option::take).map_or(BADF, |_| OK)
    })?;
    linker.func_wrap(WASI, "fd_fdstat_get", |mut caller: Caller<'_, World>, fd: i32, out: i32| -> i32 {
        let Some(path) = caller.data().path(fd) else { return BADF };
        let mut stat = [0xff; 24];
        stat[..8].fill(0);
        stat[0] = if path.is_dir() { DIRECTORY } else { REGULAR };
        write(&mut caller, out, &stat);
        OK
    })?;
    linker.func_wrap(WASI, "fd_filestat_get", |mut caller: Caller<'_, World>, fd: i32, out: i32| -> i32 {
        let Some(stat) = caller.data().path(fd).and_then(filestat) else { return BADF };
        write(&mut caller, out, &stat);
        OK
    })?;
    linker.func_wrap(WASI, "fd_read", |mut caller: Caller<'_, World>, fd: i32, vectors: i32, count: i32, out: i32| -> i32 {
        let mut total = 0u32;
        for index in 0..count {
            let mut vector = [0; 8];
            memory(&mut caller).read(&caller, (vectors + index * 8) as usize, &mut vector).unwrap();
            let at = i32::from_le_bytes(*vector.first_chunk().unwrap());
            let length = u32::from_le_bytes(*vector.last_chunk().unwrap()) as usize;
            let Some(Some(file)) = caller.data_mut().file(fd) else { return BADF };
            let end = file.content.len().min(file.at + length);
            let part = file.content[file.at..end].to_vec();
            file.at = end;
            total += part.len() as u32;
            write(&mut caller, at, &part);
        }
        write(&mut caller, out, &total.to_le_bytes());
        OK
    })?;
    linker.func_wrap(WASI, "fd_readdir", |mut caller: Caller<'_, World>, fd: i32, at: i32, length: i32, cookie: i64, out: i32| -> i32 {
        let Some(path) = caller.data().path(fd).map(Path::to_owned) else { return BADF };
        let mut entries = dirents(&path, cookie);
        entries.truncate(length as usize);
        write(&mut caller, at, &entries);
        write(&mut caller, out, &(entries.len() as u32).to_le_bytes());
        OK
    })?;
    linker.func_wrap(WASI, "fd_write", |mut caller: Caller<'_, World>, fd: i32, vectors: i32, count: i32, out: i32| -> i32 {
        if fd != 2 { return BADF }
        let mut total = 0u32;
        for index in 0..count {
            let mut vector = [0; 8];
            memory(&mut caller).read(&caller, (vectors + index * 8) as usize, &mut vector).unwrap();
            let at = i32::from_le_bytes(*vector.first_chunk().unwrap());
            let length = i32::from_le_bytes(*vector.last_chunk().unwrap());
            let part = text(&mut caller, at, length);
            total += part.len() as u32;
            caller.data_mut().stderr.extend_from_slice(part.as_bytes());
        }
        write(&mut caller, out, &total.to_le_bytes());
        OK
    })?;
    linker.func_wrap(WASI, "path_filestat_get", |mut caller: Caller<'_, World>, fd: i32, _: i32, at: i32, length: i32, out: i32| -> i32 {
        let name = text(&mut caller, at, length);
        let Some(path) = caller.data().path(fd).map(|path| path.join(name)) else { return BADF };
        let Some(stat) = filestat(&path) else { return NOENT };
        write(&mut caller, out, &stat);
        OK
    })?;
    linker.func_wrap(WASI, "path_open", |mut caller: Caller<'_, World>, fd: i32, _: i32, at: i32, length: i32, _: i32, _: i64, _: i64, _: i32, out: i32| -> i32 {
        let name = text(&mut caller, at, length);
        let Some(path) = caller.data().path(fd).map(|path| path.join(name)) else { return BADF };
        let content = if path.is_dir() { Vec::new() } else {
            let Ok(content) = fs::read(&path) else { return NOENT };
            content
        };
        let world = caller.data_mut();
        let opened = Some(Opened { path, content, at: 0 });
        let free = world.files.iter().position(Option::is_none);
        let slot = free.unwrap_or_else(|| { world.files.push(None); world.files.len() - 1 });
        world.files[slot] = opened;
        let fd = (FIRST + world.directories.len() + slot) as u32;
        write(&mut caller, out, &fd.to_le_bytes());
        OK
    })?;
    linker.func_wrap(WASI, "proc_exit", |_: Caller<'_, World>, code: i32| -> wasmtime::Result<()> {
        Err(wasmtime::Error::msg(format!("the module ended itself with {code}")))
    })?;
    Ok(())
}
