//! Writes the manual pages and the shells' completions, made from the command definitions, where Debian has them:
//! `cargo run --example manual -- ROOT`.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap_complete::Shell;
use clap_mangen::Man;

const NAME: &str = "origo-adapter";

/// What the definitions do not say.
const FURTHER: &str = r#".SH "EXIT STATUS"
.TP
.B 0
Done.
.TP
.B 1
Failed.
.TP
.B 2
Wrong usage.
.TP
.B 69
HID or the database is unavailable, or the database is in use.
.TP
.B 77
Not permitted.
.TP
.B 78
The configuration is wrong.
.SH ENVIRONMENT
.TP
.B SEAM_API_KEY
The key with which commands ask the running daemon, unless a file is named by
.BR \-\-api\-key\-file .
.TP
.B ORIGO_ADAPTER__SECTION__NAME__KEY
Goes before the same key of the configuration file.
.SH FILES
.TP
.I /etc/origo\-adapter/config.toml
The configuration, laid over built\-in defaults.
.TP
.I /etc/origo\-adapter/origo\-secret
The secret of the account at HID, which the systemd unit hands to the daemon.
.TP
.I /var/lib/origo\-adapter/
The database.
.TP
.I /usr/share/doc/origo\-adapter/examples/default.toml
Every key of the configuration, its default, and what it does.
"#;

const SEE_ALSO: &str = ".SH \"SEE ALSO\"\n.BR origo\\-adapter (1)\n";

fn main() -> anyhow::Result<()> {
    let root = std::env::args_os().nth(1);
    let root = root.context("usage: cargo run --example manual -- ROOT")?;
    let share = Path::new(&root).join("usr/share");
    let mut command = origo_adapter::cli::command().disable_help_subcommand(true);
    for (shell, below) in [
        (Shell::Bash, "bash-completion/completions"),
        (Shell::Zsh, "zsh/vendor-completions"),
        (Shell::Fish, "fish/vendor_completions.d"),
    ] {
        let folder = made(share.join(below))?;
        let written = clap_complete::generate_to(shell, &mut command, NAME, &folder)?;
        if shell == Shell::Bash {
            // Looked for by the name of the command alone.
            fs::rename(written, folder.join(NAME))?;
        }
    }
    command.build();
    pages(&command, &made(share.join("man/man1"))?)
}

fn made(folder: PathBuf) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}

/// One page for the command and each below it.
fn pages(command: &clap::Command, folder: &Path) -> anyhow::Result<()> {
    for below in command.get_subcommands().filter(|it| !it.is_hide_set()) {
        pages(below, folder)?;
    }
    let page = Man::new(command.clone())
        .source(format!("{NAME} {}", env!("CARGO_PKG_VERSION")))
        .manual("Mobile keys of HID Origo");
    let path = folder.join(page.get_filename());
    let mut text = Vec::new();
    page.render(&mut text)?;
    let further = if command.get_name() == NAME {
        FURTHER
    } else {
        SEE_ALSO
    };
    text.write_all(further.as_bytes())?;
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}
