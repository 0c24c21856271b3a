//! CPU per event of what we put into the real Vector, against the same pipeline without it.
//!
//! Interleaved rounds over the same lines, the lowest of each. Needs `vector` (`ODDLINE_VECTOR` or on the PATH), the
//! program `oddline` and the Lua module (`cargo xtask bench` builds them); skips loudly without. Prints one JSON line.
//!
//! * `match_any`: `stdin -> remap (nothing but match_any of every rule's pattern) -> blackhole`, against no transform, over
//!   one line in so many
//! * `vrl`: `stdin -> remap (the program of oddline vrl) -> blackhole`, against no transform; of both without what it takes
//!   Vector to load them, once and however many events come, which is told beside it; and the same of a program without
//!   rules, and of one that sets three tags and nothing else
//! * `lua`: `stdin -> lua -> blackhole`, against a `lua` transform that only emits; and one that sets three tags and nothing else
//! * `detour`: one event in a hundred to a real sidecar over gRPC and back, against the same routes without a sidecar; what
//!   the sidecar takes until it is ready, once and whatever comes, is told beside it

#![expect(clippy::print_stderr, reason = "a bench reports on the terminal")]

#[path = "support/cost.rs"]
mod cost;

use std::{
    fs::{self, File},
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;
use oddline_engine::rules::builtin_rules;

const ROUNDS: usize = 4;
/// The detour is a small difference of two large figures.
const DETOUR_ROUNDS: usize = 5;
/// How long a pipeline without an end may take, and how long it must have been idle to count as done.
const PATIENCE: Duration = Duration::from_secs(300);
const IDLE: Duration = Duration::from_millis(1_500);

/// What `/proc/<pid>/stat` counts in, on every Linux of today.
const TICKS_PER_SECOND: f64 = 100.0;

/// Vector sees one line in so many (no multiple of the number of systems) where it matches hundreds of patterns alone.
const MATCH_ANY_STEP: usize = 17;
/// Patterns in one call of `match_any`: the sets' automata have a limit of size.
const MATCH_ANY_SET: usize = 8;

/// Seconds of a clock and of processors.
#[derive(Clone, Copy)]
struct Load {
    wall: f64,
    cpu: f64,
}

struct Bench {
    vector: std::path::PathBuf,
    folder: tempfile::TempDir,
    records: usize,
}

fn main() -> anyhow::Result<()> {
    let Some(vector) = acceptance::vector() else {
        eprintln!("SKIPPED: no vector on the PATH and ODDLINE_VECTOR is not set");
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let records = cost::write_input(&folder.path().join("input.log"), 30)?;
    let version = cost::version(&vector)?;
    let bench = Bench { vector, folder, records };
    let mut line = format!(r#"{{"bench":"vector","version":{version},"records":{records}"#);

    bench.write_program("oddline.vrl", "")?;
    bench.write_program("without_rules.vrl", "builtin_rules = false\n")?;
    let remap = "{type: remap, inputs: [in], file: oddline.vrl}";
    let without_rules = "{type: remap, inputs: [in], file: without_rules.vrl}";
    let (load, small_load) = (bench.load(remap)?, bench.load(without_rules)?);
    let tags = r#"{type: remap, inputs: [in], source: '.anomaly = {"score": 0.0, "level": "none", "template_id": "00000000000000aa"}'}"#;
    let [none, vrl, without, tags] = bench.compare([
        ("none", ""),
        ("vrl", remap),
        ("vrl without rules", without_rules),
        ("vrl that sets tags", tags),
    ])?;
    line += &format!(
        r#","pipeline_us":{:.2},"vrl_added_us":{:.2},"vrl_load_s":{:.2},"vrl_load_cpu_s":{:.2},"vrl_without_rules_us":{:.2},"vrl_tags_only_us":{:.2}"#,
        bench.per_record(none),
        bench.per_record(vrl - none - load.cpu),
        load.wall,
        load.cpu,
        bench.per_record(without - none - small_load.cpu),
        bench.per_record(tags - none),
    );
    let few = bench.sample(MATCH_ANY_STEP)?;
    let plain = match_any();
    let load = bench.load(&plain)?;
    let [none, match_any] =
        bench.compare_over("few.log", few, [("none", ""), ("match_any of all patterns", &plain)])?;
    line += &format!(r#","match_any_added_us":{:.2}"#, (match_any - none - load.cpu) / few as f64 * 1e6);
    let empty = "{type: lua, version: '2', hooks: {process: 'function (event, emit) emit(event) end'}}";
    let tags = r#"{type: lua, version: '2', hooks: {process: 'function (event, emit) event.log.anomaly = {score = 0.0, level = "none", template_id = "00000000000000aa"} emit(event) end'}}"#;
    let ours = bench.lua_transform()?;
    let [empty, ours, tags] =
        bench.compare([("lua that only emits", empty), ("lua", &ours), ("lua that sets tags", tags)])?;
    line += &format!(
        r#","lua_empty_us":{:.2},"lua_us":{:.2},"lua_ratio":{:.3},"lua_tags_only_ratio":{:.3}"#,
        bench.per_record(empty),
        bench.per_record(ours),
        ours / empty,
        tags / empty
    );
    let (mut best, mut start) = ([f64::INFINITY; 2], f64::INFINITY);
    for round in 0..DETOUR_ROUNDS {
        for (slot, with_sidecar) in best.iter_mut().zip([false, true]) {
            let (seconds, of_start) = bench.detour(with_sidecar)?;
            eprintln!("round {round}: 1 % on the detour, sidecar {with_sidecar}: {seconds:.2} s of CPU");
            *slot = slot.min(seconds);
            start = if with_sidecar { start.min(of_start) } else { start };
        }
    }
    let [without, with] = best;
    line += &format!(
        r#","routes_us":{:.2},"detour_us":{:.2},"detour_share":{:.3},"sidecar_start_s":{start:.2}}}"#,
        bench.per_record(without),
        bench.per_record(with),
        (with - without) / with
    );
    writeln!(io::stdout(), "{line}")?;
    Ok(())
}

impl Bench {
    fn per_record(&self, seconds: f64) -> f64 {
        seconds / self.records as f64 * 1e6
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// What `oddline vrl` writes with these options.
    fn write_program(&self, name: &str, options: &str) -> anyhow::Result<()> {
        let file = self.path("options.toml");
        fs::write(&file, options)?;
        let mut oddline = Command::new(acceptance::built("ODDLINE_BIN"));
        oddline.args(["vrl", "--options"]).arg(file).arg("--output").arg(self.path(name));
        let output = oddline.output()?;
        anyhow::ensure!(output.status.success(), "oddline vrl: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// What it takes Vector to come up and end with a transform and nothing to do, less what it takes without.
    fn load(&self, transform: &str) -> anyhow::Result<Load> {
        let mut best = [Load { wall: f64::INFINITY, cpu: f64::INFINITY }; 2];
        for _ in 0..ROUNDS {
            for (slot, transform) in best.iter_mut().zip(["", transform]) {
                self.write_configuration(transform)?;
                let (start, before) = (Instant::now(), cost::children_seconds()?);
                self.run_to_the_end(Stdio::null())?;
                slot.wall = slot.wall.min(start.elapsed().as_secs_f64());
                slot.cpu = slot.cpu.min(cost::children_seconds()? - before);
            }
        }
        let [without, with] = best;
        Ok(Load { wall: with.wall - without.wall, cpu: with.cpu - without.cpu })
    }

    /// The `lua` transform of the shipped configuration, without its timers.
    fn lua_transform(&self) -> anyhow::Result<String> {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vector-config/lua.yaml");
        let text = fs::read_to_string(&shipped).with_context(|| shipped.display().to_string())?;
        let module = acceptance::built("ODDLINE_LUA_MODULE");
        let folder = Path::new(&module).parent().context("the module lies in no folder")?;
        let text = text.replace("/usr/lib/oddline/lua", &folder.display().to_string());
        let text = text.replace("/var/lib/oddline/advice", &self.path("advice").display().to_string());
        let configuration: serde_json::Value = serde_saphyr::from_str(&text)?;
        let mut transform = configuration["transforms"]["oddline_tags"].clone();
        let settings = transform.as_object_mut().context("lua.yaml has no transform oddline_tags")?;
        settings.insert("inputs".to_owned(), serde_json::json!(["in"]));
        settings.remove("timers");
        Ok(transform.to_string())
    }

    fn write_configuration(&self, transform: &str) -> anyhow::Result<()> {
        let (transforms, last) = if transform.is_empty() {
            (String::new(), "in")
        } else {
            let transform = transform.replacen("{type: lua,", "{inputs: [in], type: lua,", 1);
            (format!("transforms:\n  ours: {transform}\n"), "ours")
        };
        // The program reads this table; here nobody fills it.
        let text = format!(
            "data_dir: {}\nsources:\n  in: {{type: stdin}}\nenrichment_tables:\n  oddline: {{type: memory}}\n\
             {transforms}sinks:\n  out: {{type: blackhole, inputs: [{last}], print_interval_secs: 0}}\n",
            self.folder.path().display()
        );
        Ok(fs::write(self.path("vector.yaml"), text)?)
    }

    fn run_to_the_end(&self, input: Stdio) -> anyhow::Result<()> {
        let mut command = Command::new(&self.vector);
        command.current_dir(self.folder.path()).args(["-qq", "--config", "vector.yaml"]).stdin(input);
        let status = command.status().context("vector cannot be started")?;
        anyhow::ensure!(status.success(), "vector ended with {status}");
        Ok(())
    }

    /// Writes `few.log`, one line in so many; gives how many lines it has.
    fn sample(&self, step: usize) -> anyhow::Result<usize> {
        let text = fs::read(self.path("input.log"))?;
        let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').step_by(step).collect();
        fs::write(self.path("few.log"), lines.concat())?;
        Ok(lines.len())
    }

    /// The least CPU time of each of these pipelines, in turn.
    fn compare<const N: usize>(&self, pipelines: [(&str, &str); N]) -> anyhow::Result<[f64; N]> {
        self.compare_over("input.log", self.records, pipelines)
    }

    fn compare_over<const N: usize>(
        &self,
        input: &str,
        records: usize,
        pipelines: [(&str, &str); N],
    ) -> anyhow::Result<[f64; N]> {
        let mut best = [f64::INFINITY; N];
        for round in 0..ROUNDS {
            for (slot, (name, transform)) in best.iter_mut().zip(pipelines) {
                self.write_configuration(transform)?;
                let before = cost::children_seconds()?;
                self.run_to_the_end(File::open(self.path(input))?.into())?;
                let seconds = cost::children_seconds()? - before;
                eprintln!("round {round}: {name}: {seconds:.2} s of CPU for {records} records");
                *slot = slot.min(seconds);
            }
        }
        Ok(best)
    }

    /// CPU time of Vector and the sidecar for all records, one in a hundred of them visiting the sidecar, and what the
    /// sidecar took before, until it was ready.
    fn detour(&self, with_sidecar: bool) -> anyhow::Result<(f64, f64)> {
        let listeners = [(); 6].map(|()| TcpListener::bind("127.0.0.1:0"));
        let mut ports = [0; 6];
        for (port, listener) in ports.iter_mut().zip(listeners) {
            *port = listener?.local_addr()?.port();
        }
        let [grpc, back, forward, http, admin, rows] = ports;
        let detour = if with_sidecar {
            format!("{{type: vector, inputs: [route.detour], address: '127.0.0.1:{grpc}'}}")
        } else {
            "{type: blackhole, inputs: [route.detour], print_interval_secs: 0}".to_owned()
        };
        let buffer = tempfile::tempdir()?;
        let text = format!(
            r#"data_dir: {}
sources:
  in: {{type: file, include: [{}], data_dir: {}, offset_key: offset}}
  back: {{type: vector, address: '127.0.0.1:{back}'}}
transforms:
  mark:
    type: remap
    inputs: [in]
    source: |
      if mod(to_int(.offset) ?? 0, 100) == 0 {{
        .anomaly = {{"score": 0.3, "level": "none", "status": "pending", "template_id": "00000000000000aa",
          "template": "a message like others", "flags": ["new"], "reason": "new message", "model": "bench"}}
        %oddline = {{"detour": true, "tag": "bench"}}
      }}
  route: {{type: route, inputs: [mark], route: {{detour: '%oddline.detour == true'}}}}
sinks:
  sidecar: {detour}
  out: {{type: blackhole, inputs: [route._unmatched, back], print_interval_secs: 0}}
"#,
            buffer.path().display(),
            self.path("input.log").display(),
            buffer.path().display(),
        );
        fs::write(self.path("vector.yaml"), text)?;
        let before = cost::children_seconds()?;
        let loopback = |port: u16| format!("127.0.0.1:{port}");
        let mut sidecar = Command::new(acceptance::built("ODDLINE_BIN"));
        sidecar
            .args(["run", "--no-user-rules"])
            .env("ODDLINE__VECTOR__LISTEN", loopback(grpc))
            .env("ODDLINE__VECTOR__RETURN", format!("http://{}", loopback(back)))
            .env("ODDLINE__VECTOR__ROWS", format!("http://{}/", loopback(rows)))
            .env("ODDLINE__FORWARD__LISTEN", loopback(forward))
            .env("ODDLINE__HTTP__LISTEN", loopback(http))
            .env("ODDLINE__ADMIN__LISTEN", loopback(admin))
            .env("ODDLINE__STATE__DIR", buffer.path().join("state"))
            .stderr(Stdio::null());
        let (mut running, mut of_start) = (Vec::new(), 0.0);
        if with_sidecar {
            let sidecar = Ended(sidecar.spawn().context("oddline cannot be started")?);
            wait_until_ready(SocketAddr::from(([127, 0, 0, 1], admin)))?;
            of_start = sidecar.ticks()? as f64 / TICKS_PER_SECOND;
            running.push(sidecar);
        }
        let mut vector = Command::new(&self.vector);
        vector.current_dir(self.folder.path()).args(["-qq", "--config", "vector.yaml"]);
        running.push(Ended(vector.spawn().context("vector cannot be started")?));
        self.wait_until_idle(&running)?;
        drop(running);
        Ok((cost::children_seconds()? - before - of_start, of_start))
    }

    /// Until all of these have used next to no CPU time for a while: a file source has no end.
    fn wait_until_idle(&self, running: &[Ended]) -> anyhow::Result<()> {
        let ticks = || -> anyhow::Result<u64> {
            running.iter().map(|child| child.ticks()).try_fold(0, |sum, ticks| Ok(sum + ticks?))
        };
        let deadline = Instant::now() + PATIENCE;
        let (mut last, mut since) = (ticks()?, Instant::now());
        while since.elapsed() < IDLE || last < 100 {
            anyhow::ensure!(Instant::now() < deadline, "vector is not idle after {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(100));
            let now = ticks()?;
            // Heartbeats and timers go on: a hundredth of a core.
            if now > last + 1 {
                since = Instant::now();
            }
            last = now;
        }
        Ok(())
    }
}

/// Until the sidecar whose admin listener this is says that it is ready.
fn wait_until_ready(admin: SocketAddr) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let request = "GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    while !acceptance::exchange(admin, request).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
        anyhow::ensure!(Instant::now() < deadline, "the sidecar is not ready after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// A transform that asks for every rule's pattern, as someone would write it who has them from us.
fn match_any() -> String {
    let literal = |pattern: &str| format!("r'(?i){}'", pattern.replace("\\'", "'").replace('\'', "\\x27"));
    let rules = builtin_rules();
    let patterns: Vec<String> = rules
        .iter()
        .filter(|rule| rule.enabled && !rule.pattern.is_empty())
        .map(|rule| literal(&rule.pattern))
        .collect();
    let sets: Vec<String> = patterns
        .chunks(MATCH_ANY_SET)
        .map(|set| format!("match_any(string!(.message), [{}])", set.join(", ")))
        .collect();
    let source = format!(".hit = {}", sets.join(" || "));
    serde_json::json!({"type": "remap", "inputs": ["in"], "source": source}).to_string()
}

/// A child that ends with its owner.
struct Ended(Child);

impl Ended {
    /// User and system time so far, in clock ticks.
    fn ticks(&self) -> anyhow::Result<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let (_, fields) = stat.rsplit_once(')').context("/proc/<pid>/stat has no name")?;
        let field =
            |place: usize| fields.split_whitespace().nth(place).and_then(|text| text.parse::<u64>().ok());
        Ok(field(11).unwrap_or(0) + field(12).unwrap_or(0))
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
