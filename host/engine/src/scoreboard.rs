//! What forecasts were worth, by generation. See [`Board`].

use std::sync::Arc;

use ostrakon_core::policy::{Board, Forecast, Met};
use ostrakon_wire::Generation;
use ostrakon_wire::value::{Map, Value};
use parking_lot::RwLock;

/// Generations that are remembered; the oldest makes room.
const GENERATIONS_MAX: usize = 16;

#[derive(Default)]
pub(crate) struct Scoreboard(RwLock<Vec<(Generation, Arc<Board>)>>);

impl Scoreboard {
    pub(crate) fn judge(&self, generation: Generation, forecast: &Forecast, known: u64, met: &Met) {
        self.board(generation).judge(forecast, known, met);
    }

    /// Verdicts that were asked for where a forecast of this generation was made.
    pub(crate) fn judged_by_policy(&self, generation: Generation, verdicts: u32) {
        if verdicts > 0 {
            self.board(generation).add_verdicts(verdicts);
        }
    }

    fn board(&self, generation: Generation) -> Arc<Board> {
        let found = self.0.read().iter().find(|(of, _)| *of == generation).map(|(_, board)| Arc::clone(board));
        found.unwrap_or_else(|| self.begin(generation))
    }

    #[cold]
    fn begin(&self, generation: Generation) -> Arc<Board> {
        let mut boards = self.0.write();
        if let Some((_, board)) = boards.iter().find(|(of, _)| *of == generation) {
            return Arc::clone(board);
        }
        if boards.len() == GENERATIONS_MAX {
            boards.remove(0);
        }
        let board = Arc::<Board>::default();
        boards.push((generation, Arc::clone(&board)));
        board
    }

    /// For `info`: a map a generation.
    pub(crate) fn facts(&self) -> Map {
        self.0.read().iter().map(|(of, board)| (of.get().to_string(), Value::Map(board.facts()))).collect()
    }
}
