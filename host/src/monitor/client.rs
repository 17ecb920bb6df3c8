//! `host monitor SOCKET`: sends commands and prints the answers.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::Context;

/// Sends one command, or those on stdin. False when one of them failed.
pub fn talk(socket: &Path, command: &[String]) -> anyhow::Result<bool> {
    let stream = UnixStream::connect(socket).with_context(|| {
        format!(
            "no host listens at {}; is a guest running under `host --monitor {}`?",
            socket.display(),
            socket.display()
        )
    })?;
    let mut answers = BufReader::new(stream.try_clone().context("the socket cannot be used")?);
    let mut good = true;
    let mut ask = |line: &str| -> anyhow::Result<()> {
        let text = send(&stream, &mut answers, line)?;
        good &= text.is_ok();
        let text = text.unwrap_or_else(|e| format!("error: {e}\n"));
        // A reader that has seen enough is no error.
        let _ = io::stdout().write_all(text.as_bytes());
        Ok(())
    };
    if command.is_empty() {
        for line in io::stdin().lines() {
            ask(&line.context("stdin cannot be read")?)?;
        }
    } else {
        ask(&command.join(" "))?;
    }
    Ok(good)
}

/// Sends a command to a console and reads its answer: lines, or why it failed.
pub fn send(
    mut stream: &UnixStream,
    answers: &mut impl BufRead,
    line: &str,
) -> anyhow::Result<Result<String, String>> {
    const GONE: &str = "the run has ended";
    stream.write_all(format!("{line}\n").as_bytes()).context(GONE)?;
    let mut out = String::new();
    loop {
        let mut line = String::new();
        if answers.read_line(&mut line).context(GONE)? == 0 {
            anyhow::bail!(GONE);
        }
        if let Some(text) = line.strip_prefix("  ") {
            out.push_str(text);
        } else if let Some(why) = line.strip_prefix("error: ") {
            let why = why.trim_end();
            return Ok(Err(if out.is_empty() {
                why.to_owned()
            } else {
                format!("{why}\n{}", out.trim_end())
            }));
        } else if line == "ok\n" {
            return Ok(Ok(out));
        } else {
            // Statistics of a run that ends.
            anyhow::bail!(GONE);
        }
    }
}
