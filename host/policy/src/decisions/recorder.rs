//! Writes decisions down as they are seen: a share of them, in a few files whose size together has a bound.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Recorded;
use super::file::{EXTENSION, Out};
use crate::sight::{Seen, Sight};

/// Which decisions are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recording {
    /// So many of them, in millionths.
    pub share_ppm: u32,
    /// All files together hold at most so many bytes; the oldest make room.
    pub bytes_max: u64,
}

/// Files that the bound is divided into.
const FILES: u64 = 8;
/// Decisions that are written before somebody else has a turn.
const TURN: usize = 1_024;

/// Writes what a sight is offered.
pub(crate) struct Recorder {
    folder: PathBuf,
    recording: Recording,
    sight: Arc<Sight>,
    /// The files that there are, the oldest first, with their sizes.
    files: VecDeque<(PathBuf, u64)>,
    out: Option<(PathBuf, Out)>,
    next: u64,
}

impl Recorder {
    /// Goes on behind what lies in the folder.
    pub(crate) fn open(folder: &Path, recording: Recording, sight: Arc<Sight>) -> std::io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                files.push((path.clone(), fs::metadata(&path)?.len()));
            }
        }
        files.sort();
        let number = |path: &Path| path.file_stem()?.to_str()?.parse::<u64>().ok();
        let next = files.iter().filter_map(|(path, _)| number(path)).max().map_or(1, |last| last + 1);
        Ok(Self { folder: folder.to_owned(), recording, sight, files: files.into(), out: None, next })
    }

    /// Writes what waits; answers whether there was something.
    pub(crate) fn turn(&mut self) -> std::io::Result<bool> {
        for done in 0..TURN {
            match self.sight.next() {
                Some(seen) => self.write(seen)?,
                None if done == 0 => return Ok(false),
                None => break,
            }
        }
        if let Some((_, out)) = &mut self.out {
            out.flush()?;
        }
        Ok(true)
    }

    fn write(&mut self, seen: Seen) -> std::io::Result<()> {
        let Some((generation, answer)) = seen.decided else { return Ok(()) };
        let recorded = Recorded { question: seen.question, generation, answer };
        if self.out.is_none() {
            self.make_room()?;
            // Twenty digits: all numbers sort as names.
            let path = self.folder.join(format!("{:020}.{EXTENSION}", self.next));
            self.next += 1;
            self.out = Some((path.clone(), Out::create(&path)?));
        }
        let (path, out) = self.out.as_mut().expect("it was just made");
        out.add(&recorded)?;
        if out.bytes() >= self.recording.bytes_max / FILES {
            out.flush()?;
            self.files.push_back((path.clone(), out.bytes()));
            self.out = None;
        }
        Ok(())
    }

    /// Removes the oldest files until another one fits.
    fn make_room(&mut self) -> std::io::Result<()> {
        let room = self.recording.bytes_max - self.recording.bytes_max / FILES;
        while self.files.iter().map(|(_, bytes)| bytes).sum::<u64>() > room {
            let Some((oldest, _)) = self.files.pop_front() else { break };
            fs::remove_file(oldest)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ostrakon_core::policy::{Answer, Forecast, Question, Route};
    use ostrakon_wire::Generation;

    use super::*;
    use crate::decisions::read_decisions;
    use crate::tests::calls::outlook;

    fn seen(known: u64) -> Seen {
        let forecast = Forecast { version: known, confidence_ppm: 0, route: Route::Write };
        let decided = Some((Generation::FIRST, Ok(Answer::Forecast(forecast))));
        Seen { question: Question::Predict(outlook(known)), decided, met: None }
    }

    #[test]
    fn files_of_decisions_grow_without_bound_or_lose_what_was_seen_last() {
        let folder = tempfile::tempdir().unwrap();
        let recording = Recording { share_ppm: 1_000_000, bytes_max: 64 << 10 };
        let mut known = 0;
        for _restart in 0..3 {
            let sight = Arc::new(Sight::new(recording.share_ppm));
            let mut recorder = Recorder::open(folder.path(), recording, Arc::clone(&sight)).unwrap();
            for _ in 0..20 {
                for _ in 0..100 {
                    sight.offer(|| seen(known));
                    known += 1;
                }
                assert!(recorder.turn().unwrap());
            }
            assert!(!recorder.turn().unwrap());
            let bytes: u64 = fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().metadata().unwrap().len()).sum();
            assert!(bytes <= recording.bytes_max + 1_024, "{bytes} bytes");
        }
        let all = read_decisions(folder.path()).unwrap();
        let expected: Vec<_> = (known - all.len() as u64..known).map(|known| seen(known).question).collect();
        let found: Vec<_> = all.into_iter().map(|recorded| recorded.question).collect();
        assert!(found.len() > 300, "{}", found.len());
        assert_eq!(found, expected, "the latest, in order");
    }

    #[test]
    fn a_file_that_is_cut_off_or_damaged_is_taken_for_another() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("one.decisions");
        let mut out = Out::create(&file).unwrap();
        for known in 0..3 {
            let Seen { question, decided, .. } = seen(known);
            let (generation, answer) = decided.unwrap();
            out.add(&Recorded { question, generation, answer }).unwrap();
        }
        out.flush().unwrap();
        let whole = fs::read(&file).unwrap();
        for cut in 0..whole.len() {
            fs::write(&file, &whole[..cut]).unwrap();
            let read = read_decisions(&file);
            assert!(read.is_err() == (cut < 21), "cut at {cut}: {read:?}");
            assert!(read.map_or(0, |all| all.len()) < 3);
        }
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        fs::write(&file, flipped).unwrap();
        assert!(read_decisions(&file).unwrap_err().to_string().contains("is damaged"));
        fs::write(&file, b"ostrakon decisions 2\n").unwrap();
        assert!(read_decisions(&file).unwrap_err().to_string().contains("later release"));
    }
}
