//! `docs/configuration.md` is made from `config/default.toml`. `UPDATE_GOLDEN=1` makes it anew.

use std::fmt::Write as _;
use std::fs;

use origo_adapter::config;

const FILE: &str = "docs/configuration.md";
const HEAD: &str = "\
# Configuration

Made from `config/default.toml`, which is compiled in and holds every key; do not edit by hand.

Three layers, each over the one before: those defaults, the file (`--config FILE`, else
`/etc/origo-adapter/config.toml`), the environment. A variable is the key in capitals with `__` for each dot:
`ORIGO_ADAPTER__API__LISTEN` sets `api.listen`; lists come from the file only. `hq`, `hq_doors`, `lockers` and `ops`
below are names that a site chooses ([a-z0-9_]). What stands under `credential_manager_defaults` counts for every
credential manager that does not set it itself. Durations are text: \"500ms\", \"30s\", \"1h30m\", \"2d\".
Secrets are files (`…_file`), never values. `origo-adapter check` reports everything that is wrong, with key and file.

**Reload**: yes means that `systemctl reload origo-adapter` (SIGHUP) is enough; else the next start takes it over,
and the log says so (OA-1014).
";

/// One key, as the file explains it.
struct Key<'a> {
    name: &'a str,
    value: &'a str,
    /// The value is an example: there is no default.
    example: bool,
    meaning: String,
}

fn page(text: &str) -> String {
    let mut page = HEAD.to_owned();
    let (mut section, mut meaning) = (String::new(), Vec::new());
    let mut open = false;
    // Says how to read the file, not what a key means.
    let (_, body) = text.split_once("\n\n").unwrap();
    for line in body.lines() {
        if let Some(said) = line.strip_prefix("# ") {
            meaning.push(said);
            continue;
        }
        let bare = line.strip_prefix('#').unwrap_or(line);
        if bare.is_empty() {
            meaning.clear();
        } else if let Some(name) = bare.strip_prefix('[') {
            section = name.trim_matches(['[', ']']).to_owned();
            write!(page, "\n## `{section}`\n\n{}", meaning.join(" ")).unwrap();
            if !meaning.is_empty() {
                page.push_str("\n\n");
            }
            meaning.clear();
            open = false;
        } else if let Some((name, value)) = bare.split_once(" = ") {
            if !open {
                if section.is_empty() {
                    page.push_str("\n## At the top\n\n");
                }
                page.push_str("| key | default | meaning | reload |\n| --- | --- | --- | --- |\n");
                open = true;
            }
            let key = Key {
                name,
                value,
                example: line.starts_with('#'),
                meaning: meaning.join(" ").replace('|', "\\|"),
            };
            page.push_str(&key.row(&section));
            meaning.clear();
        }
    }
    page
}

impl Key<'_> {
    fn row(&self, section: &str) -> String {
        let key = if section.is_empty() {
            self.name.to_owned()
        } else {
            format!("{section}.{}", self.name)
        };
        let value = self.value.replace('|', "\\|");
        let value = if self.example {
            format!("none; `{value}`")
        } else {
            format!("`{value}`")
        };
        // A table in one line, and a list of tables, stand for what is in them.
        let deeper = [key.clone(), format!("{key}.x"), format!("{key}.0.x")];
        let reloaded = deeper.iter().any(|key| config::is_reloaded(key));
        let reload = if reloaded { "yes" } else { "" };
        format!(
            "| `{}` | {value} | {} | {reload} |\n",
            self.name, self.meaning
        )
    }
}

#[test]
fn the_reference_is_made_from_the_defaults() {
    let made = page(include_str!("../../config/default.toml"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(FILE, &made).unwrap();
    }
    let written = fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        written == made,
        "{FILE} is stale: UPDATE_GOLDEN=1 makes it anew"
    );
    assert!(made.contains("| `interval` | `\"5s\"` | Time between two polls. |  |"));
    assert!(made.contains("| `level` | `\"info\"` |"));
    for line in made.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.split(" | ").collect();
        assert!(
            cells.len() >= 4 && cells[2].len() > 4,
            "unexplained: {line}"
        );
    }
}
