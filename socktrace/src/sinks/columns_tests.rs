//! Tests of which columns fit, and of what happens to the rest.

use proptest::prelude::*;

use super::*;

fn titles(columns: &Columns) -> Vec<&str> {
    columns.shown.iter().map(|column| column.title()).collect()
}

#[test]
fn columns_drop_from_the_least_useful() {
    assert_eq!(titles(&Columns::within(1)), ["ERRNO", "REASON"]);
    let always = ["TIME", "ERRNO", "PROCESS", "REMOTE", "REASON"];
    assert_eq!(titles(&Columns::within(80)), always);
    let with_cause = ["TIME", "ERRNO", "CAUSE", "PROCESS", "REMOTE", "REASON"];
    assert_eq!(titles(&Columns::within(100)), with_cause);
    let with_service = ["TIME", "ERRNO", "CAUSE", "PROCESS", "SERVICE", "REMOTE", "REASON"];
    assert_eq!(titles(&Columns::within(120)), with_service);
    assert_eq!(titles(&Columns::within(160)), with_cause);
    assert_eq!(titles(&Columns::within(180)), with_service);
    assert_eq!(titles(&Columns::within(220)), titles(&Columns::all()));
}

#[test]
fn a_continuation_has_a_line_at_any_width() {
    for width in 1..100 {
        let columns = Columns::within(width).of_continuation().marked("└ ");
        let line = columns.line(|_| "write returned EPIPE 18 ms later".into());
        let cells = line.cells.iter().map(|cell| cell.text.as_str());
        let all: String = cells.chain(line.below.iter().map(String::as_str)).collect();
        assert!(!all.trim().is_empty(), "{width}");
    }
}

#[test]
fn each_column_has_its_place_and_weight() {
    for column in Column::IN_LINE.into_iter().filter(|column| *column != Column::Reason) {
        assert!(Column::BY_WEIGHT.contains(&column), "{column:?}");
    }
}

#[test]
fn a_list_names_columns() {
    let list = "reason, PID".parse::<ColumnList>();
    let error = list.expect_err("no such column");
    assert!(error.contains("\"pid\"") && error.contains("process, service"), "{error}");
    assert!("time,time".parse::<ColumnList>().is_err());
    let list = "Remote,errno".parse().expect("columns");
    assert_eq!(titles(&Columns::of(&list, None)), ["REMOTE", "ERRNO"]);
}

#[test]
fn the_most_informative_part_survives_cutting() {
    for (column, whole, cut) in [
        (Column::Process, "prometheus-node[4194304]", "prometh…[4194304]"),
        (Column::Remote, "[2001:db8:85a3::7348]:50412", "[2001:db8:85a…:50412"),
        (Column::Service, "a-service-with-a-name", "a-service-with-a…"),
        (Column::Process, "世界世界世界世界[81]", "世界世界世界…[81]"),
    ] {
        let mut text = whole.to_owned();
        assert!(shorten(&mut text, column, column.width() - 1), "{whole}");
        assert_eq!(text, cut);
    }
}

proptest! {
    #[test]
    fn no_line_is_wider_than_the_terminal(width in 1..250_usize, text in "[a-z世界:\\[]{0,60}") {
        let line = Columns::within(width).line(|_| Cow::Borrowed(text.as_str()));
        let used: usize = line.cells.iter().map(|cell| 1 + display_width(&cell.text)).sum();
        prop_assert!(used <= width + 1, "{used}: {line:?}");
        for line in line.below {
            prop_assert!(display_width(&line) <= width, "{line}");
        }
    }

    #[test]
    fn nothing_is_lost(width in NARROWEST..250, text in "[a-z]{0,10}( [a-z]{0,10}){0,9}") {
        let line = Columns::within(width).line(|column| match column {
            Column::Reason => Cow::Borrowed(text.as_str()),
            _ => "-".into(),
        });
        let cells = line.cells.iter().map(|cell| cell.text.as_str());
        let all: String = cells.chain(line.below.iter().map(String::as_str)).collect();
        for word in text.split(' ') {
            prop_assert!(all.contains(word), "{word} in {line:?}");
        }
    }
}
