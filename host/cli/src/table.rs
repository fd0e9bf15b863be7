//! Tables for people: columns as wide as their rows need them.

use crate::failure::Failure;
use crate::output::say;

/// A column: its head, and on which side its cells stand.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Column {
    Left(&'static str),
    Right(&'static str),
}

impl Column {
    fn head(self) -> &'static str {
        match self {
            Self::Left(head) | Self::Right(head) => head,
        }
    }

    fn cell(self, text: &str, width: usize) -> String {
        match self {
            Self::Left(_) => format!("{text:width$}"),
            Self::Right(_) => format!("{text:>width$}"),
        }
    }
}

/// Prints rows, below the heads where they are wanted. No rows have no heads.
pub(crate) fn print<const N: usize>(
    columns: [Column; N],
    rows: &[[String; N]],
    with_head: bool,
) -> Result<(), Failure> {
    let widest = |at: usize| rows.iter().map(|row| row[at].chars().count()).fold(columns[at].head().len(), usize::max);
    let widths: [usize; N] = std::array::from_fn(widest);
    let line = |cells: [&str; N]| {
        let cells: [String; N] = std::array::from_fn(|at| columns[at].cell(cells[at], widths[at]));
        say(&cells.join("  ").trim_end())
    };
    if with_head && !rows.is_empty() {
        line(columns.map(Column::head))?;
    }
    rows.iter().try_for_each(|row| line(row.each_ref().map(String::as_str)))
}
