//! The demonstration, as anybody runs it first.

use std::process::{Command, Output};

use crate::process_support::ADAPTER;

fn demo(arguments: &[&str]) -> (Output, String) {
    let output = Command::new(ADAPTER)
        .arg("demo")
        .args(arguments)
        .env_clear()
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    if let Some(log) = said.trim_end().rsplit(' ').next() {
        std::fs::remove_file(log).ok();
    }
    (output, said)
}

fn assert_good(output: &Output, said: &str) {
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}\n{complained}");
    assert!(said.contains("\n0 duplicates, 0 missing\n"), "{said}");
    assert!(said.contains("every invariant held"), "{said}");
}

fn row<'a>(said: &'a str, name: &str) -> &'a str {
    let row = said.lines().find_map(|line| line.strip_prefix(name));
    row.unwrap_or_else(|| panic!("no {name} in {said}")).trim()
}

#[test]
fn the_story_ends_well() {
    let (output, said) = demo(&[]);
    assert_good(&output, &said);
    assert_eq!(row(&said, "identities "), "3");
    assert_eq!(row(&said, "phones "), "6");
    assert_eq!(row(&said, "keys issued "), "6");
    assert_eq!(row(&said, "keys live at the end "), "4");
    assert!(
        said.contains("HID saw 6 issue calls for 6 phones"),
        "{said}"
    );
}

#[test]
fn the_story_ends_well_with_faults_and_one_phone_each() {
    let (output, said) = demo(&[
        "--faults",
        "--identities",
        "2",
        "--phones",
        "1",
        "--seed",
        "2",
    ]);
    assert_good(&output, &said);
    assert_eq!(row(&said, "keys live at the end "), "1");
}
