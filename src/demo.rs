//! (being written)
use std::process::ExitCode;
pub async fn run(_: &crate::cli::Demo) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not wired")
}
