//! Backends that can be killed: fakes on a runtime of their own, whose end closes every connection in the middle of
//! whatever it carries; the real Qdrant as a process; a relay that stands before a real Ollama. What was acknowledged
//! outlives them, as it must.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};

use crate::{fake_http, fake_qdrant, program::free_address, shipper::eventually};

/// A backend of the sidecar with a death.
pub(crate) trait Mortal {
    /// The sidecar's settings that lead to it.
    fn settings(&self) -> Vec<String>;
    /// Brings it up, with what it had.
    async fn start(&mut self);
    /// Ends it at once, whatever it is at.
    fn kill(&mut self);
}

/// Something that serves on a runtime of its own.
#[derive(Default)]
struct Life(Option<Runtime>);

impl Life {
    /// Tries until the address is free again.
    async fn begin<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        address: SocketAddr,
        serve: impl FnOnce() -> F,
    ) {
        eventually("the address is free", || std::net::TcpListener::bind(address).is_ok()).await;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(serve()).await.unwrap();
        self.0 = Some(runtime);
    }

    fn end(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.end();
    }
}

/// The contract suite's Qdrant.
pub(crate) struct FakeQdrant {
    address: SocketAddr,
    stored: Arc<Mutex<fake_qdrant::State>>,
    life: Life,
}

impl FakeQdrant {
    pub(crate) fn new() -> FakeQdrant {
        let address = free_address().parse().unwrap();
        FakeQdrant { address, stored: Arc::default(), life: Life::default() }
    }
}

impl Mortal for FakeQdrant {
    fn settings(&self) -> Vec<String> {
        vec!["index.kind=qdrant".to_owned(), format!("index.url=http://{}", self.address)]
    }

    async fn start(&mut self) {
        let (address, stored) = (self.address, Arc::clone(&self.stored));
        let serve = || async move { drop(fake_qdrant::start_with(address, stored).await) };
        self.life.begin(address, serve).await;
    }

    fn kill(&mut self) {
        self.life.end();
    }
}

/// The contract suite's Ollama.
pub(crate) struct FakeOllama {
    address: SocketAddr,
    life: Life,
}

impl FakeOllama {
    pub(crate) fn new() -> FakeOllama {
        FakeOllama { address: free_address().parse().unwrap(), life: Life::default() }
    }
}

impl Mortal for FakeOllama {
    fn settings(&self) -> Vec<String> {
        vec!["embedder.kind=ollama".to_owned(), format!("embedder.url=http://{}", self.address)]
    }

    async fn start(&mut self) {
        let address = self.address;
        let serve = || async move { drop(fake_http::start_at(address, fake_http::Mode::Honest).await) };
        self.life.begin(address, serve).await;
    }

    fn kill(&mut self) {
        self.life.end();
    }
}

/// A real Ollama, of which only the address is known: what is killed is the way to it.
pub(crate) struct RelayedOllama {
    address: SocketAddr,
    to: String,
    model: String,
    life: Life,
}

impl RelayedOllama {
    /// `url` is `http://host:port`.
    pub(crate) fn new(url: &str, model: String) -> RelayedOllama {
        let to = url.strip_prefix("http://").expect("ODDLINE_OLLAMA_URL begins with http://");
        let (to, address) = (to.trim_end_matches('/').to_owned(), free_address().parse().unwrap());
        RelayedOllama { address, to, model, life: Life::default() }
    }
}

impl Mortal for RelayedOllama {
    fn settings(&self) -> Vec<String> {
        let mut settings = vec!["embedder.kind=ollama".to_owned(), format!("embedder.model={}", self.model)];
        settings.push(format!("embedder.url=http://{}", self.address));
        settings
    }

    async fn start(&mut self) {
        let (address, to) = (self.address, self.to.clone());
        let serve = || async move {
            let listener = TcpListener::bind(address).await.unwrap();
            tokio::spawn(async move {
                while let Ok((mut near, _)) = listener.accept().await {
                    let to = to.clone();
                    tokio::spawn(async move {
                        let Ok(mut far) = TcpStream::connect(&to).await else { return };
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    });
                }
            });
        };
        self.life.begin(address, serve).await;
    }

    fn kill(&mut self) {
        self.life.end();
    }
}

/// The real Qdrant, as a process.
pub(crate) struct RealQdrant {
    program: PathBuf,
    grpc: String,
    http: String,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl RealQdrant {
    pub(crate) fn new(program: &Path) -> RealQdrant {
        let program = program.canonicalize().unwrap();
        let folder = tempfile::tempdir().unwrap();
        RealQdrant { program, grpc: free_address(), http: free_address(), folder, child: None }
    }
}

impl Mortal for RealQdrant {
    fn settings(&self) -> Vec<String> {
        vec!["index.kind=qdrant".to_owned(), format!("index.url=http://{}", self.grpc)]
    }

    async fn start(&mut self) {
        let port = |address: &str| address.rsplit(':').next().unwrap().to_owned();
        let child = Command::new(&self.program)
            .current_dir(self.folder.path())
            .env("QDRANT__SERVICE__HOST", "127.0.0.1")
            .env("QDRANT__SERVICE__GRPC_PORT", port(&self.grpc))
            .env("QDRANT__SERVICE__HTTP_PORT", port(&self.http))
            .env("QDRANT__STORAGE__STORAGE_PATH", self.folder.path().join("storage"))
            .env("QDRANT__STORAGE__SNAPSHOTS_PATH", self.folder.path().join("snapshots"))
            .env("QDRANT__TELEMETRY_DISABLED", "true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.unwrap());
        let is_up = || std::net::TcpStream::connect(&self.grpc).is_ok();
        eventually("Qdrant listens", is_up).await;
    }

    /// By SIGKILL.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for RealQdrant {
    fn drop(&mut self) {
        self.kill();
    }
}
