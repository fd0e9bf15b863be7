//! What happened, a line a step: all of it in a digest, its end in words.

use std::collections::VecDeque;
use std::fmt::{self, Write};

use xxhash_rust::xxh3::Xxh3;

/// Lines that are kept for whoever looks for a cause.
const TAIL_LINES: usize = 60;

pub(crate) struct Trace {
    digest: Xxh3,
    lines: u64,
    tail: VecDeque<String>,
    whole: Option<String>,
}

impl Trace {
    pub(crate) fn new(keep: bool) -> Self {
        Self { digest: Xxh3::new(), lines: 0, tail: VecDeque::new(), whole: keep.then(String::new) }
    }

    pub(crate) fn line(&mut self, words: fmt::Arguments<'_>) {
        let mut line =
            if self.tail.len() < TAIL_LINES { String::new() } else { self.tail.pop_front().unwrap_or_default() };
        line.clear();
        let _ = writeln!(line, "{} {words}", self.lines);
        self.lines += 1;
        self.digest.update(line.as_bytes());
        if let Some(whole) = &mut self.whole {
            whole.push_str(&line);
        }
        self.tail.push_back(line);
    }

    pub(crate) fn digest(&self) -> u128 {
        self.digest.digest128()
    }

    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    pub(crate) fn tail(&self) -> Vec<String> {
        self.tail.iter().map(|line| line.trim_end().to_owned()).collect()
    }

    pub(crate) fn take_whole(&mut self) -> Option<String> {
        self.whole.take()
    }
}
