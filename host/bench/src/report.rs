//! What a scenario found: one row a case, and the figures that stand for all of them.

use serde_json::{Map, Value};

/// A ratio to three places.
pub(crate) fn rounded(ratio: f64) -> Value {
    Value::from((ratio * 1_000.0).round() / 1_000.0)
}

/// The result of one scenario.
pub(crate) struct Report {
    /// Figures that stand beside the scenario's name in the JSON line.
    pub(crate) summary: Map<String, Value>,
    /// Which fields of a row the table shows, in this order.
    pub(crate) columns: &'static [&'static str],
    /// One object a case.
    pub(crate) rows: Vec<Map<String, Value>>,
}

impl Report {
    /// Prints the table, unless `json_only`, and the JSON line last.
    pub(crate) fn print(self, scenario: &str, json_only: bool) {
        if !json_only {
            self.print_table();
        }
        let mut line = self.summary;
        line.insert("scenario".into(), scenario.into());
        line.insert("rows".into(), self.rows.into_iter().map(Value::Object).collect());
        println!("{}", Value::Object(line));
    }

    fn print_table(&self) {
        let cell = |row: &Map<String, Value>, column: &str| row.get(column).map_or_else(String::new, Value::to_string);
        let width = |column: &&str| {
            self.rows.iter().map(|row| cell(row, column).len()).chain([column.len()]).max().unwrap_or_default()
        };
        let widths: Vec<usize> = self.columns.iter().map(width).collect();
        let print_line = |cells: Vec<String>| {
            let padded: Vec<String> =
                cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
            println!("{}", padded.join("  "));
        };
        print_line(self.columns.iter().map(ToString::to_string).collect());
        for row in &self.rows {
            print_line(self.columns.iter().map(|column| cell(row, column)).collect());
        }
    }
}
