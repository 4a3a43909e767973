//! Plain aligned tables: a heading, rows, two blanks between columns. No colours and no lines, so that they pipe well.
//!
//! A character is one column wide. That holds for Vietnamese in its usual composed form; of text that comes decomposed the
//! combining marks are not counted.

use std::fmt;

/// Rows under a heading.
#[derive(Debug, Default)]
pub(crate) struct Table {
    heading: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table under this heading.
    pub(crate) fn new<'a>(heading: impl IntoIterator<Item = &'a str>) -> Self {
        Self { heading: heading.into_iter().map(str::to_owned).collect(), rows: Vec::new() }
    }

    /// Two columns without a heading: what it is, and its value.
    pub(crate) fn of_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let pairs = pairs.into_iter().filter(|(_, value)| !value.is_empty());
        Self { heading: Vec::new(), rows: pairs.map(|(name, value)| vec![name.to_owned(), value]).collect() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Whether there is nothing under the heading.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn lines(&self) -> impl Iterator<Item = &Vec<String>> {
        Some(&self.heading).filter(|heading| !heading.is_empty()).into_iter().chain(&self.rows)
    }

    fn width(&self, column: usize) -> usize {
        self.lines().filter_map(|line| line.get(column)).map(|cell| width(cell)).max().unwrap_or(0)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.lines().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(|column| self.width(column)).collect();
        for line in self.lines() {
            let mut text = String::new();
            for (cell, wide) in line.iter().zip(&widths) {
                let filling = wide - width(cell) + 2;
                text.extend(cell.chars().map(|c| if c.is_control() { ' ' } else { c }));
                text.extend(std::iter::repeat_n(' ', filling));
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

/// Columns that a text takes.
fn width(text: &str) -> usize {
    text.chars().filter(|c| !('\u{300}'..='\u{36f}').contains(c)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_in_vietnamese_too() {
        let mut table = Table::new(["Mã", "Cơ quan", "Trạng thái"]);
        table.row(["1".into(), "UBND phường Thuận Hoá".into(), "Đang xử lý".into()]);
        table.row(["22".into(), "Sở".into(), "Đã trả kết quả".into()]);
        assert_eq!(
            table.to_string(),
            "Mã  Cơ quan                Trạng thái\n\
             1   UBND phường Thuận Hoá  Đang xử lý\n\
             22  Sở                     Đã trả kết quả\n"
        );
    }

    #[test]
    fn decomposed_letters_take_one_column() {
        let table = Table::of_pairs([("a", "Thuận".to_owned()), ("Thua\u{323}\u{302}n", "b".to_owned())]);
        assert_eq!(table.to_string(), "a      Thuận\nThua\u{323}\u{302}n  b\n");
    }

    #[test]
    fn a_cell_cannot_break_its_line_or_command_the_terminal() {
        let table = Table::of_pairs([("name", "a\nb\u{1b}[2J".to_owned())]);
        assert_eq!(table.to_string(), "name  a b [2J\n");
    }

    #[test]
    fn what_has_no_value_is_left_out() {
        let table = Table::of_pairs([("shown", "yes".to_owned()), ("empty", String::new())]);
        assert_eq!(table.to_string(), "shown  yes\n");
    }
}
