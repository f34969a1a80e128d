//! Tables in Markdown, aligned, so that they can be read here and pasted there.

use std::fmt::Write as _;

/// One table. The first `texts` columns are text, the others numbers.
pub(crate) fn table(titles: &[&str], texts: usize, rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let longest = cells.map(|cell| cell.chars().count()).max();
        titles[column].chars().count().max(longest.unwrap_or(0))
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let mut text = String::new();
    let heads: Vec<String> = titles.iter().map(|title| (*title).to_owned()).collect();
    push_line(&mut text, &heads, texts, &widths);
    for (column, width) in widths.iter().enumerate() {
        let is_number = column >= texts;
        let rule = "-".repeat(width.saturating_sub(usize::from(is_number)));
        let end = if is_number { ":" } else { "" };
        // Writing to a string does not fail.
        let _ = write!(text, "| {rule}{end} ");
    }
    text.push_str("|\n");
    for row in rows {
        push_line(&mut text, row, texts, &widths);
    }
    text
}

fn push_line(text: &mut String, cells: &[String], texts: usize, widths: &[usize]) {
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let _ = if column < texts {
            write!(text, "| {cell:<width$} ")
        } else {
            write!(text, "| {cell:>width$} ")
        };
    }
    text.push_str("|\n");
}

/// The value in the middle; 0 of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// A number with as many decimals as are worth reading.
pub(crate) fn shown(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        less if less < 1.0 => format!("{value:.3}"),
        less if less < 10.0 => format!("{value:.2}"),
        less if less < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_value_counts() {
        assert_eq!(median(vec![]), 0.0);
        assert_eq!(median(vec![3.0]), 3.0);
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 100.0]), 3.0);
    }

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["a µ".to_owned(), "1".to_owned()],
            vec!["b".to_owned(), "1000".to_owned()],
        ];
        let expected = "\
| what | n    |
| ---- | ---: |
| a µ  |    1 |
| b    | 1000 |
";
        let made = table(&["what", "n"], 1, &rows);
        assert_eq!(made, expected.replace("| n    |", "|    n |"));
    }

    #[test]
    fn numbers_are_as_long_as_they_need_be() {
        for (value, expected) in [
            (0.0, "0"),
            (0.1234, "0.123"),
            (1.234, "1.23"),
            (12.34, "12.3"),
            (1234.5, "1234"),
        ] {
            assert_eq!(shown(value), expected);
        }
    }
}
