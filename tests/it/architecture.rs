//! The import map: who may use whom, and what the core may not even name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module, and those it may import. Anything may import the telemetry macro `emit!` that imports telemetry.
const MAP: [(&str, &[&str]); 27] = [
    ("core", &[]),
    ("clock", &[]),
    ("telemetry", &[]),
    ("retry", &[]),
    ("rows", &[]),
    ("store", &["core", "clock", "telemetry"]),
    ("origo", &["core", "clock", "telemetry", "retry"]),
    ("engine", &["core", "store", "clock", "telemetry"]),
    ("budget", &["core", "store", "origo", "engine"]),
    ("gate", &["core", "origo"]),
    (
        "manager",
        &["core", "store", "origo", "engine", "budget", "gate"],
    ),
    (
        "worker",
        &[
            "core",
            "store",
            "origo",
            "engine",
            "budget",
            "gate",
            "manager",
            "clock",
            "telemetry",
        ],
    ),
    (
        "poller",
        &[
            "core",
            "store",
            "origo",
            "engine",
            "manager",
            "worker",
            "clock",
            "telemetry",
        ],
    ),
    ("callback", &["config", "manager", "telemetry"]),
    (
        "webhook",
        &["core", "store", "engine", "clock", "telemetry"],
    ),
    ("sandbox", &["core", "origo"]),
    (
        "api",
        &[
            "core",
            "store",
            "engine",
            "manager",
            "adopt",
            "webhook",
            "sandbox",
            "config",
            "clock",
            "telemetry",
        ],
    ),
    (
        "adopt",
        &[
            "core",
            "store",
            "origo",
            "engine",
            "manager",
            "clock",
            "telemetry",
        ],
    ),
    (
        "stock",
        &[
            "core",
            "store",
            "origo",
            "engine",
            "manager",
            "clock",
            "telemetry",
        ],
    ),
    ("template", &["core", "clock"]),
    (
        "connector",
        &[
            "core",
            "store",
            "origo",
            "engine",
            "budget",
            "gate",
            "template",
            "clock",
            "telemetry",
        ],
    ),
    ("config", &["core", "telemetry", "clock", "template"]),
    ("lifecycle", &["clock", "telemetry"]),
    ("simulator", &[]),
    ("daemon", &["*"]),
    ("demo", &["*"]),
    ("cli", &["*"]),
];

/// The only crates that the core may name.
const CORE_CRATES: [&str; 4] = ["std", "core", "serde", "uuid"];

/// A file of more lines than this, its tests aside, has to be split.
const LONGEST: usize = 800;

fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut left = vec![root.clone()];
    let mut found = vec![];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a directory");
            left.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let inside = path.strip_prefix(&root).expect("below src");
            let module = inside.components().next().expect("a name").as_os_str();
            let module = module.to_string_lossy().trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&path).expect("text");
            found.push((module, path, text));
        }
    }
    found
}

/// Code without comments and without what follows `#[cfg(test)]`.
fn code(text: &str) -> String {
    let lines = text.lines().take_while(|line| *line != "#[cfg(test)]");
    let bare = lines.map(|line| match line.find("//") {
        Some(at) if !line[..at].ends_with(':') => &line[..at],
        Some(_) | None => line,
    });
    bare.collect::<Vec<_>>().join("\n")
}

/// The first names of all paths that begin with `crate::`, groups included.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            found.extend(group_heads(group));
        } else {
            found.insert(head(rest));
        }
    }
    found
}

fn head(path: &str) -> String {
    let name = path
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_');
    name.collect()
}

/// The first name of each member of a group, up to its closing brace.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut start) = (0_i32, vec![], true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            c if start && (c.is_alphanumeric() || c == '_') => {
                heads.push(head(&group[at..]));
                start = false;
            }
            _ => {}
        }
    }
    heads
}

#[test]
fn imports_follow_the_map() {
    let map: BTreeMap<&str, &[&str]> = MAP.into_iter().collect();
    let mut wrong = vec![];
    for (module, path, text) in sources() {
        let Some(allowed) = map.get(module.as_str()) else {
            continue;
        };
        for import in imports(&code(&text)) {
            let macro_of_telemetry =
                import == "emit" && (module == "telemetry" || allowed.contains(&"telemetry"));
            let fine = allowed.contains(&"*")
                || allowed.contains(&import.as_str())
                || import == module
                || macro_of_telemetry
                || !map.contains_key(import.as_str()) && !["emit", "main"].contains(&&*import);
            if !fine {
                wrong.push(format!("{} imports {import}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_is_on_the_map() {
    let known: BTreeSet<&str> = MAP.iter().map(|(module, _)| *module).collect();
    let on_top = ["lib", "main"];
    let strays: BTreeSet<String> = sources()
        .into_iter()
        .map(|(module, _, _)| module)
        .filter(|module| !known.contains(module.as_str()) && !on_top.contains(&module.as_str()))
        .collect();
    assert!(strays.is_empty(), "not on the map: {strays:?}");
}

#[test]
fn the_core_names_no_other_crate() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let manifest = fs::read_to_string(manifest).expect("the manifest");
    let dependencies = manifest.lines().filter_map(|line| line.split_once(" = "));
    let banned: Vec<String> = dependencies
        .map(|(name, _)| name.replace('-', "_"))
        .filter(|name| !CORE_CRATES.contains(&name.as_str()))
        .collect();
    let mut wrong = vec![];
    for (_, path, text) in sources().iter().filter(|(module, _, _)| module == "core") {
        let code = code(text);
        for name in &banned {
            let used = code.match_indices(&format!("{name}::")).any(|(at, _)| {
                !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
            });
            if used {
                wrong.push(format!("{} names {name}", path.display()));
            }
        }
        for impure in [
            "async fn",
            "SystemTime",
            "Instant",
            "println!",
            "std::env",
            "std::fs",
        ] {
            if code.contains(impure) {
                wrong.push(format!("{} names {impure}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<String> = sources()
        .into_iter()
        .map(|(_, path, text)| (path, code(&text).lines().count()))
        .filter(|(_, lines)| *lines > LONGEST)
        .map(|(path, lines)| format!("{}: {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn groups_are_read_as_rust_does() {
    let code = "use crate::{core::{step, plan}, store as s,\n clock::Clock};\ncrate::emit!(X);";
    let expected = ["clock", "core", "emit", "store"].map(str::to_owned);
    assert_eq!(imports(code), BTreeSet::from(expected));
}
