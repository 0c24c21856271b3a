//! Drain3 as its authors publish it, where `python3` finds it: a process that is given the lines once, and then takes its turn
//! whenever it is asked. Gives the seconds it counted itself, so that neither its start nor the pipe counts.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::Context as _;

/// With its defaults and without masks, like the crate beside it. Every line's reply is two numbers: training, matching.
const PROGRAM: &str = r"
import sys, time
from drain3.drain import Drain
lines = [sys.stdin.readline().rstrip('\n') for _ in range(int(sys.stdin.readline()))]
for _ in sys.stdin:
    drain = Drain()
    start = time.perf_counter()
    for line in lines:
        drain.add_log_message(line)
    trained = time.perf_counter()
    for line in lines:
        drain.match(line)
    print(trained - start, time.perf_counter() - trained, flush=True)
";

/// The process, waiting for its turn.
pub(crate) struct Python {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Of Drain3, as its package says.
    pub(crate) version: String,
}

impl Python {
    /// Starts it; `None` where there is no `python3`, or none that has `drain3`.
    pub(crate) fn start(texts: &[String]) -> anyhow::Result<Option<Python>> {
        let python = |program: &str| {
            let mut command = Command::new("python3");
            command.args(["-c", program]).env("PYTHONIOENCODING", "utf-8");
            command
        };
        let asked = "import drain3, importlib.metadata as packages; print(packages.version('drain3'))";
        let Some(found) = python(asked).output().ok().filter(|output| output.status.success()) else {
            return Ok(None);
        };
        let version = String::from_utf8_lossy(&found.stdout).trim().to_owned();
        let mut child = python(PROGRAM).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut input = child.stdin.take().context("its input is not piped")?;
        let output = BufReader::new(child.stdout.take().context("its output is not piped")?);
        // What Python would take for the end of a line within one.
        let lines = texts.iter().map(|text| text.replace('\r', " ")).collect::<Vec<_>>().join("\n");
        write!(input, "{}\n{lines}\n", texts.len()).context("python3 does not read the lines")?;
        Ok(Some(Python { child, input, output, version }))
    }

    /// One turn: the seconds that training and matching took.
    pub(crate) fn turn(&mut self) -> anyhow::Result<(f64, f64)> {
        writeln!(self.input, "go").and_then(|()| self.input.flush()).context("python3 has ended")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let (training, matching) =
            line.trim().split_once(' ').with_context(|| format!("python3 printed {line:?}"))?;
        Ok((training.parse()?, matching.parse()?))
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
