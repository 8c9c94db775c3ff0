//! Tables for a terminal, and the numbers in them.

/// Lays rows out in columns, two blanks between them and none at the ends of lines.
pub(crate) fn render(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Bytes in decimal units, as Docker shows them.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: &[&str] = &["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes}B");
    }
    // Tenths, so that whole numbers do.
    let mut tenths = bytes / 100;
    for unit in UNITS {
        if tenths < 10_000 || unit == &"PB" {
            return format!("{}.{}{unit}", tenths / 10, tenths % 10);
        }
        tenths /= 1000;
    }
    String::new()
}

/// The first 12 digits of an id.
pub(crate) fn short(id: &str) -> String {
    id.trim_start_matches("sha256:").chars().take(12).collect()
}

/// How long ago a time in seconds since 1970 was, roughly.
pub(crate) fn ago(now: i64, then: i64) -> String {
    const UNITS: &[(i64, &str)] = &[
        (86_400 * 365, "year"),
        (86_400 * 30, "month"),
        (86_400 * 7, "week"),
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let seconds = (now - then).max(0);
    match UNITS.iter().find(|(unit, _)| seconds >= *unit) {
        None => "just now".to_owned(),
        Some((unit, name)) => {
            let count = seconds / unit;
            let s = if count == 1 { "" } else { "s" };
            format!("{count} {name}{s} ago")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_tail() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let text = render(&[row(["NAME", "SIZE"]), row(["größe", "1"]), row(["x", ""])]);
        assert_eq!(text, "NAME   SIZE\ngröße  1\nx\n");
    }

    #[test]
    fn sizes_and_times_read_as_people_say_them() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1_500, "1.5kB"),
            (250_000_000, "250.0MB"),
            (999_999, "999.9kB"),
            (2_340_000_000, "2.3GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(ago(100, 100), "just now");
        assert_eq!(ago(100, 99), "1 second ago");
        assert_eq!(ago(1_000_000, 0), "1 week ago");
        assert_eq!(ago(7_200, 0), "2 hours ago");
    }
}
