//! Tables as people and programs write them.
#![allow(clippy::unwrap_used)]

use super::*;

fn parse_with(text: &str, wanted: Wanted<'_>) -> Result<Table> {
    parse(text.as_bytes(), Path::new("x.csv"), wanted)
}

fn read(text: &str) -> Result<Table> {
    parse_with(text, Wanted::default())
}

fn message(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

/// Values and what is warned of.
#[track_caller]
fn values(text: &str) -> (Vec<f32>, Vec<String>) {
    let table = read(text).unwrap();
    (table.values, table.warnings.into_iter().map(|warning| warning.seen).collect())
}

#[test]
fn every_separator_is_found() {
    let cases = [
        "1,2\n3,4.5e0",
        "1;2\n3;4.5",
        "1;2\n3;4,5",
        "1\t2\n3\t4,5",
        "1|2\r3|4.5\r",
        "1\t2\r\n3\t4.5\r\n",
        "1 2\n3   4.5",
        " 1, 2\n 3, 4.5\n\n",
        "1,2,\n3,4.5,\n",
        "1,2\n3,4.5,\n",
        "sep=;\r\n1;2\r\n3;4.5",
        "\u{feff}\"1\",\"2\"\n\"3\",\"4.5\"",
        "# made by hand\n\n1 2\n# and now\n3 4.5",
        "x,\"the y, really\"\n1,2\n3,4.5",
        "x,y,\n1,2,\n3,4.5,",
        "x,y\n1,2,\n3,4.5,",
    ];
    for text in cases {
        assert_eq!(read(text).unwrap().values, [1.0, 2.0, 3.0, 4.5], "{text:?}");
    }
}

#[test]
fn columns_are_chosen_by_name_or_number_and_others_may_be_text() {
    let text = "name,x,y,class\nBob,1,2,0\nEve,3,4,1\n";
    let columns = [Column::Index(2), Column::Name("x".into())];
    let wanted = Wanted { columns: Some(&columns), labels: Some("class"), header: None };
    let table = parse_with(text, wanted).unwrap();
    assert_eq!((table.values, table.names), (vec![2.0, 1.0, 4.0, 3.0], vec!["y".into(), "x".into()]));
    assert_eq!(table.labels, Some(Labels::Numbers(vec![0.0, 1.0])));
    let refusal = |text: &str, column: Column| {
        parse_with(text, Wanted { columns: Some(&[column]), ..wanted }).unwrap_err().to_string()
    };
    let found = "found `name`, `x`, `y`, `class`";
    assert_eq!(refusal(text, "z".into()), format!("x.csv: expected column `z`, {found}"));
    assert_eq!(refusal(text, 4.into()), format!("x.csv: expected column 4, {found}"));
    let twice = "x,x,class\n1,2,0\n";
    assert_eq!(
        refusal(twice, "x".into()),
        "x.csv: expected columns of different names, found two columns `x`"
    );
    let nameless = Wanted { columns: Some(&["x".into()]), ..Wanted::default() };
    let nameless = parse_with("1.5,2.5\n3,4", nameless).unwrap_err().to_string();
    assert_eq!(nameless, "x.csv: expected column `x`, found `0`, `1`");
}

#[test]
fn labels_are_left_out_of_the_values_and_may_be_words() {
    let with = |text| parse_with(text, Wanted { labels: Some("label"), ..Wanted::default() });
    let table = with("x,label\n1,2\n3,4").unwrap();
    assert_eq!((table.values, table.labels), (vec![1.0, 3.0], Some(Labels::Numbers(vec![2.0, 4.0]))));
    let words = with("label,x\ndog,1\ncat,2\ndog,3").unwrap();
    let names = vec!["cat".to_owned(), "dog".to_owned()];
    assert_eq!(words.labels, Some(Labels::Words { names, classes: vec![1, 0, 1] }));
    let mixed = |text| with(text).unwrap_err().to_string();
    assert_eq!(
        mixed("label,x\ndog,1\n2,2"),
        "x.csv, line 3, column 1: expected the name of a class, as in the lines above, found \"2\""
    );
    assert_eq!(
        mixed("label,x\n0,1\n,2"),
        "x.csv, line 3, column 1: expected the number of a class, as in the lines above, found \"\""
    );
    let by_number = Wanted { labels: Some("1"), ..Wanted::default() };
    let table = parse_with("1.5,b\n2.5,a\n", by_number).unwrap();
    assert_eq!(table.values, [1.5, 2.5]);
    assert!(matches!(table.labels, Some(Labels::Words { classes, .. }) if classes == [1, 0]));
}

/// Three samples about (100, 200), none of them of whole numbers.
const FAR: &str = "100.1,200.2\n100.3,200.1\n100.2,200.3\n";
const FAR_VALUES: [f32; 6] = [100.1, 200.2, 100.3, 200.1, 100.2, 200.3];

#[test]
fn numbers_that_are_names_are_read_as_names_with_a_warning() {
    for first in ["0,1", "1,2", "2019,2020", "\"5\",\"77\"", "0.0,1.0", "-7,3000"] {
        let (found, seen) = values(&format!("{first}\n{FAR}"));
        assert_eq!((&found[..], seen.len()), (&FAR_VALUES[..], 1), "{first}");
        assert!(seen[0].starts_with(&format!("the first line `{}`", first.replace('"', ""))), "{}", seen[0]);
        let with = |header| parse_with(&format!("{first}\n{FAR}"), Wanted { header, ..Wanted::default() });
        assert_eq!(with(Some(true)).unwrap().values, FAR_VALUES);
        let sample = with(Some(false)).unwrap();
        assert_eq!((sample.values.len(), sample.warnings.len()), (8, 0));
    }
    // The same names once more are those of files that were joined.
    let with_again = format!("0,1\n{FAR}0,1\n{FAR}");
    let wanted = Wanted { header: Some(true), ..Wanted::default() };
    let again = "x.csv, line 5: expected a sample, found the names of the columns once more";
    assert_eq!(parse_with(&with_again, wanted).unwrap_err().to_string(), again);
    assert_eq!(message(&with_again), again);
    let (found, seen) = values("5\n0.5\n-2.25\n1.75\n");
    assert_eq!((&found[..], seen.len()), (&[0.5, -2.25, 1.75][..], 1));
    let counted = "0,1,2,3,4,5\n5,4,9,0,2,2\n1,7,8,3,0,0\n";
    let (found, seen) = values(counted);
    assert_eq!(
        (found.len(), &seen[..]),
        (12, &["the first line `0,1,2,3,4,5` counts the columns".to_owned()][..])
    );
    let (found, seen) = values("x,2019,2020\n1,3.5,2.5\n2,3.5,2.5\n");
    assert_eq!(
        (found.len(), &seen[..]),
        (6, &["the first line `x,2019,2020` has words above numbers".to_owned()][..])
    );
}

#[test]
fn names_that_are_asked_for_are_names() {
    let columns = ["1".into(), "0".into()];
    let wanted = Wanted { columns: Some(&columns), ..Wanted::default() };
    let table = parse_with(&format!("0,1\n{FAR}"), wanted).unwrap();
    assert_eq!((&table.values[..2], table.warnings.len()), (&[200.2, 100.1][..], 0));
    assert_eq!(table.names, ["1", "0"]);
    // Without such names they are numbers of columns.
    let table = parse_with(FAR, wanted).unwrap();
    assert_eq!((table.values.len(), &table.values[..2]), (6, &[200.2, 100.1][..]));
}

#[test]
fn lines_in_doubt_are_samples_with_a_warning_and_others_without() {
    for doubt in ["0,1\n7,5\n3,3\n4,8", "2019,2020\n5,7\n6,8\n9,4", "4.5,9.5\n0.1,0.2\n0.2,0.3\n0.3,0.1"] {
        let (found, seen) = values(doubt);
        assert_eq!((found.len(), seen.len()), (8, 1), "{doubt}");
    }
    for sample in
        ["5,3\n7,5\n3,3\n4,8", "0,0\n0.1,0.2\n0.3,0.3\n-0.3,-0.1", "1\n2\n3", "0.5,1\n0.7,2\n0.1,0.5\n0.2,3"]
    {
        assert_eq!(values(sample).1, Vec::<String>::new(), "{sample}");
    }
}

#[test]
fn columns_without_a_name_are_left_out_unless_they_are_asked_for() {
    let cases = [
        ",x,y\n0,0.5,1.5\n1,2.5,3.5\n",
        "Unnamed: 0,x,y\n7,0.5,1.5\n3,2.5,3.5\n",
        "\"\",\"x\",\"y\"\n\"a\",0.5,1.5\n\"b\",2.5,3.5\n",
        "x y\n1 0.5 1.5\n2 2.5 3.5\n",
        ",,x,y\n0,a,0.5,1.5\n0,b,2.5,3.5\n",
        ",0,1\n0,0.5,1.5\n1,2.5,3.5\n",
    ];
    for text in cases {
        let (found, seen) = values(text);
        assert_eq!(found, [0.5, 1.5, 2.5, 3.5], "{text}");
        assert!(seen.iter().any(|seen| seen.starts_with("column 0 (from 0) has no name")), "{seen:?}");
    }
    let columns = [0.into(), "y".into()];
    let table = parse_with(cases[0], Wanted { columns: Some(&columns), ..Wanted::default() }).unwrap();
    assert_eq!((table.values, table.warnings.len()), (vec![0.0, 1.5, 1.0, 3.5], 0));
    assert_eq!(
        message(",\n1,2\n"),
        "x.csv: expected names of columns or the key `columns`, found names that are all empty"
    );
}

#[test]
fn decimal_commas_are_read_or_refused() {
    assert_eq!(values("x;y\n0,5;1,25\n-0,125;1e3\n").0, [0.5, 1.25, -0.125, 1000.0]);
    // Beside points a comma would be one of thousands.
    assert_eq!(
        message("x;y\n0.5;1,250\n"),
        "x.csv, line 2, column 2: expected a finite number, found \"1,250\""
    );
    assert!(message("1,234,567;1\n1,5;2\n").contains("line 1, column 1"));
    let split = "; numbers with a decimal comma need semicolons or tabs between them";
    let found = "expected a comma between numbers, found one within a number";
    assert_eq!(message("0,5127\n1,0512\n2,2500\n"), format!("x.csv, line 2: {found} (`1,0512`){split}"));
    assert_eq!(values("x y\n0,5 1,25\n-0,125 2\n").0, [0.5, 1.25, -0.125, 2.0]);
    assert_eq!(
        message("title\n0,51\n-0,12\n"),
        "x.csv, line 2, column 1: expected a finite number, found \"0,51\""
    );
    assert_eq!(message("x,\n0,51\n-0,12\n"), format!("x.csv, line 3: {found} (`-0,12`){split}"));
    assert_eq!(message("0,5,1,25\n0,5,-0,5\n"), format!("x.csv, line 2: {found} (`-0,5`){split}"));
    // Dates and codes are no pairs.
    assert_eq!(values("year,month,day\n2020,01,05\n2021,11,30\n").0, [2020.0, 1.0, 5.0, 2021.0, 11.0, 30.0]);
}

#[test]
fn bad_lines_are_named() {
    let cases = [
        (message("1,2\n3"), "x.csv, line 2: expected 2 values, found 1"),
        (message("a,b\n\n1,2\n3,4,5"), "x.csv, line 4: expected 2 values, found 3"),
        (message("1,2\n3,four"), "x.csv, line 2, column 2: expected a finite number, found \"four\""),
        (message("1,2\n3,nan"), "x.csv, line 2, column 2: expected a finite number, found \"nan\""),
        (message("1,2\n1e39,1"), "x.csv, line 2, column 1: expected a finite number, found \"1e39\""),
        (message("1.5,b\n3,c"), "x.csv, line 1, column 2: expected a finite number, found \"b\""),
        (message("NA,NA\n3,4"), "x.csv, line 1, column 1: expected a finite number, found \"NA\""),
        (message("x,y\n1,\n3,4"), "x.csv, line 2, column 2: expected a finite number, found \"\""),
        (
            message("x,y\n1,2\nx,y\n3,4"),
            "x.csv, line 3: expected a sample, found the names of the columns once more",
        ),
        (message("1,2\n\"3,4\n5,6"), "x.csv, line 2: expected a closing quote, found the end of the file"),
        (message("x,y\n1,2,3\n4,5,6,7\n"), "x.csv, line 3: expected 3 values, found 4"),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
    let not_text = parse(b"1,2\n\xff,1", Path::new("x.csv"), Wanted::default()).unwrap_err().to_string();
    assert_eq!(not_text, "x.csv: line 2: expected text in UTF-8, found other bytes");
    assert_eq!(read("").unwrap(), Table::default());
    assert_eq!(read("only,names").unwrap().values, Vec::<f32>::new());
}
